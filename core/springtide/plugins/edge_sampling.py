"""Drawing a fixed number of edges at each node, uniformly or by age."""

import torch
from torch import Tensor

_UNIFORM_SHARE = 0.25  # Of draws by age: so no edge stands for more than four times what it does in a uniform draw.


def draw_probabilities(target: Tensor, degree: Tensor, age_days: Tensor, half_life_days: float) -> Tensor:
    """Return the probability of each edge among those of its target, float64 ``[num_edges]``.

    Three draws of four go by age, halved with every half-life; the fourth is uniform (see ``Edges.sample``).

    Args:
        target: int64 ``[num_edges]``, index of each edge's target.
        degree: int64 ``[num_targets]``, number of edges of each target.
        age_days: float32 ``[num_edges]``.
        half_life_days: Half-life of the probability.
    """
    newest = age_days.new_full((len(degree),), torch.inf).scatter_reduce(0, target, age_days, "amin")
    # Ages count from the target's newest edge: otherwise all probabilities could vanish where every edge is old.
    recency = torch.exp2(-(age_days - newest[target]).double() / half_life_days)
    by_age = recency / recency.new_zeros(len(degree)).index_add(0, target, recency)[target]
    return (1 - _UNIFORM_SHARE) * by_age + _UNIFORM_SHARE / degree[target]


def draw_edges(
    first: Tensor, degree: Tensor, fanout: int, generator: torch.Generator, cumulative: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Draw, with replacement, ``fanout`` edges of each target that has more, and take all edges of the others.

    Args:
        first: int64 ``[num_targets]``, index of each target's first edge.
        degree: int64 ``[num_targets]``, number of its edges.
        fanout: Edges drawn for each target.
        generator: Source of randomness.
        cumulative: float64 ``[num_edges]``, running sum of the edges' probabilities; None for a uniform draw.

    Returns:
        int64 ``[num_drawn]`` each: index of the target, ascending, and of the edge; a target's edges in their order.
    """
    device = first.device
    count = degree.clamp(max=fanout)
    target = torch.repeat_interleave(torch.arange(len(first), device=device), count)
    position = torch.arange(len(target), device=device) - torch.repeat_interleave(count.cumsum(0) - count, count)
    points = torch.rand(len(target), generator=generator).to(device)
    if cumulative is None:
        draw = (points * degree[target]).long()
    else:
        before = torch.cat([cumulative.new_zeros(1), cumulative])  # [num_edges + 1], sum of all before each edge.
        low, high = before[first[target]], before[first[target] + degree[target]]
        draw = torch.searchsorted(cumulative, low + points * (high - low), right=True) - first[target]
        # Rounding may move a point past the end of its range, or before its beginning: keep it within its target.
        draw = torch.minimum(draw.clamp(min=0), degree[target] - 1)
    # Sort within each target: targets ascend already, so sorting start + draw does it.
    offset = degree.cumsum(0) - degree
    drawn = torch.where(degree[target] > fanout, draw, position) + offset[target]
    return target, drawn.sort().values - offset[target] + first[target]


def num_stood_for(degree: Tensor, fanout: int, probability: Tensor | None) -> Tensor:
    """Return how many edges each drawn edge stands for, float32 ``[num_drawn]``; 1 where all edges were taken.

    It is one over the expected number of draws of the edge.

    Args:
        degree: int64 ``[num_drawn]``, number of edges of the edge's target.
        fanout: Edges drawn for each target.
        probability: float64 ``[num_drawn]``, probability of the edge in one draw; None for a uniform draw.
    """
    if probability is None:
        return (degree / fanout).clamp(min=1.0)
    return torch.where(degree > fanout, 1 / (fanout * probability), 1.0).float()


def num_newer(pointers: Tensor, target: Tensor, age_days: Tensor) -> Tensor:
    """Return how many edges of the same target are newer than each edge, int64 ``[num_edges]``.

    Args:
        pointers: int64 ``[num_targets + 1]``, where each target's edges begin.
        target: int64 ``[num_edges]``, ascending.
        age_days: float32 ``[num_edges]``, falling within a target.
    """
    if not len(target):
        return torch.zeros_like(target)
    is_last = torch.ones(len(target), dtype=torch.bool, device=target.device)  # Of those of one target and one age.
    is_last[:-1] = (target[1:] != target[:-1]) | (age_days[1:] != age_days[:-1])
    last = is_last.nonzero().flatten()[is_last.cumsum(0) - is_last.long()]
    return pointers[target + 1] - 1 - last
