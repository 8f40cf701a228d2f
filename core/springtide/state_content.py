"""What the answers of a state depend on, as digests that do not depend on the order in which events were read."""

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY, MS_PER_HOUR
from springtide.graph.circumstances import CircumstanceTable
from springtide.graph.edges import EdgeView
from springtide.graph.nodes import NodeTable
from springtide.graph.view import GraphView
from springtide.interactions import Moment
from springtide.state import LiveState

_MAX_VALUES = 3  # Values of each circumstance at which lifts are compared.


def state_content(state: LiveState) -> dict[str, str]:
    """Return a digest of each part of a state: two states that answer alike have the same ones.

    Rows are replaced by ids, and everything is sorted. Parts are the nodes with their attributes and lifetimes, the
    edges, the deletions that are remembered, the tallies of experiments, and what each context weight says of each
    living item at some moments. Left out is what depends on arrival and on no event: rows, versions, the position, and
    which events were duplicates.

    Args:
        state: The state; nobody may write to it meanwhile.

    Returns:
        SHA-256 digests by the name of the part, such as ``edges/user purchase item``.
    """
    state.settle()
    view = state.graph.view()
    parts: dict[str, list[bytes]] = {"newest_ms": [str(view.newest_ms).encode()]}
    for node_type in sorted(view.node_types):
        order = _living_in_order(view, node_type)
        if len(order):
            parts[f"nodes/{node_type}"] = _nodes(view.nodes(node_type), order)
    for edge_type in sorted(view.edge_types):
        edges = view.edges(edge_type)
        if len(edges):
            sources, targets = (_ranks(view, node_type) for node_type in (edge_type[0], edge_type[2]))
            parts["edges/" + " ".join(edge_type)] = _edges(edges, sources, targets, state.circumstances)
    parts["tombstones"] = [
        each.node_type.encode() + digest.tobytes() + deleted_ms.tobytes()
        for each in sorted(state.graph.tombstones.snapshot(), key=lambda each: each.node_type)
        for digest, deleted_ms in sorted(
            zip(each.digests, each.deleted_ms, strict=True), key=lambda pair: pair[0].tobytes()
        )
    ]
    parts["experiments"] = state.tallies.content()
    for name in sorted(state.context_weights):
        parts[f"context_weights/{name}"] = _lifts(state, view, name)
    return {name: hashlib.sha256(b"\0".join(content)).hexdigest() for name, content in parts.items()}


def _living_in_order(view: GraphView, node_type: str) -> npt.NDArray[np.int64]:
    """Return the rows that have an id, in the order of their ids, int64 ``[n]``."""
    ids = view.nodes(node_type).ids.all_ids()[: view.num_nodes(node_type)]
    rows = [row for row, id_ in enumerate(ids) if id_]
    return np.array(sorted(rows, key=ids.__getitem__), np.int64)


def _ranks(view: GraphView, node_type: str) -> npt.NDArray[np.int64]:
    """Return the place of each row among the living nodes in the order of their ids, int64 ``[num_nodes]``."""
    order = _living_in_order(view, node_type)
    ranks = np.full(view.num_nodes(node_type), -1, np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


def _nodes(table: NodeTable, order: npt.NDArray[np.int64]) -> list[bytes]:
    ids = table.ids.ids(order)
    lifetimes, attributes = table.lifetimes.snapshot(len(table)), table.snapshot()
    times = attributes.times
    born_ms = table.lifetimes.all_born_ms(len(table))
    content = [_json(ids), lifetimes.newest_ms[order].tobytes(), born_ms[order].tobytes()]
    for name, kind in sorted(attributes.kinds.items()):
        own: dict[int, int] = {}
        if name in times.own:
            own = dict(zip(*(column.tolist() for column in times.own[name]), strict=True))
        values = []
        value_of = _values_of(table, name)
        for row, id_ in zip(order.tolist(), ids, strict=True):
            value = value_of(row)
            if value is not None:
                values.append([id_, value, own.get(row, int(times.of_nodes[row]))])
        content.append(_json([name, kind, values]))
    return content


def _values_of(table: NodeTable, name: str) -> Callable[[int], Any]:
    """Return what gives the value that a node has of an attribute, or None."""
    column = table.categories.get(name)
    if column is not None:
        return lambda row: column.values(row) or None
    if table.kind(name) == "vector":
        return lambda row: table.vector(name, row)
    numbers = table.number(name)
    if numbers is None:
        return lambda row: table.text(name, row)
    return lambda row: None if np.isnan(numbers[row]) else float(numbers[row])


def _edges(
    edges: EdgeView,
    source_ranks: npt.NDArray[np.int64],
    target_ranks: npt.NDArray[np.int64],
    circumstances: CircumstanceTable,
) -> list[bytes]:
    columns: list[npt.NDArray[Any]] = [
        source_ranks[edges.source],
        target_ranks[edges.target],
        edges.timestamps_ms,
        edges.weights,
    ]
    features = edges.features
    values = np.full(len(edges), np.nan, np.float32) if features is None else features[:, 0]
    columns.append(np.nan_to_num(values, nan=-np.inf))
    used_values: list[list[str]] = []
    for key, codes in _codes(edges, circumstances):
        # The codes of values are in the order of arrival: they are replaced by their alphabetical places.
        of_key = circumstances.values(key)
        used = sorted(of_key[code] for code in np.unique(codes[codes >= 0]).tolist())
        place_of = {value: place for place, value in enumerate(used)}
        places = np.array([*(place_of.get(value, -1) for value in of_key), -1])
        columns.append(places[codes])
        used_values.append([key, *used])
    order = np.lexsort(columns[::-1])
    return [_json(used_values), *(column[order].tobytes() for column in columns)]


def _codes(edges: EdgeView, circumstances: CircumstanceTable) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    """Yield each circumstance that an edge has, in order, with the code of each edge, int64 ``[num_edges]``."""
    features = edges.features
    for key, index in sorted((key, index) for index, key in enumerate(circumstances.keys, start=1)):
        if features is not None and index < features.shape[1] and not np.isnan(features[:, index]).all():
            yield key, np.nan_to_num(features[:, index], nan=-1).astype(np.int64)


def _lifts(state: LiveState, view: GraphView, name: str) -> list[bytes]:
    weight, item_type = state.context_weights[name], state.rules.item_type
    order, num_items = _living_in_order(view, item_type), view.num_nodes(item_type)
    content = []
    for moment in _moments(view, state.circumstances):
        lifts = weight.item_log_lifts(moment, num_items)
        is_neutral = lifts is None or not lifts[:, order].any()
        content.append(b"neutral" if lifts is None or is_neutral else (lifts[:, order] + np.float32(0)).tobytes())
    return content


def _moments(view: GraphView, circumstances: CircumstanceTable) -> list[Moment]:
    """Return moments around the newest event, and there with each of some values that edges have."""
    newest_ms = view.newest_ms or 0
    offsets_ms = (-30 * MS_PER_DAY, -6 * MS_PER_HOUR, 0, MS_PER_HOUR, 10 * MS_PER_DAY)
    used: dict[str, set[str]] = {}
    for edge_type in view.edge_types:
        for key, codes in _codes(view.edges(edge_type), circumstances):
            of_key = circumstances.values(key)
            used.setdefault(key, set()).update(of_key[code] for code in np.unique(codes[codes >= 0]).tolist())
    attributes = [{key: value} for key in sorted(used) for value in sorted(used[key])[:_MAX_VALUES]]
    moments = [Moment(newest_ms + offset_ms) for offset_ms in offsets_ms]
    return moments + [Moment(newest_ms, attributes=each) for each in attributes]


def _json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
