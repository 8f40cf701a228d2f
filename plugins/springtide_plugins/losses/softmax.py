"""The sampled softmax loss."""

import torch
from pydantic import PositiveFloat
from torch import Tensor

from springtide.plugins.contracts import Loss, LossInputs
from springtide_plugins.losses.means import over_edges


class SampledSoftmax(Loss):
    """Categorical cross entropy of the positive item among all items, estimated from a sample of the others.

    Bengio & Senécal 2008; Yi et al. 2019, "Sampling-bias-corrected neural modeling for large corpus item
    recommendations", eqs. 4 and 5: each score is a cosine over the temperature, minus the log of its sampling
    probability. Sampled items that the user has seen are kept, as in the paper, since all items are in the denominator.

    Args:
        temperature: Divisor of cosines.
    """

    def __init__(self, temperature: PositiveFloat = 0.15) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the mean negative log-likelihood of the batch, float32 scalar."""
        positive = inputs.positive / self.temperature - inputs.positive_log_q
        negative = inputs.negative / self.temperature - inputs.negative_log_q
        log_total = torch.logsumexp(negative, dim=1)[inputs.user]  # [num_edges], computed once for each user
        return over_edges(torch.logaddexp(positive, log_total) - positive, inputs)
