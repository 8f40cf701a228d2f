"""The neighbours of a node right now, for the encoder to fold the node in: the links that a training would see."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.graph.applying import USER
from springtide.graph.edges import EdgeType
from springtide.graph.pair_weights import add_up, pair_weight
from springtide.graph.view import GraphView
from springtide.plugins.contracts import Schema
from springtide.ranking.never_met import targets_without
from springtide.settings.interaction_rules import InteractionRules

Array = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

LevelsOf = Callable[[str, Int64s], tuple[Array, Array, npt.NDArray[np.bool_]]]
"""From a node type and live rows, int64 ``[n]``, to what a model has of the nodes that it knows.

Levels are float32 ``[num_layers, num_known, d]``, degrees float32 ``[num_known]``. The last array says which nodes the
model knows."""


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Edges from known neighbours to nodes that are to be folded in; the edges of one node oldest first.

    Attributes:
        target: int64 ``[num_edges]``, ascending, positions of the nodes.
        weight: float32 ``[num_edges]``, as in training (``graph.pair_weights.pair_weight``).
        age_days: float32 ``[num_edges]``.
        levels: float32 ``[num_layers, num_edges, d]``, levels of the neighbours.
        degree: float32 ``[num_edges]``, degrees of the neighbours.
        relation: int64 ``[num_edges]``; None for an encoder that is not relational.
        source_type: int64 ``[num_edges]``, node types of the neighbours; or None.
        source: int64 ``[num_edges]``, live rows of the neighbours; codes, if they are attribute values.
        source_kind: int64 ``[num_edges]``, node types of the neighbours, whether the encoder is relational or not.
    """

    target: Int64s
    weight: Array
    age_days: Array
    levels: Array
    degree: Array
    relation: Int64s | None
    source_type: Int64s | None
    source: Int64s
    source_kind: Int64s

    def without_items(self, rows: npt.NDArray[np.int32], schema: Schema, item_type: str) -> "Neighbourhood":
        """Return the edges from all nodes but some items, int32 ``[n]``."""
        is_item = self.source_kind == schema.node_types.index(item_type)
        return self.where(~(is_item & np.isin(self.source, rows)))

    def where(self, is_kept: npt.NDArray[np.bool_]) -> "Neighbourhood":
        """Return the edges where ``is_kept``, bool ``[num_edges]``."""
        return Neighbourhood(
            self.target[is_kept],
            self.weight[is_kept],
            self.age_days[is_kept],
            np.compress(is_kept, self.levels, axis=1),
            self.degree[is_kept],
            None if self.relation is None else self.relation[is_kept],
            None if self.source_type is None else self.source_type[is_kept],
            self.source[is_kept],
            self.source_kind[is_kept],
        )


@dataclass(frozen=True, slots=True)
class Link:
    """One way in which neighbours are linked to a node.

    Attributes:
        edge_type: Edge type of the graph.
        is_outgoing: Whether the node is the source of such edges.
        relation: Position in the schema's relations; 0 for all of them if the encoder is not relational.
    """

    edge_type: EdgeType
    is_outgoing: bool
    relation: int

    @property
    def neighbour_type(self) -> str:
        """Node type of the neighbours."""
        return self.edge_type[2] if self.is_outgoing else self.edge_type[0]


@dataclass(frozen=True, slots=True)
class RecentItems:
    """Items just touched, not edges of the graph: rows, int32 ``[n]``, and the moment."""

    item_rows: npt.NDArray[np.int32]
    now_ms: int


@dataclass(frozen=True, slots=True)
class Values:
    """Attribute values of nodes: positions of the nodes, ascending, and codes, int64 ``[num_values]`` each."""

    target: Int64s
    codes: Int64s


