"""The graph that a training reads: the nodes of all types in one list, and the edges between them."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.graph.applying import USER
from springtide.graph.edges import EdgeType
from springtide.graph.view import GraphView
from springtide.interactions import NO_EVENTS, Circumstances, Observed
from springtide.model.attributes import Attributes, NumberScale
from springtide.model.schema import ModelSchema, name_value_types
from springtide.model.vector_scale import VectorScale
from springtide.plugins.contracts import Edges, Schema
from springtide.training.dislikes import Dislikes
from springtide.training.message_edges import Ratings, pair_edges, typed_edges
from springtide.training.passed_over import PassedOver


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of a training, one type after another.

    Attributes:
        view: The graph that they are read from.
        schema: Node types in the order of the list; relations too, if the encoder is relational.
        counts: Number of nodes of each type.
        starts: Position of each type's first node in the list.
        item_type: Node type that is recommended to users.
        attributes: Category attributes that are inputs, by node type, without the types of attribute values.
        scales: Number attributes that are inputs, by the same node types.
        vectors: Vector attributes that are inputs, by the same node types.
    """

    view: GraphView
    schema: Schema
    counts: Mapping[str, int]
    starts: Mapping[str, int]
    item_type: str
    attributes: Mapping[str, Attributes]
    scales: Mapping[str, NumberScale]
    vectors: Mapping[str, VectorScale]

    @classmethod
    def of(
        cls,
        view: GraphView,
        item_type: str = "item",
        *,
        is_relational: bool = False,
        labels: Sequence[tuple[str, str]] = (),
        known: ModelSchema | None = None,
        without: Collection[EdgeType] = (),
        reads_texts: bool = False,
    ) -> "Nodes":
        """List the nodes of a view.

        Args:
            view: The graph.
            item_type: ``item``, or ``user`` in a graph of users alone.
            is_relational: Whether to list nodes of all types and attribute values, or users and items only.
            labels: (node type, attribute) of attributes that are predicted: these are no inputs.
            known: Schema of the model that is fine-tuned: types and relations that it lacks are left out.
            without: Edge types that pass no messages.
            reads_texts: Whether text attributes are inputs, too.
        """
        linked = tuple(dict.fromkeys((USER, item_type)))
        base = linked
        if is_relational:
            base += tuple(name for name in view.node_types if name not in linked and view.num_nodes(name))
        if known is not None:
            base = known.schema.event_types
        hidden = {name: [attribute for node_type, attribute in labels if node_type == name] for name in base}
        values = known.attribute_values if known is not None else {}
        counts = {name: view.num_nodes(name) for name in base}
        attributes = {
            name: Attributes.of(view.nodes(name), counts[name], values.get(name, ()), hidden[name]) for name in base
        }
        scales = {
            name: NumberScale.of(view.nodes(name), counts[name], hidden[name]) if known is None else known.scales[name]
            for name in base
        }
        vectors = {
            name: VectorScale.of(view.nodes(name), counts[name], hidden[name], reads_texts=reads_texts)
            if known is None
            else known.vectors.get(name, VectorScale())
            for name in base
        }
        value_types: Mapping[str, str] = {}
        if known is not None:
            value_types = known.schema.value_types
        elif is_relational:
            value_types = {name: of for name, of in name_value_types(base).items() if attributes[name].vocabulary}
        counts |= {of: len(attributes[name].vocabulary) for name, of in value_types.items()}
        if known is not None:
            schema = known.schema
        else:
            edge_types = [edge_type for edge_type in view.edge_types if edge_type not in without]
            relations = _relations(view, edge_types, base, attributes, value_types) if is_relational else ()
            schema = Schema(tuple(counts), relations, value_types)
        starts = dict(zip(counts, np.cumsum([0, *counts.values()]).tolist(), strict=False))
        return cls(view, schema, counts, starts, item_type, attributes, scales, vectors)

    @property
    def num_nodes(self) -> int:
        """Number of nodes of all types."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class TrainingGraph:
    """Nodes, their interactions until a moment, and edges for message passing.

    Attributes:
        nodes: The nodes.
        interactions: Positive interactions, oldest first.
        strengths: float32 ``[num_interactions]``, weight of the edge between the user and the item of each interaction.
        ratings: Interactions whose value is a rating, positive or not.
        dislikes: What users dislike.
        passed_over: What users were shown beside what they chose.
        edges: Edges over the list of all nodes, with added-up and dampened weights (``graph.pair_weights``). Encoders
            that are not relational get one edge in each direction for each pair of user and item. Relational ones get
            one in each direction for each pair under each relation, with edges between nodes and attribute values.
    """

    nodes: Nodes
    interactions: Observed
    strengths: npt.NDArray[np.float32]
    ratings: Ratings
    dislikes: Dislikes
    passed_over: PassedOver
    edges: Edges

    @classmethod
    def build(
        cls,
        nodes: Nodes,
        interactions: Observed,
        half_life_days: float | None = None,
        *,
        before_ms: int | None = None,
        rated: Sequence[EdgeType] = (),
        disliked: Observed = NO_EVENTS,
        shown: Observed = NO_EVENTS,
    ) -> "TrainingGraph":
        """Build the edges from interactions, and from all edges of the view if the nodes have relations.

        Args:
            nodes: The nodes.
            interactions: Positive interactions, oldest first.
            half_life_days: How fast an edge fades with its age; None for never.
            before_ms: Ratings, dislikes, what was shown and the edges of the view are taken strictly before this time;
                None for all.
            rated: Types of edges whose value is a rating.
            disliked: Negative interactions, oldest first.
            shown: Interactions by which items were put before users, oldest first.
        """
        starts = nodes.starts
        newest_ms = int(interactions.timestamps_ms[-1]) if len(interactions) else (nodes.view.newest_ms or 0)
        edges, strengths = pair_edges(
            interactions, starts[USER], starts[nodes.item_type], nodes.num_nodes, newest_ms, half_life_days
        )
        if nodes.schema.relations:
            edges = typed_edges(
                nodes.view, nodes.schema, nodes.counts, nodes.attributes, newest_ms, half_life_days, before_ms
            )
        ratings = Ratings.of(nodes.view, rated, before_ms)
        dislikes = Dislikes.of(disliked, interactions, newest_ms, before_ms)
        passed_over = PassedOver.of(shown, interactions, before_ms)
        return cls(nodes, interactions, strengths, ratings, dislikes, passed_over, edges)

    @property
    def view(self) -> GraphView:
        """The live graph at the moment of the training."""
        return self.nodes.view

    @property
    def item_type(self) -> str:
        """The node type that is recommended to users."""
        return self.nodes.item_type

    @property
    def schema(self) -> Schema:
        """Types of nodes and relations."""
        return self.nodes.schema

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of nodes of each type."""
        return self.nodes.counts

    @property
    def starts(self) -> Mapping[str, int]:
        """Position of each type's first node in the list of all nodes."""
        return self.nodes.starts

    @property
    def num_users(self) -> int:
        """Number of user rows; user ``u`` is node ``u``."""
        return self.nodes.counts[USER]

    @property
    def num_items(self) -> int:
        """Number of item rows; item ``i`` is node ``item_start + i``."""
        return self.nodes.counts[self.nodes.item_type]

    @property
    def item_start(self) -> int:
        """Position of the first item in the list of all nodes."""
        return self.nodes.starts[self.nodes.item_type]

    def categories(self, node_type: str, attribute: str) -> tuple[npt.NDArray[np.int64], list[str]]:
        """Return the code of each node's (first) value, int64 ``[count]``, -1 where absent, and the values."""
        count = self.counts.get(node_type, 0)
        column = self.nodes.view.nodes(node_type).categories.get(attribute)
        if column is None:
            return np.full(count, -1, np.int64), []
        return column.first_codes()[:count].astype(np.int64), column.vocabulary.all_ids()

    def numbers(self, node_type: str, name: str) -> npt.NDArray[np.float32]:
        """Return each node's number of that name, float32 ``[count]``, NaN where absent."""
        count = self.counts.get(node_type, 0)
        column = self.nodes.view.nodes(node_type).number(name)
        return np.full(count, np.nan, np.float32) if column is None else column[:count].astype(np.float32)

    def to(self, device: str) -> "TrainingGraph":
        """Return the graph with its edges on a device."""
        return dataclasses.replace(self, edges=self.edges.to(device))


