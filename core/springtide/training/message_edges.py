"""Edges for message passing, from timestamped events: events of one pair add up, and old ones count less."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from springtide.graph.edges import EdgeType
from springtide.graph.pair_weights import add_up, pair_weight
from springtide.graph.view import GraphView
from springtide.interactions import Observed
from springtide.model.attributes import Attributes
from springtide.plugins.contracts import Edges, Schema

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ratings:
    """Interactions that carry a value, such as stars.

    Attributes:
        user_rows: int64 ``[num_ratings]``.
        item_rows: int64 ``[num_ratings]``.
        ratings: float32 ``[num_ratings]``, the values, scaled to -1 (lowest in the data) to 1 (highest).
    """

    user_rows: Int64s
    item_rows: Int64s
    ratings: npt.NDArray[np.float32]

    @classmethod
    def none(cls) -> "Ratings":
        """Return no ratings."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))

    @classmethod
    def of(cls, view: GraphView, edge_types: Sequence[EdgeType], before_ms: int | None) -> "Ratings":
        """Read the values of some edge types; no ratings if all values are equal, since those have no scale.

        Args:
            view: The graph.
            edge_types: Types of edges whose value is a rating.
            before_ms: Ratings strictly before this time are read; None for all.
        """
        users, items, values = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
        for edges in map(view.edges, edge_types):
            if edges.features is None:
                continue
            value = edges.features[:, 0]
            chosen = np.isfinite(value) & _is_before(edges.timestamps_ms, before_ms)
            users.append(edges.source[chosen].astype(np.int64))
            items.append(edges.target[chosen].astype(np.int64))
            values.append(value[chosen])
        all_values = np.concatenate(values)
        low, high = (float(all_values.min()), float(all_values.max())) if len(all_values) else (0.0, 0.0)
        if low == high:
            return cls.none()
        scaled = (2.0 * (all_values - low) / (high - low) - 1.0).astype(np.float32)
        return cls(np.concatenate(users), np.concatenate(items), scaled)


def pair_edges(
    interactions: Observed,
    user_start: int,
    item_start: int,
    num_nodes: int,
    newest_ms: int,
    half_life_days: float | None,
) -> tuple[Edges, npt.NDArray[np.float32]]:
    """Add up interactions to one edge for each pair of nodes, in both directions.

    Args:
        interactions: Positive interactions, oldest first.
        user_start: Node of user row 0.
        item_start: Node of item row 0. In a graph of users alone it is that of users: the two directions of a pair add
            up to one edge then, and edges from a user to themselves are left out.
        num_nodes: Number of nodes of all types.
        newest_ms: Time that ages are counted from.
        half_life_days: How fast an edge fades with its age; None for never.

    Returns:
        The edges, and float32 ``[num_interactions]``, the weight of the edge that each interaction adds up to.
    """
    one = interactions.user_rows.astype(np.int64) + user_start
    other = interactions.item_rows.astype(np.int64) + item_start
    if user_start == item_start:
        one, other = np.minimum(one, other), np.maximum(one, other)
    keys, inverse, weight, last_age_days = add_up(
        one * num_nodes + other, interactions.timestamps_ms, interactions.weights, newest_ms, half_life_days
    )
    strengths = weight[inverse].astype(np.float32)
    one, other = keys // num_nodes, keys % num_nodes
    differ = one != other
    one, other, weight, last_age_days = one[differ], other[differ], weight[differ], last_age_days[differ]
    edges = _edges(
        np.concatenate([other, one]),
        np.concatenate([one, other]),
        np.concatenate([weight, weight]),
        np.concatenate([last_age_days, last_age_days]),
        num_nodes,
    )
    return edges, strengths