def links_to(node_type: str, schema: Schema, rules: InteractionRules) -> list[Link]:
    """Return how neighbours are linked to nodes of a type, for a model of this schema."""
    if schema.relations:
        return [
            # Relations come in pairs, forward and reverse: the reverse ones lead to a node by the edges that leave it.
            Link(schema.relations[code - code % 2], bool(code % 2), code)
            for code, (source_type, _, target_type) in enumerate(schema.relations)
            if target_type == node_type and not schema.is_value_type(source_type)
        ]
    edge_types = [rules.edge_type(relation) for relation in rules.positive_relations]
    links = [Link(edge_type, True, 0) for edge_type in edge_types if node_type == USER]
    return links + [Link(edge_type, False, 0) for edge_type in edge_types if node_type == rules.item_type]


class NeighbourhoodGatherer:
    """Gathers the neighbourhoods of nodes of one type, for one model.

    Args:
        node_type: The type of the nodes.
        schema: The model's schema.
        rules: Which edges are interactions.
        value_names: The attribute of each value of the type the model knows; not read if the schema has no type for
            these values.
        limit: Latest edges of a node that are looked at, for each kind of link.
        half_life_days: How fast edges fade, as in training.
    """

    def __init__(
        self,
        node_type: str,
        schema: Schema,
        rules: InteractionRules,
        value_names: Sequence[str],
        limit: int,
        half_life_days: float | None,
    ) -> None:
        self._links = links_to(node_type, schema, rules)
        positive = {rules.edge_type(relation) for relation in rules.positive_relations}
        liked = (link for link in self._links if link.is_outgoing and link.edge_type in positive)
        self._touching = next(liked, None)  # Items just touched count as such a link.
        self._item_type = rules.item_type
        self._schema = schema
        self._limit = limit
        self._half_life_days = half_life_days
        self._value_type = schema.value_types.get(node_type)
        self._value_relations = np.zeros(0, np.int64)
        if self._value_type is not None:
            relations = enumerate(schema.relations)
            code_of = {name: code for code, (source, name, _) in relations if source == self._value_type}
            self._value_relations = np.array([code_of.get(name, -1) for name in value_names], np.int64)

    def has_all(self, view: GraphView, row: int) -> bool:
        """Return whether what links a node to items is its own events, and all of them are looked at.

        Then without some items it has the neighbourhood that it has now, without these.
        """
        at = np.array([row], np.int64)
        links = [link for link in self._links if link.neighbour_type == self._item_type]
        return row < 0 or all(
            link.is_outgoing and view.edges(link.edge_type).degrees(at, is_source=True)[0] <= self._limit
            for link in links
        )

    def gather(
        self,
        view: GraphView,
        rows: npt.NDArray[np.int32],
        levels_of: LevelsOf,
        values: Values,
        touched: RecentItems | None = None,
        removed: npt.NDArray[np.int32] | None = None,
    ) -> Neighbourhood:
        """Return the neighbourhoods of some nodes.

        Args:
            view: The graph.
            rows: int32 ``[n]``, the nodes; -1 for a node that the graph does not have.
            levels_of: Gives what the model has of the neighbours.
            values: Attribute values of the nodes, which are neighbours for a relational encoder.
            touched: Items that the first node has just touched.
            removed: int32 ``[m]``, items: if there is but one node, its edges to them are taken not to be there.
        """
        newest_ms = view.newest_ms if view.newest_ms is not None else 0
        found: dict[tuple[str, int], list[_Events]] = {}
        for link in self._links:
            gone = removed if link.neighbour_type == self._item_type else None
            events = _events_of(view, link, rows, self._limit, gone)
            found.setdefault((link.neighbour_type, link.relation), []).append(events)
        if touched is not None and len(touched.item_rows) and self._touching is not None:
            key = (self._touching.neighbour_type, self._touching.relation)
            found[key].append(_events_of_touched(touched))
        parts: list[_Part] = []
        for (node_type, relation), of_links in found.items():
            some = [each for each in of_links if len(each.target)]
            if not some and (parts or (node_type, relation) != next(reversed(found))):
                continue  # Most links of most nodes have none; one part must be there.
            target, source, weight, age_days = _pairs(some or of_links[:1], newest_ms, self._half_life_days)
            relations = np.full(len(target), relation)
            parts.append(self._known_part(node_type, relations, target, source, weight, age_days, levels_of))
        if self._value_type is not None:
            relations = self._value_relations[values.codes]
            known = relations >= 0
            one = pair_weight(np.ones(int(known.sum())))
            parts.append(
                self._known_part(
                    self._value_type,
                    relations[known],
                    values.target[known],
                    values.codes[known],
                    one,
                    np.zeros(len(one)),
                    levels_of,
                )
            )
        return self._joined(parts)

    def _known_part(
        self,
        node_type: str,
        relation: Int64s,
        target: Int64s,
        source: Int64s,
        weight: Float64s,
        age_days: Float64s,
        levels_of: LevelsOf,
    ) -> "_Part":
        levels, degree, is_known = levels_of(node_type, source)
        source_type = self._schema.node_types.index(node_type)
        return _Part(
            target[is_known],
            weight[is_known],
            age_days[is_known],
            levels,
            degree,
            relation[is_known],
            np.full(int(is_known.sum()), source_type),
            source[is_known],
        )

    def _joined(self, parts: Sequence["_Part"]) -> Neighbourhood:
        target, weight, age_days, relation, source_type, source = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("target", "weight", "age_days", "relation", "source_type", "source")
        )
        order = np.lexsort((-age_days, target))
        is_relational = bool(self._schema.relations)
        return Neighbourhood(
            target[order],
            weight[order].astype(np.float32),
            age_days[order].astype(np.float32),
            np.take(np.concatenate([part.levels for part in parts], axis=1), order, axis=1),
            np.concatenate([part.degree for part in parts])[order],
            relation[order] if is_relational else None,
            source_type[order] if is_relational else None,
            source[order],
            source_type[order],
        )