def _relations(
    view: GraphView,
    edge_types: Sequence[EdgeType],
    node_types: Sequence[str],
    attributes: Mapping[str, Attributes],
    value_types: Mapping[str, str],
) -> tuple[tuple[str, str, str], ...]:
    """Return both directions of every one of some edge types that has edges, and of every attribute."""
    forward = [
        edge_type
        for edge_type in edge_types
        if len(view.edges(edge_type)) and edge_type[0] in node_types and edge_type[2] in node_types
    ]
    forward += [
        (value_type, name, node_type)
        for node_type, value_type in value_types.items()
        for name in dict.fromkeys(attributes[node_type].names())
    ]
    both = [((source, name, target), (target, f"rev_{name}", source)) for source, name, target in forward]
    return tuple(relation for pair in both for relation in pair)


def slice_of(interactions: Observed, start: int, stop: int) -> Observed:
    """Return the interactions from position ``start`` up to, not including, ``stop``."""
    return select(interactions, slice(start, stop))


def select(interactions: Observed, which: slice | npt.NDArray[np.bool_]) -> Observed:
    """Return some interactions with their circumstances, by a slice or a mask ``[num_interactions]``."""
    return Observed(
        interactions.user_rows[which],
        interactions.item_rows[which],
        interactions.timestamps_ms[which],
        interactions.weights[which],
        {key: Circumstances(each.codes[which], each.values) for key, each in interactions.circumstances.items()},
    )
