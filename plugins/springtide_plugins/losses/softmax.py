"""The loss of one item among all."""

import torch
from pydantic import PositiveFloat
from torch import Tensor

from springtide.plugins.contracts import Loss, LossInputs
from springtide_plugins.losses.means import over_edges


class SampledSoftmax(Loss):
    """The positive item against all items, the others stood for by a sample that is corrected for how it was drawn.

    Categorical cross entropy. Bengio & Senécal 2008; Yi et al. 2019, "Sampling-bias-corrected neural modeling for
    large corpus item recommendations", eqs. 4 and 5: each cosine over the temperature, less the log of its sampling
    probability. Sampled items that the user has are left in, as there: all items stand in the denominator.

    Args:
        temperature: What cosines are divided by.
    """

    def __init__(self, temperature: PositiveFloat = 0.15) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the mean negative log-likelihood of the batch, float32 scalar."""
        positive = inputs.positive / self.temperature - inputs.positive_log_q
        negative = inputs.negative / self.temperature - inputs.negative_log_q
        others = torch.logsumexp(negative, dim=1)[inputs.user]  # [num_edges], once for each user, shared by its edges
        return over_edges(torch.logaddexp(positive, others) - positive, inputs)
