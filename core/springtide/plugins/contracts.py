"""What a part of each kind must be: the contracts that built-ins and outsiders' plugins share."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn
from torch_geometric.nn import Aggregation

from springtide.plugins.edges import Edges


class Encoder(nn.Module):
    """Turns a graph into vectors, one layer of neighbours at a time.

    A layer sees sources, targets and the edges between them, never the whole graph: so the same code trains on the
    full graph and folds a user in live from the neighbours of this moment. Inputs (learned ids, attributes) are made
    outside and arrive as level 0.

    Args:
        width: Width ``d`` of the inputs and of every level.
        num_layers: How many times messages are passed.
        aggregator: Combines messages; any PyG ``Aggregation``.

    Attributes:
        fanout: How many neighbours of each node a training step samples in each layer; None for all of them.
    """

    fanout: int | None = None

    def __init__(self, width: int, num_layers: int, aggregator: Aggregation) -> None:
        super().__init__()
        self.width = width
        self.num_layers = num_layers
        self.aggregator = aggregator

    def layer(self, depth: int, sources: Tensor, targets: Tensor, edges: Edges) -> Tensor:
        """Pass messages once.

        Args:
            depth: Which layer, 0 to ``num_layers - 1``.
            sources: float32 ``[num_sources, d]``, level ``depth`` of the source nodes.
            targets: float32 ``[num_targets, d]``, level ``depth`` of the target nodes.
            edges: The edges between them; a target may have none.

        Returns:
            float32 ``[num_targets, d]``, level ``depth + 1`` of the targets.
        """
        raise NotImplementedError

    def readout(self, levels: Sequence[Tensor]) -> Tensor:
        """Combine levels 0 to ``num_layers``, each float32 ``[n, d]``, into vectors ``[n, d]``; or take the last."""
        return levels[-1]


@dataclass(frozen=True, slots=True)
class LossInputs:
    """What a loss may look at: cosines of a batch of users with items of their edges and with sampled items.

    The negatives are shared: every user of the batch is compared with the same sampled items, so that a loss may
    work on ``[num_users, num_negatives]`` once instead of once for each edge.

    Attributes:
        positive: float32 ``[num_edges]``, cosine of an edge's user with its item.
        user: int64 ``[num_edges]``, the edge's user as a position in ``negative``'s rows.
        weight: float32 ``[num_edges]``, weight of the edge, above 0.
        negative: float32 ``[num_users, num_negatives]``, cosine of each user with each sampled item.
        is_own: bool ``[num_users, num_negatives]``, true where the sampled item is one that the user has an edge to.
        positive_log_q: float32 ``[num_edges]``, log of the probability that one draw of the sampler gives the item.
        negative_log_q: float32 ``[num_negatives]``, the same for the sampled items.
    """

    positive: Tensor
    user: Tensor
    weight: Tensor
    negative: Tensor
    is_own: Tensor
    positive_log_q: Tensor
    negative_log_q: Tensor


class Loss(nn.Module):
    """Turns cosines into one number that falls as positives rise above negatives."""

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the mean loss of the batch, float32 scalar."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Moment:
    """The moment and its circumstances, as a request or an event gives them.

    Attributes:
        timestamp_ms: Milliseconds since the Unix epoch.
        place: Region, store or country; empty when not known.
        weather: Condition in words; empty when not known.
        attributes: Anything else.
    """

    timestamp_ms: int
    place: str = ""
    weather: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observed:
    """Interactions as they enter the graph, for the context weights to learn from; all positive, in stream order.

    Attributes:
        user_rows: int32 ``[n]``.
        item_rows: int32 ``[n]``.
        timestamps_ms: int64 ``[n]``.
        weights: float32 ``[n]``, edge weights.
        contexts: The events' context maps, or None when none has one.
    """

    user_rows: npt.NDArray[np.int32]
    item_rows: npt.NDArray[np.int32]
    timestamps_ms: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    contexts: Sequence[Mapping[str, str]] | None = None

    def __len__(self) -> int:
        return len(self.item_rows)


@dataclass(frozen=True, slots=True)
class History:
    """One user's own positive interactions, newest first.

    Attributes:
        item_rows: int32 ``[n]``.
        timestamps_ms: int64 ``[n]``, descending.
        weights: float32 ``[n]``.
    """

    item_rows: npt.NDArray[np.int32]
    timestamps_ms: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    _distinct: list[tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def distinct(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return the distinct items, int32 ``[m]`` ascending, and each event's position in them, int64 ``[n]``.

        Found once and kept: a history is asked again and again, at other moments.
        """
        if not self._distinct:
            items, inverse = np.unique(self.item_rows, return_inverse=True)
            self._distinct.append((items, inverse))
        return self._distinct[0]

    def before(self, timestamp_ms: int) -> "History":
        """Return the part of the history that lies strictly before a moment."""
        first = int(np.searchsorted(-self.timestamps_ms, -timestamp_ms, side="right"))
        return History(self.item_rows[first:], self.timestamps_ms[first:], self.weights[first:])


@dataclass(frozen=True, slots=True)
class Factor:
    """One term of a context weight that gets its own learned exponent.

    Attributes:
        name: Such as ``hour``; unique within its weight.
        is_signed: Whether the exponent may be negative; lifts are not, habits are.
        needs_whole_history: Whether the exponent is learned on moments of the whole history, not of the latest slice:
            the time of year does not change within a few weeks. The term must be about how items differ with the
            moment, since it is learned without cosines.
    """

    name: str
    is_signed: bool = False
    needs_whole_history: bool = False


class ContextWeight:
    """How much likelier an item is here and now than usual.

    A weight gives, for each of its factors, the natural logarithm of a lift: 0 is neutral. Item-side terms depend on
    the moment alone and are shared by all requests of that moment; history terms depend on the user.

    Attributes:
        factors: The terms, each with its own exponent, in the order of every array below.
    """

    factors: tuple[Factor, ...] = (Factor("lift"),)

    def observe(self, observed: Observed) -> None:
        """Learn from interactions, in any order; rows may be new. Called by one thread. Nothing to learn by default."""

    def bucket(self, moment: Moment) -> Hashable:
        """Return a key: moments with the same key have the same item lifts. None if there is no item-side term."""
        return None

    def item_log_lifts(self, moment: Moment, num_items: int) -> npt.NDArray[np.float32] | None:
        """Return float32 ``[num_factors, num_items]`` of log lifts at the moment, or None if all are neutral."""
        return None

    def history_log_lifts(self, history: History, moment: Moment) -> npt.NDArray[np.float32] | None:
        """Return float32 ``[num_factors, num_distinct]`` for the user's distinct items, or None if all are neutral.

        The items are those of ``history.distinct()``, in its order; for all other items the terms are 0.
        """
        return None

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return what was learned, as named arrays for the checkpoint: copies, safe to write later."""
        return {}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take up what ``state`` gave."""


AggregatorFactory = Callable[..., Aggregation]  # (**options)
EncoderFactory = Callable[..., Encoder]  # (width, num_layers, aggregator, **options)
LossFactory = Callable[..., Loss]  # (**options)
ContextWeightFactory = Callable[..., ContextWeight]  # (**options)

__all__ = [
    "AggregatorFactory",
    "ContextWeight",
    "ContextWeightFactory",
    "Edges",
    "Encoder",
    "EncoderFactory",
    "Factor",
    "History",
    "Loss",
    "LossFactory",
    "LossInputs",
    "Moment",
    "Observed",
]
