"""Every built-in encoder works with every built-in aggregator, and folds one node in as the whole graph has it."""

import pytest
import torch

from springtide.plugins.contracts import Edges, Schema
from springtide.plugins.loading import load_plugins
from springtide.settings.model import PartSettings

PLUGINS = load_plugins()
WIDTH, NUM_LAYERS, NUM_USERS, NUM_ITEMS = 8, 2, 5, 7
NUM_NODES = NUM_USERS + NUM_ITEMS
SCHEMA = Schema(
    ("user", "item"),
    (("user", "buys", "item"), ("item", "rev_buys", "user"), ("user", "likes", "item"), ("item", "rev_likes", "user")),
)
ALONE, BUSY = 0, 3  # Users; the first has no edge, the other one with each item.


def names_of(kind):
    return sorted(part.name for part in PLUGINS.parts if (part.kind, part.plugin) == (kind, "springtide_plugins"))


def make(encoder, aggregator):
    torch.manual_seed(0)
    return PLUGINS.make(
        "encoder",
        PartSettings(name=encoder),
        width=WIDTH,
        num_layers=NUM_LAYERS,
        aggregator=PLUGINS.make("aggregator", PartSettings(name=aggregator), width=WIDTH),
        schema=SCHEMA,
    )


def graph(is_relational):
    """Users who bought and liked items, oldest edge first; some pairs stand twice."""
    generator = torch.Generator().manual_seed(1)
    users = torch.cat([torch.randint(1, NUM_USERS, (15,), generator=generator), torch.full((NUM_ITEMS,), BUSY)])
    items = torch.cat([torch.randint(NUM_ITEMS, (15,), generator=generator), torch.arange(NUM_ITEMS)]) + NUM_USERS
    relation = torch.randint(2, (len(users),), generator=generator) * 2
    weight = (torch.rand(len(users), generator=generator) + 0.5).repeat(2)
    age_days = (torch.randperm(len(users), generator=generator) * 3.0).repeat(2)
    source, target = torch.cat([users, items]), torch.cat([items, users])
    relation = torch.cat([relation, relation + 1])
    order = age_days.argsort(descending=True, stable=True)
    order = order[target[order].argsort(stable=True)]
    degree = torch.zeros(NUM_NODES).index_add_(0, target, weight)
    types = (torch.arange(NUM_NODES) >= NUM_USERS).long() if is_relational else None
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


def alone(edges, node):
    """The edges of one target, with a source of its own for each, and the rows of those."""
    own = (edges.target == node).nonzero().flatten()
    rows = edges.source[own]
    return Edges(
        torch.arange(len(own)),
        torch.zeros(len(own), dtype=torch.long),
        edges.weight[own],
        edges.age_days[own],
        edges.source_degree[rows],
        edges.target_degree[node : node + 1],
        None if edges.relation is None else edges.relation[own],
        None if edges.source_type is None else edges.source_type[rows],
        None if edges.target_type is None else edges.target_type[node : node + 1],
    ), rows


def inputs():
    return torch.randn(NUM_NODES, WIDTH, generator=torch.Generator().manual_seed(2))


def levels_of(encoder, level, edges):
    levels = [level]
    for depth in range(NUM_LAYERS):
        levels.append(encoder.layer(depth, levels[-1], levels[-1], edges))
    return levels


@pytest.mark.parametrize("aggregator", names_of("aggregator"))
@pytest.mark.parametrize("name", names_of("encoder"))
def test_gradients_reach_inputs_and_every_parameter(name, aggregator):
    encoder, level = make(name, aggregator), inputs().requires_grad_()
    vectors = encoder.readout(levels_of(encoder, level, graph(encoder.is_relational)))
    assert vectors.shape == (NUM_NODES, WIDTH)
    assert vectors.isfinite().all()
    torch.nn.functional.normalize(vectors, dim=1)[:, 0].sum().backward()
    for what, tensor in (("inputs", level), *encoder.named_parameters()):
        assert tensor.grad is not None, what
        assert tensor.grad.isfinite().all(), what
        assert tensor.grad.any(), what


@pytest.mark.parametrize("aggregator", ["mean", "max", "time_decay", "lstm", "several"])
@pytest.mark.parametrize("name", names_of("encoder"))
@pytest.mark.parametrize("node", [ALONE, BUSY])
def test_a_node_by_itself_gets_what_the_whole_graph_gives_it(name, aggregator, node):
    encoder = make(name, aggregator)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)  # What an edge says is 0 at first.
    edges = graph(encoder.is_relational)
    levels = levels_of(encoder, inputs(), edges)
    own, rows = alone(edges, node)
    own_levels = [levels[0][node : node + 1]]
    for depth in range(NUM_LAYERS):
        own_levels.append(encoder.layer(depth, levels[depth][rows], own_levels[-1], own))
    torch.testing.assert_close(encoder.readout(own_levels)[0], encoder.readout(levels)[node])
