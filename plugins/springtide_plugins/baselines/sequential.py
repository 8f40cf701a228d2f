"""Sequence models: what follows a user's latest items, by attention or a recurrent network; they need torch."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from springtide.plugins.contracts import History, Observed
from springtide_plugins.baselines.histories import scaled_below_one
from springtide_plugins.baselines.popularity import Popularity

Share = Annotated[float, Field(ge=0, lt=1)]


class _Sequential(Popularity):
    """A network that reads a user's latest items, oldest first, and says what comes next.

    A window of ``length`` items is one example, and an event behind each of its places is a target. The loss is a
    softmax over negatives that a batch shares, half of them by popularity and half evenly, with the correction of their
    chances (Klenitskiy and Vasilev 2023, "Turning dross into gold loss: is BERT4Rec really better than SASRec?", and
    Tikhonovich et al. 2025, eSASRec, find it the best), or gBCE over negatives drawn evenly (Petrov and Macdonald 2023,
    "gSASRec: Reducing Overconfidence in Sequential Recommendation Trained with Negative Sampling", equation 13).

    The next event of a purchase is mostly one of the same basket. So a target is drawn from the next ``horizon``
    events of a later time: the dense all action loss of Pancha et al. 2022, PinnerFormer. Tastes and ranges drift, so
    most windows end with a recent event, and the items' biases start at the logarithm of their popularity by the same
    weights.

    Items are read and scored by the same vectors. The history is read at each request, so that an event of a second
    ago counts, and users that came after the fit are answered like the others. Events of one time have no order: the
    fit reads them in one of chance, a request in that of the stream. Popularity answers users without any known item.

    Args:
        width: Width of the item vectors and of the network.
        layers: Number of layers.
        heads: Number of heads of attention; it divides ``width``.
        length: Number of latest items that are read.
        steps: Number of batches, at most.
        passes: How often the windows are drawn, at most, each counted by its weight: with more of them a small set is
            learned by heart.
        batch: Windows in a batch.
        negatives: Negatives that a batch shares; all items where there are no more.
        loss: Softmax or gBCE.
        calibration: ``t`` of gBCE: 0 is the plain binary cross-entropy, 1 calls for the probabilities of the softmax.
        horizon: Number of later events that a target is drawn from; 1 takes the next event, even of the same time.
        half_life: Share of the events, from the newest back, behind which a window is half as likely.
        learning_rate: Learning rate of Adam; it falls to 0 by a cosine.
        dropout: Share of the numbers that are dropped in training.
        seed: Seed of the initial weights, the batches and the negatives.
        num_threads: Number of threads of the fit; with another number, its sums are rounded otherwise.

    Raises:
        ValueError: If ``heads`` does not divide ``width``.
    """

    kind: ClassVar[Literal["sasrec", "gru4rec", "hstu"]]
    learned: ClassVar[tuple[str, ...]] = ("num_users_of", "weights")
    weights: npt.NDArray[np.float32]  # [num_weights], all of the network, in the order of its parameters.

    def __init__(
        self,
        width: PositiveInt = 64,
        layers: PositiveInt = 2,
        heads: PositiveInt = 2,
        length: PositiveInt = 50,
        steps: PositiveInt = 400,
        passes: PositiveFloat = 4.0,
        batch: PositiveInt = 64,
        negatives: PositiveInt = 256,
        loss: Literal["softmax", "gbce"] = "softmax",
        calibration: Annotated[float, Field(ge=0, le=1)] = 0.75,
        horizon: PositiveInt = 100,
        half_life: PositiveFloat = 0.03,
        learning_rate: PositiveFloat = 0.005,
        dropout: Share = 0.2,
        seed: NonNegativeInt = 0,
        num_threads: PositiveInt = 1,
    ) -> None:
        if width % heads:
            raise ValueError(f"wanted a width that heads divide, got width {width} and {heads} heads")
        self.width = width
        self.layers = layers
        self.heads = heads
        self.length = length
        self.steps = steps
        self.passes = passes
        self.batch = batch
        self.negatives = negatives
        self.loss = loss
        self.calibration = calibration
        self.horizon = horizon
        self.half_life = half_life
        self.learning_rate = learning_rate
        self.dropout = dropout
        self.seed = seed
        self.num_threads = num_threads
        self._network: tuple[npt.NDArray[np.float32], Any] | None = None  # Of these weights.

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Learn the weights."""
        # They import torch, which serving does not need.
        from springtide_plugins.baselines.sequential_fit import fitted_weights
        from springtide_plugins.baselines.torch_threads import torch_threads

        self.count_users(interactions, num_users, num_items)
        with torch_threads(self.num_threads):
            self.weights = fitted_weights(interactions, num_items, self)

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return the network's logits behind each history; popularity for users without known items."""
        from springtide_plugins.baselines.sequential_fit import logits_of, network_of  # They import torch.

        network = self._network  # Read once: other threads may replace it.
        if network is None or network[0] is not self.weights:
            self._network = network = self.weights, network_of(self.weights, self.num_items, self)
        items = np.full((len(histories), self.length), self.num_items, np.int64)  # The padding's row is behind all.
        times = np.zeros((len(histories), self.length), np.int64)
        for row, history in enumerate(histories):
            is_known = history.item_rows < self.num_items
            latest = history.item_rows[is_known][: self.length][::-1]
            if len(latest):
                items[row, -len(latest) :] = latest
                times[row, -len(latest) :] = history.timestamps_ms[is_known][: self.length][::-1]
        scores = logits_of(network[1], items, times)
        scores[items[:, -1] == self.num_items] = scaled_below_one(self.num_users_of)
        return scores


class SASRec(_Sequential):
    """Self-attention over the latest items (Kang and McAuley 2018), with normalisation before each layer."""

    kind = "sasrec"


class GRU4Rec(_Sequential):
    """A recurrent network over the latest items (Hidasi and Karatzoglou 2018); ``heads`` does nothing."""

    kind = "gru4rec"


class HSTU(_Sequential):
    """Pointwise attention with gates and the time between events (Zhai et al. 2024, equations 1 to 3), simplified.

    Attention is by SiLU in place of the softmax, with a learned bias by the distance in places and by the logarithm of
    the time between two events.
    """

    kind = "hstu"
