"""A conditional logit over sampled items: features of each choice, and which exponents are significant."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from springtide.interactions import History, Moment, Observed
from springtide.plugins.contracts import ContextWeight
from springtide.ranking.related import find, relates
from springtide.training.exponents.likelihood import Choices, GaussianPrior, information, maximise

Floats = npt.NDArray[np.float64]
_SAMPLING_POWER = 0.75  # Items are sampled by this power of their popularity, as negatives are in the training.


@dataclass(frozen=True, slots=True)
class ExponentSettings:
    """How the fit samples, and which exponents it keeps.

    Attributes:
        num_moments: Number of moments of the slice that are sampled.
        num_moments_with_prior: The same where a prior from an earlier fit is updated.
        events_per_moment: Most interactions sampled at each moment.
        num_samples: Items sampled for each interaction, to stand for those that were not chosen.
        is_live: Whether features are computed at the moment of each interaction, as in serving; or frozen at the start
            of the slice, as in an evaluation that freezes everything there.
        penalty: Weight of the squared exponents beside the mean negative log-likelihood.
        min_z: Exponents within this many standard errors of 0 are set to 0. Of a dozen terms without any effect, one
            fit in thirteen keeps one at 2.5; at 2 it is one in four.
    """

    num_moments: int = 256
    num_moments_with_prior: int = 64
    events_per_moment: int = 16
    num_samples: int = 256
    is_live: bool = True
    penalty: float = 1e-3
    min_z: float = 2.5


class ConditionalLogit:
    """Choices of items: one for each interaction, among its item, the other items its user has seen, and sampled ones.

    The features of an item are its cosine, then every factor of the context weights. Seen items have exponents of
    their own.

    Args:
        interactions: Positive interactions, oldest first.
        user_vectors: float32 ``[num_users, d]``.
        item_vectors: float32 ``[num_items, d]``.
        weights: Context weights that have learned nothing yet.
        is_free: bool ``[1 + num_factors]``, which exponents are fitted.
        fixed: float32 ``[2, 1 + num_factors]``, the exponents that are not, for unseen items and for seen ones.
        settings: How to sample, and which exponents to keep.
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
        # Each weight that relates items to a history, and the position of its first factor among the features.
        firsts = np.cumsum([1, *(len(weight.factors) for weight in weights.values())]).tolist()
        self._relating = [each for each in zip(weights.values(), firsts, strict=False) if relates(each[0])]
        self._is_free = is_free
        self._fixed = np.where(is_free, np.float32(0.0), fixed)
        self._num_samples = settings.num_samples
        self._penalty = settings.penalty
        self._min_z = settings.min_z
        # An item cannot be an alternative before its first interaction.
        self._first_ms = np.full(len(item_vectors), np.iinfo(np.int64).max)
        np.minimum.at(self._first_ms, interactions.item_rows, interactions.timestamps_ms)
        self._by_user = np.argsort(interactions.user_rows, kind="stable")  # User by user, oldest first.
        num_users = len(user_vectors)
        self._first = np.searchsorted(interactions.user_rows[self._by_user], np.arange(num_users + 1))
        self._counts = np.zeros(len(item_vectors))
        self._features: list[npt.NDArray[np.float32]] = []
        self._is_seen: list[npt.NDArray[np.bool_]] = []
        self._corrections: list[npt.NDArray[np.float32]] = []
        self._lengths: list[int] = []

    @property
    def num_events(self) -> int:
        """How many interactions were added."""
        return len(self._lengths)

    def observe(self, observed: Observed) -> None:
        """Let the context weights learn from interactions."""
        self._counts += np.bincount(observed.item_rows, minlength=len(self._counts))
        for weight in self._weights.values():
            weight.observe(observed)

    def add(
        self, moment: Moment, events: npt.NDArray[np.int64], frozen_ms: int | None, generator: np.random.Generator
    ) -> None:
        """Add the choices of some interactions, with features as of what ``observe`` was given until now.

        Args:
            moment: Moment of the item lifts, which the interactions share.
            events: int64 ``[n]``, positions of the interactions.
            frozen_ms: Histories end before this time; None for the time of each interaction, as in serving.
            generator: Draws the sampled items.
        """
        num_items = len(self._item_vectors)
        chances = (self._counts + 1.0) ** _SAMPLING_POWER
        chances /= chances.sum()
        cumulative = np.cumsum(chances)
        lifts = self._item_lifts(moment, num_items).T  # [num_items, num_factors]
        if len(events) * self._num_samples > num_items:
            lifts = np.ascontiguousarray(lifts)  # Then what is said of an item is in one place.
        free = np.flatnonzero(self._is_free)
        for event in events:
            user, item = int(self._interactions.user_rows[event]), int(self._interactions.item_rows[event])
            now_ms = int(self._interactions.timestamps_ms[event]) if frozen_ms is None else frozen_ms
            event_moment = moment if frozen_ms is not None else replace(moment, timestamp_ms=now_ms)
            history = self._history(user, now_ms)
            seen, _ = history.distinct()
            drawn = np.searchsorted(cumulative, generator.random(self._num_samples) * cumulative[-1])
            drawn = np.minimum(drawn, num_items - 1)
            drawn = drawn[~_contains(seen, drawn) & (drawn != item) & (self._first_ms[drawn] <= now_ms)]
            other_seen = seen[seen != item]
            rows = np.concatenate([[item], other_seen, drawn])  # [num_candidates]
            is_seen = _contains(seen, rows)
            block = np.empty((len(rows), len(self._is_free)), np.float32)
            block[:, 0] = self._item_vectors[rows] @ self._user_vectors[user]
            block[:, 1:] = lifts[rows]
            block[is_seen, 1:] += self._history_lifts(history, event_moment)[np.searchsorted(seen, rows[is_seen])]
            self._add_related(block, rows, history, event_moment)
            correction = np.zeros(len(rows), np.float32)
            correction[1 + len(other_seen) :] = -np.log(chances[drawn] * self._num_samples)
            of_unseen, of_seen = (block @ self._fixed.T).T
            correction += np.where(is_seen, of_seen, of_unseen)
            self._features.append(block.take(free, axis=1))  # Row by row, unlike brackets: as the loops read them.
            self._is_seen.append(is_seen)
            self._corrections.append(correction)
            self._lengths.append(len(rows))

    def solve(self, mean: Floats | None = None, deviation: Floats | None = None) -> tuple[Floats, Floats, float]:
        """Find the exponents that make the choices most likely, given a prior.

        Exponents that do not differ significantly from 0 are set to 0, and the others are fitted again without them: a
        term without effect then costs nothing, and adds no noise to the ranking.

        Args:
            mean: float64 ``[2, 1 + num_factors]``, exponents of an earlier fit; None for 0.
            deviation: float64 ``[2, 1 + num_factors]``, above 0, their standard errors; None if there was no earlier
                fit: ``penalty`` alone is the prior then.

        Returns:
            All exponents, float64 ``[2, 1 + num_factors]``, their standard errors, and the loss.
        """
        choices = self._choices()
        is_free = np.ones((2, choices.features.shape[1]), bool)
        is_signed = np.tile(np.array(self._is_signed())[self._is_free], (2, 1))
        prior = self._prior(mean, deviation)
        fitted, loss = maximise(choices, is_free, is_signed, prior)
        if self._min_z > 0:
            is_significant = self._is_significant(choices, fitted, is_signed, prior)
            fitted, loss = maximise(choices, is_significant, is_signed, prior, fitted)
        exponents, errors = self._fixed.astype(np.float64), np.zeros(self._fixed.shape)
        exponents[:, self._is_free] = fitted
        errors[:, self._is_free] = self._standard_errors(choices, fitted, prior)
        return exponents, errors, loss

    def _prior(self, mean: Floats | None, deviation: Floats | None) -> GaussianPrior:
        precision = np.full((2, int(self._is_free.sum())), 2.0 * self._penalty)
        if deviation is not None:
            precision = precision + 1.0 / (deviation[:, self._is_free] ** 2 * self.num_events)
        return GaussianPrior(np.zeros_like(precision) if mean is None else mean[:, self._is_free], precision)

    def _choices(self) -> Choices:
        return Choices(
            np.concatenate(self._features),
            np.concatenate(self._is_seen),
            np.concatenate(self._corrections),
            np.cumsum(self._lengths),
        )

    def _is_significant(
        self, choices: Choices, fitted: Floats, is_signed: npt.NDArray[np.bool_], prior: GaussianPrior
    ) -> npt.NDArray[np.bool_]:
        """Return which exponents, bool ``[2, num_free]``, differ from 0 by ``min_z`` standard errors or more.

        Backward elimination by Wald statistics: the least significant exponent is left out first. After each, the
        others are estimated anew as they would be without it, from the information at the maximum. So one of two
        collinear terms stays. The cosine always stays.
        """
        information_matrix, estimate = information(choices, fitted, prior), fitted.ravel()
        signed = is_signed.ravel()
        is_cosine = np.tile(np.arange(fitted.shape[1]) == 0, 2) & self._is_free[0]
        kept = np.flatnonzero((estimate != 0.0) | is_cosine)
        while len(kept):
            kept_information = information_matrix[np.ix_(kept, kept)]
            dropped = np.setdiff1d(np.arange(len(estimate)), kept)
            shift = np.linalg.solve(kept_information, information_matrix[np.ix_(kept, dropped)] @ estimate[dropped])
            z = (estimate[kept] + shift) / np.sqrt(np.diag(np.linalg.inv(kept_information * self.num_events)))
            z = np.where(signed[kept], np.abs(z), z)
            z[is_cosine[kept]] = np.inf
            weakest = int(z.argmin())
            if z[weakest] >= self._min_z:
                break
            kept = np.delete(kept, weakest)
        is_significant = np.zeros(fitted.shape, bool)
        is_significant.ravel()[kept] = True
        return is_significant

    def _standard_errors(self, choices: Choices, fitted: Floats, prior: GaussianPrior) -> Floats:
        """Return the standard errors of exponents, float64 ``[2, num_free]``.

        Square roots of the diagonal of the inverse information, the prior's included (Greene, "Econometric analysis",
        on the conditional logit). An exponent at its bound of 0 has the error that the curvature there gives.
        """
        variance = np.diag(np.linalg.inv(information(choices, fitted, prior) * self.num_events))
        errors: Floats = np.sqrt(np.maximum(variance, 0.0)).reshape(fitted.shape)
        return errors

    def _is_signed(self) -> list[bool]:
        """Return, for the cosine and every factor, whether its exponent may be negative."""
        return [False, *(factor.is_signed for weight in self._weights.values() for factor in weight.factors)]

    def _item_lifts(self, moment: Moment, num_items: int) -> npt.NDArray[np.float32]:
        """Return float32 ``[num_factors, num_items]``."""
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

    def _add_related(
        self, block: npt.NDArray[np.float32], rows: npt.NDArray[np.int64], history: History, moment: Moment
    ) -> None:
        """Add what the history says of items to their features, float32 ``[num_candidates, 1 + num_factors]``."""
        if not len(history.item_rows):
            return
        for weight, first in self._relating:
            if (related := weight.related(history, moment)) is not None:
                is_related, position = find(related.rows, rows)
                block[is_related, first : first + len(weight.factors)] += related.log_lifts[:, position].T

    def _history(self, user: int, before_ms: int) -> History:
        """Return the interactions of a user before a time, newest first."""
        events = self._by_user[self._first[user] : self._first[user + 1]]
        events = events[: np.searchsorted(self._interactions.timestamps_ms[events], before_ms)][::-1]
        return History(
            self._interactions.item_rows[events],
            self._interactions.timestamps_ms[events],
            self._interactions.weights[events],
        )


def _contains(sorted_rows: npt.NDArray[np.int32], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    if len(sorted_rows) == 0:
        return np.zeros(len(rows), bool)
    position = np.minimum(np.searchsorted(sorted_rows, rows), len(sorted_rows) - 1)
    return np.asarray(sorted_rows[position] == rows)
