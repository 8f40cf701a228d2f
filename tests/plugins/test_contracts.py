"""The built-in parts keep the contracts that outsiders' parts must keep."""

import pytest

from springtide.config import PartSettings
from springtide.plugins.conformance import (
    AggregatorContract,
    ContextWeightContract,
    EncoderContract,
    LossContract,
)
from springtide.plugins.loading import KINDS, load_plugins

PLUGINS = load_plugins()


def make(kind: str, name: str, **arguments):
    return PLUGINS.make(kind, PartSettings(name=name), **arguments)


class BuiltInEncoderContract(EncoderContract):
    encoder: str
    aggregator: str

    def make(self, width, num_layers):
        aggregator = make("aggregator", self.aggregator)
        return make("encoder", self.encoder, width=width, num_layers=num_layers, aggregator=aggregator)


class TestLightGCNOverSums(BuiltInEncoderContract):
    encoder, aggregator = "lightgcn", "sum"


class TestLightGCNOverMeans(BuiltInEncoderContract):
    encoder, aggregator = "lightgcn", "mean"


class TestGraphSAGEOverSums(BuiltInEncoderContract):
    encoder, aggregator = "graphsage", "sum"


class TestGraphSAGEOverMeans(BuiltInEncoderContract):
    encoder, aggregator = "graphsage", "mean"


class TestMean(AggregatorContract):
    def make(self):
        return make("aggregator", "mean")


class TestSum(AggregatorContract):
    def make(self):
        return make("aggregator", "sum")


class TestMaxMargin(LossContract):
    def make(self):
        return make("loss", "max_margin")


class TestSampledSoftmax(LossContract):
    def make(self):
        return make("loss", "sampled_softmax")


class TestCalendar(ContextWeightContract):
    def make(self):
        return make("context weight", "calendar")


class TestPopularity(ContextWeightContract):
    def make(self):
        return make("context weight", "popularity")


class TestRepeat(ContextWeightContract):
    def make(self):
        return make("context weight", "repeat")


class TestTrend(ContextWeightContract):
    def make(self):
        return make("context weight", "trend")


TESTED = {
    "encoder": {"lightgcn", "graphsage"},
    "aggregator": {"mean", "sum"},
    "loss": {"max_margin", "sampled_softmax"},
    "context weight": {"calendar", "popularity", "repeat", "trend"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_built_in_part_is_tested_here(kind):
    built_in = {part.name for part in PLUGINS.parts if part.kind == kind and part.origin.startswith("springtide ")}
    assert built_in == TESTED[kind]
