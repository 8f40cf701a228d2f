"""A graph without what no longer lives: the same nodes, edges and attributes under other rows."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from springtide.events.model import NodeDelete, NodeUpsert
from springtide.graph import LiveGraph
from springtide.graph.applying import enter
from springtide.graph.compacting import compacted, living_rows

BUYS, IN = ("user", "buys", "item"), ("item", "in", "shop")
NAMES = [f"n{number}" for number in range(6)]
names = st.sampled_from(NAMES)
steps = st.one_of(
    st.tuples(st.just("edge"), st.sampled_from([BUYS, IN]), names, names, st.integers(0, 50)),
    st.tuples(st.just("upsert"), st.sampled_from(["user", "item"]), names, st.sampled_from(["x", "y", ""])),
    st.tuples(st.just("delete"), st.sampled_from(["user", "item", "shop"]), names, st.integers(0, 50)),
)


def graph_of(events) -> LiveGraph:
    graph = LiveGraph(max_age_ms=40)
    for at_ms, event in enumerate(events):
        if event[0] == "edge":
            _, edge_type, source, target, time_ms = event
            rows = [
                enter(graph, node_type, [name], np.zeros(1, np.int32), np.array([time_ms]))
                for node_type, name in ((edge_type[0], source), (edge_type[2], target))
            ]
            if min(int(row[0]) for row in rows) >= 0:
                graph.append(edge_type, *rows, [time_ms], 1.0, [[float(time_ms)]])
        elif event[0] == "upsert":
            _, node_type, name, value = event
            values = {"tag": tuple(filter(None, [value, f"only-{name}"]))} if value else {"tag": ()}
            graph.upsert(NodeUpsert(node_type, name, values, {"n": 1.5} if value == "y" else {}, {}, 100 + at_ms))
        else:
            _, node_type, name, time_ms = event
            graph.delete([NodeDelete(node_type, name, time_ms)])
    return graph


def content(graph: LiveGraph):
    view = graph.view()
    ids = {node_type: view.nodes(node_type).ids for node_type in view.node_types}
    edges = {}
    for edge_type in view.edge_types:
        its = view.edges(edge_type)
        columns = (
            ids[edge_type[0]].ids(its.source),
            ids[edge_type[2]].ids(its.target),
            its.timestamps_ms.tolist(),
            its.weights.tolist(),
            [] if its.features is None else its.features[:, 0].tolist(),
        )
        edges[edge_type] = list(zip(*columns, strict=True)) if len(its) else []
    nodes = {}
    for node_type in view.node_types:
        table = view.nodes(node_type)
        for row in np.flatnonzero(living_rows(view, node_type)).tolist():
            nodes[node_type, table.ids.id(row)] = (
                table.category_values(row),
                table.number_values(row),
                table.lifetimes.newest_ms(row),
                table.lifetimes.born_ms(row),
                int(table.lifetimes.all_first_ms(row + 1)[row]),
            )
    return edges, nodes


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=30))
def test_compacted_graph_has_all_that_lives_and_nothing_else(events):
    graph = graph_of(events)
    smaller = compacted(graph)
    assert content(smaller) == content(graph)
    for node_type in smaller.node_types:
        table = smaller.nodes(node_type)
        assert table.num_living == len(table)
        assert living_rows(smaller.view(), node_type).all()
        order = graph.nodes(node_type).ids.rows(table.ids.all_ids()).tolist()
        assert order == sorted(order), "the order of the rows stays"
        for column in table.categories.values() if smaller is not graph else ():
            assert set(column.vocabulary.ids(column.pairs()[1])) == set(column.vocabulary.all_ids())
    assert compacted(smaller) is smaller
