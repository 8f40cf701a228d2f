"""Each check of aggregators finds the fault that it is there for, and says what it wanted and what came."""

import pytest
import torch
from torch_geometric.nn import Aggregation, QuantileAggregation


class Messages(Aggregation):
    """Sums, with something added to it."""

    def forward(self, x, index=None, ptr=None, dim_size=None, dim=-2):
        return self.changed(self.reduce(x, index, ptr, dim_size, dim, reduce="sum"), x, index)

    def changed(self, summed, x, index):
        return summed


class Narrow(Messages):
    def changed(self, summed, x, index):
        return summed[:, :1]


class RestlessSum(Messages):
    def changed(self, summed, x, index):
        return summed + torch.rand(1)


class DeadSum(Messages):
    def changed(self, summed, x, index):
        return summed.detach() + x.sum() * 0


class SumOfAll(Messages):
    def changed(self, summed, x, index):
        return summed + x.mean()


class LastCounts(Messages):
    def changed(self, summed, x, index):
        return summed.index_copy(0, index, x)


class NoneIsNaN(Messages):
    def forward(self, x, index=None, ptr=None, dim_size=None, dim=-2):
        summed = super().forward(x, index, ptr, dim_size, dim)
        return summed / torch.bincount(index, minlength=dim_size).unsqueeze(-1)


class RootOfSum(Messages):
    def changed(self, summed, x, index):
        return summed.abs().sqrt()


class UpToFifty(Messages):
    def changed(self, summed, x, index):
        assert len(x) <= 50, "too many messages"
        return summed


class Uncopied(Messages):
    def __init__(self):
        super().__init__()
        self.scale = [torch.ones(1)]

    def __deepcopy__(self, memo):
        return self

    def reset_parameters(self):
        self.scale = [torch.full((1,), 2.0)]

    def changed(self, summed, x, index):
        return summed * self.scale[0]


class ForgetfulSum(Messages):
    def __init__(self):
        super().__init__()
        self.scale = torch.rand(1)

    def changed(self, summed, x, index):
        return summed * self.scale

    def forward(self, x, index=None, ptr=None, dim_size=None, dim=-2):
        return super().forward(x + (len(x) % 2), index, ptr, dim_size, dim)


@pytest.mark.parametrize(
    ("factory", "check", "wanted"),
    [
        (Narrow, "targets get one message of the same width", "messages of shape [15, 16]"),
        (RestlessSum, "the same seed gives the same messages", "the same messages when computed twice"),
        (DeadSum, "gradients reach the messages and every parameter", "a gradient at the messages"),
        (LastCounts, "the order of messages does not matter", "or is_permutation_invariant = False on the class"),
        (SumOfAll, "targets do not depend on each other", "the same messages of targets [1] alone"),
        (NoneIsNaN, "targets get one message of the same width", "messages that are finite"),
        (RootOfSum, "equal messages have finite gradients", "gradients at the messages that are finite"),
        (UpToFifty, "duplicate messages give finite numbers", "no error"),
        (Uncopied, "it can be copied and reset", "the same messages when a copy is reset"),
        (ForgetfulSum, "saving and loading changes no message", "the same messages after saving and loading"),
    ],
)
def test_faulty_aggregator_is_found(factory, check, wanted, failures_of):
    failures = failures_of("aggregator", factory, only=check)
    assert wanted in failures[check][0]


def test_aggregator_that_fails_where_the_first_node_is_isolated_is_found(failures_of):
    # PyG 2.8's reads the message before the first one.
    found = failures_of(
        "aggregator", lambda: QuantileAggregation(0.75), only="targets get one message of the same width"
    )
    assert "IndexError" in found["targets get one message of the same width"][1]


def test_aggregator_may_declare_that_the_order_matters(failures_of):
    class InOrder(LastCounts):
        is_permutation_invariant = False

    assert failures_of("aggregator", InOrder, only="the order of messages does not matter") == {}
