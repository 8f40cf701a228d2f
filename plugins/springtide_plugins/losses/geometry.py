"""Losses of how vectors lie: aligned and uniform, or the same from two views."""

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn import functional as F

from springtide.errors import SettingsError
from springtide.plugins.contracts import Loss, LossInputs
from springtide_plugins.losses.means import over_edges
from springtide_plugins.losses.pairwise import PairwiseLogistic
from springtide_plugins.losses.softmax import SampledSoftmax


class DirectAU(Loss):
    """Users near their items, and users apart from users and items from items; no negatives.

    Wang et al. 2022, "Towards representation alignment and uniformity in collaborative filtering", section 4:
    the mean squared distance of edges, and ``gamma`` times the mean, over users and over items, of
    ``log mean exp(−2 ‖x − y‖²)`` over pairs of different ones.

    Args:
        gamma: What uniformity counts beside alignment.
        max_nodes: How many users, and how many items, of a batch are told apart; memory grows with their square.
    """

    looks_at: ClassVar[frozenset[str]] = frozenset({"user_vectors", "item_vectors"})

    def __init__(self, gamma: NonNegativeFloat = 1.0, max_nodes: Annotated[int, Field(ge=2)] = 2_048) -> None:
        super().__init__()
        self.gamma = gamma
        self.max_nodes = max_nodes

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return alignment and weighted uniformity, float32 scalar."""
        apart = (inputs.user_vectors[inputs.user] - inputs.item_vectors).square().sum(-1)  # [num_edges]
        items = inputs.item_vectors[_firsts(inputs.item, self.max_nodes)]
        uniformity = _uniformity(inputs.user_vectors[: self.max_nodes]) + _uniformity(items)
        return over_edges(apart, inputs) + self.gamma * uniformity / 2.0


class XSimGCL(Loss):
    """A recommendation loss, and a contrast between each node's vector and what it was some layers below.

    Yu et al. 2023, "XSimGCL: Towards extremely simple graph contrastive learning for recommendation", section 3:
    training adds noise of length ``eps`` to each layer, and InfoNCE (van den Oord et al. 2018) wants the final
    vector of a node to be nearer to its own level ``layer`` than to that of any other node: over the users of the
    batch, and over its distinct items.

    Args:
        num_layers: How many layers the encoder has.
        recommendation: The loss that the contrast goes with.
        temperature: Of the recommendation loss.
        contrast_weight: What the contrast counts beside it (λ).
        contrast_temperature: What cosines of the contrast are divided by (τ).
        layer: Which level the vectors are compared with (l*), from 0 to the encoder's number of layers.
        eps: Length of the noise (ε).
        max_nodes: How many users, and how many items, of a batch are contrasted; memory grows with their square.

    Raises:
        SettingsError: If the encoder has no such layer.
    """

    needs_levels: ClassVar[bool] = True
    looks_at: ClassVar[frozenset[str]] = frozenset({"positive", "negative", "user_vectors", "item_vectors"})

    def __init__(
        self,
        num_layers: int,
        recommendation: Literal["cce", "pairwise_logistic"] = "cce",
        temperature: PositiveFloat = 0.15,
        contrast_weight: NonNegativeFloat = 0.1,
        contrast_temperature: PositiveFloat = 0.2,
        layer: Annotated[int, Field(ge=0)] = 1,
        eps: NonNegativeFloat = 0.1,
        max_nodes: PositiveInt = 2_048,
    ) -> None:
        super().__init__()
        if layer > num_layers:
            raise SettingsError(f"wanted a layer of the encoder's, at most {num_layers}, got {layer}")
        self.recommendation: Loss = (
            SampledSoftmax(temperature) if recommendation == "cce" else PairwiseLogistic(temperature)
        )
        self.contrast_weight = contrast_weight
        self.contrast_temperature = contrast_temperature
        self.layer = layer
        self.noise = eps
        self.max_nodes = max_nodes

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return the recommendation loss and the weighted contrast, float32 scalar."""
        loss: Tensor = self.recommendation(inputs)
        users, items = slice(self.max_nodes), _firsts(inputs.item, self.max_nodes)
        contrast = self._contrast(inputs.user_vectors[users], inputs.user_levels[self.layer][users])
        contrast = contrast + self._contrast(inputs.item_vectors[items], inputs.item_levels[self.layer][items])
        return loss + self.contrast_weight * contrast

    def _contrast(self, vectors: Tensor, level: Tensor) -> Tensor:
        """Return the mean InfoNCE of unit vectors and another view of them, float32 ``[n, d]`` each."""
        if not len(vectors):
            return vectors.sum()
        scores = vectors @ F.normalize(level, dim=-1).T / self.contrast_temperature  # [n, n]
        return F.cross_entropy(scores, torch.arange(len(scores), device=scores.device))


def _firsts(codes: Tensor, most: int) -> Tensor:
    """Return where each number comes first, int64, ascending; at most so many."""
    distinct, inverse = torch.unique(codes, return_inverse=True)
    place = torch.arange(len(codes), device=codes.device)
    first = torch.full((len(distinct),), len(codes), device=codes.device).scatter_reduce(0, inverse, place, "amin")
    return first.sort().values[:most]


def _uniformity(vectors: Tensor) -> Tensor:
    """Return ``log mean exp(−2 ‖x − y‖²)`` over pairs of different unit vectors, float32 ``[n, d]``; 0 of none."""
    count = len(vectors)
    if count < 2:
        return 0.0 * vectors.sum()
    exponent = 4.0 * (vectors @ vectors.T) - 4.0  # −2 (2 − 2 cos)
    of_itself = torch.eye(count, dtype=torch.bool, device=vectors.device)
    return torch.logsumexp(exponent.masked_fill(of_itself, -math.inf).flatten(), 0) - math.log(count * (count - 1))
