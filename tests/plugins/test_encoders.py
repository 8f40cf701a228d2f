"""The built-in encoders follow their papers: compared with those of PyG, and with formulas written out."""

import copy

import pytest
import torch
from torch.nn import functional as F
from torch_geometric.nn import (
    GatedGraphConv,
    GATv2Conv,
    GCNConv,
    LGConv,
    MaxAggregation,
    MeanAggregation,
    RGCNConv,
    SAGEConv,
    SumAggregation,
)

from springtide.errors import SettingsError
from springtide.plugins.contracts import Edges, Schema
from springtide.plugins.edges import NUM_EDGE_FEATURES
from springtide_plugins.encoders.edge_sage import EdgeSAGE
from springtide_plugins.encoders.gat import GATv2
from springtide_plugins.encoders.gates import remembering_gru
from springtide_plugins.encoders.gcn import GCN
from springtide_plugins.encoders.ggnn import GGNN
from springtide_plugins.encoders.graphsage import GraphSAGE
from springtide_plugins.encoders.hetero import RGCN
from springtide_plugins.encoders.lightgcn import LightGCN
from springtide_plugins.encoders.mpnn import MPNN
from springtide_plugins.encoders.tgat import TGAT

NUM_NODES, WIDTH, NUM_LAYERS = 6, 4, 3
# An undirected path with a triangle at its end, both directions of each edge; node 5 is alone.
PAIRS = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 2)]
SCHEMA = Schema(("user", "item"), (("user", "buys", "item"), ("item", "rev_buys", "user"), ("item", "like", "item")))
RELATIONAL = (MPNN, EdgeSAGE, RGCN)
ALL = (LightGCN, GCN, GraphSAGE, GATv2, GGNN, TGAT, *RELATIONAL)


def graph(weight_of_pair=None, is_relational=False):
    """Edges over the pairs, oldest first; under a relation, and between nodes of a type, if they are relational."""
    forth = torch.tensor(PAIRS).T
    source, target = torch.cat([forth, forth.flip(0)], dim=1)
    weight = torch.ones(len(PAIRS)) if weight_of_pair is None else weight_of_pair
    weight, age_days = weight.repeat(2), torch.arange(2.0 * len(PAIRS)).flip(0)
    relation = torch.arange(2 * len(PAIRS)) % len(SCHEMA.relations)
    order = torch.argsort(target, stable=True)
    degree = torch.zeros(NUM_NODES).index_add_(0, target, weight)
    types = torch.tensor([0, 0, 0, 1, 1, 1]) if is_relational else None
    return Edges(
        source[order],
        target[order],
        weight[order],
        age_days[order],
        degree,
        degree,
        relation[order] if is_relational else None,
        types,
        types,
    )


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def inputs():
    return torch.randn(NUM_NODES, WIDTH)


@pytest.fixture
def weighted():
    return graph(torch.tensor([0.5, 1.0, 2.0, 3.0, 0.25]))


@pytest.fixture
def relational():
    return graph(torch.tensor([0.5, 1.0, 2.0, 3.0, 0.25]), is_relational=True)


def make(encoder, aggregator=None, num_layers=NUM_LAYERS, **options):
    offered = {"schema": SCHEMA} if encoder in RELATIONAL else {}
    return encoder(WIDTH, num_layers, aggregator or MeanAggregation(), **offered, **options)


