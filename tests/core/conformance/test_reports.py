"""What a failed check says, and how a part comes to its checks."""

import pytest
import torch
from torch import nn

from springtide.conformance import CHECKS
from springtide.errors import ConformanceError
from springtide.plugins.contracts import Encoder, Loss
from springtide.testing import check_encoder, check_loss


class Sum(Loss):
    """Falls as it should, but is a sum, not a mean."""

    def forward(self, inputs):
        distance = inputs.negative[inputs.user] - inputs.positive.unsqueeze(-1)  # [num_edges, num_negatives]
        weight = ~inputs.is_seen[inputs.user] * inputs.weight.unsqueeze(-1)
        return (torch.nn.functional.softplus(5 * distance) * weight).sum()


class Deafable(Encoder):
    """A node's own level through a matrix, and its neighbours' message unless it is deaf."""

    def __init__(self, width, num_layers, aggregator, is_deaf: bool = False):
        super().__init__(width, num_layers, aggregator)
        self.is_deaf = is_deaf
        self.matrices = nn.ModuleList(nn.Linear(width, width) for _ in range(num_layers))

    def layer(self, depth, sources, targets, edges):
        message = 0.0 if self.is_deaf else edges.aggregate(sources, self.aggregators[depth])
        return self.matrices[depth](targets + message)


def test_failure_names_the_part_and_says_what_was_wanted_and_what_came():
    with pytest.raises(ConformanceError) as failed:
        check_loss(Sum)
    said = str(failed.value)
    assert said.startswith("loss 'Sum' fails ")
    assert "✗ the loss is a mean\n    wanted the same loss when every edge is there twice, got a difference of " in said


def test_failure_is_an_assertion_for_pytest():
    with pytest.raises(AssertionError):
        check_loss(Sum)


def test_factory_that_does_not_declare_its_options_is_refused_by_its_name():
    def make_sum(power):
        return Sum()

    with pytest.raises(ConformanceError, match=r"^loss 'make_sum': option 'power' has no type"):
        check_loss(make_sum)


def test_options_are_passed_on():
    check_encoder(Deafable)
    with pytest.raises(ConformanceError, match="vectors depend on neighbours"):
        check_encoder(Deafable, is_deaf=True)


@pytest.mark.parametrize("kind", CHECKS)
def test_every_check_has_a_name_and_a_reason(kind):
    names = [check.name for check in CHECKS[kind]]
    assert len(set(names)) == len(names)
    assert all(check.reason.endswith(".") for check in CHECKS[kind])
