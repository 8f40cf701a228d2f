"""All built-in parts, found by their registration, pass the checks of their kind, alone and together."""

import functools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from springtide.conformance import CHECKS, run_checks, samples
from springtide.plugins.contracts import LossInputs
from springtide.plugins.loading import KINDS, load_plugins
from springtide.settings.model import PartSettings
from springtide.testing import even_odd_state, quick_model, quick_settings

PLUGINS = load_plugins()
BUILT_IN = [part for part in PLUGINS.parts if part.plugin == "springtide_plugins"]
# Learned baselines take their options of a large data set by default; the checks fit each some twenty times.
QUICK = {
    "mult_vae": {"steps": 20},
    "lightgcn_bpr": {"steps": 20},
    "sasrec": {"steps": 5, "width": 8, "length": 8},
    "gru4rec": {"steps": 5, "width": 8, "length": 8},
    "hstu": {"steps": 5, "width": 8, "length": 8},
}
CHECKED = [(part.kind, part.name, check) for part in BUILT_IN for check in CHECKS[part.kind]]


def names(kind):
    return [part.name for part in BUILT_IN if part.kind == kind]


def make(kind, name, **offered):
    return PLUGINS.make(kind, PartSettings(name=name), **offered)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_built_in_parts(kind):
    assert names(kind)


@pytest.mark.parametrize(
    ("kind", "name", "check"), [pytest.param(*each, id=f"{each[0]} {each[1]}: {each[2].name}") for each in CHECKED]
)
def test_built_in_part_passes_the_checks_of_its_kind(kind, name, check):
    part = PartSettings(name=name, options=QUICK.get(name, {}))
    (result,) = run_checks(kind, part, PLUGINS, checks=[check])
    assert result.has_passed, f"wanted {result.wanted}, got {result.got}"


@pytest.mark.parametrize("aggregator", names("aggregator"))
@pytest.mark.parametrize("encoder", names("encoder"))
def test_encoder_and_aggregator_learn_by_every_loss(encoder, aggregator):
    torch.manual_seed(0)
    encoder = made_encoder(encoder, aggregator)
    inputs = samples.sample_inputs().requires_grad_()
    levels = [F.normalize(level, dim=-1) for level in samples.levels_of(encoder, inputs, graph(encoder.is_relational))]
    levels.append(F.normalize(encoder.readout(levels), dim=-1))
    learned = [inputs, *encoder.parameters()]
    for name in names("loss"):
        loss = make("loss", name, num_layers=samples.NUM_LAYERS)(batch_of(levels))
        gradients = torch.autograd.grad(loss, learned, retain_graph=True, allow_unused=True)
        assert loss.isfinite(), name
        assert gradients[0].any(), f"loss {name} teaches the inputs nothing"
        assert all(gradient.isfinite().all() for gradient in gradients if gradient is not None), name


@pytest.mark.parametrize("loss", names("loss"))
def test_loss_trains_in_the_loop(loss):
    assert np.isfinite(trained(loss=loss).tensors["vectors"]).all()


@pytest.mark.parametrize("sampler", names("negative sampler"))
def test_negative_sampler_trains_in_the_loop(sampler):
    assert np.isfinite(trained(negatives=sampler, loss="max_margin").tensors["vectors"]).all()


@pytest.mark.parametrize("aggregator", names("aggregator"))
def test_aggregator_trains_in_the_loop(aggregator):
    assert np.isfinite(trained(aggregator=aggregator, encoder="graphsage").tensors["vectors"]).all()


def made_encoder(encoder, aggregator):
    return make(
        "encoder",
        encoder,
        width=samples.WIDTH,
        num_layers=samples.NUM_LAYERS,
        aggregator=make("aggregator", aggregator, width=samples.WIDTH),
        schema=samples.SCHEMA,
    )


@functools.cache
def graph(is_relational):
    return samples.sample_edges(is_relational)


def batch_of(levels):
    """Three users with two items each, of the sample graph: users are nodes 1 to 5, items nodes 6 to 10."""
    users, items, sampled = torch.tensor([1, 2, 3]), torch.tensor([6, 7, 7, 8, 9, 10]), torch.tensor([6, 8, 10, 9])
    user, vectors = torch.tensor([0, 0, 1, 1, 2, 2]), levels[-1]
    positive = (vectors[users][user] * vectors[items]).sum(-1)
    return LossInputs(
        positive=positive,
        user=user,
        weight=torch.ones(6),
        negative=vectors[users] @ vectors[sampled].T,
        is_seen=torch.tensor([[True, False, False, False], [False, True, False, False], [False, False, True, True]]),
        positive_log_q=torch.full((6,), -1.6),
        negative_log_q=torch.full((4,), -1.6),
        strength=torch.tensor([1.0, 2.0, 3.0, 1.0, 1.0, 2.0]),
        item=items,
        user_vectors=vectors[users],
        item_vectors=vectors[items],
        user_levels=[level[users] for level in levels[:-1]],
        item_levels=[level[items] for level in levels[:-1]],
        rated=positive,
        rating=torch.tensor([1.0, -1.0, 0.5, 1.0, -0.5, 0.0]),
    )


def trained(**model):
    settings = quick_settings(model={"width": 8, **model}, training={"steps": 3, "fine_tune_steps": 2})
    return quick_model(even_odd_state(8, settings, PLUGINS), settings, PLUGINS)
