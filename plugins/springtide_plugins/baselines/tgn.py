"""A temporal graph network with memories; fitted with torch and PyG, asked with NumPy alone."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from scipy.special import expit

from springtide.plugins.contracts import History, Observed
from springtide_plugins.baselines.histories import scaled_below_one
from springtide_plugins.baselines.popularity import Popularity

_MOST_NEW = 50  # Newest events since the fit that a request takes into a memory, one after the other.
_SCORED_TOGETHER = 16  # Users: with 24,000 items and a width of 32, their hidden layers take 50 MB.
_NONE = np.float32(-1e9)  # Logit of an event that is not there.
_MS_PER_S = 1_000

Floats = npt.NDArray[np.float32]


class TGN(Popularity):
    """A temporal graph network: a memory for each node, attention over the latest neighbours, a link predictor.

    Rossi, Chamberlain, Frasca, Eynard, Monti and Bronstein 2020, Temporal Graph Networks for Deep Learning on Dynamic
    Graphs, in the variant "TGN-attn" with one layer: messages of section 3.1 (identity, the last one counts), a GRU as
    memory updater, and the embedding of equation 5, by PyG's ``TGNMemory`` and ``TransformerConv``. It is trained on
    the stream in time order to tell each event from one with an item drawn uniformly. Items have learned features, and
    events a fixed random code of their item.

    A request takes the user's events since the fit into the user's memory and into the neighbours, so that an event of
    a second ago counts; items keep their memories of the fit, since a request brings no events of other users.
    Popularity answers users without any known item.

    Args:
        width: Number of dimensions of memories, features, encoded times and embeddings.
        neighbours: Latest events of a node that it attends to.
        max_events: Newest events that are learned, at most.
        epochs: Passes over them; memories start anew in each.
        batch_events: Events in a batch: they do not know of each other.
        learning_rate: Learning rate of Adam.
        seed: Seed of the initial weights and of the items drawn.
        num_threads: Number of threads of the fit; with another number, its sums are rounded otherwise.
    """

    learned: ClassVar[tuple[str, ...]] = (
        "num_users_of", "user_memory", "user_updated_s", "item_memory", "item_updated_s", "item_features", "item_codes",
        "item_hidden", "span_ms", "time_weight", "time_bias", "gru_in", "gru_in_bias", "gru_own", "gru_own_bias",
        "query", "query_bias", "key", "key_bias", "value", "value_bias", "edge", "skip", "skip_bias",
        "link", "link_bias", "out", "out_bias",
    )  # fmt: skip
    by_user: ClassVar[tuple[str, ...]] = ("user_memory", "user_updated_s")
    user_memory: Floats  # [num_users, width]
    user_updated_s: npt.NDArray[np.float64]  # [num_users, 1], seconds since the first event.
    item_memory: Floats  # [num_items, width]
    item_updated_s: npt.NDArray[np.float64]  # [num_items]
    item_features: Floats  # [num_items, width]
    item_codes: Floats  # [num_items, num_code]
    item_hidden: Floats  # [num_items, width], what an item adds to the hidden layer of the link predictor.
    span_ms: npt.NDArray[np.int64]  # [2], times of the first and of the newest event that were learned.
    # Weights as torch has them: a layer is x @ weight.T + bias.
    time_weight: Floats
    time_bias: Floats
    gru_in: Floats
    gru_in_bias: Floats
    gru_own: Floats
    gru_own_bias: Floats
    query: Floats
    query_bias: Floats
    key: Floats
    key_bias: Floats
    value: Floats
    value_bias: Floats
    edge: Floats
    skip: Floats
    skip_bias: Floats
    link: Floats
    link_bias: Floats
    out: Floats
    out_bias: Floats

    def __init__(
        self,
        width: PositiveInt = 32,
        neighbours: PositiveInt = 10,
        max_events: PositiveInt = 300_000,
        epochs: PositiveInt = 1,
        batch_events: PositiveInt = 200,
        learning_rate: PositiveFloat = 1e-3,
        seed: NonNegativeInt = 0,
        num_threads: PositiveInt = 1,
    ) -> None:
        self.width = width
        self.neighbours = neighbours
        self.max_events = max_events
        self.epochs = epochs
        self.batch_events = batch_events
        self.learning_rate = learning_rate
        self.seed = seed
        self.num_threads = num_threads

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Learn the weights on the stream, and keep the memories at its end."""
        # They import torch, which serving does not need.
        from springtide_plugins.baselines.tgn_fit import fitted_arrays
        from springtide_plugins.baselines.torch_threads import torch_threads

        self.count_users(interactions, num_users, num_items)
        with torch_threads(self.num_threads):
            found = fitted_arrays(interactions, num_users, num_items, self)
        for name, array in found.items():
            setattr(self, name, array)

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return the logits of a link with each item; popularity for users without known items."""
        scores = np.empty((len(histories), self.num_items), np.float32)
        known = [history.where(history.item_rows < self.num_items) for history in histories]
        vectors = self.user_vectors(user_rows, known)  # [n, width]
        hidden = vectors @ self.link.T + self.link_bias
        for first in range(0, len(scores), _SCORED_TOGETHER):
            part = slice(first, first + _SCORED_TOGETHER)
            layers = np.maximum(hidden[part, None] + self.item_hidden, np.float32(0.0))  # [m, num_items, width]
            scores[part] = layers @ self.out[0] + self.out_bias
        scores[[not len(history.item_rows) for history in known]] = scaled_below_one(self.num_users_of)
        return scores

    def user_vectors(self, user_rows: npt.NDArray[np.int64], histories: Sequence[History]) -> Floats:
        """Return the embedding of each user: attention over the latest events, float32 ``[n, width]``.

        Args:
            user_rows: int64 ``[n]``; -1 for users that came after the fit.
            histories: Histories of items of the fit.
        """
        memory = self.memory_now(user_rows, histories)
        items, times_s, is_event = _latest(histories, self.neighbours, int(self.span_ms[0]))  # [n, k] each
        ages_s = np.maximum(self.item_updated_s[items] - times_s, 0.0)
        codes = np.concatenate([self._encoded(ages_s), self.item_codes[items]], axis=-1)  # [n, k, width + num_code]
        of_event = codes @ self.edge.T
        items_now = self.item_memory[items] + self.item_features[items]
        shape = (*items.shape, 2, len(self.key) // 2)  # Two heads.
        keys = (items_now @ self.key.T + self.key_bias + of_event).reshape(shape)
        values = (items_now @ self.value.T + self.value_bias + of_event).reshape(shape)
        query = (memory @ self.query.T + self.query_bias).reshape(len(memory), 2, shape[-1])
        logits = np.einsum("nhd,nkhd->nkh", query, keys) / np.sqrt(np.float32(shape[-1]))
        logits = np.where(is_event[..., None], logits, _NONE)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True, initial=_NONE)) * is_event[..., None]
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), np.float32(1e-30))
        attended = np.einsum("nkh,nkhd->nhd", shares, values).reshape(query.shape[0], 2 * shape[-1])
        vectors: Floats = (attended + memory @ self.skip.T + self.skip_bias).astype(np.float32)
        return vectors

    def memory_now(self, user_rows: npt.NDArray[np.int64], histories: Sequence[History]) -> Floats:
        """Return the memories of users with their events since the fit, float32 ``[n, width]``."""
        memory = np.zeros((len(histories), self.user_memory.shape[1]), np.float32)
        updated_s = np.zeros(len(histories))
        is_known = (user_rows >= 0) & (user_rows < len(self.user_memory))
        memory[is_known] = self.user_memory[user_rows[is_known]]
        updated_s[is_known] = self.user_updated_s[user_rows[is_known], 0]
        since_ms = np.where(is_known, self.span_ms[1], np.iinfo(np.int64).min)
        new = [
            History(history.item_rows[:count], history.timestamps_ms[:count], history.weights[:count])
            for history, since in zip(histories, since_ms.tolist(), strict=True)
            for count in [int(np.count_nonzero(history.timestamps_ms > since))]
        ]
        items, times_s, is_event = _latest(new, _MOST_NEW, int(self.span_ms[0]))
        for place in reversed(range(items.shape[1])):  # The oldest first.
            users = np.flatnonzero(is_event[:, place])
            item, time_s = items[users, place], times_s[users, place]
            waited = self._encoded(time_s - updated_s[users])
            message = np.concatenate([memory[users], self.item_memory[item], self.item_codes[item], waited], axis=1)
            memory[users] = self._updated(message, memory[users])
            updated_s[users] = time_s
        return memory

    def _updated(self, message: Floats, memory: Floats) -> Floats:
        """Return the new memory by torch's GRU cell, float32 ``[n, width]``."""
        reset, update, new = np.split(message @ self.gru_in.T + self.gru_in_bias, 3, axis=1)
        own_reset, own_update, own_new = np.split(memory @ self.gru_own.T + self.gru_own_bias, 3, axis=1)
        share = expit(update + own_update)
        candidate = np.tanh(new + expit(reset + own_reset) * own_new)
        updated: Floats = (1.0 - share) * candidate + share * memory
        return updated

    def _encoded(self, seconds: npt.NDArray[np.float64]) -> Floats:
        """Return encoded times, float32 ``[..., width]``."""
        encoded: Floats = np.cos(seconds[..., None].astype(np.float32) * self.time_weight[:, 0] + self.time_bias)
        return encoded


def _latest(
    histories: Sequence[History], count: int, first_ms: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return items, times in seconds since ``first_ms``, and which are there, of the latest events, ``[n, k]`` each."""
    longest = max((min(len(history.item_rows), count) for history in histories), default=0)
    items = np.zeros((len(histories), longest), np.int64)
    times_s = np.zeros((len(histories), longest))
    is_event = np.zeros((len(histories), longest), np.bool_)
    for row, history in enumerate(histories):
        num = min(len(history.item_rows), count)
        items[row, :num] = history.item_rows[:num]
        times_s[row, :num] = (history.timestamps_ms[:num] - first_ms) // _MS_PER_S
        is_event[row, :num] = True
    return items, times_s, is_event
