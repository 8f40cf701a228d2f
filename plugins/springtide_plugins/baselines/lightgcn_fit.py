"""The loop that fits LightGCN, with PyG's model and loss; a fitted baseline serves without them."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor
from torch_geometric.nn.models import LightGCN

_REDRAWS = 5  # Of items that the user has had: where that is half of them, one negative in 64 still is one.


class Options(Protocol):
    """Options of the fit, as ``LightGCNBPR`` documents them."""

    width: int
    num_layers: int
    steps: int
    batch_pairs: int
    learning_rate: float
    l2: float
    seed: int


class Product(torch.autograd.Function):
    """The product of a symmetric sparse matrix and vectors; the same product carries the gradient back.

    PyG's own propagation makes the transpose anew in each step, which takes five times as long.
    """

    @staticmethod
    def forward(ctx: Any, matrix: sparse.csr_array, vectors: Tensor) -> Tensor:
        """Multiply: float32 ``[n, n]`` times ``[n, width]``."""
        ctx.matrix = matrix
        return torch.from_numpy(matrix @ vectors.numpy())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        """Multiply by the transpose, which is the same."""
        return None, torch.from_numpy(ctx.matrix @ gradients[0].numpy())


class Propagation(torch.nn.Module):
    """PyG's ``LGConv`` on one graph: the mean of equation 3, by the roots of both degrees.

    Args:
        seen: float32 ``[num_users, num_items]``, 1 for each item that a user has had.

    Attributes:
        matrix: float32 ``[n, n]``, symmetric; users come before items.
    """

    def __init__(self, seen: sparse.csr_array) -> None:
        super().__init__()
        num_users_of = np.bincount(seen.indices, minlength=seen.shape[1])
        users = np.repeat(np.arange(seen.shape[0]), np.diff(seen.indptr))
        weights = 1.0 / np.sqrt(np.diff(seen.indptr)[users] * num_users_of[seen.indices])
        half = sparse.csr_array((weights.astype(np.float32), seen.indices, seen.indptr), shape=seen.shape)
        self.matrix = sparse.csr_array(sparse.block_array([[None, half], [half.T, None]], format="csr"))

    def forward(self, x: Tensor, edge_index: Tensor | None = None, edge_weight: Tensor | None = None) -> Tensor:
        """Propagate vectors ``[n, width]`` once; the graph is the module's own."""
        propagated: Tensor = Product.apply(self.matrix, x)  # type: ignore[no-untyped-call]  # torch's own
        return propagated


def fitted_layers(seen: sparse.csr_array, options: Options) -> npt.NDArray[np.float32]:
    """Return the embeddings of each layer, float32 ``[num_layers + 1, num_users + num_items, width]``.

    Those without interactions keep embeddings of 0.

    Args:
        seen: float32 ``[num_users, num_items]``, 1 for each item that a user has had; at least one.
        options: Options of the fit.
    """
    num_users, num_items = seen.shape
    generator = torch.Generator().manual_seed(options.seed)
    model = LightGCN(num_users + num_items, options.width, options.num_layers)
    propagation = Propagation(seen)
    model.convs = torch.nn.ModuleList([propagation] * options.num_layers)
    embeddings = model.embedding.weight
    torch.nn.init.xavier_uniform_(embeddings, generator=generator)
    optimizer = torch.optim.Adam([embeddings], lr=options.learning_rate, fused=True)
    users = torch.from_numpy(np.repeat(np.arange(num_users), np.diff(seen.indptr)))
    items = torch.from_numpy(seen.indices.astype(np.int64))
    pairs = users * num_items + items  # Sorted.
    order = pairs[:0]
    for _ in range(options.steps):
        if not len(order):
            order = torch.randperm(len(pairs), generator=generator)
        batch, order = order[: options.batch_pairs], order[options.batch_pairs :]
        negatives = unseen_items(users[batch], pairs, num_items, generator)
        nodes = torch.stack([users[batch], items[batch] + num_users, negatives + num_users])
        vectors = model.get_embedding(None)[nodes]  # [3, n, width]
        ranks = (vectors[0] * vectors[1:]).sum(dim=-1)  # [2, n]
        optimizer.zero_grad()
        # The penalty is half the squared lengths, as in the authors' code.
        model.recommendation_loss(ranks[0], ranks[1], nodes.flatten(), lambda_reg=0.5 * options.l2).backward()
        optimizer.step()
    with torch.no_grad():
        embeddings[torch.from_numpy(np.diff(propagation.matrix.indptr) == 0)] = 0.0
        layers = [embeddings]
        for _ in range(options.num_layers):
            layers.append(propagation(layers[-1]))
    return torch.stack(layers).detach().numpy()


def unseen_items(users: Tensor, pairs: Tensor, num_items: int, generator: torch.Generator) -> Tensor:
    """Draw an item uniformly for each user, again where the user has had it, int64 ``[n]``.

    Args:
        users: int64 ``[n]``.
        pairs: int64 ``[m]``, user times ``num_items`` plus item, ascending.
        num_items: Number of items.
        generator: Draws.
    """
    drawn = torch.randint(num_items, users.shape, generator=generator)
    for _ in range(_REDRAWS):
        wanted = users * num_items + drawn
        found = pairs[torch.searchsorted(pairs, wanted).clamp_(max=len(pairs) - 1)]
        is_seen = (found == wanted).nonzero().flatten()
        drawn[is_seen] = torch.randint(num_items, is_seen.shape, generator=generator)
    return drawn
