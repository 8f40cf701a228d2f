"""A graph without the nodes that no longer live, for a training: its rows are numbered anew, in the same order."""

import uuid
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from springtide.graph.attribute_times import TimesSnapshot
from springtide.graph.categories import CategorySnapshot
from springtide.graph.late_attributes import AttributesSnapshot
from springtide.graph.lifetimes import LifetimesSnapshot
from springtide.graph.live import LiveGraph
from springtide.graph.row_entries import RowCodes, RowNumbers, RowTexts
from springtide.graph.view import GraphView

Rows = npt.NDArray[np.int32]


def living_rows(view: GraphView, node_type: str) -> npt.NDArray[np.bool_]:
    """Return which nodes have an id, and an edge or an attribute: bool ``[num_nodes]``."""
    table, num_nodes = view.nodes(node_type), view.num_nodes(node_type)
    lives = table.has_attributes()[:num_nodes]
    for edge_type in view.edge_types:
        edges = view.edges(edge_type)
        if edge_type[0] == node_type:
            lives |= edges.have_edges(num_nodes, is_source=True)
        if edge_type[2] == node_type:
            lives |= edges.have_edges(num_nodes, is_source=False)
    lives[table.ids.forgotten_rows(num_nodes)] = False
    return lives


def compacted(graph: LiveGraph) -> LiveGraph:
    """Return the graph without the nodes that have no id, or neither edges nor attributes; itself if all live.

    The new graph has no bounds and no tombstones: it is for reading.

    Args:
        graph: The graph; nobody may write to it meanwhile.
    """
    view = graph.view()
    lives = {node_type: living_rows(view, node_type) for node_type in view.node_types}
    if all(each.all() for each in lives.values()):
        return graph
    kept = {node_type: np.flatnonzero(each).astype(np.int32) for node_type, each in lives.items()}
    moved = {node_type: np.cumsum(each, dtype=np.int32) - np.int32(1) for node_type, each in lives.items()}
    smaller = LiveGraph(attribute_kinds=view.attribute_kinds)
    for node_type, rows in kept.items():
        old, new = view.nodes(node_type), smaller.nodes(node_type)
        new.restore(old.ids.ids(rows), uuid.uuid4().hex, _attributes_of(old.snapshot(), rows))
        new.lifetimes.restore(_lifetimes_of(old.lifetimes.snapshot(len(old)), rows, moved[node_type]))
    for edge_type in view.edge_types:
        edges = view.edges(edge_type)
        store = smaller.store(edge_type)
        if len(edges):
            source, target = moved[edge_type[0]][edges.source], moved[edge_type[2]][edges.target]
            store.append(source, target, edges.timestamps_ms, edges.weights, edges.features)
    smaller.restore(view.version, view.newest_ms, graph.num_forgotten)
    return smaller


def _attributes_of(attributes: AttributesSnapshot, rows: Rows) -> AttributesSnapshot:
    """Return the attributes of some nodes, without the category values that none of them has."""
    position = {row: number for number, row in enumerate(rows.tolist())}
    times = attributes.times
    own = {}
    for name, (own_rows, own_ms) in times.own.items():
        is_kept = np.isin(own_rows, rows)
        own[name] = (np.searchsorted(rows, own_rows[is_kept]).astype(np.int32), own_ms[is_kept])
    return AttributesSnapshot(
        f"{uuid.uuid4().hex}:0",
        attributes.kinds,
        {name: _category_of(column, rows, position) for name, column in attributes.categories.items()},
        {name: numbers.taken(rows) for name, numbers in attributes.numbers.items()},
        {name: _texts_of(texts, position) for name, texts in attributes.texts.items()},
        TimesSnapshot(times.of_nodes[rows], own),
        {name: vectors.taken(rows) for name, vectors in attributes.vectors.items()},
    )


def _texts_of(texts: RowTexts, position: Mapping[int, int]) -> RowTexts:
    kept = {position[row]: text for row, text in texts.as_dict().items() if row in position}
    return RowTexts.of(list(kept), kept.values())


def _category_of(column: CategorySnapshot, rows: Rows, position: dict[int, int]) -> CategorySnapshot:
    first = column.first.taken(rows)
    codes_of = first.numbers
    more = {position[row]: codes for row, codes in column.more.as_dict().items() if row in position}
    is_used = np.zeros(len(column.vocabulary), np.bool_)
    is_used[codes_of[codes_of >= 0]] = True
    for codes in more.values():
        is_used[list(codes)] = True
    new_code = np.cumsum(is_used, dtype=np.int32) - np.int32(1)
    if len(new_code):
        first = RowNumbers(first.rows, np.where(codes_of >= 0, new_code[np.maximum(codes_of, 0)], codes_of))
    return CategorySnapshot(
        [column.vocabulary[code] for code in np.flatnonzero(is_used).tolist()],
        first,
        RowCodes.of_dict({row: new_code[list(codes)].tolist() for row, codes in more.items()}),
    )


def _lifetimes_of(lifetimes: LifetimesSnapshot, rows: Rows, moved: npt.NDArray[np.int32]) -> LifetimesSnapshot:
    is_kept = np.isin(lifetimes.born_rows, rows)
    born_rows, born_ms = moved[lifetimes.born_rows[is_kept]], lifetimes.born_ms[is_kept]
    first_ms = None if lifetimes.first_ms is None else lifetimes.first_ms[rows]
    return LifetimesSnapshot(lifetimes.newest_ms[rows], born_rows, born_ms, first_ms)