@dataclass(frozen=True, slots=True)
class _Events:
    """Single edges: positions of the nodes, rows of the neighbours, times, weights, all of one length."""

    target: Int64s
    source: Int64s
    timestamps_ms: Int64s
    weights: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Part:
    """The edges from known neighbours of one type; see ``Neighbourhood``."""

    target: Int64s
    weight: Float64s
    age_days: Float64s
    levels: Array
    degree: Array
    relation: Int64s
    source_type: Int64s
    source: Int64s


def _events_of(
    view: GraphView,
    link: Link,
    rows: npt.NDArray[np.int32],
    limit: int,
    removed: npt.NDArray[np.int32] | None,
) -> _Events:
    edges = view.edges(link.edge_type)
    if len(rows) == 1:  # One node needs no table as wide as the limit.
        row = int(rows[0])
        found = targets_without(edges, row, limit, removed) if link.is_outgoing else edges.all_sources(row, limit)
        return _Events(np.zeros(len(found), np.int64), found.rows.astype(np.int64), found.timestamps_ms, found.weights)
    recent = edges.recent_targets(rows, limit) if link.is_outgoing else edges.recent_sources(rows, limit)
    position, column = np.nonzero(recent.rows >= 0)
    return _Events(
        position,
        recent.rows[position, column].astype(np.int64),
        recent.timestamps_ms[position, column],
        recent.weights[position, column],
    )


def _events_of_touched(touched: RecentItems) -> _Events:
    count = len(touched.item_rows)
    return _Events(
        np.zeros(count, np.int64),
        touched.item_rows.astype(np.int64),
        np.full(count, touched.now_ms, np.int64),
        np.ones(count, np.float32),
    )


def _pairs(
    events: Sequence[_Events], newest_ms: int, half_life_days: float | None
) -> tuple[Int64s, Int64s, Float64s, Float64s]:
    """Add up events to one edge for each pair of node and neighbour; see ``pair_weights.add_up``."""
    target, source, times, weights = (
        np.concatenate([getattr(part, name) for part in events])
        for name in ("target", "source", "timestamps_ms", "weights")
    )
    keys, _, weight, last_age_days = add_up(target << 32 | source, times, weights, newest_ms, half_life_days)
    return keys >> 32, keys & 0xFFFFFFFF, weight, last_age_days
