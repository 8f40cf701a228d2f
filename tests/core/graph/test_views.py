"""A view is made once for each change of the graph, and shows nothing that came after it was taken."""

import numpy as np

from springtide.graph.applying import ITEM, USER
from springtide.graph.live import LiveGraph

PURCHASES = (USER, "purchase", ITEM)


def buy(graph: LiveGraph, user: str, item: str, timestamp_ms: int) -> None:
    with graph.one_change():
        rows = [[graph.nodes(kind).ids.intern([name])[0]] for kind, name in ((USER, user), (ITEM, item))]
        graph.append(PURCHASES, rows[0], rows[1], [timestamp_ms], 1.0)


def test_view_is_the_same_until_the_graph_changes() -> None:
    graph = LiveGraph()
    buy(graph, "u1", "a", 1)
    view = graph.view()
    assert graph.view() is view

    buy(graph, "u1", "b", 2)

    later = graph.view()
    assert later is not view
    assert (view.num_edges, view.num_nodes(ITEM), view.newest_ms) == (1, 1, 1)
    assert (later.num_edges, later.num_nodes(ITEM), later.newest_ms) == (2, 2, 2)
    assert graph.view() is later


def test_view_counts_nodes_that_came_without_an_edge() -> None:
    graph = LiveGraph()
    buy(graph, "u1", "a", 1)
    assert graph.view().num_nodes(ITEM) == 1

    graph.nodes(ITEM).ids.intern(["b"])

    assert graph.view().num_nodes(ITEM) == 2
    graph.nodes("brand")
    assert graph.view().node_types == (USER, ITEM, "brand")


def test_view_is_another_once_edges_are_dropped() -> None:
    graph = LiveGraph()
    for number in range(4):
        buy(graph, "u1", f"i{number}", number)
    view = graph.view()

    graph.max_edges = 2
    buy(graph, "u1", "a", 9)

    assert graph.view() is not view
    assert np.array_equal(graph.view().edges(PURCHASES).timestamps_ms, [3, 9])
    assert len(view.edges(PURCHASES)) == 4