def randomised(module):
    """Parameters of no special form: those that begin as 0 hide what they do."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    return module


def levels_of(encoder, inputs, edges):
    levels = [inputs]
    for depth in range(encoder.num_layers):
        levels.append(encoder.layer(depth, levels[-1], levels[-1], edges))
    return levels


def vectors_of(encoder, inputs, edges):
    return encoder.readout(levels_of(encoder, inputs, edges))


def index_of(edges):
    return torch.stack([edges.source, edges.target])


def test_lightgcn_equals_pyg(inputs, weighted):
    levels, convolution = [inputs], LGConv()
    for _ in range(NUM_LAYERS):
        levels.append(convolution(levels[-1], index_of(weighted), weighted.weight))
    expected = torch.stack(levels).mean(0)
    torch.testing.assert_close(vectors_of(make(LightGCN, SumAggregation()), inputs, weighted), expected)


def test_lightgcn_does_not_normalise_for_other_aggregators(inputs, weighted):
    found = make(LightGCN, MaxAggregation()).layer(0, inputs, inputs, weighted)
    assert torch.equal(found[0], inputs[1])  # The only neighbour of node 0.


def test_lightgcn_has_no_parameters():
    assert list(make(LightGCN).parameters()) == []


def test_gcn_equals_pyg(inputs, weighted):
    encoder, expected = randomised(make(GCN, SumAggregation(), is_residual=False)), inputs
    for depth, transform in enumerate(encoder.transforms):
        convolution = GCNConv(WIDTH, WIDTH)
        convolution.load_state_dict({"lin.weight": transform.weight, "bias": transform.bias})
        expected = convolution(expected, index_of(weighted), weighted.weight)
        if depth < NUM_LAYERS - 1:
            expected = expected.relu()
    torch.testing.assert_close(vectors_of(encoder, inputs, weighted), expected)


def test_gcn_averages_other_aggregators_by_shares_of_the_degree(inputs, weighted):
    encoder = make(GCN, MaxAggregation(), is_residual=False)
    found = encoder.layer(NUM_LAYERS - 1, inputs, inputs, weighted)
    # Node 0 has one neighbour, over an edge of weight 0.5: a third of the degree, 1.5, that it has with itself.
    torch.testing.assert_close(found[0], encoder.transforms[-1]((inputs[1] + 2 * inputs[0]) / 3))


def test_gcn_is_residual_by_default(inputs, weighted):
    encoder = make(GCN)
    with_residual = encoder.layer(0, inputs, inputs, weighted)
    encoder.is_residual = False
    torch.testing.assert_close(with_residual, inputs + encoder.layer(0, inputs, inputs, weighted))


def test_graphsage_equals_pyg(inputs):
    encoder, expected, edges = randomised(make(GraphSAGE)), inputs, graph()
    for depth in range(NUM_LAYERS):
        convolution = SAGEConv(WIDTH, WIDTH, aggr="mean")
        convolution.lin_l.load_state_dict(encoder.of_neighbours[depth].state_dict())
        convolution.lin_r.load_state_dict(encoder.of_self[depth].state_dict())
        expected = convolution(expected, index_of(edges))
        if depth < NUM_LAYERS - 1:
            expected = expected.relu()
    torch.testing.assert_close(vectors_of(encoder, inputs, edges), expected)


@pytest.mark.parametrize("aggregator", [SumAggregation(), MeanAggregation()])
def test_gat_equals_pyg(inputs, weighted, aggregator):
    encoder, expected = randomised(make(GATv2, aggregator, heads=2)), inputs
    for depth, attention in enumerate(encoder.attentions):
        convolution = GATv2Conv(
            WIDTH, WIDTH // 2, heads=2, edge_dim=NUM_EDGE_FEATURES, add_self_loops=False, residual=True
        )
        convolution.load_state_dict(attention.state_dict())
        expected = convolution(expected, index_of(weighted), weighted.features())
        if depth < NUM_LAYERS - 1:
            expected = F.elu(expected)
    torch.testing.assert_close(vectors_of(encoder, inputs, weighted), expected)


def test_gat_gives_other_aggregators_unscaled_messages_where_attention_is_equal(inputs, weighted):
    encoder = make(GATv2, MaxAggregation(), num_layers=1, heads=2)
    attention = encoder.attentions[0]
    with torch.no_grad():
        attention.att.zero_()
    found = encoder.layer(0, inputs, inputs, weighted) - attention.res(inputs) - attention.bias
    torch.testing.assert_close(found[2], attention.lin_l(inputs)[[1, 3, 4]].max(0).values)  # The neighbours of node 2.


def test_gat_refuses_a_width_that_is_no_multiple_of_the_heads():
    with pytest.raises(SettingsError, match=r"encoder 'gat': wanted a width that its 3 heads can share, got 4"):
        make(GATv2, heads=3)


@pytest.mark.parametrize("aggregator", [SumAggregation(), MeanAggregation()])
def test_tgat_weighs_the_latest_neighbours_by_what_they_are_and_when_they_were_chosen(inputs, weighted, aggregator):
    encoder = randomised(make(TGAT, aggregator, num_layers=1, heads=2, num_latest=2))
    query, key, value, code_key, code_value, own = (
        getattr(encoder, name)[0] for name in ("queries", "keys", "values", "code_keys", "code_values", "of_self")
    )
    expected = own(inputs)
    for node in range(NUM_NODES - 1):  # The last has no neighbour.
        latest = (weighted.target == node).nonzero().flatten()[-2:]  # Node 2 has three neighbours; all ages differ.
        ages = weighted.age_days[latest, None]
        newer = torch.arange(len(latest) - 1.0, -1.0, -1.0)[:, None]
        places = torch.exp2(-newer / torch.tensor([1.0, 4.0, 16.0]))
        waves = torch.cos(ages * encoder.frequencies) / len(encoder.frequencies) ** 0.5
        codes = torch.cat([waves, weighted.features()[latest], places], dim=1)
        neighbours = inputs[weighted.source[latest]]
        keys, values = key(neighbours) + code_key(codes), value(neighbours) + code_value(codes)
        for head in (slice(0, 2), slice(2, 4)):
            attention = (keys[:, head] @ query(inputs[node])[head] / 2**0.5).softmax(0)
            expected[node, head] += attention @ values[:, head]
    torch.testing.assert_close(vectors_of(encoder, inputs, weighted), expected, rtol=1e-4, atol=1e-5)


def test_tgat_learns_alike_with_and_without_messages_of_their_own(inputs, weighted):
    """Sums are made without messages, means with them: both are the same, and so are their gradients."""
    gradients = []
    for aggregator in (SumAggregation(), MeanAggregation()):
        torch.manual_seed(1)
        encoder = randomised(make(TGAT, aggregator, heads=2, num_latest=2))
        level_0 = inputs.clone().requires_grad_()
        vectors_of(encoder, level_0, weighted).square().sum().backward()
        gradients.append([level_0.grad, *(parameter.grad for parameter in encoder.parameters())])
    for of_sum, of_mean in zip(*gradients, strict=True):
        torch.testing.assert_close(of_sum, of_mean, rtol=1e-3, atol=1e-3 * float(of_mean.abs().max()) + 1e-6)


def test_tgat_looks_at_no_neighbour_before_the_latest(inputs, weighted):
    encoder = randomised(make(TGAT, num_layers=1, heads=2, num_latest=2))
    oldest = weighted.source[(weighted.target == 2).nonzero()[0]]
    changed = inputs.clone()
    changed[oldest] += 1.0
    before, after = (encoder.layer(0, sources, inputs, weighted)[2] for sources in (inputs, changed))
    assert torch.equal(before, after)
    encoder.num_latest = 3
    before, after = (encoder.layer(0, sources, inputs, weighted)[2] for sources in (inputs, changed))
    assert not torch.allclose(before, after)


def test_tgat_refuses_a_width_that_is_no_multiple_of_the_heads():
    with pytest.raises(SettingsError, match=r"encoder 'tgat': wanted a width that its 3 heads can share, got 4"):
        make(TGAT, heads=3)


def test_ggnn_equals_pyg_where_layers_share_their_matrix(inputs, weighted):
    encoder = randomised(make(GGNN, SumAggregation()))
    convolution = GatedGraphConv(WIDTH, NUM_LAYERS)
    convolution.rnn.load_state_dict(encoder.gate.state_dict())
    with torch.no_grad():
        convolution.weight.copy_(encoder.message.weight.T.expand(NUM_LAYERS, -1, -1))
    expected = convolution(inputs, index_of(weighted), weighted.weight)
    torch.testing.assert_close(vectors_of(encoder, inputs, weighted), expected)


def test_gates_keep_most_of_a_level_at_first():
    cell, level = remembering_gru(WIDTH), torch.ones(1, WIDTH)
    with torch.no_grad():
        cell.weight_ih.zero_()
        cell.weight_hh.zero_()
    # The gate is the sigmoid of its bias, 1; the new part is 0.
    torch.testing.assert_close(cell(torch.ones(1, WIDTH), level), torch.full((1, WIDTH), 1 / (1 + 1 / torch.e)))


@pytest.mark.parametrize("update", ["gru", "mlp"])
def test_mpnn_has_a_message_network_and_an_update_network(inputs, relational, update):
    encoder = randomised(make(MPNN, SumAggregation(), num_layers=1, update=update))
    of_source, of_target, of_edge, out = (
        getattr(encoder, name)[0] for name in ("of_source", "of_target", "of_edge", "out")
    )
    matrix = torch.cat([of_source.weight, of_target.weight, of_edge.of_features.T, of_edge.of_relation.T], dim=1)
    stacked = torch.cat(
        [
            inputs[relational.source],
            inputs[relational.target],
            relational.features(),
            F.one_hot(relational.relation, len(SCHEMA.relations)).float(),
        ],
        dim=1,
    )
    messages = (stacked @ matrix.T + of_source.bias).relu() @ out.weight.T * relational.weight.unsqueeze(-1)
    combined = torch.zeros(NUM_NODES, WIDTH).index_add(0, relational.target, messages)
    changed = encoder.updates[0]
    if update == "gru":
        expected = changed(combined, inputs)
    else:
        expected = inputs + changed.out(changed.hidden(torch.cat([inputs, combined], dim=1)).relu())
    torch.testing.assert_close(vectors_of(encoder, inputs, relational), expected)


def test_edge_sage_multiplies_concatenated_vectors(inputs, relational):
    encoder = randomised(make(EdgeSAGE, num_layers=2))
    of_source, of_edge, of_neighbours, of_self = (
        getattr(encoder, name)[0] for name in ("of_source", "of_edge", "of_neighbours", "of_self")
    )
    message_matrix = torch.cat([of_source.weight, of_edge.of_features.T, of_edge.of_relation.T], dim=1)
    one_hot = F.one_hot(relational.relation, len(SCHEMA.relations)).float()
    messages = torch.cat([inputs[relational.source], relational.features(), one_hot], dim=1) @ message_matrix.T
    share = relational.weight / relational.target_degree[relational.target]
    combined = torch.zeros(NUM_NODES, WIDTH).index_add(0, relational.target, messages * share.unsqueeze(-1))
    apply_matrix = torch.cat([of_self.weight, of_neighbours.weight], dim=1)
    expected = (torch.cat([inputs, combined], dim=1) @ apply_matrix.T + of_neighbours.bias).relu()
    torch.testing.assert_close(encoder.layer(0, inputs, inputs, relational), expected)


@pytest.mark.parametrize("encoder", [MPNN, EdgeSAGE])
def test_edge_terms_are_0_at_first_and_are_learned(inputs, relational, encoder):
    made = make(encoder, num_layers=1)
    other = Edges(
        relational.source,
        relational.target,
        relational.weight,
        relational.age_days + 100,
        relational.source_degree,
        relational.target_degree,
        (relational.relation + 1) % len(SCHEMA.relations),
    )
    before, after = (vectors_of(made, inputs, edges) for edges in (relational, other))
    assert torch.equal(before, after)
    randomised(made)
    before, after = (vectors_of(made, inputs, edges) for edges in (relational, other))
    assert not torch.allclose(before[:5], after[:5])
    assert torch.equal(before[5], after[5])  # Node 5 has no edge.


@pytest.mark.parametrize("encoder", ALL)
def test_age_reaches_the_encoders_that_use_edges(inputs, encoder):
    made = randomised(make(encoder, num_layers=1))
    edges = graph(is_relational=made.is_relational)
    older = copy.copy(edges)
    older.age_days, older._features = edges.age_days + 30.0, None
    levels = []
    for of in (edges, older):
        block, nodes = of.block(torch.arange(NUM_NODES), 100, torch.Generator())
        levels.append(made.layer(0, inputs[nodes], inputs, block))
    assert torch.equal(*levels) != (encoder in {GATv2, MPNN, EdgeSAGE, TGAT})


@pytest.mark.parametrize("num_bases", [None, 2])
def test_hetero_equals_pyg(inputs, num_bases):
    edges = graph(is_relational=True)
    encoder, expected = randomised(make(RGCN, num_bases=num_bases)), inputs
    for depth in range(NUM_LAYERS):
        convolution = RGCNConv(WIDTH, WIDTH, len(SCHEMA.relations), num_bases=num_bases)
        own, matrices = encoder.of_self[depth].transform, encoder.matrices[depth]
        parameters = {"weight": matrices.matrices, "root": own.weight.T, "bias": own.bias}
        convolution.load_state_dict(parameters if num_bases is None else {**parameters, "comp": matrices.shares})
        expected = convolution(expected, index_of(edges), edges.relation)
        if depth < NUM_LAYERS - 1:
            expected = expected.relu()
    torch.testing.assert_close(vectors_of(encoder, inputs, edges), expected)


def test_hetero_can_have_a_matrix_for_each_node_type(inputs, relational):
    encoder = randomised(make(RGCN, num_layers=1, has_typed_self=True))
    for parameter in encoder.matrices.parameters():
        parameter.data.zero_()
    found = vectors_of(encoder, inputs, relational)
    of_users, of_items = encoder.of_self[0].transforms
    torch.testing.assert_close(found, torch.cat([of_users(inputs[:3]), of_items(inputs[3:])]))


def test_hetero_works_where_a_type_of_edge_is_missing(inputs, relational):
    encoder = make(RGCN)
    first = relational.of_relation(0)
    vectors_of(encoder, inputs, first).sum().backward()
    gradients = encoder.matrices[-1].matrices.grad
    assert gradients[0].any()
    assert not gradients[1:].any()


@pytest.mark.parametrize("encoder", RELATIONAL)
def test_relational_encoders_are_made_before_the_types_are_known(encoder):
    made = encoder(WIDTH, NUM_LAYERS, MeanAggregation(), schema=Schema())
    assert made.is_relational
    no_rows = torch.zeros(0, dtype=torch.long)
    none = torch.zeros(2)
    edges = Edges(no_rows, no_rows, torch.zeros(0), torch.zeros(0), none, none, no_rows, none.long(), none.long())
    assert vectors_of(made, torch.ones(2, WIDTH), edges).isfinite().all()


@pytest.mark.parametrize("encoder", RELATIONAL)
def test_relational_encoders_refuse_edges_without_types(inputs, weighted, encoder):
    with pytest.raises(ValueError, match=r"wanted edges .*that have types"):
        vectors_of(make(encoder), inputs, weighted)


@pytest.mark.parametrize("encoder", ALL)
def test_neighbours_are_sampled_by_the_fanout(encoder):
    cheap = {LightGCN, GCN, GGNN, TGAT}
    assert (make(encoder).fanout is None) == (encoder in cheap)
    assert make(encoder, fanout=3).fanout == 3
    assert make(encoder, fanout=None).fanout is None


@pytest.mark.parametrize("encoder", ALL)
def test_components_of_vectors_have_both_signs_and_isolated_nodes_have_vectors(encoder):
    inputs, edges = torch.randn(NUM_NODES, 64), graph(is_relational=encoder in RELATIONAL)
    offered = {"schema": SCHEMA} if encoder in RELATIONAL else {}
    vectors = vectors_of(encoder(64, 2, MeanAggregation(), **offered), inputs, edges)
    assert ((vectors < 0).float().mean(1) - 0.5).abs().max() < 0.3
    assert vectors.norm(dim=1).min() > 0.1


@pytest.mark.parametrize("encoder", ALL)
def test_initial_vectors_differ_between_nodes_with_the_same_neighbours(encoder):
    """Two layers up, what was learned of a node's id still tells nodes apart whose neighbours are the same."""
    num_items, width = 20, 64
    source = torch.arange(2, 2 + num_items).repeat(2)
    target = torch.arange(2).repeat_interleave(num_items)
    ones, types = torch.ones(2 * num_items), torch.tensor([0] * 2 + [1] * num_items)
    target_degree = torch.zeros(2 + num_items).index_add_(0, target, ones)
    source_degree = torch.zeros(2 + num_items).index_add_(0, source, ones)
    codes = torch.zeros(2 * num_items, dtype=torch.long)
    relational = (codes, types, types) if encoder in RELATIONAL else ()
    edges = Edges(source, target, ones, torch.zeros_like(ones), source_degree, target_degree, *relational)
    offered = {"schema": SCHEMA} if encoder in RELATIONAL else {}
    vectors = vectors_of(encoder(width, 2, MeanAggregation(), **offered), torch.randn(2 + num_items, width), edges)
    assert F.cosine_similarity(vectors[0], vectors[1], dim=0) < 0.9
