"""What a model is made of: encoder, loss, negative sampler, task. They are trained, so that they need torch."""

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
from springtide.plugins.contracts.schema import Schema
from springtide.plugins.edges import Edges


class Encoder(nn.Module):
    """Turns a graph into vectors, one layer of neighbours at a time.

    A layer gets sources, targets and the edges between them, never the whole graph. So the same code trains on the full
    graph and computes the vector of a new user from its latest neighbours. The inputs (embeddings of ids and
    attributes) are computed outside and arrive as level 0.

    Args:
        width: Width ``d`` of the inputs and of every level.
        num_layers: Number of message-passing layers.
        aggregator: Combines messages; any PyG ``Aggregation``. Each layer gets a copy with its own parameters.

    Attributes:
        is_relational: Whether the encoder uses all node and edge types (then ``Edges.relation`` and the types of nodes
            are set, and the factory may take a ``schema``), or one edge for each pair of user and item.
        default_aggregator: Name of the aggregator that suits it if settings name none; None if any does.
        fanout: Number of neighbours that a training step samples for each node in each layer; None for all.
        aggregators: Aggregator of each layer.

    Example:
        >>> from torch_geometric.nn import MeanAggregation
        >>> class Averaging(Encoder):
        ...     def layer(self, depth, sources, targets, edges):
        ...         return targets + edges.aggregate(sources, self.aggregators[depth])
        >>> encoder = Averaging(width=2, num_layers=1, aggregator=MeanAggregation())
        >>> edges = Edges(
        ...     source=torch.tensor([0, 1]),
        ...     target=torch.tensor([0, 0]),
        ...     weight=torch.ones(2),
        ...     age_days=torch.zeros(2),
        ...     source_degree=torch.ones(2),
        ...     target_degree=torch.tensor([2.0]),
        ... )
        >>> encoder.layer(0, torch.tensor([[2.0, 0.0], [0.0, 4.0]]), torch.zeros(1, 2), edges)  # [num_targets, d]
        tensor([[1., 2.]])
    """

    is_relational: ClassVar[bool] = False
    default_aggregator: ClassVar[str | None] = None
    fanout: int | None = None

    def __init__(self, width: int, num_layers: int, aggregator: Aggregation) -> None:
        super().__init__()
        self.width = width
        self.num_layers = num_layers
        copies: list[Aggregation] = [copy.deepcopy(aggregator) for _ in range(num_layers)]
        for each in copies:
            each.reset_parameters()
        self.aggregators = nn.ModuleList(copies)

    def layer(self, depth: int, sources: Tensor, targets: Tensor, edges: Edges) -> Tensor:
        """Pass messages once.

        Args:
            depth: Index of the layer, 0 to ``num_layers - 1``.
            sources: float32 ``[num_sources, d]``, level ``depth`` of the source nodes.
            targets: float32 ``[num_targets, d]``, level ``depth`` of the target nodes.
            edges: Edges from sources to targets; a target may have none.

        Returns:
            float32 ``[num_targets, d]``, level ``depth + 1`` of the targets.
        """
        raise NotImplementedError

    def readout(self, levels: Sequence[Tensor]) -> Tensor:
        """Combine levels 0 to ``num_layers``, each float32 ``[n, d]``, into vectors ``[n, d]``; here, the last."""
        return levels[-1]


