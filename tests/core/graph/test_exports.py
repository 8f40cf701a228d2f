import networkx as nx
import numpy as np
import pytest
import torch
from torch_geometric.nn import GCNConv

from springtide.errors import InvalidRequestError
from springtide.events.model import NodeDelete, NodeUpsert
from springtide.graph import LiveGraph
from springtide.graph.exports import to_networkx, to_pyg, to_pyg_homogeneous

BUYS = ("user", "buys", "item")


@pytest.fixture
def graph() -> LiveGraph:
    graph = LiveGraph()
    graph.nodes("user").ids.intern(["ann", "bob"])
    graph.upsert(NodeUpsert("item", "x", {"tag": ("red", "new")}, {"price": 2.0}))
    graph.upsert(NodeUpsert("item", "y"))
    graph.append(BUYS, [0, 1, 0], [0, 0, 1], [10, 20, 30], [1.0, 2.0, 3.0], features=[[5.0], [6.0], [7.0]])
    graph.append(("user", "follows", "user"), [0, 1], [1, 1], [5, 6], 1.0)
    return graph


def test_hetero_data_has_nodes_edges_and_attributes(graph):
    data = to_pyg(graph.view())
    data.validate()
    assert (data["user"].num_nodes, data["item"].num_nodes) == (2, 2)
    assert data["item"].category_tag.tolist() == [0, -1]
    assert data["item"].number_price[0] == 2.0
    assert data[BUYS].edge_index.tolist() == [[0, 1, 0], [0, 0, 1]]
    assert (data[BUYS].edge_index.dtype, data[BUYS].time.dtype) == (torch.int64, torch.int64)
    assert data[BUYS].time.tolist() == [10, 20, 30]
    assert data[BUYS].weight.tolist() == [1.0, 2.0, 3.0]
    assert data[BUYS].edge_attr.tolist() == [[5.0], [6.0], [7.0]]
    assert "edge_attr" not in data["user", "follows", "user"]


def test_hetero_data_is_of_the_view_and_a_copy(graph):
    view = graph.view()
    graph.append(BUYS, [0], graph.nodes("item").ids.intern(["z"]), [40], 1.0, features=[[1.0]])
    data = to_pyg(view)
    assert (data["item"].num_nodes, len(data["item"].number_price), data[BUYS].num_edges) == (2, 2, 3)
    data[BUYS].time.zero_()
    assert view.edges(BUYS).timestamps_ms.tolist() == [10, 20, 30]


def test_homogeneous_data_puts_the_types_in_a_row(graph):
    data = to_pyg_homogeneous(graph.view())
    data.validate()
    items, users = data.node_types.index("item"), data.node_types.index("user")
    assert data.num_nodes == 4
    assert data.node_type.tolist() == sorted([items, items, users, users])
    start = {"user": data.node_type.tolist().index(users), "item": data.node_type.tolist().index(items)}
    of_buys = data.edge_type == data.edge_types.index(BUYS)
    assert (data.edge_index[0, of_buys] - start["user"]).tolist() == [0, 1, 0]
    assert (data.edge_index[1, of_buys] - start["item"]).tolist() == [0, 0, 1]
    assert data.time[of_buys].tolist() == [10, 20, 30]
    assert GCNConv(3, 2)(torch.ones(4, 3), data.edge_index, data.weight).shape == (4, 2)


def test_graph_of_one_type_is_homogeneous_as_it_is():
    graph = LiveGraph()
    rows = graph.nodes("user").ids.intern(["a", "b", "c"])
    graph.append(("user", "follows", "user"), rows[:2], rows[1:], [1, 2], 1.0)
    data = to_pyg_homogeneous(graph.view())
    assert data.edge_index.tolist() == [[0, 1], [1, 2]]
    assert data.num_nodes == 3


def test_empty_graph_is_exported():
    view = LiveGraph().view()
    assert to_pyg(view).node_types == []
    data = to_pyg_homogeneous(view)
    assert (data.num_nodes, data.edge_index.shape, data.weight.dtype) == (0, (2, 0), torch.float32)


def test_surroundings_have_every_edge_once(graph):
    found = to_networkx(graph.view(), "user", "ann", hops=2)
    assert isinstance(found, nx.MultiDiGraph)
    assert set(found) == {("user", "ann"), ("user", "bob"), ("item", "x"), ("item", "y")}
    listed = sorted(
        (source[1], edge["relation"], target[1], edge["timestamp_ms"])
        for source, target, edge in found.edges(data=True)
    )
    assert listed == [
        ("ann", "buys", "x", 10),
        ("ann", "buys", "y", 30),
        ("ann", "follows", "bob", 5),
        ("bob", "buys", "x", 20),
        ("bob", "follows", "bob", 6),
    ]


def test_surroundings_end_after_the_hops_and_at_the_limit(graph):
    view = graph.view()
    assert set(to_networkx(view, "item", "y")) == {("item", "y"), ("user", "ann")}
    assert set(to_networkx(view, "item", "y", hops=0)) == {("item", "y")}
    newest_only = to_networkx(view, "user", "ann", max_neighbours=1)
    assert [edge["timestamp_ms"] for *_, edge in newest_only.edges(data=True) if edge["relation"] == "buys"] == [30]


def test_repeated_edges_stay_apart():
    graph = LiveGraph()
    graph.nodes("user").ids.intern(["a"])
    graph.nodes("item").ids.intern(["x"])
    graph.append(BUYS, np.zeros(3, np.int32), np.zeros(3, np.int32), [1, 1, 2], 1.0)
    assert to_networkx(graph.view(), "user", "a", hops=3).number_of_edges() == 3


def test_surroundings_of_an_unknown_node_are_refused(graph):
    with pytest.raises(InvalidRequestError, match="no user 'eve' in the graph"):
        to_networkx(graph.view(), "user", "eve")


def test_deleted_nodes_are_in_no_export_before_their_edges_are_swept(graph):
    graph.append(BUYS, [1] * 40, [1] * 40, range(100, 140), 1.0)
    graph.delete([NodeDelete("item", "x", 60)])
    view = graph.view()
    assert graph.store(BUYS).num_dead == 2, "marked, and still in the arrays"
    for data in (to_pyg(view)[BUYS], to_pyg_homogeneous(view)):
        assert 10 not in data.time.tolist()
        assert len(data.time) == data.edge_index.shape[1] == len(data.weight)
    assert to_pyg(view)[BUYS].edge_attr.shape == (41, 1)
    around = to_networkx(view, "user", "ann")
    assert ("item", "x") not in around
    assert ("item", "y") in around
