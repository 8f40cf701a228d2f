"""What a model is made of: encoder, loss, negative sampler, task."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch_geometric.nn import Aggregation

from springtide.graph.view import GraphView
from springtide.interactions import Observed
from springtide.plugins.edges import Edges


@dataclass(frozen=True, slots=True)
class Schema:
    """The types of nodes and edges that a relational encoder sees.

    Attributes:
        node_types: Node types of events, such as ``user``, ``item``, ``store``, and then the types of attribute values:
            each value of a categorical attribute is a node too.
        relations: (source type, name, target type). Each direction is a relation, such as
            ``("user", "purchase", "item")`` and ``("item", "rev_purchase", "user")``.
        value_types: From a node type to the node type of its attribute values, such as ``item`` to ``item value``;
            node types without categorical attributes are left out. Only this tells which node types are values: a node
            type of events may have any name.
    """

    node_types: tuple[str, ...] = ()
    relations: tuple[tuple[str, str, str], ...] = ()
    value_types: Mapping[str, str] = field(default_factory=dict)

    def is_value_type(self, node_type: str) -> bool:
        """Return whether nodes of this type are attribute values."""
        return node_type in self.value_types.values()

    @property
    def event_types(self) -> tuple[str, ...]:
        """The node types that events name: all but those of attribute values."""
        return tuple(name for name in self.node_types if not self.is_value_type(name))


class Encoder(nn.Module):
    """Turns a graph into vectors, one layer of neighbours at a time.

    A layer sees sources, targets and the edges between them, never the whole graph: so the same code trains on the
    full graph and folds a user in live from the neighbours of this moment. Inputs (learned ids, attributes) are made
    outside and arrive as level 0.

    Args:
        width: Width ``d`` of the inputs and of every level.
        num_layers: How many times messages are passed.
        aggregator: Combines messages; any PyG ``Aggregation``. Each layer gets a copy, with parameters of its own.

    Attributes:
        is_relational: Whether the encoder wants all node and edge types (``Edges.relation`` and the types of nodes
            are set then, and the factory may ask for a ``schema``), or one edge for each pair of user and item.
        default_aggregator: Name of the aggregator that suits it, for comparisons of encoders; None if any does.
        fanout: How many neighbours of each node a training step samples in each layer; None for all of them.
        aggregators: For each layer, its aggregator.
    """

    is_relational: ClassVar[bool] = False
    default_aggregator: ClassVar[str | None] = None
    fanout: int | None = None

    def __init__(self, width: int, num_layers: int, aggregator: Aggregation) -> None:
        super().__init__()
        self.width = width
        self.num_layers = num_layers
        copies: list[Aggregation] = [copy.deepcopy(aggregator) for _ in range(num_layers)]
        for of_layer in copies:
            of_layer.reset_parameters()
        self.aggregators = nn.ModuleList(copies)

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

    The negatives are mostly shared: every user of the batch is compared with the same sampled items, so that a loss
    may work on ``[num_users, num_negatives]`` once instead of once for each edge.

    Attributes:
        positive: float32 ``[num_edges]``, cosine of an edge's user with its item.
        user: int64 ``[num_edges]``, the edge's user as a position in ``negative``'s rows.
        weight: float32 ``[num_edges]``, how much the edge counts in the mean, above 0.
        negative: float32 ``[num_users, num_negatives]``, cosine of each user with each of its sampled items.
        is_seen: bool ``[num_users, num_negatives]``, true where the sampled item is one that the user has an edge to.
        positive_log_q: float32 ``[num_edges]``, log of the probability that one draw of the sampler gives the item.
        negative_log_q: float32 ``[num_negatives]``, the same for the sampled items; ``[num_users, num_negatives]``
            where each user has its own (negative sampler ``hard``).
        strength: float32 ``[num_edges]``, weight of the edge in the graph: how often, and by what, the user chose
            the item.
        item: int64 ``[num_edges]``, row of the edge's item: edges with the same number have the same item.
        user_vectors: float32 ``[num_users, d]``, unit vectors.
        item_vectors: float32 ``[num_edges, d]``, unit vectors of the edges' items.
        user_levels: Levels 0 to ``num_layers`` of the users, each float32 ``[num_users, d]``; empty unless the loss
            ``needs_levels``.
        item_levels: The same of the edges' items, each float32 ``[num_edges, d]``.
        rated: float32 ``[num_ratings]``, cosine of a user with an item that it rated, well or badly; empty unless the
            loss ``needs_ratings`` and the graph has any.
        rating: float32 ``[num_ratings]``, the rating, its scale brought to -1 (lowest seen) to 1 (highest seen).
        is_rated: bool ``[num_edges]``, whether the edge's user rated its item; empty unless the loss ``needs_ratings``.
    """

    positive: Tensor
    user: Tensor
    weight: Tensor
    negative: Tensor
    is_seen: Tensor
    positive_log_q: Tensor
    negative_log_q: Tensor
    strength: Tensor
    item: Tensor
    user_vectors: Tensor
    item_vectors: Tensor
    user_levels: Sequence[Tensor] = ()
    item_levels: Sequence[Tensor] = ()
    rated: Tensor = field(default_factory=lambda: torch.zeros(0))
    rating: Tensor = field(default_factory=lambda: torch.zeros(0))
    is_rated: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))


