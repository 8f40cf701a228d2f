"""LightGCN as published; fitted with torch and PyG, asked with NumPy alone."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from springtide.plugins.contracts import History, Observed
from springtide_plugins.baselines.histories import HistoryEvents, scaled_below_one
from springtide_plugins.baselines.popularity import Popularity


class LightGCNBPR(Popularity):
    """LightGCN with the BPR loss on the graph of users and items, as published: the model class is PyG's.

    He, Deng, Wang, Li, Zhang and Wang 2020, LightGCN: Simplifying and Powering Graph Convolution Network for
    Recommendation, equations 3 to 5 and 15. Nothing but the first embeddings is learned. A request propagates the items
    of the user's history anew (equation 3), so that an event of a second ago counts; a user that came after the fit has
    a first embedding of 0. For a user whose history is that of the fit the answer is PyG's own. Popularity answers
    users without any known item.

    Args:
        width: Number of dimensions of an embedding.
        num_layers: Number of propagations; the layers' embeddings are averaged.
        steps: Number of batches; each propagates over the whole graph.
        batch_pairs: Pairs of user and item in a batch, each with one unseen item, drawn uniformly.
        learning_rate: Learning rate of Adam.
        l2: L2 penalty of the first embeddings in a batch, by its number of pairs.
        seed: Seed of the initial embeddings and of the batches.
        num_threads: Number of threads of the fit; with another number, its sums are rounded otherwise.
    """

    learned: ClassVar[tuple[str, ...]] = ("num_users_of", "item_vectors", "item_messages", "user_embeddings")
    by_user: ClassVar[tuple[str, ...]] = ("user_embeddings",)
    item_vectors: npt.NDArray[np.float32]  # [num_items, width], means over the layers.
    item_messages: npt.NDArray[np.float32]  # [num_items, width], what an item adds to a user, without the user's root.
    user_embeddings: npt.NDArray[np.float32]  # [num_users, width], the first, divided by the number of layers + 1.

    def __init__(
        self,
        width: PositiveInt = 64,
        num_layers: PositiveInt = 2,
        steps: PositiveInt = 600,
        batch_pairs: PositiveInt = 16_384,
        learning_rate: PositiveFloat = 0.01,
        l2: NonNegativeFloat = 1e-4,
        seed: NonNegativeInt = 0,
        num_threads: PositiveInt = 1,
    ) -> None:
        self.width = width
        self.num_layers = num_layers
        self.steps = steps
        self.batch_pairs = batch_pairs
        self.learning_rate = learning_rate
        self.l2 = l2
        self.seed = seed
        self.num_threads = num_threads

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Learn the first embeddings, and propagate them."""
        # They import torch, which serving does not need.
        from springtide_plugins.baselines.lightgcn_fit import fitted_layers
        from springtide_plugins.baselines.torch_threads import torch_threads

        seen = self.count_users(interactions, num_users, num_items)
        with torch_threads(self.num_threads):
            layers = fitted_layers(seen, self)
        layers /= np.float32(self.num_layers + 1)
        self.user_embeddings = layers[0, :num_users].copy()
        self.item_vectors = layers[:, num_users:].sum(axis=0)
        self.item_messages = layers[:-1, num_users:].sum(axis=0)
        self.item_messages /= np.sqrt(np.maximum(self.num_users_of, 1))[:, None]

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return products of vectors; popularity for users without known items."""
        seen = HistoryEvents.of(histories, self.num_items).seen(now_ms)
        counts = np.diff(seen.indptr)
        vectors: npt.NDArray[np.float32] = seen @ self.item_messages  # [n, width]
        vectors /= np.sqrt(np.maximum(counts, 1))[:, None]
        is_known = (user_rows >= 0) & (user_rows < len(self.user_embeddings))
        vectors[is_known] += self.user_embeddings[user_rows[is_known]]
        scores: npt.NDArray[np.float32] = vectors @ self.item_vectors.T  # [n, num_items]
        scores[counts == 0] = scaled_below_one(self.num_users_of)
        return scores
