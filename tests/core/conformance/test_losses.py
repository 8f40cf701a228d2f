"""Each check of losses finds the fault that it is there for, and says what it wanted and what came."""

from dataclasses import replace

import pytest
import torch

from springtide.plugins.contracts import Loss


class Hinge(Loss):
    """A sound loss."""

    def forward(self, inputs):
        distance = inputs.negative[inputs.user] - inputs.positive.unsqueeze(-1)  # [num_edges, num_negatives]
        weight = ~inputs.is_seen[inputs.user] * inputs.weight.unsqueeze(-1)
        return (torch.nn.functional.softplus(5 * distance) * weight).sum() / weight.sum().clamp(min=1e-12)


class OneForEach(Hinge):
    def forward(self, inputs):
        return super().forward(inputs).expand(2)


class Noisy(Hinge):
    calls = 0

    def forward(self, inputs):
        Noisy.calls += 1
        return super().forward(inputs) + Noisy.calls


class UpsideDown(Hinge):
    def forward(self, inputs):
        return -super().forward(inputs)


class Unmoved(Hinge):
    def forward(self, inputs):
        return super().forward(replace(inputs, negative=inputs.negative.detach()))


class PushesWrongly(Hinge):
    """Falls as positives rise, and as negatives rise."""

    def forward(self, inputs):
        return super().forward(inputs) - 10 * inputs.negative.mean()


class Adds(Hinge):
    def forward(self, inputs):
        return super().forward(inputs) * inputs.weight.sum()


class OneListOfNegatives(Hinge):
    def forward(self, inputs):
        return super().forward(inputs) + inputs.negative_log_q[0].mean()


class DividesByNone(Hinge):
    def forward(self, inputs):
        return super().forward(inputs) + (inputs.positive * 0).mean()


class RootOfDistance(Hinge):
    def forward(self, inputs):
        return super().forward(inputs) + (1 - inputs.positive).clamp(min=0).sqrt().sum() / max(len(inputs.user), 1)


@pytest.mark.parametrize(
    ("factory", "check", "wanted", "got"),
    [
        (OneForEach, "the loss is one finite number", "a scalar tensor", "torch.Size([2])"),
        (Noisy, "the same inputs give the same loss", "the same loss of the same inputs", "a difference of 1"),
        (UpsideDown, "the loss falls as positives rise above negatives", "a loss that falls at cosines", "-"),
        (Unmoved, "gradients reach what it looks at and every parameter", "a gradient at negative", "none"),
        (PushesWrongly, "gradients push positives up and negatives down", "rises along each negative", "slopes -"),
        (UpsideDown, "gradients push positives up and negatives down", "falls along each user's positives", "slopes "),
        (Adds, "the loss is a mean", "the same loss when every edge is there twice", "a difference of"),
        (OneListOfNegatives, "each user may have negatives of its own", "the same loss when each user has", "a differ"),
        (
            DividesByNone,
            "empty batches have a finite loss",
            "losses of a batch with no edges that are finite",
            "1 of 1",
        ),
        (
            RootOfDistance,
            "cosines of 1 and minus 1 have finite gradients",
            "gradients at positive where cosines are 1",
            "4 of 4",
        ),
    ],
)
def test_faulty_loss_is_found(factory, check, wanted, got, failures_of):
    failures = failures_of("loss", factory, only=check)
    assert wanted in failures[check][0]
    assert got in failures[check][1]


def test_sound_loss_passes(failures_of):
    assert failures_of("loss", Hinge) == {}
