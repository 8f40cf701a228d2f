"""The built-in encoders are what their papers say: checked against PyG's own."""

import pytest
import torch
from torch_geometric.nn import LGConv, MaxAggregation, MeanAggregation, SAGEConv, SumAggregation

from springtide.plugins.edges import Edges
from springtide_plugins.encoders.graphsage import GraphSAGE
from springtide_plugins.encoders.lightgcn import LightGCN

NUM_NODES, WIDTH, NUM_LAYERS = 6, 4, 3
# An undirected path with a triangle at its end, both directions of each edge; node 5 is alone.
PAIRS = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 2)]


@pytest.fixture
def edge_index():
    forth = torch.tensor(PAIRS).T
    return torch.cat([forth, forth.flip(0)], dim=1)


@pytest.fixture
def edges(edge_index):
    order = torch.argsort(edge_index[1], stable=True)
    source, target = edge_index[:, order]
    degree = torch.bincount(target, minlength=NUM_NODES).float()
    ones = torch.ones(len(source))
    return Edges(source, target, ones, torch.zeros(len(source)), degree, degree)


@pytest.fixture
def inputs():
    return torch.randn(NUM_NODES, WIDTH, generator=torch.Generator().manual_seed(0))


def levels_of(encoder, inputs, edges):
    levels = [inputs]
    for depth in range(NUM_LAYERS):
        levels.append(encoder.layer(depth, levels[-1], levels[-1], edges))
    return levels


def test_lightgcn_equals_pyg(inputs, edges, edge_index):
    encoder = LightGCN(WIDTH, NUM_LAYERS, SumAggregation())
    levels, convolution = [inputs], LGConv()
    for _ in range(NUM_LAYERS):
        levels.append(convolution(levels[-1], edge_index))
    expected = torch.stack(levels).mean(0)
    torch.testing.assert_close(encoder.readout(levels_of(encoder, inputs, edges)), expected)


def test_lightgcn_does_not_normalise_for_other_aggregators(inputs, edges):
    encoder = LightGCN(WIDTH, NUM_LAYERS, MaxAggregation())
    found = encoder.layer(0, inputs, inputs, edges)
    assert torch.equal(found[0], inputs[1])  # The only neighbour of node 0.


def test_lightgcn_learns_nothing_of_its_own():
    assert list(LightGCN(WIDTH, NUM_LAYERS, SumAggregation()).parameters()) == []


def test_graphsage_equals_pyg(inputs, edges, edge_index):
    torch.manual_seed(0)
    encoder = GraphSAGE(WIDTH, NUM_LAYERS, MeanAggregation())
    expected = inputs
    for depth in range(NUM_LAYERS):
        convolution = SAGEConv(WIDTH, WIDTH, aggr="mean")
        convolution.lin_l.load_state_dict(encoder.of_neighbours[depth].state_dict())
        convolution.lin_r.load_state_dict(encoder.of_self[depth].state_dict())
        expected = convolution(expected, edge_index)
        if depth < NUM_LAYERS - 1:
            expected = expected.relu()
    torch.testing.assert_close(encoder.readout(levels_of(encoder, inputs, edges)), expected)


def test_graphsage_samples_neighbours_by_its_fanout():
    assert GraphSAGE(WIDTH, NUM_LAYERS, MeanAggregation(), fanout=3).fanout == 3
    assert LightGCN(WIDTH, NUM_LAYERS, SumAggregation()).fanout is None
