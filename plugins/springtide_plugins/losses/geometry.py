"""Losses of the geometry of vectors: alignment and uniformity, or the contrast of two views."""

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
    """Alignment of users with their items, and uniformity of users and of items; it needs no negatives.

    Wang et al. 2022, "Towards representation alignment and uniformity in collaborative filtering", section 4: the mean
    squared distance of a user and an item with an edge, plus ``gamma`` times the uniformity, which is the mean over
    users and items of ``log mean exp(−2 ‖x − y‖²)`` over pairs of different ones.

    Args:
        gamma: Weight of the uniformity.
        max_nodes: Most users, and most items, of a batch whose pairs are compared; memory grows with the square.
    """

    looks_at: ClassVar[frozenset[str]] = frozenset({"user_vectors", "item_vectors"})

    def __init__(self, gamma: NonNegativeFloat = 1.0, max_nodes: Annotated[int, Field(ge=2)] = 2_048) -> None:
        super().__init__()
        self.gamma = gamma
        self.max_nodes = max_nodes

    def forward(self, inputs: LossInputs) -> Tensor:
        """Return alignment and weighted uniformity, float32 scalar."""
        distances = (inputs.user_vectors[inputs.user] - inputs.item_vectors).square().sum(-1)  # [num_edges], squared
        items = inputs.item_vectors[_firsts(inputs.item, self.max_nodes)]
        uniformity = _uniformity(inputs.user_vectors[: self.max_nodes]) + _uniformity(items)
        return over_edges(distances, inputs) + self.gamma * uniformity / 2.0


class XSimGCL(Loss):
    """A recommendation loss, plus a contrastive loss between the vector of each node and one of its levels.

    Yu et al. 2023, "XSimGCL: Towards extremely simple graph contrastive learning for recommendation", section 3:
    training adds noise of length ``eps`` to each layer, and InfoNCE (van den Oord et al. 2018) falls as the vector of a
    node comes nearer to the node's own level ``layer`` than to that of any other node. It is computed over the users of
    the batch and over its distinct items.

    Args:
        num_layers: Number of layers of the encoder.
        recommendation: Name of the recommendation loss.
        temperature: Temperature of the recommendation loss.
        contrast_weight: Weight of the contrastive loss (λ).
        contrast_temperature: Temperature of the contrastive loss (τ).
        layer: The level that vectors are compared with (l*), from 0 to the number of layers.
        eps: Length of the noise (ε).
        max_nodes: Most users, and most items, of a batch that are contrasted; memory grows with the square.

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
            raise SettingsError(f"wanted a layer of the encoder, at most {num_layers}, got {layer}")
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
    """Return the first position of each distinct code, int64, ascending; the first ``most`` of them."""
    distinct, inverse = torch.unique(codes, return_inverse=True)
    position = torch.arange(len(codes), device=codes.device)
    first = torch.full((len(distinct),), len(codes), device=codes.device).scatter_reduce(0, inverse, position, "amin")
    return first.sort().values[:most]


def _uniformity(vectors: Tensor) -> Tensor:
    """Return ``log mean exp(−2 ‖x − y‖²)`` over pairs of different unit vectors ``[n, d]``; 0 if there is no pair."""
    count = len(vectors)
    if count < 2:
        return 0.0 * vectors.sum()
    exponent = 4.0 * (vectors @ vectors.T) - 4.0  # −2 (2 − 2 cos)
    is_diagonal = torch.eye(count, dtype=torch.bool, device=vectors.device)
    return torch.logsumexp(exponent.masked_fill(is_diagonal, -math.inf).flatten(), 0) - math.log(count * (count - 1))
