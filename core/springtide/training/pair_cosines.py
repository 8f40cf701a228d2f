"""Unit vectors, cosines of users with single items, and the few nodes of many that a training step looks at."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from springtide.training.kernels import add_pair_gradients, pair_products

_SHORTEST = 1e-12  # Shorter vectors are divided by this, as in torch's normalize.


def cosines_of_pairs(users: Tensor, items: Tensor, rows: Tensor) -> Tensor:
    """Return the products of each user's vector with those of the user's items, float32 ``[num_users, count]``.

    On a CPU no vector is copied for each pair, neither here nor for the gradients: that would take most of the time of
    a step on a small graph.

    Args:
        users: float32 ``[num_users, d]``, unit vectors.
        items: float32 ``[n, d]``, unit vectors.
        rows: int64 ``[num_users, count]``, rows of ``items`` for each user.
    """
    if users.device.type == "cpu":
        products: Tensor = _PairProducts.apply(users, items, rows)  # type: ignore[no-untyped-call]  # torch's own
        return products
    of_pairs = items.index_select(0, rows.flatten()).view(*rows.shape, -1)  # [num_users, count, d]
    return (of_pairs * users.unsqueeze(1)).sum(-1)


class _PairProducts(torch.autograd.Function):
    """The compiled loops as a function that torch can differentiate."""

    @staticmethod
    def forward(ctx: Any, users: Tensor, items: Tensor, rows: Tensor) -> Tensor:
        users, items, rows = users.contiguous(), items.contiguous(), rows.contiguous()
        ctx.save_for_backward(users, items, rows)
        products = np.empty(tuple(rows.shape), np.float32)
        pair_products(users.detach().numpy(), items.detach().numpy(), rows.numpy(), products)
        return torch.from_numpy(products)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        users, items, rows = ctx.saved_tensors
        of_users, of_items = torch.zeros_like(users), torch.zeros_like(items)
        add_pair_gradients(
            users.numpy(),
            items.numpy(),
            rows.numpy(),
            gradients[0].contiguous().numpy(),
            of_users.numpy(),
            of_items.numpy(),
        )
        return of_users, of_items, None


def unit_vectors(vectors: Tensor) -> Tensor:
    """Return the vectors divided by their lengths, float32 ``[n, d]``: ``normalize`` of torch, whose gradient is slow.

    Args:
        vectors: float32 ``[n, d]``; those that are 0 stay 0.
    """
    units: Tensor = _UnitVectors.apply(vectors)  # type: ignore[no-untyped-call]  # torch's own
    return units


class _UnitVectors(torch.autograd.Function):
    """Division by the length. The gradient is what is left across the vector, divided by the length."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True).clamp_min_(_SHORTEST)
        units: Tensor = vectors / lengths
        ctx.save_for_backward(units, lengths)
        return units

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        units, lengths = ctx.saved_tensors
        along = (gradients[0] * units).sum(-1, keepdim=True)
        return torch.addcmul(gradients[0], units, along, value=-1.0).div_(lengths)


def restricted(vectors: Tensor, groups: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return the vectors that some groups of rows name, and the groups as rows of these; all vectors if they are few.

    What follows then costs by what a step has drawn, not by the size of the graph.

    Args:
        vectors: float32 ``[num_nodes, d]``.
        groups: Rows, int64 each.
    """
    if sum(map(len, groups)) >= len(vectors):
        return vectors, list(groups)
    is_drawn = torch.zeros(len(vectors), dtype=torch.bool, device=vectors.device)
    for group in groups:
        is_drawn[group] = True
    position = is_drawn.cumsum(0) - 1  # [num_nodes], of those that are drawn
    return vectors.index_select(0, is_drawn.nonzero().flatten()), [position[group] for group in groups]
