"""What a part of each kind must be: the contracts that built-ins and outsiders' plugins share."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn
from torch_geometric.nn import Aggregation


@dataclass(frozen=True, slots=True)
class Edges:
    """Edges from ``num_sources`` source nodes to ``num_targets`` target nodes, sorted by target.

    One object serves a whole graph (sources and targets are the same nodes) and a live fold-in
    (a few targets, their neighbours as sources).

    Attributes:
        source: int64 ``[num_edges]``, position of each edge's source.
        target: int64 ``[num_edges]``, position of each edge's target, ascending.
        weight: float32 ``[num_edges]``, strength, above 0; duplicate edges are already added up.
        age_days: float32 ``[num_edges]``, days from the edge's last event to the graph's newest.
        source_degree: float32 ``[num_sources]``, sum of the weights at each source in the whole graph.
        target_degree: float32 ``[num_targets]``, the same at each target.
    """

    source: Tensor
    target: Tensor
    weight: Tensor
    age_days: Tensor
    source_degree: Tensor
    target_degree: Tensor

    @property
    def num_sources(self) -> int:
        """Number of source nodes."""
        return self.source_degree.numel()

    @property
    def num_targets(self) -> int:
        """Number of target nodes."""
        return self.target_degree.numel()


class Encoder(nn.Module):
    """Turns a graph into vectors, one layer of neighbours at a time.

    A layer sees sources, targets and the edges between them, never the whole graph: so the same code trains on the
    full graph and folds a user in live from the neighbours of this moment. Inputs (learned ids, attributes) are made
    outside and arrive as level 0.

    Args:
        width: Width ``d`` of the inputs and of every level.
        num_layers: How many times messages are passed.
        aggregator: Combines messages; any PyG ``Aggregation``.
    """

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
        """Combine a node's levels, each float32 ``[n, d]``, into its vector ``[n, d]``; the last level unless overridden."""
        return levels[-1]


@dataclass(frozen=True, slots=True)
class LossInputs:
    """What a loss may look at: cosines of a batch of positive pairs, and of the same users with negative items.

    Attributes:
        positive: float32 ``[batch]``, cosine of each user with the item of its edge.
        negative: float32 ``[batch, num_negatives]``, cosine of each user with items sampled as negatives.
        is_accidental: bool ``[batch, num_negatives]``, true where a "negative" is the batch row's positive item, to be left out.
        positive_log_q: float32 ``[batch]``, log of the probability with which the sampler draws the positive item.
        negative_log_q: float32 ``[num_negatives]``, log of the probability with which each negative is drawn.
        weight: float32 ``[batch]``, weight of each edge.
    """

    positive: Tensor
    negative: Tensor
    is_accidental: Tensor
    positive_log_q: Tensor
    negative_log_q: Tensor
    weight: Tensor


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


@dataclass(frozen=True, slots=True)
class Factor:
    """One term of a context weight that gets its own learned exponent.

    Attributes:
        name: Such as ``hour``; unique within its weight.
        is_signed: Whether the exponent may be negative; lifts are not, habits are.
    """

    name: str
    is_signed: bool = False


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

    def history_log_lifts(
        self, history: History, moment: Moment
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]] | None:
        """Return the user's terms where they are not 0.

        Returns:
            Distinct item rows, int32 ``[m]``, and log lifts, float32 ``[num_factors, m]``; or None if all are neutral.
        """
        return None

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return what was learned, as named arrays for the checkpoint: copies, safe to write later."""
        return {}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take up what ``state`` gave."""


@runtime_checkable
class AggregatorFactory(Protocol):
    """Makes an aggregator: called with the part's options."""

    def __call__(self, **options: Any) -> Aggregation:
        """Return a PyG ``Aggregation``."""
        ...


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
