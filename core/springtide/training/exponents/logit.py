"""A conditional logit over sampled alternatives: its rows of features, and which exponents they tell."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from springtide.interactions import History, Moment, Observed
from springtide.plugins.contracts import ContextWeight
from springtide.training.exponents.likelihood import GaussianPrior, Rows, information, maximise

Floats = npt.NDArray[np.float64]
_SAMPLING_POWER = 0.75  # Of popularity: as for the negatives of the training.


@dataclass(frozen=True, slots=True)
class ExponentSettings:
    """How the fit samples.

    Attributes:
        num_moments: How many moments of the slice are looked at.
        num_amending: The same where earlier exponents are known, and only amended.
        events_per_moment: Interactions sampled at each, at most.
        num_samples: Items sampled for each interaction, to stand for those that it did not take.
        is_live: Whether every feature is as of the interaction's own moment, as in serving; or as of the start of
            the slice, as in an evaluation that freezes everything there.
        penalty: Weight of the squared exponents beside the mean negative log-likelihood.
        min_z: An exponent within this many standard errors of 0 is 0. Of a dozen terms that say nothing, one fit in
            thirteen keeps one at 2.5; at 2 it is one in four.
    """

    num_moments: int = 256
    num_amending: int = 64
    events_per_moment: int = 16
    num_samples: int = 256
    is_live: bool = True
    penalty: float = 1e-3
    min_z: float = 2.5


class ConditionalLogit:
    """Rows of features, one segment for each interaction: its item first, then the items it could have been.

    A row holds the cosine, then every factor. Rows of the user's own items are weighed by exponents of their own.

    Args:
        interactions: Positive interactions, oldest first.
        user_vectors: float32 ``[num_users, d]``.
        item_vectors: float32 ``[num_items, d]``.
        weights: They know nothing yet.
        is_free: bool ``[1 + num_factors]``, which exponents are sought.
        fixed: float32 ``[2, 1 + num_factors]``, the others', for new items and for own.
        settings: How to sample, and what to leave out.
    """

    def __init__(
        self,
        interactions: Observed,
        user_vectors: npt.NDArray[np.float32],
        item_vectors: npt.NDArray[np.float32],
        weights: Mapping[str, ContextWeight],
        is_free: npt.NDArray[np.bool_],
        fixed: npt.NDArray[np.float32],
        settings: ExponentSettings,
    ) -> None:
        self._interactions = interactions
        self._user_vectors = user_vectors
        self._item_vectors = item_vectors
        self._weights = weights
        self._is_free = is_free
        self._fixed = np.where(is_free, np.float32(0.0), fixed)
        self._num_samples = settings.num_samples
        self._penalty = settings.penalty
        self._min_z = settings.min_z
        # An item cannot have been refused before it came.
        self._first_ms = np.full(len(item_vectors), np.iinfo(np.int64).max)
        np.minimum.at(self._first_ms, interactions.item_rows, interactions.timestamps_ms)
        self._by_user = np.argsort(interactions.user_rows, kind="stable")  # Each user's, oldest first.
        num_users = len(user_vectors)
        self._first = np.searchsorted(interactions.user_rows[self._by_user], np.arange(num_users + 1))
        self._counts = np.zeros(len(item_vectors))
        self._features: list[npt.NDArray[np.float32]] = []
        self._is_own: list[npt.NDArray[np.bool_]] = []
        self._corrections: list[npt.NDArray[np.float32]] = []
        self._lengths: list[int] = []

    @property
    def num_events(self) -> int:
        """How many interactions were added."""
        return len(self._lengths)

    def observe(self, seen: Observed) -> None:
        """Let the weights learn from interactions."""
        self._counts += np.bincount(seen.item_rows, minlength=len(self._counts))
        for weight in self._weights.values():
            weight.observe(seen)

    def add(
        self, moment: Moment, events: npt.NDArray[np.int64], frozen_ms: int | None, generator: np.random.Generator
    ) -> None:
        """Add interactions of one moment.

        Args:
            moment: Of the item side, which they share.
            events: int64 ``[n]``, their positions.
            frozen_ms: Histories are as they were before this time; None for each interaction's own, as in serving.
            generator: Draws the items that they could have been.
        """
        num_items = len(self._item_vectors)
        chances = (self._counts + 1.0) ** _SAMPLING_POWER
        chances /= chances.sum()
        cumulative = np.cumsum(chances)
        lifts = self._item_lifts(moment, num_items)
        for event in events:
            user, item = int(self._interactions.user_rows[event]), int(self._interactions.item_rows[event])
            now_ms = int(self._interactions.timestamps_ms[event]) if frozen_ms is None else frozen_ms
            own_moment = moment if frozen_ms is not None else replace(moment, timestamp_ms=now_ms)
            history = self._history(user, now_ms)
            own, _ = history.distinct()
            drawn = np.searchsorted(cumulative, generator.random(self._num_samples) * cumulative[-1])
            drawn = np.minimum(drawn, num_items - 1)
            drawn = drawn[~_contains(own, drawn) & (drawn != item) & (self._first_ms[drawn] <= now_ms)]
            others = own[own != item]
            rows = np.concatenate([[item], others, drawn])  # [num_candidates]
            is_seen = _contains(own, rows)
            block = np.empty((len(rows), len(self._is_free)), np.float32)
            block[:, 0] = self._item_vectors[rows] @ self._user_vectors[user]
            block[:, 1:] = lifts[:, rows].T
            block[is_seen, 1:] += self._history_lifts(history, own_moment)[np.searchsorted(own, rows[is_seen])]
            correction = np.zeros(len(rows), np.float32)
            correction[1 + len(others) :] = -np.log(chances[drawn] * self._num_samples)
            correction += (block * self._fixed[is_seen.astype(int)]).sum(1)
            self._features.append(block[:, self._is_free])
            self._is_own.append(is_seen)
            self._corrections.append(correction)
            self._lengths.append(len(rows))

    def solve(self, mean: Floats | None = None, deviation: Floats | None = None) -> tuple[Floats, Floats, float]:
        """Find where the likelihood is highest, under a belief in the exponents.

        Exponents that the interactions do not tell from 0 are set to it, and the others are sought again without them:
        a term that says nothing costs nothing, and brings no chance into the ranking.

        Args:
            mean: float64 ``[2, 1 + num_factors]``, what the exponents were found to be before; 0 if None.
            deviation: float64 ``[2, 1 + num_factors]``, above 0, the standard errors of that; None for as good as
                unknown, which is what ``penalty`` says.

        Returns:
            All exponents, float64 ``[2, 1 + num_factors]``, their standard errors, and the loss.
        """
        rows = self._rows()
        is_free = np.ones((2, rows.features.shape[1]), bool)
        is_signed = np.tile(np.array(self._signed())[self._is_free], (2, 1))
        belief = self._belief(mean, deviation)
        free, loss = maximise(rows, is_free, is_signed, belief)
        if self._min_z > 0:
            is_free = self._told(rows, free, is_signed, belief)
            free, loss = maximise(rows, is_free, is_signed, belief, free)
        exponents, errors = self._fixed.astype(np.float64), np.zeros(self._fixed.shape)
        exponents[:, self._is_free] = free
        errors[:, self._is_free] = self._standard_errors(rows, free, belief)
        return exponents, errors, loss

    def _belief(self, mean: Floats | None, deviation: Floats | None) -> GaussianPrior:
        precision = np.full((2, int(self._is_free.sum())), 2.0 * self._penalty)
        if deviation is not None:
            precision = precision + 1.0 / (deviation[:, self._is_free] ** 2 * self.num_events)
        return GaussianPrior(np.zeros_like(precision) if mean is None else mean[:, self._is_free], precision)

    def _rows(self) -> Rows:
        return Rows(
            np.concatenate(self._features),
            np.concatenate(self._is_own),
            np.concatenate(self._corrections),
            np.cumsum(self._lengths),
        )

    def _told(
        self, rows: Rows, free: Floats, is_signed: npt.NDArray[np.bool_], belief: GaussianPrior
    ) -> npt.NDArray[np.bool_]:
        """Return which exponents, bool ``[2, num_free]``, differ from 0 by ``min_z`` standard errors or more.

        They are left out one by one, the least certain first, and after each the others are taken for what they would
        be without it, by the likelihood's curvature at its peak (backward elimination by Wald statistics): of two terms
        that say the same, one stays.
        """
        of_all, estimate = information(rows, free, belief), free.ravel()
        signed = is_signed.ravel()
        is_cosine = np.tile(np.arange(free.shape[1]) == 0, 2) & self._is_free[0]
        left = np.flatnonzero((estimate != 0.0) | is_cosine)
        while len(left):
            of_left = of_all[np.ix_(left, left)]
            rest = np.setdiff1d(np.arange(len(estimate)), left)
            shifted = estimate[left] + np.linalg.solve(of_left, of_all[np.ix_(left, rest)] @ estimate[rest])
            z = shifted / np.sqrt(np.diag(np.linalg.inv(of_left * self.num_events)))
            z = np.where(signed[left], np.abs(z), z)
            z[is_cosine[left]] = np.inf  # What the model has learned stays.
            weakest = int(z.argmin())
            if z[weakest] >= self._min_z:
                break
            left = np.delete(left, weakest)
        is_told = np.zeros(free.shape, bool)
        is_told.ravel()[left] = True
        return is_told

    def _standard_errors(self, rows: Rows, free: Floats, belief: GaussianPrior) -> Floats:
        """Return how uncertain exponents are, float64 ``[2, num_free]``.

        Square roots of the diagonal of the inverse of the observed information (Greene, "Econometric analysis", on
        the conditional logit), the belief's included. An exponent at its bound of 0 has that of the curve there.
        """
        variance = np.diag(np.linalg.inv(information(rows, free, belief) * self.num_events))
        errors: Floats = np.sqrt(np.maximum(variance, 0.0)).reshape(free.shape)
        return errors

    def _signed(self) -> list[bool]:
        """Return, for the cosine and every factor, whether its exponent may be negative."""
        return [False, *(factor.is_signed for weight in self._weights.values() for factor in weight.factors)]

    def _item_lifts(self, moment: Moment, num_items: int) -> npt.NDArray[np.float32]:
        blocks = []
        for weight in self._weights.values():
            lifts = weight.item_log_lifts(moment, num_items)
            blocks.append(np.zeros((len(weight.factors), num_items), np.float32) if lifts is None else lifts)
        return np.concatenate(blocks) if blocks else np.zeros((0, num_items), np.float32)

    def _history_lifts(self, history: History, moment: Moment) -> npt.NDArray[np.float32]:
        """Return float32 ``[num_distinct, num_factors]``."""
        items, _ = history.distinct()
        blocks = []
        for weight in self._weights.values():
            lifts = weight.history_log_lifts(history, moment)
            blocks.append(np.zeros((len(weight.factors), len(items)), np.float32) if lifts is None else lifts)
        return np.concatenate(blocks).T if blocks else np.zeros((len(items), 0), np.float32)

    def _history(self, user: int, before_ms: int) -> History:
        own = self._by_user[self._first[user] : self._first[user + 1]]
        own = own[: np.searchsorted(self._interactions.timestamps_ms[own], before_ms)][::-1]
        return History(
            self._interactions.item_rows[own],
            self._interactions.timestamps_ms[own],
            self._interactions.weights[own],
        )


def _contains(sorted_rows: npt.NDArray[np.int32], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    if len(sorted_rows) == 0:
        return np.zeros(len(rows), bool)
    position = np.minimum(np.searchsorted(sorted_rows, rows), len(sorted_rows) - 1)
    return np.asarray(sorted_rows[position] == rows)