def typed_edges(
    view: GraphView,
    schema: Schema,
    counts: Mapping[str, int],
    attributes: Mapping[str, Attributes],
    newest_ms: int,
    half_life_days: float | None,
    before_ms: int | None,
) -> Edges:
    """Add up the edges of all relations to one edge for each pair of nodes under each relation.

    Args:
        view: The graph.
        schema: Node types in the order of the nodes; relations in pairs, forward and back.
        counts: Number of nodes of each type.
        attributes: Attributes by node type; the edges from values to nodes have age 0.
        newest_ms: Time that ages are counted from.
        half_life_days: How fast an edge fades with its age; None for never.
        before_ms: Edges strictly before this time are taken; None for all.
    """
    sizes = [counts[node_type] for node_type in schema.node_types]
    starts = dict(zip(schema.node_types, np.cumsum([0, *sizes]).tolist(), strict=False))
    columns: list[tuple[Int64s, Int64s, Float64s, Float64s, Int64s]] = []
    for forward in range(0, len(schema.relations), 2):
        source_type, name, target_type = schema.relations[forward]
        if source_type == schema.value_types.get(target_type):
            source, target, weight, age_days = _attribute_links(attributes[target_type], name)
        else:
            source, target, weight, age_days = _links(
                view, (source_type, name, target_type), counts, newest_ms, half_life_days, before_ms
            )
        source, target = source + starts[source_type], target + starts[target_type]
        for code, ends in ((forward, (source, target)), (forward + 1, (target, source))):
            columns.append((*ends, weight, age_days, np.full(len(source), code, np.int64)))
    source, target, weight, age_days, relation = (
        np.concatenate([column[position] for column in columns]) for position in range(5)
    )
    node_type = np.repeat(np.arange(len(sizes)), sizes)
    return _edges(source, target, weight, age_days, sum(sizes), relation, node_type)


def _links(
    view: GraphView,
    edge_type: tuple[str, str, str],
    counts: Mapping[str, int],
    newest_ms: int,
    half_life_days: float | None,
    before_ms: int | None,
) -> tuple[Int64s, Int64s, Float64s, Float64s]:
    """Return source rows, target rows, weights and ages in days of the pairs under one edge type."""
    edges = view.edges(edge_type)
    chosen = np.flatnonzero(_is_before(edges.timestamps_ms, before_ms))
    num_targets = counts[edge_type[2]]
    keys = edges.source[chosen].astype(np.int64) * num_targets + edges.target[chosen]
    pairs, _, weight, last_age_days = add_up(
        keys, edges.timestamps_ms[chosen], edges.weights[chosen], newest_ms, half_life_days
    )
    return pairs // max(num_targets, 1), pairs % max(num_targets, 1), weight, last_age_days


def _attribute_links(attributes: Attributes, name: str) -> tuple[Int64s, Int64s, Float64s, Float64s]:
    """Return value codes, node rows, weights and ages in days of the edges from the values of one attribute."""
    has_name = np.array([each == name for each in attributes.names()], bool)
    chosen = has_name[attributes.codes] if len(attributes.codes) else np.zeros(0, bool)
    codes, rows = attributes.codes[chosen], attributes.node_rows[chosen]
    return codes, rows, pair_weight(np.ones(len(codes))), np.zeros(len(codes))


def _edges(
    source: Int64s,
    target: Int64s,
    weight: Float64s,
    age_days: Float64s,
    num_nodes: int,
    relation: Int64s | None = None,
    node_type: Int64s | None = None,
) -> Edges:
    """Return the edges sorted by target, and oldest first within a target."""
    order = np.lexsort((-age_days, target))
    degree = torch.from_numpy(np.bincount(target, weight, minlength=num_nodes).astype(np.float32))
    types = None if node_type is None else torch.from_numpy(node_type)
    return Edges(
        source=torch.from_numpy(source[order]),
        target=torch.from_numpy(target[order]),
        weight=torch.from_numpy(weight[order].astype(np.float32)),
        age_days=torch.from_numpy(age_days[order].astype(np.float32)),
        source_degree=degree,
        target_degree=degree,
        relation=None if relation is None else torch.from_numpy(relation[order]),
        source_type=types,
        target_type=types,
    )


def _is_before(timestamps_ms: npt.NDArray[np.int64], before_ms: int | None) -> npt.NDArray[np.bool_]:
    return np.ones(len(timestamps_ms), bool) if before_ms is None else timestamps_ms < before_ms
