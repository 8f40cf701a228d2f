"""Every built-in encoder works with every built-in aggregator, and a fold-in gives the vectors of the whole graph."""

import pytest
import torch

from springtide.conformance.samples import (
    CONNECTED,
    ISOLATED,
    NUM_LAYERS,
    NUM_NODES,
    SCHEMA,
    WIDTH,
    fold_in_edges,
    levels_of,
    sample_edges,
    sample_inputs,
)
from springtide.plugins.loading import load_plugins
from springtide.settings.model import PartSettings

PLUGINS = load_plugins()


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


@pytest.mark.parametrize("aggregator", names_of("aggregator"))
@pytest.mark.parametrize("name", names_of("encoder"))
def test_gradients_reach_inputs_and_every_parameter(name, aggregator):
    encoder, inputs = make(name, aggregator), sample_inputs().requires_grad_()
    vectors = encoder.readout(levels_of(encoder, inputs, sample_edges(encoder.is_relational)))
    assert vectors.shape == (NUM_NODES, WIDTH)
    assert vectors.isfinite().all()
    torch.nn.functional.normalize(vectors, dim=1)[:, 0].sum().backward()
    for what, tensor in (("inputs", inputs), *encoder.named_parameters()):
        assert tensor.grad is not None, what
        assert tensor.grad.isfinite().all(), what
        assert tensor.grad.any(), what


@pytest.mark.parametrize("aggregator", ["mean", "max", "time_decay", "lstm", "several"])
@pytest.mark.parametrize("name", names_of("encoder"))
@pytest.mark.parametrize("node", [ISOLATED[0], CONNECTED[0]])
def test_a_fold_in_gives_the_vector_of_the_whole_graph(name, aggregator, node):
    encoder = make(name, aggregator)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)  # Parameters of edges are 0 at first.
    edges = sample_edges(encoder.is_relational)
    levels = levels_of(encoder, sample_inputs(), edges)
    own_edges, sources = fold_in_edges(edges, [node])
    own_levels = [levels[0][node : node + 1]]
    for depth in range(NUM_LAYERS):
        own_levels.append(encoder.layer(depth, levels[depth][sources], own_levels[-1], own_edges))
    torch.testing.assert_close(encoder.readout(own_levels)[0], encoder.readout(levels)[node])
