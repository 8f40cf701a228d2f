"""Losses: from cosines of positive and sampled items to one number."""

import torch
from torch import Tensor

from springtide.errors import SettingsError
from springtide.plugins.contracts import Loss, LossInputs


class MaxMargin(Loss):
    """A positive must rise above each sampled negative by a margin.

    The loss of the walk-through (and of PinSage, Ying et al. 2018, eq. 1): the mean over edges and negatives of
    ``max(0, negative − positive + margin)``. Sampled items that the user does have an edge to are left out.

    Args:
        margin: Wanted distance between cosines, above 0 and at most 2.
        max_negatives: How many of the shared negatives each edge is compared with, at most.
    """

    def __init__(self, margin: float = 0.2, max_negatives: int = 128) -> None:
        super().__init__()
        if not 0 < margin <= 2:
            raise SettingsError(f"loss 'max_margin': wanted a margin above 0 and at most 2, got {margin}")
        if max_negatives < 1:
            raise SettingsError(f"loss 'max_margin': wanted max_negatives of at least 1, got {max_negatives}")
        self.margin = margin
        self.max_negatives = max_negatives

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the mean hinge of the batch, float32 scalar."""
        negative = inputs.negative[:, : self.max_negatives]
        is_negative = ~inputs.is_own[:, : self.max_negatives]
        hinge = (negative[inputs.user] - inputs.positive.unsqueeze(-1) + self.margin).relu()  # [num_edges, negatives]
        weight = is_negative[inputs.user] * inputs.weight.unsqueeze(-1)
        return (hinge * weight).sum() / weight.sum().clamp(min=1e-12)


class SampledSoftmax(Loss):
    """The positive item against all items, the others stood for by a sample that is corrected for how it was drawn.

    Bengio & Senécal 2008; Yi et al. 2019, "Sampling-bias-corrected neural modeling for large corpus item
    recommendations", eqs. 4 and 5: each cosine over the temperature, less the log of its sampling probability.

    Args:
        temperature: What cosines are divided by, above 0.
    """

    def __init__(self, temperature: float = 0.15) -> None:
        super().__init__()
        if not temperature > 0:
            raise SettingsError(f"loss 'sampled_softmax': wanted a temperature above 0, got {temperature}")
        self.temperature = temperature

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the mean negative log-likelihood of the batch, float32 scalar."""
        positive = inputs.positive / self.temperature - inputs.positive_log_q
        negative = inputs.negative / self.temperature - inputs.negative_log_q
        others = torch.logsumexp(negative, dim=1)[inputs.user]  # [num_edges], once for each user, shared by its edges
        loss = torch.logaddexp(positive, others) - positive
        return (loss * inputs.weight).sum() / inputs.weight.sum()
