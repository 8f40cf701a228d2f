"""Inputs under an encoder: over the whole graph, over sampled neighbourhoods, with ids left out and noise added."""

import numpy as np
import pytest
import torch
from torch_geometric.nn import MeanAggregation

from springtide.events.model import NodeUpsert
from springtide.testing import even_odd_events, even_odd_state, quick_model, quick_settings, state_of, training_graph_of
from springtide.training import network as network_module
from springtide.training.graph import Nodes
from springtide.training.network import Inputs, Network
from springtide_plugins.encoders.graphsage import GraphSAGE

WIDTH = 8


@pytest.fixture
def graph():
    return training_graph_of(even_odd_state(10))


def network_of(graph, id_dropout: float = 0.0, num_layers: int = 2) -> Network:
    torch.manual_seed(0)
    return Network(Inputs(graph.nodes, WIDTH, id_dropout), GraphSAGE(WIDTH, num_layers, MeanAggregation())).eval()


def test_sampled_neighbourhoods_as_wide_as_the_graph_give_what_the_graph_gives(graph):
    network, nodes = network_of(graph), torch.tensor([13, 2, 0, 7])
    whole = network.levels(graph.edges)
    sampled = network.sampled_levels(graph.edges, nodes, fanout=100, generator=torch.Generator())
    for level, of_whole in zip(sampled, whole, strict=True):
        torch.testing.assert_close(level, of_whole[nodes])


def test_narrow_neighbourhoods_differ_from_draw_to_draw(graph):
    network, nodes, generator = network_of(graph), torch.arange(20), torch.Generator().manual_seed(0)
    one, other = (network.sampled_levels(graph.edges, nodes, 1, generator)[-1] for _ in range(2))
    assert one.shape == (20, WIDTH)
    assert not torch.equal(one, other)


def test_narrow_neighbourhoods_by_age_hold_recent_edges(graph):
    network, generator, half_an_hour_days = network_of(graph), torch.Generator().manual_seed(0), 0.5 / 24
    ages = {}
    for half_life_days in (None, half_an_hour_days):  # An hour lies between two events.
        drawn = [graph.edges.block(torch.arange(20), 1, generator, half_life_days)[0].age_days for _ in range(50)]
        ages[half_life_days] = torch.cat(drawn).mean()
    assert ages[half_an_hour_days] < 0.7 * ages[None]
    uniform, by_age = (
        network.sampled_levels(graph.edges, torch.arange(20), 1, generator.manual_seed(0), 0.0, half_life_days)[-1]
        for half_life_days in (None, half_an_hour_days)
    )
    assert not torch.equal(uniform, by_age)


def test_training_draws_neighbours_by_age_where_settings_say_so():
    state, levels = even_odd_state(10), []
    for half_life_days in (None, 0.1):
        settings = quick_settings(
            model={"encoder": {"name": "graphsage", "options": {"fanout": 1}}},
            training={"sampling_half_life_days": half_life_days, "steps": 2, "fine_tune_steps": 1},
        )
        levels.append(quick_model(state, settings).tensors)
    assert any(not torch.equal(torch.as_tensor(of), torch.as_tensor(levels[1][name])) for name, of in levels[0].items())


@pytest.mark.parametrize("fanout", [None, 100])
def test_levels_of_groups_can_be_looked_up_by_their_rows(graph, fanout):
    network, groups = network_of(graph), [np.array([13, 2, 2]), np.zeros(0, np.int64), np.array([0, 13])]
    network.encoder.fanout = fanout  # 100 is more than any node has: the samples are whole neighbourhoods.
    levels, rows = network.levels_of(graph.edges, groups, torch.Generator())
    whole = network.levels(graph.edges)
    assert [len(level) for level in levels] == [20 if fanout is None else 3] * 3
    for nodes, found in zip(groups, rows, strict=True):
        for level, whole_level in zip(levels, whole, strict=True):
            torch.testing.assert_close(level[found], whole_level[nodes])


