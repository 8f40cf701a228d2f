"""The serving halves of encoders and aggregators compute in numpy what their training halves compute in torch."""

import numpy as np
import pytest
import torch

from springtide.conformance import check_encoder, run_checks
from springtide.conformance.checks import CheckFailed, Subject
from springtide.conformance.samples import NUM_LAYERS, SCHEMA, WIDTH
from springtide.conformance.serving_halves import (
    compare_halves,
    the_serving_half_gives_the_same_messages,
    the_serving_half_takes_the_same_options,
)
from springtide.errors import ConformanceError
from springtide.plugins.contracts import Encoder
from springtide.plugins.contracts.serving import ServingAggregator, ServingEncoder
from springtide.plugins.loading import load_plugins
from springtide.plugins.part import Part
from springtide.plugins.parts import Plugins
from springtide.plugins.serving_edges import ServingEdges, ServingMean, ServingSum, segment_maxima, segment_sums
from springtide.settings.model import ModelSettings, PartSettings

PLUGINS = load_plugins()
OPTIONS = [
    ("encoder", "gat", {"heads": 2}),
    ("encoder", "gcn", {"is_residual": False}),
    ("encoder", "hetero", {"num_bases": 2}),
    ("encoder", "hetero", {"has_typed_self": True}),
    ("encoder", "mpnn", {"update": "mlp"}),
    ("encoder", "tgat", {"heads": 4, "num_latest": 3, "num_frequencies": 5}),
    ("aggregator", "lstm", {"max_messages": 3}),
    ("aggregator", "power_mean", {"power": 3.0, "is_learned": False}),
    ("aggregator", "set2set", {"processing_steps": 1}),
    ("aggregator", "several", {"of": ["sum", "min", "softmax", "lstm", "time_decay"]}),
    ("aggregator", "softmax", {"inverse_temperature": 2.0, "is_learned": False}),
    ("aggregator", "time_decay", {"half_life_days": 7.0, "is_learned": False}),
]


def names_of(kind):
    return sorted(part.name for part in PLUGINS.parts if (part.kind, part.plugin) == (kind, "springtide_plugins"))


def subject_of(kind, name, **options):
    return Subject(kind, PartSettings(name=name, options=options), PLUGINS)


@pytest.mark.parametrize("aggregator", names_of("aggregator"))
@pytest.mark.parametrize("encoder", names_of("encoder"))
def test_both_halves_give_the_same_vectors(encoder, aggregator):
    compare_halves(subject_of("encoder", encoder), PartSettings(name=encoder), PartSettings(name=aggregator))


@pytest.mark.parametrize(("kind", "name", "options"), OPTIONS)
def test_both_halves_give_the_same_vectors_with_other_options(kind, name, options):
    wanted = PartSettings(name=name, options=options)
    for other in ("sum", "lstm") if kind == "encoder" else ("graphsage", "gat"):
        pair = (wanted, PartSettings(name=other)) if kind == "encoder" else (PartSettings(name=other), wanted)
        compare_halves(subject_of(kind, name), *pair)


@pytest.mark.parametrize("kind", ["encoder", "aggregator"])
def test_every_built_in_part_has_a_serving_half_with_the_same_options(kind):
    for name in names_of(kind):
        assert PLUGINS.part(kind, name).serving_reference is not None, name
        the_serving_half_takes_the_same_options(subject_of(kind, name))


class Wrong(ServingAggregator):
    def reduce(self, messages, edges):
        return edges.largest(messages) * np.float32(1.001)


def test_a_wrong_serving_half_fails_the_check():
    part = Part.of("aggregator", "under_test", PLUGINS.part("aggregator", "max").factory, "here", "here", Wrong)
    others = [part for part in PLUGINS.parts if part.kind in ("encoder", "aggregator")]
    subject = Subject("aggregator", PartSettings(name="under_test"), Plugins([*others, part]), {"width": WIDTH})
    with pytest.raises(CheckFailed, match="the same vectors of encoder 'graphsage' with aggregator 'under_test'"):
        the_serving_half_gives_the_same_messages(subject)
    failed = [each.check.name for each in run_checks("aggregator", subject.wanted, subject.plugins) if each.wanted]
    assert failed == ["the serving half gives the same messages"]


