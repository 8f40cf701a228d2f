"""A plain LightGCN, as its paper writes it and as one writes it in an afternoon: a peer for the training bench."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from springtide.interactions import History, Observed
from springtide.plugins.contracts import Baseline


class LightGCN(Baseline):
    """Vectors of users and items, the mean of their neighbours' over layers, with the BPR loss (He et al. 2020).

    Each step propagates over the whole graph, and learns from one batch of pairs with a random item each.

    Args:
        epochs: Passes over the distinct pairs of user and item.
        batch: Pairs a step. The paper has 2,048; larger ones propagate less often, and learn at a higher rate.
    """

    def __init__(self, epochs: int, batch: int = 32_768) -> None:
        self._epochs, self._batch = epochs, batch
        self._width, self._num_layers, self._rate, self._l2 = 64, 3, 0.01, 1e-4

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        torch.manual_seed(0)
        pairs = np.unique(interactions.user_rows.astype(np.int64) * num_items + interactions.item_rows)
        users, items = torch.from_numpy(pairs // num_items), torch.from_numpy(pairs % num_items)
        num_nodes = num_users + num_items
        graph = _normalised(users, items + num_users, num_nodes)
        layer_0 = torch.nn.Parameter(0.1 * torch.randn(num_nodes, self._width))
        optimizer = torch.optim.Adam([layer_0], lr=self._rate)
        for _ in range(self._epochs):
            for batch in torch.randperm(len(users)).split(self._batch):
                user, bought = users[batch], items[batch] + num_users
                random = torch.randint(num_users, num_nodes, (len(batch),))
                vectors = self._propagated(layer_0, graph)
                margin = (vectors[user] * (vectors[bought] - vectors[random])).sum(-1)
                norms = layer_0[torch.cat([user, bought, random])].pow(2).sum() / (2 * len(batch))
                optimizer.zero_grad()
                (F.softplus(-margin).mean() + self._l2 * norms).backward()
                optimizer.step()
        with torch.no_grad():
            vectors = self._propagated(layer_0, graph)
        self._users, self._items = vectors[:num_users].numpy(), vectors[num_users:].numpy()

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        scores: npt.NDArray[np.float32] = self._users[user_rows] @ self._items.T
        scores[user_rows < 0] = 0.0
        return scores

    def state(self) -> dict[str, npt.NDArray[Any]]:
        return {"users": self._users.copy(), "items": self._items.copy()}

    def _propagated(self, layer_0: torch.Tensor, graph: torch.Tensor) -> torch.Tensor:
        layers = [layer_0]
        for _ in range(self._num_layers):
            layers.append(graph @ layers[-1])
        return torch.stack(layers).mean(0)


def _normalised(users: torch.Tensor, items: torch.Tensor, num_nodes: int) -> torch.Tensor:
    """Return the symmetric matrix of pairs, each divided by the root of both degrees, ``[num_nodes, num_nodes]``."""
    both_ways = torch.stack([torch.cat([users, items]), torch.cat([items, users])])
    degrees = torch.bincount(both_ways[0], minlength=num_nodes).float()
    weights = (degrees[both_ways[0]] * degrees[both_ways[1]]).rsqrt()
    return torch.sparse_coo_tensor(both_ways, weights, (num_nodes, num_nodes)).coalesce().to_sparse_csr()