@dataclass(frozen=True, slots=True)
class LossInputs:
    """Inputs of a loss: cosines of a batch of users with the items of their edges and with sampled items.

    Most samplers share the negatives: every user of the batch is compared with the same sampled items, so that a loss
    can compute on ``[num_users, num_negatives]`` once instead of once for each edge.

    Attributes:
        positive: float32 ``[num_edges]``, cosine of an edge's user with its item.
        user: int64 ``[num_edges]``, row of the edge's user in ``negative``.
        weight: float32 ``[num_edges]``, how much the edge counts in the mean, above 0.
        negative: float32 ``[num_users, num_negatives]``, cosine of each user with each of its sampled items.
        is_seen: bool ``[num_users, num_negatives]``, true where the user has an edge to the sampled item.
        positive_log_q: float32 ``[num_edges]``, log probability that one draw of the sampler gives the item.
        negative_log_q: float32 ``[num_negatives]``, the same for the sampled items; ``[num_users, num_negatives]``
            if the sampler selects for each user (negative sampler ``hard``).
        strength: float32 ``[num_edges]``, weight of the edge in the graph: how often, and by which interactions, the
            user chose the item.
        item: int64 ``[num_edges]``, row of the edge's item.
        user_vectors: float32 ``[num_users, d]``, unit vectors.
        item_vectors: float32 ``[num_edges, d]``, unit vectors of the edges' items.
        user_levels: Levels 0 to ``num_layers`` of the users, each float32 ``[num_users, d]``; empty unless the loss
            ``needs_levels``.
        item_levels: The same for the edges' items, each float32 ``[num_edges, d]``.
        rated: float32 ``[num_ratings]``, cosine of a user with an item that it rated, well or badly; empty unless the
            loss ``needs_ratings`` and the graph has ratings.
        rating: float32 ``[num_ratings]``, the rating, scaled to -1 (lowest in the data) to 1 (highest).
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
        needs_levels: Whether it uses the levels below the vectors.
        needs_ratings: Whether it uses ratings.
        looks_at: Fields of ``LossInputs`` that gradients flow through.
        needs_random_negatives: Whether the negatives must be those that were drawn, not those selected by cosine.
        noise: Length of the random step that training adds to each node's level after each layer, in the direction
            of its signs (Yu et al. 2023, XSimGCL, eq. 6); 0 for none.

    Example:
        >>> from springtide.testing import loss_inputs_of
        >>> class Hinge(Loss):
        ...     def forward(self, inputs):
        ...         gaps = inputs.negative[inputs.user] - inputs.positive.unsqueeze(-1)  # [num_edges, num_negatives]
        ...         return (inputs.weight.unsqueeze(-1) * (0.1 + gaps).clamp(min=0)).mean()
        >>> Hinge()(loss_inputs_of(positive=[0.5], negative=[[0.6, 0.0]]))  # One user, one edge, two negatives.
        tensor(0.1000)
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
    """Draws negatives: items that stand for all items that a user did not choose.

    Attributes:
        is_selective: Whether ``select`` selects among the drawn items.
        log_q: float32 ``[num_items]``, log probability that one draw gives each item; set by ``prepare``.

    Example:
        >>> class Uniform(NegativeSampler):
        ...     def prepare(self, counts):
        ...         self.log_q = torch.full((len(counts),), -float(np.log(len(counts))))
        ...
        ...     def draw(self, positives, count, generator):
        ...         return generator.integers(len(self.log_q), size=count)
        >>> sampler = Uniform()
        >>> sampler.prepare(np.array([5.0, 2.0, 1.0]))
        >>> sampler.draw(np.array([[0], [1]]), 4, np.random.default_rng(0)).shape  # [num_drawn], shared by both users
        (4,)
    """

    is_selective: ClassVar[bool] = False
    log_q: Tensor

    def prepare(self, counts: npt.NDArray[np.float64]) -> None:
        """Prepare for a training, and set ``log_q``.

        Args:
            counts: float64 ``[num_items]``, number of interactions of each item.
        """
        raise NotImplementedError

    def draw(
        self, positives: npt.NDArray[np.int64], count: int, generator: np.random.Generator
    ) -> npt.NDArray[np.int64]:
        """Draw the items of one training step, shared by all its users.

        Args:
            positives: int64 ``[num_users, edges_per_user]``, item rows of the step's edges.
            count: Number of items wanted; a sampler that selects may draw more.
            generator: Source of randomness.

        Returns:
            Item rows, int64 ``[num_drawn]``.
        """
        raise NotImplementedError

    def select(self, cosine: Tensor, is_seen: Tensor, count: int) -> Tensor | None:
        """Select negatives for each user by their cosines; None keeps all drawn items.

        Args:
            cosine: float32 ``[num_users, num_drawn]``, without gradient.
            is_seen: bool ``[num_users, num_drawn]``, true where the user has an edge to the item.
            count: Number of items wanted.

        Returns:
            Indices of drawn items, int64 ``[num_users, num_selected]``.
        """
        return None


class TaskGraph(Protocol):
    """The graph of a training, as tasks see it; ``springtide.training.graph.TrainingGraph`` implements it."""

    @property
    def view(self) -> GraphView:
        """The live graph when the training began."""

    @property
    def schema(self) -> Schema:
        """Types of nodes and relations."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of nodes of each type."""

    @property
    def starts(self) -> Mapping[str, int]:
        """Index of each type's first node in the list of all nodes."""

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
        """Index of the first item in the list of all nodes."""

    def categories(self, node_type: str, attribute: str) -> tuple[npt.NDArray[np.int64], list[str]]:
        """Return the code of each node's first value, int64 ``[count]``, -1 for none, and the values by code."""

    def numbers(self, node_type: str, name: str) -> npt.NDArray[np.float32]:
        """Return each node's number of that name, float32 ``[count]``, NaN where it has none."""


class Task(nn.Module):
    """Learns something else from the same vectors, beside link prediction: an auxiliary loss of the training.

    Attributes:
        labels: (node type, attribute) of the attributes that it predicts; the training leaves them out of its inputs.

    Example:
        >>> from springtide.testing import even_odd_state, training_graph_of
        >>> class SpreadOut(Task):
        ...     def prepare(self, graph, width):
        ...         self.items = np.arange(graph.item_start, graph.item_start + graph.num_items)
        ...
        ...     def draw(self, count, generator):
        ...         return generator.choice(self.items, min(count, len(self.items)), replace=False)
        ...
        ...     def forward(self, vectors):
        ...         return (vectors @ vectors.T - torch.eye(len(vectors))).square().mean()
        >>> task = SpreadOut()
        >>> task.prepare(training_graph_of(even_odd_state(4)), width=2)
        >>> task.draw(2, np.random.default_rng(0)).shape  # [num_nodes]
        (2,)
        >>> task(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))  # Two equal vectors.
        tensor(0.5000)
    """

    labels: Sequence[tuple[str, str]] = ()

    def prepare(self, graph: TaskGraph, width: int) -> None:
        """Find the labels in the graph, and create the parameters for vectors of a width.

        Raises:
            TrainingError: If the graph lacks what the task needs.
        """
        raise NotImplementedError

    def draw(self, count: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Draw a batch of about ``count`` examples, and return their nodes, int64 ``[num_nodes]``."""
        raise NotImplementedError

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the mean loss of the batch that was drawn last, float32 scalar.

        Args:
            vectors: float32 ``[num_nodes, d]``, the encoder's vectors of the batch's nodes.
        """
        raise NotImplementedError