def model_of(**parts):
    return ModelSettings(width=WIDTH, num_layers=NUM_LAYERS, **parts)


def weights_of(model, plugins):
    torch.manual_seed(0)
    aggregator = plugins.make("aggregator", plugins.aggregator_of(model), width=WIDTH)
    sizes = {"width": WIDTH, "num_layers": NUM_LAYERS, "aggregator": aggregator, "schema": SCHEMA}
    encoder = plugins.make("encoder", model.encoder, **sizes)
    return {name: tensor.numpy() for name, tensor in encoder.state_dict().items()}


@pytest.mark.parametrize("aggregator", ["own", {"name": "several", "options": {"of": ["mean", "own"]}}])
def test_torch_serves_where_an_aggregator_has_no_serving_half(aggregator):
    plugins = PLUGINS.with_part("aggregator", "own", PLUGINS.part("aggregator", "max").factory)
    model = model_of(encoder=PartSettings(name="graphsage"), aggregator=aggregator)
    encoder = plugins.make_serving_encoder(model, SCHEMA, weights_of(model, plugins))
    assert encoder.parts_with_torch == ("aggregator 'own' of here",)
    compare_halves(Subject("encoder", model.encoder, plugins), model.encoder, model.aggregator)


def test_numpy_serves_where_both_have_a_serving_half():
    model = model_of()
    assert PLUGINS.make_serving_encoder(model, SCHEMA, weights_of(model, PLUGINS)).parts_with_torch == ()


def edges_of(source, target, weight, num_sources, num_targets):
    weight = np.array(weight, np.float32)
    return ServingEdges(
        None if source is None else np.array(source),
        np.array(target),
        weight,
        np.zeros(len(weight), np.float32),
        np.ones(num_sources, np.float32),
        np.bincount(target, weight, num_targets).astype(np.float32),
    )


def test_mean_is_weighted_and_a_target_without_edges_gets_zeros():
    edges = edges_of([0, 1], [1, 1], [1.0, 3.0], num_sources=2, num_targets=3)
    combined = edges.aggregate(np.array([[4.0], [8.0]], np.float32), ServingMean(1, {}))
    assert combined.tolist() == [[0.0], [7.0], [0.0]]  # (1·4 + 3·8) / 4


def test_sources_are_not_copied_where_each_edge_has_its_own():
    edges = edges_of(None, [0, 0], [1.0, 2.0], num_sources=2, num_targets=1)
    values = np.array([[4.0], [8.0]], np.float32)
    assert edges.of_sources(values) is values
    assert edges.aggregate(values, ServingSum(1, {})).tolist() == [[20.0]]  # 1·4 + 2·8


def test_segments_may_be_empty():
    messages, pointers = np.array([[1.0], [-2.0], [3.0]], np.float32), np.array([0, 0, 2, 2, 3, 3])
    weight = np.array([1.0, 2.0, 4.0], np.float32)
    assert segment_sums(messages, weight, pointers).tolist() == [[0.0], [-3.0], [0.0], [12.0], [0.0]]
    assert segment_maxima(messages, pointers).tolist() == [[0.0], [1.0], [0.0], [3.0], [0.0]]


class Halved(Encoder):
    def layer(self, depth, sources, targets, edges):
        return targets / 2 + edges.aggregate(sources, self.aggregators[depth])


class ServingHalved(ServingEncoder):
    def layer(self, depth, sources, targets, edges):
        return targets / 2 + edges.aggregate(sources, self.aggregators[depth])


class NotHalved(ServingEncoder):
    def layer(self, depth, sources, targets, edges):
        return targets + edges.aggregate(sources, self.aggregators[depth])


def test_an_encoder_is_checked_with_its_serving_half():
    check_encoder(Halved, serving=ServingHalved)
    with pytest.raises(ConformanceError, match="wanted the same vectors of encoder 'under_test' with aggregator 'sum'"):
        check_encoder(Halved, serving=NotHalved)
