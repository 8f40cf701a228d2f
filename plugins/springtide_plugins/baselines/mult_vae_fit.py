"""The loop that fits the variational autoencoder, with torch; a fitted baseline serves without it."""

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F

_BIAS_STD = 1e-3  # As the authors' code sets them up.


class Options(Protocol):
    """Options of the fit, as ``MultVAE`` documents them."""

    hidden: int
    latent: int
    steps: int
    batch_users: int
    learning_rate: float
    dropout: float
    most_kl: float
    annealed_share: float
    seed: int


def fitted_weights(seen: sparse.csr_array, options: Options) -> dict[str, npt.NDArray[np.float32]]:
    """Return the weights by their names in ``MultVAE``.

    Args:
        seen: float32 ``[num_users, num_items]``, 1 for each item that a user has had.
        options: Options of the fit.
    """
    generator = torch.Generator().manual_seed(options.seed)
    num_items = seen.shape[1]
    widths = {
        "encoder_in": (num_items, options.hidden),
        "encoder_out": (options.hidden, 2 * options.latent),  # Mean and log variance.
        "decoder_in": (options.latent, options.hidden),
        "decoder_out": (options.hidden, num_items),
    }
    weights: dict[str, Tensor] = {}
    for name, shape in widths.items():
        weights[name] = torch.nn.init.xavier_uniform_(torch.empty(shape), generator=generator).requires_grad_()
        bias = torch.nn.init.trunc_normal_(torch.empty(shape[1]), std=_BIAS_STD, generator=generator)
        weights[f"{name}_bias"] = bias.requires_grad_()
    optimizer = torch.optim.Adam(weights.values(), lr=options.learning_rate, fused=True)
    with_items = torch.from_numpy(np.flatnonzero(np.diff(seen.indptr)))
    order = with_items[:0]
    for step in range(options.steps):
        if not len(order):
            order = with_items[torch.randperm(len(with_items), generator=generator)]
        users, order = order[: options.batch_users].numpy(), order[options.batch_users :]
        kl_weight = options.most_kl * min(1.0, step / (options.annealed_share * options.steps))
        optimizer.zero_grad()
        loss(seen[users], weights, options.dropout, kl_weight, generator).backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()
    found = {name: weight.detach().numpy() for name, weight in weights.items()}
    for name in ("encoder_out", "encoder_out_bias"):
        found[name] = np.ascontiguousarray(found[name][..., : options.latent])
    return found


def loss(
    seen: sparse.csr_array, weights: dict[str, Tensor], dropout: float, kl_weight: float, generator: torch.Generator
) -> Tensor:
    """Return the negative evidence lower bound of a batch of users, the mean over them.

    Args:
        seen: float32 ``[n, num_items]``, at least one item of each user.
        weights: Weights by name.
        dropout: Share of the items that are hidden from the encoder.
        kl_weight: Weight of the Kullback-Leibler divergence.
        generator: Draws the hidden items and the latent vectors.
    """
    counts = torch.from_numpy(np.diff(seen.indptr).astype(np.int64))
    items, offsets = torch.from_numpy(seen.indices.astype(np.int64)), torch.from_numpy(seen.indptr.astype(np.int64))
    users = torch.repeat_interleave(torch.arange(len(counts)), counts)
    is_shown = torch.rand(len(items), generator=generator) >= dropout
    # Inputs have length 1 before dropout, and what is shown makes up for what is hidden.
    inputs = is_shown / (counts.float().sqrt()[users] * (1.0 - dropout))
    hidden = F.embedding_bag(items, weights["encoder_in"], offsets[:-1], mode="sum", per_sample_weights=inputs)
    hidden = (hidden + weights["encoder_in_bias"]).tanh()  # [n, hidden]
    mean, log_variance = (hidden @ weights["encoder_out"] + weights["encoder_out_bias"]).chunk(2, dim=1)
    latent = mean + torch.randn(mean.shape, generator=generator) * (0.5 * log_variance).exp()  # [n, latent]
    hidden = (latent @ weights["decoder_in"] + weights["decoder_in_bias"]).tanh()
    logits = hidden @ weights["decoder_out"] + weights["decoder_out_bias"]  # [n, num_items]
    likelihood = logits[users, items].sum() - counts.to(logits) @ logits.logsumexp(dim=1)
    kl = 0.5 * (log_variance.exp() + mean**2 - 1.0 - log_variance).sum()
    return (kl_weight * kl - likelihood) / len(counts)
