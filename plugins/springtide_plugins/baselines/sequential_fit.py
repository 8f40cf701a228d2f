"""The networks of the sequence models, and the loop that fits them, with torch."""

import math
from collections.abc import Mapping
from typing import ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from springtide.clock import MS_PER_SECOND
from springtide.plugins.contracts import Observed
from springtide_plugins.baselines.sequential_windows import Windows

_NUM_TIME_BINS = 32  # Powers of 2 of the seconds between two events: the last one is 68 years.
_POPULAR_SHARE = 0.5  # Of the negatives; the others are drawn evenly.
_INIT_STD = 0.02
_CLIP = 5.0  # Norm of the gradients.
_PARTS = 256  # Users whose logits are computed at once.


class Options(Protocol):
    """Options of the fit, as ``sequential`` documents them."""

    kind: ClassVar[Literal["sasrec", "gru4rec", "hstu"]]
    width: int
    layers: int
    heads: int
    length: int
    steps: int
    passes: float
    batch: int
    negatives: int
    loss: Literal["softmax", "gbce"]
    calibration: float
    horizon: int
    half_life: float
    learning_rate: float
    dropout: float
    seed: int


class _Attention(nn.Module):
    """One layer of SASRec: causal attention, then two dense layers, each with normalisation before it."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        width = options.width
        self.heads, self.dropout = options.heads, options.dropout
        self.norm, self.dense_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.dense = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, x: Tensor, allowed: Tensor, ages: Tensor) -> Tensor:
        """Return float32 ``[n, length, width]``; ``allowed``: bool ``[n, 1, length, length]``."""
        n, length, width = x.shape
        parts = self.queries_keys_values(self.norm(x)).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        # Without dropout of its own, which took a sixth of a fit.
        mixed = F.scaled_dot_product_attention(parts[0], parts[1], parts[2], attn_mask=allowed)
        x = x + F.dropout(self.out(mixed.transpose(1, 2).reshape(n, length, width)), self.dropout, self.training)
        dense: Tensor = F.dropout(self.dense(self.dense_norm(x)), self.dropout, self.training)
        return x + dense


class _Pointwise(nn.Module):
    """One layer of HSTU: attention by SiLU with biases of place and time, and gates."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        width = options.width
        self.heads, self.dropout = options.heads, options.dropout
        self.norm, self.mixed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.four, self.out = nn.Linear(width, 4 * width), nn.Linear(width, width)
        self.of_places = nn.Parameter(torch.zeros(options.length))
        self.of_ages = nn.Parameter(torch.zeros(_NUM_TIME_BINS))

    def forward(self, x: Tensor, allowed: Tensor, ages: Tensor) -> Tensor:
        """Return float32 ``[n, length, width]``; ``ages``: int64 ``[n, length, length]``, bins of time between."""
        n, length, width = x.shape
        gates, values, queries, keys = F.silu(self.four(self.norm(x))).view(n, length, 4, self.heads, -1).unbind(2)
        places = torch.arange(length)
        bias = self.of_places[(places[:, None] - places[None, :]).clamp_min(0)] + self.of_ages[ages]  # [n, l, l]
        weights = F.silu(torch.einsum("nihd,njhd->nhij", queries, keys) + bias[:, None]) * allowed
        weights = weights / allowed.sum(-1, keepdim=True).clamp_min(1)
        mixed = torch.einsum("nhij,njhd->nihd", weights, values).reshape(n, length, width)
        gated = self.out(self.mixed_norm(mixed) * gates.reshape(n, length, width))
        return x + F.dropout(gated, self.dropout, self.training)


class _Network(nn.Module):
    """Item vectors, layers over the sequence, and a bias of each item."""

    def __init__(self, num_items: int, options: Options) -> None:
        super().__init__()
        self.kind, self.dropout, self.num_items = options.kind, options.dropout, num_items
        self.items = nn.Embedding(num_items + 1, options.width)  # The last row is the padding.
        self.biases = nn.Parameter(torch.zeros(num_items))
        self.norm = nn.LayerNorm(options.width)
        if options.kind == "gru4rec":
            self.recurrent = nn.GRU(options.width, options.width, options.layers, batch_first=True)
        else:
            layer = _Attention if options.kind == "sasrec" else _Pointwise
            self.places = nn.Embedding(options.length, options.width)
            nn.init.normal_(
                self.places.weight, std=_INIT_STD
            )  # By default 50 times the items', which nobody would see.
            self.layers = nn.ModuleList(layer(options) for _ in range(options.layers))

    def forward(self, items: Tensor, times_ms: Tensor) -> Tensor:
        """Return what is read up to each place, float32 ``[n, length, width]``.

        Args:
            items: int64 ``[n, length]``, oldest first; ``num_items`` for the padding, which comes first.
            times_ms: int64 ``[n, length]``, milliseconds since the Unix epoch.
        """
        x = self.items(items)
        is_there = items < self.num_items
        if self.kind == "gru4rec":
            x = F.dropout(x, self.dropout, self.training) * is_there[..., None]
            read: Tensor = self.recurrent(x)[0]
            return self.norm(read)  # type: ignore[no-any-return]  # torch's own
        length = items.shape[1]
        x = F.dropout(x + self.places.weight, self.dropout, self.training)
        is_past = torch.ones(length, length, dtype=torch.bool).tril()
        allowed = (is_past & is_there[:, None, :]) | torch.eye(length, dtype=torch.bool)  # A row of none would be NaN.
        seconds = (times_ms[:, :, None] - times_ms[:, None, :]).clamp_min(0) / MS_PER_SECOND
        ages = torch.log2(seconds + 1.0).long().clamp_max(_NUM_TIME_BINS - 1)
        for layer in self.layers:
            x = layer(x, allowed[:, None], ages)
        return self.norm(x)  # type: ignore[no-any-return]  # torch's own