class Loss(nn.Module):
    """Turns cosines into one number that falls as positives rise above negatives.

    Attributes:
        needs_levels: Whether it looks at the levels below the vectors.
        needs_ratings: Whether it looks at ratings.
        looks_at: Fields of ``LossInputs`` that it learns from: gradients flow there.
        needs_random_negatives: Whether the sampled items must be as they were drawn, and not selected by cosine.
        noise: Length of the random step that training adds to each node's level after each layer, in the direction
            of its signs (Yu et al. 2023, XSimGCL, eq. 6); 0 for none.
    """

    needs_levels: ClassVar[bool] = False
    needs_ratings: ClassVar[bool] = False
    looks_at: ClassVar[frozenset[str]] = frozenset({"positive", "negative"})
    needs_random_negatives: ClassVar[bool] = False
    noise: float = 0.0

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the mean loss of the batch, float32 scalar."""
        raise NotImplementedError


class NegativeSampler:
    """Draws items that stand for all those that a user did not choose.

    Attributes:
        is_selective: Whether ``select`` chooses among the drawn items.
        log_q: float32 ``[num_items]``, log of the probability that one draw gives each item; set by ``prepare``.
    """

    is_selective: ClassVar[bool] = False
    log_q: Tensor

    def prepare(self, counts: npt.NDArray[np.float64]) -> None:
        """Get ready for a training.

        Args:
            counts: float64 ``[num_items]``, interactions of each item.
        """
        raise NotImplementedError

    def draw(
        self, positives: npt.NDArray[np.int64], count: int, generator: np.random.Generator
    ) -> npt.NDArray[np.int64]:
        """Draw the items of one step, shared by its users.

        Args:
            positives: int64 ``[num_users, edges_per_user]``, item rows of the step's edges.
            count: How many items are wanted; a sampler may give more, to select from.
            generator: The source of chance.

        Returns:
            Item rows, int64 ``[num_drawn]``.
        """
        raise NotImplementedError

    def select(self, cosine: Tensor, is_seen: Tensor, count: int) -> Tensor | None:
        """Select for each user among the drawn items, once their cosines are known; None for all of them.

        Args:
            cosine: float32 ``[num_users, num_drawn]``, without gradient.
            is_seen: bool ``[num_users, num_drawn]``.
            count: How many items are wanted.

        Returns:
            Positions among the drawn items, int64 ``[num_users, num_selected]``.
        """
        return None


class TaskGraph(Protocol):
    """The graph that a training reads, as a task may look at it: ``springtide.training.graph.TrainingGraph`` is one."""

    @property
    def view(self) -> GraphView:
        """The live graph at the moment of the training."""

    @property
    def schema(self) -> Schema:
        """Types of nodes and relations."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of nodes of each type."""

    @property
    def starts(self) -> Mapping[str, int]:
        """Position of each type's first node in the list of all nodes."""

    @property
    def interactions(self) -> Observed:
        """Positive interactions, oldest first."""

    @property
    def edges(self) -> Edges:
        """Edges over the list of all nodes."""

    @property
    def item_type(self) -> str:
        """The node type that is recommended to users."""

    @property
    def num_users(self) -> int:
        """Number of user rows; user ``u`` is node ``u``."""

    @property
    def num_items(self) -> int:
        """Number of item rows; item ``i`` is node ``item_start + i``."""

    @property
    def item_start(self) -> int:
        """Position of the first item in the list of all nodes."""

    def categories(self, node_type: str, attribute: str) -> tuple[npt.NDArray[np.int64], list[str]]:
        """Return the code of each node's (first) value, int64 ``[count]``, -1 where absent, and the values."""

    def numbers(self, node_type: str, name: str) -> npt.NDArray[np.float32]:
        """Return each node's number of that name, float32 ``[count]``, NaN where absent."""


class Task(nn.Module):
    """Something else to learn from the same vectors: an auxiliary loss of the training, or a purpose of its own.

    Attributes:
        labels: (node type, attribute) of the attributes that it learns to predict: they are no inputs then.
    """

    labels: Sequence[tuple[str, str]] = ()

    def prepare(self, graph: TaskGraph, width: int) -> None:
        """Find the labels in the graph, and make the parameters for vectors of a width.

        Raises:
            TrainingError: If the graph has not what the task needs.
        """
        raise NotImplementedError

    def draw(self, count: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Draw a batch of about ``count`` examples, and return the nodes it is about, int64 ``[num_nodes]``."""
        raise NotImplementedError

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the mean loss of the batch drawn last, float32 scalar.

        Args:
            vectors: float32 ``[num_nodes, d]``, what the encoder's readout gives the nodes of that batch.
        """
        raise NotImplementedError
