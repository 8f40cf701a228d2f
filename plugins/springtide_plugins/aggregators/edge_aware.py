"""Aggregators that use the edges too, not only the messages."""

import math
from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn
from torch_geometric.nn import Aggregation, Linear, MeanAggregation
from torch_geometric.nn.inits import reset

from springtide.plugins.contracts import MakePart
from springtide.plugins.edges import EdgeAggregation, Edges


class TimeDecay(EdgeAggregation):
    """Mean of the messages, weighted by the weights of their edges, halved with every half-life of an edge's age.

    Ding & Li 2005, "Time weight collaborative filtering", weigh ratings in this way.

    Args:
        half_life_days: Half-life in days; the initial value if learned.
        is_learned: Whether the half-life is learned (as its logarithm, so that it stays above 0).
    """

    def __init__(self, half_life_days: PositiveFloat = 30.0, is_learned: bool = True) -> None:
        super().__init__()
        self.initial_half_life_days = half_life_days
        self.log_half_life_days: Tensor
        if is_learned:
            self.log_half_life_days = nn.Parameter(torch.empty(()))
        else:
            self.register_buffer("log_half_life_days", torch.empty(()))
        self.mean = MeanAggregation()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the initial parameters."""
        nn.init.constant_(self.log_half_life_days, math.log(self.initial_half_life_days))

    def combine(
        self, edges: Edges, weight: Tensor, carry: Callable[[Aggregation, Tensor], Tensor], width: int
    ) -> Tensor:
        """Combine the messages along the edges; see the contract for shapes."""
        # Ages from each target's newest edge: the mean is the same, and the weights of old edges do not all underflow.
        newest = edges.age_days.new_zeros(edges.num_targets)
        newest = newest.scatter_reduce(0, edges.target, edges.age_days, "amin", include_self=False)
        half_lives = (edges.age_days - newest[edges.target]) / self.log_half_life_days.exp()
        return carry(self.mean, weight * torch.exp2(-half_lives))


class Several(EdgeAggregation):
    """Several aggregators of the same messages, concatenated, times a matrix back to the width.

    Corso et al. 2020, "Principal Neighbourhood Aggregation for Graph Nets", section 2, without its scalers.
    Settings may write it as a list: ``aggregator = ["mean", "max", "std"]``.

    Args:
        width: Width of the messages.
        make: Makes the other aggregators.
        of: Names of the other aggregators; each has its default options.
    """

    def __init__(
        self,
        width: int,
        make: MakePart,
        of: Annotated[list[str], Field(min_length=1)] = ["mean", "max", "std"],  # noqa: B006  # read, never changed
    ) -> None:
        super().__init__()
        self.parts = nn.ModuleList(make("aggregator", name) for name in of)
        self.project = Linear(len(of) * width, width, bias=False, weight_initializer="glorot")

    @property
    def is_permutation_invariant(self) -> bool:
        """Whether the order of messages matters to none of the aggregators."""
        return all(getattr(part, "is_permutation_invariant", True) for part in self.parts)

    def reset_parameters(self) -> None:
        """Set the initial parameters."""
        for part in self.parts:
            reset(part)
        self.project.reset_parameters()

    def combine(
        self, edges: Edges, weight: Tensor, carry: Callable[[Aggregation, Tensor], Tensor], width: int
    ) -> Tensor:
        """Combine the messages along the edges; see the contract for shapes."""
        combined: Tensor = self.project(torch.cat([carry(part, weight) for part in self.parts], dim=-1))
        return combined