def network_of(weights: npt.NDArray[np.float32], num_items: int, options: Options) -> nn.Module:
    """Return a network with fitted weights, float32 ``[num_weights]``, ready to be asked."""
    network = _Network(num_items, options)
    torch.nn.utils.vector_to_parameters(torch.from_numpy(weights), network.parameters())
    return network.eval()


@torch.no_grad()
def logits_of(
    network: nn.Module, items: npt.NDArray[np.int64], times_ms: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Return the logits of all items behind each sequence, float32 ``[n, num_items]``; see ``_Network.forward``."""
    assert isinstance(network, _Network), "made by network_of"
    found = np.empty((len(items), network.num_items), np.float32)
    for first in range(0, len(items), _PARTS):
        part = slice(first, first + _PARTS)
        read = network(torch.from_numpy(items[part]), torch.from_numpy(times_ms[part]))[:, -1]
        found[part] = (read @ network.items.weight[:-1].T + network.biases).numpy()
    return found


def fitted_weights(interactions: Observed, num_items: int, options: Options) -> npt.NDArray[np.float32]:
    """Return all weights, float32 ``[num_weights]``.

    Args:
        interactions: Positive interactions, oldest first.
        num_items: Number of items.
        options: Options of the fit.
    """
    generator = torch.Generator().manual_seed(options.seed)
    state = torch.get_rng_state()
    torch.manual_seed(options.seed)  # Modules and dropout draw from the global generator alone.
    try:
        network = _Network(num_items, options)
        nn.init.normal_(network.items.weight, std=_INIT_STD)
        windows = Windows.of(interactions, options)
        popular = windows.popularity(num_items)
        with torch.no_grad():
            network.biases.copy_(torch.from_numpy(np.log1p(popular) - np.log1p(popular).mean()))
        _learn(network.train(), windows, popular, options, generator)
    finally:
        torch.set_rng_state(state)
    return torch.nn.utils.parameters_to_vector(network.parameters()).detach().numpy()


def _learn(
    network: _Network,
    windows: Windows,
    popularity: npt.NDArray[np.float32],
    options: Options,
    generator: torch.Generator,
) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=options.learning_rate, fused=True)
    num_items = network.num_items
    share = _POPULAR_SHARE if options.loss == "softmax" else 0.0  # gBCE is calibrated for even draws.
    popular = torch.from_numpy(popularity.astype(np.float64))
    chances = (share * popular / popular.sum() + (1.0 - share) / num_items).float()
    is_whole = options.negatives >= num_items
    if is_whole:
        negatives, chances = torch.arange(num_items), torch.full((num_items,), 1.0 / num_items)
    calibration = options.calibration if options.loss == "gbce" else None
    num_steps = min(options.steps, math.ceil(options.passes * windows.count() / options.batch))
    for step in range(num_steps):
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * 0.5 * (1.0 + math.cos(math.pi * step / num_steps))
        batch = windows.draw(options.batch, num_items, generator)
        if not bool(batch["is_target"].any()):  # Nobody had two items: popularity is all that can be learned.
            return
        if not is_whole:
            negatives = torch.multinomial(chances, options.negatives, replacement=True, generator=generator)
        optimizer.zero_grad()
        loss_of(network, batch, negatives, chances, calibration).backward()  # type: ignore[no-untyped-call]  # torch's own
        nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
        optimizer.step()


def loss_of(
    network: nn.Module,
    batch: Mapping[str, Tensor],
    negatives: Tensor,
    chances: Tensor,
    calibration: float | None = None,
) -> Tensor:
    """Return the sampled softmax, or gBCE, of what came later at each place, the mean over the places.

    Args:
        network: A network.
        batch: ``items``, ``times_ms`` and ``targets``, int64 ``[n, length]``, and ``is_target``, bool.
        negatives: int64 ``[m]``, items, drawn with replacement, or all of them once.
        chances: float32 ``[num_items]``, with which they were drawn.
        calibration: ``t`` of gBCE, from 0 (plain BCE) to 1; None for the softmax.
    """
    assert isinstance(network, _Network), "made here"
    read = network(batch["items"], batch["times_ms"])[batch["is_target"]]  # [num_targets, width]
    targets = batch["targets"][batch["is_target"]]
    vectors = network.items.weight
    of_target = (read * vectors[targets]).sum(1) + network.biases[targets]
    of_others = read @ vectors[negatives].T + network.biases[negatives]
    is_target = targets[:, None] == negatives[None, :]
    if calibration is not None:
        share = min(1.0, len(negatives) / max(1, network.num_items - 1))  # Of the other items that are drawn.
        power = share * (calibration * (1.0 - 1.0 / share) + 1.0 / share)  # Equation 13 of Petrov and Macdonald 2023.
        return (F.softplus(of_others).masked_fill(is_target, 0.0).sum(1) + power * F.softplus(-of_target)).mean()
    of_others = of_others - torch.log(len(negatives) * chances[negatives])
    of_others = of_others.masked_fill(is_target, -torch.inf)
    return F.cross_entropy(torch.cat([of_target[:, None], of_others], 1), torch.zeros_like(targets))