def test_gradients_of_a_sampled_step_reach_the_wanted_nodes_and_their_neighbours_alone(graph):
    network = network_of(graph)
    network.sampled_levels(graph.edges, torch.tensor([0]), 100, torch.Generator())[1].sum().backward()
    users, items = network.inputs.ids
    assert users.grad.any(dim=1).nonzero().flatten().tolist() == [0]
    assert items.grad.any(dim=1).nonzero().flatten().tolist() == [2, 4, 6, 8], "user 0 took even items but item 0"


def test_id_dropout_leaves_ids_out_in_training_alone():
    graph = training_graph_of(even_odd_state(200))
    inputs = network_of(graph, id_dropout=0.25).inputs
    assert torch.equal(inputs(), torch.cat(list(inputs.ids)))
    left_out = (inputs.train()() == 0).all(dim=1).float().mean()
    assert float(left_out) == pytest.approx(0.25, abs=0.06)


def test_attributes_and_numbers_make_up_a_node_without_an_id():
    upserts = [
        NodeUpsert("item", "i0", {"kind": ("a", "b")}, {"price": 3.0}),
        NodeUpsert("item", "i1", {}, {"price": 1.0}),
    ]
    state = state_of(even_odd_events(4), upserts=upserts)
    inputs = Inputs(Nodes.of(state.graph.view()), WIDTH)
    with torch.no_grad():
        for ids in inputs.ids:
            ids.zero_()
        levels = inputs()[4:]  # Users come first.
        price, has_price = inputs.numbers[1]
        # Prices 3 and 1: mean 2, deviation 1.
        torch.testing.assert_close(levels[0], inputs.values[1].mean(0) + price + has_price)
        torch.testing.assert_close(levels[1], has_price - price)
        assert not levels[2].any()


def test_vectors_make_up_a_node_without_an_id():
    upserts = [NodeUpsert("item", f"i{row}", vectors={"image": (2.0 * row, 7.0)}) for row in (0, 1)]
    inputs = Inputs(Nodes.of(state_of(even_odd_events(4), upserts=upserts).graph.view()), WIDTH)
    with torch.no_grad():
        for ids in inputs.ids:
            ids.zero_()
        levels = inputs()[4:]  # Users come first.
        first, second, has_image = inputs.vectors[1]
        # First numbers 0 and 2: mean 1, deviation 1, over the root of two numbers; second ones do not differ.
        torch.testing.assert_close(levels[0], has_image - first / 2**0.5)
        torch.testing.assert_close(levels[1], has_image + first / 2**0.5)
        assert not levels[2].any()
        assert second.any()


def test_noise_is_a_step_of_its_length_after_each_layer(graph):
    network = network_of(graph, num_layers=1)  # Its one layer has no ReLU, so no sign is 0.
    still, moved = network.levels(graph.edges), network.levels(graph.edges, noise=0.1)
    assert torch.equal(still[0], moved[0])
    step = moved[1] - still[1]
    torch.testing.assert_close(step.norm(dim=1), torch.full((20,), 0.1))
    assert (step * still[1] >= 0).all(), "no step leaves its orthant"


def test_numbers_that_few_nodes_have_are_a_sparse_matrix_and_the_same_inputs(monkeypatch):
    state = even_odd_state(10)
    for node in range(10):
        names = [f"n{number}" for number in range(100)] if node == 3 else []
        numbers = {"price": float(node % 4)} | dict.fromkeys(names, 2.0)
        state.graph.upsert(NodeUpsert("item", f"i{node}", numbers=numbers, timestamp_ms=5))
    graph = training_graph_of(state)
    inputs = Inputs(graph.nodes, WIDTH)
    monkeypatch.setattr(network_module, "_FEW_COLUMNS", 1_000)
    dense = Inputs(graph.nodes, WIDTH)
    dense.load_state_dict(inputs.state_dict())
    of_items = inputs.index_of("item")
    assert inputs._numbers[of_items].layout == torch.sparse_csr
    assert dense._numbers[of_items].layout == torch.strided
    assert inputs._numbers[of_items].values().numel() <= 2 * (10 + 100)
    torch.testing.assert_close(inputs(), dense())
    for each in (inputs, dense):
        each().square().sum().backward()
    torch.testing.assert_close(inputs.numbers[of_items].grad, dense.numbers[of_items].grad)
