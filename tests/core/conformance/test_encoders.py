"""Each check of encoders finds the fault that it is there for, and says what it wanted and what came."""

import pytest
import torch
from torch import nn
from torch_geometric.nn import SumAggregation

from springtide.plugins.contracts import Encoder
from springtide.plugins.loading import load_plugins

PLUGINS = load_plugins()


class Mean(Encoder):
    """A sound encoder: its own level and the mean of its neighbours', through a matrix."""

    def __init__(self, width, num_layers, aggregator):
        super().__init__(width, num_layers, aggregator)
        self.matrices = nn.ModuleList(nn.Linear(width, width) for _ in range(num_layers))

    def layer(self, depth, sources, targets, edges):
        return self.matrices[depth](targets + edges.aggregate(sources, self.aggregators[depth]))


class TooWide(Mean):
    def layer(self, depth, sources, targets, edges):
        return torch.cat([super().layer(depth, sources, targets, edges)] * 2, dim=1)


class Restless(Mean):
    def layer(self, depth, sources, targets, edges):
        return super().layer(depth, sources, targets, edges) + torch.rand(1)


class Idle(Mean):
    def __init__(self, width, num_layers, aggregator):
        super().__init__(width, num_layers, aggregator)
        self.never_used = nn.Parameter(torch.ones(1))


class Deaf(Mean):
    def layer(self, depth, sources, targets, edges):
        return self.matrices[depth](targets)


class ByRow(Mean):
    def layer(self, depth, sources, targets, edges):
        return super().layer(depth, sources, targets, edges) * torch.arange(len(targets)).unsqueeze(1)


class DividesByDegree(Mean):
    def layer(self, depth, sources, targets, edges):
        summed = edges.aggregate(sources, SumAggregation())
        return self.matrices[depth](targets + summed / edges.target_degree.unsqueeze(1))


class NeedsNodes(Mean):
    def layer(self, depth, sources, targets, edges):
        return super().layer(depth, sources, targets, edges) + targets[0] * 0


class NeedsManyNodes(Mean):
    def layer(self, depth, sources, targets, edges):
        return super().layer(depth, sources, targets, edges) + (targets[2] * 0 if len(targets) else 0)


class NoPairTwice(Mean):
    def layer(self, depth, sources, targets, edges):
        pairs = torch.stack([edges.source, edges.target])
        assert torch.unique(pairs, dim=1).shape == pairs.shape, "a pair is there twice"
        return super().layer(depth, sources, targets, edges)


class Explodes(Mean):
    def layer(self, depth, sources, targets, edges):
        grown = torch.zeros(len(targets)).index_add(0, edges.target, edges.age_days.exp())
        return super().layer(depth, sources, targets, edges) + grown.unsqueeze(1)


class LooksAround(Mean):
    def layer(self, depth, sources, targets, edges):
        return super().layer(depth, sources, targets, edges) - targets.mean(0)


class Forgetful(Mean):
    def __init__(self, width, num_layers, aggregator):
        super().__init__(width, num_layers, aggregator)
        self.not_kept = torch.rand(width)

    def readout(self, levels):
        return levels[-1] + self.not_kept


class LooksAwayFromIds(Mean):
    def layer(self, depth, sources, targets, edges):
        return super().layer(depth, sources.detach() * 0, targets.detach() * 0, edges)


@pytest.mark.parametrize(
    ("factory", "check", "wanted", "got"),
    [
        (TooWide, "levels and vectors have the width of the inputs", "", ""),
        (Restless, "the same seed gives the same vectors", "the same vectors when computed twice", "a difference of"),
        (Idle, "gradients reach the inputs and every parameter", "a gradient at parameter 'never_used'", "none"),
        (Deaf, "vectors depend on neighbours", "another vector when the neighbours change", "the same"),
        (ByRow, "the order of nodes does not matter", "the same vectors when nodes come in another order", "a differ"),
        (
            DividesByDegree,
            "nodes without edges have finite vectors and gradients",
            "numbers in the vectors of nodes without edges that are finite",
            "32 of 32 numbers that are not",
        ),
        (NeedsNodes, "no nodes give no vectors", "no error", "IndexError"),
        (NeedsManyNodes, "one user with one item has a vector", "no error", "IndexError"),
        (NoPairTwice, "duplicate edges give finite vectors", "no error", "AssertionError: a pair is there twice"),
        (Explodes, "heavy and old edges give finite vectors", "vectors that are finite", "numbers that are not"),
        (LooksAround, "a fold in gives the vectors of the whole graph", "vectors of nodes [1] when folded", "a dif"),
        (Forgetful, "saving and loading changes no vector", "the same vectors after saving and loading", "a dif"),
    ],
)
def test_faulty_encoder_is_found(factory, check, wanted, got, failures_of):
    failures = failures_of("encoder", factory, only=check)
    assert set(failures) == {check}
    assert wanted in failures[check][0]
    assert got in failures[check][1]


def test_encoder_that_cannot_learn_from_interactions_is_found(failures_of):
    failures = failures_of("encoder", LooksAwayFromIds, PLUGINS, "the withheld item is ranked first")
    wanted, got = failures["the withheld item is ranked first"]
    assert wanted == "item i first for at least 80% of users"
    assert got.endswith("%")


def test_sound_encoder_passes(failures_of):
    assert failures_of("encoder", Mean, PLUGINS) == {}
