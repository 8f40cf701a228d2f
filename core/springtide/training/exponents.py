"""Learning how much each term of the ranking counts: a conditional logit on the latest interactions.

The ranking is ``P(i | u, moment) ∝ exp(cosine / τ) · Π lift^β`` (McFadden 1974). The fit asks, for interactions that
the vectors have not seen, which τ and β make the items that were taken likeliest. Items are sampled, and stand for
the rest with their sampling correction; the user's own items are all there, and have exponents of their own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from springtide.plugins.contracts import ContextWeight, History, Moment, Observed
from springtide.ranking.weights import Exponents, Terms, bucket_of, factor_names
from springtide.training.graph import part

_SMALLEST_COSINE = 1e-6  # A cosine that counts for nothing would leave the temperature infinite.


@dataclass(frozen=True, slots=True)
class ExponentSettings:
    """How the fit samples.

    Attributes:
        num_moments: How many moments of the slice are looked at.
        events_per_moment: Interactions sampled at each, at most.
        num_samples: Items sampled for each interaction, to stand for those that it did not take.
        is_live: Whether every feature is as of the interaction's own moment, as in serving; or as of the start of
            the slice, as in an evaluation that freezes everything there.
        penalty: Weight of the squared exponents beside the mean negative log-likelihood.
    """

    num_moments: int = 64
    events_per_moment: int = 64
    num_samples: int = 256
    is_live: bool = True
    penalty: float = 1e-3


@dataclass(frozen=True, slots=True)
class ExponentFit:
    """What the fit found.

    Attributes:
        exponents: The exponents.
        loss: Mean negative log-likelihood, natural logarithm.
        num_events: Interactions it was fitted on.
    """

    exponents: Exponents
    loss: float
    num_events: int


def fit_exponents(
    interactions: Observed,
    split: int,
    user_vectors: npt.NDArray[np.float32],
    item_vectors: npt.NDArray[np.float32],
    make_weights: Callable[[], Mapping[str, ContextWeight]],
    settings: ExponentSettings,
    seed: int,
) -> ExponentFit | None:
    """Fit the exponents on the interactions from ``split`` on.

    Args:
        interactions: Positive interactions, oldest first.
        split: The vectors have seen the interactions before it, and none after.
        user_vectors: Unit vectors, float32 ``[num_users, d]``; users that were not there may be missing or 0.
        item_vectors: Unit vectors, float32 ``[num_items, d]``.
        make_weights: Makes context weights that know nothing yet.
        settings: How to sample.
        seed: Of the sampling.

    Returns:
        The fit; None if no interaction of the slice has a user and an item that the vectors know.
    """
    generator = np.random.default_rng(seed)
    weights = make_weights()
    events = _known_events(interactions, split)
    if len(events) == 0:
        return None
    names = factor_names(weights)
    problem = _Problem(interactions, user_vectors, item_vectors, weights, settings)
    problem.observe(0, split)
    observed = split
    frozen = Moment(int(interactions.timestamps_ms[split]))
    for moment, chosen in _moments(interactions, events, weights, settings, generator):
        if settings.is_live:
            first = int(chosen.min())
            problem.observe(observed, first)
            observed = first
            problem.add(moment, chosen, int(interactions.timestamps_ms[first]), generator)
        else:
            problem.add(frozen, chosen, frozen.timestamp_ms, generator)
    solution, loss = problem.solve()
    new, own = solution.reshape(2, -1)
    exponents = Exponents(
        Terms(max(float(new[0]), _SMALLEST_COSINE), _by_weight(names, new[1:])),
        Terms(float(own[0]), _by_weight(names, own[1:])),
    )
    return ExponentFit(exponents, loss, problem.num_events)


def _by_weight(names: list[tuple[str, str]], exponents: npt.NDArray[np.float64]) -> dict[str, dict[str, float]]:
    factors: dict[str, dict[str, float]] = {}
    for (weight, factor), exponent in zip(names, exponents, strict=True):
        factors.setdefault(weight, {})[factor] = float(exponent)
    return factors


def _known_events(interactions: Observed, split: int) -> npt.NDArray[np.int64]:
    known_users = np.zeros(int(interactions.user_rows.max()) + 1, bool)
    known_items = np.zeros(int(interactions.item_rows.max()) + 1, bool)
    known_users[interactions.user_rows[:split]] = True
    known_items[interactions.item_rows[:split]] = True
    is_known = known_users[interactions.user_rows[split:]] & known_items[interactions.item_rows[split:]]
    return split + np.flatnonzero(is_known)


def _moments(
    interactions: Observed,
    events: npt.NDArray[np.int64],
    weights: Mapping[str, ContextWeight],
    settings: ExponentSettings,
    generator: np.random.Generator,
) -> list[tuple[Moment, npt.NDArray[np.int64]]]:
    """Return moments of the slice, in time order, each with some of the events that share its bucket."""
    num_wanted = settings.num_moments * settings.events_per_moment
    moments = []
    centers = np.sort(generator.choice(events, min(settings.num_moments, len(events)), replace=False))
    half = max(1, min(len(events) // (2 * len(centers)), num_wanted))
    used = np.zeros(len(interactions), bool)
    for center in centers:
        moment = Moment(int(interactions.timestamps_ms[center]))
        bucket = bucket_of(weights, moment)
        position = int(np.searchsorted(events, center))
        near = events[max(0, position - half) : position + half]
        near = near[~used[near]]
        times = interactions.timestamps_ms[near]
        # Nearby events almost always share the hour: only distinct times are asked.
        distinct, inverse = np.unique(times, return_inverse=True)
        shares = np.array([bucket_of(weights, Moment(int(time))) == bucket for time in distinct], bool)
        near = near[shares[inverse]] if len(near) else near
        if len(near) > settings.events_per_moment:
            near = np.sort(generator.choice(near, settings.events_per_moment, replace=False))
        used[near] = True
        if len(near):
            moments.append((moment, near))
    return moments


class _Problem:
    """Rows of features, one segment for each interaction: its item first, then the items it could have been.

    A row holds the cosine, then every factor. Rows of the user's own items are weighed by exponents of their own.
    """

    def __init__(
        self,
        interactions: Observed,
        user_vectors: npt.NDArray[np.float32],
        item_vectors: npt.NDArray[np.float32],
        weights: Mapping[str, ContextWeight],
        settings: ExponentSettings,
    ) -> None:
        self._interactions = interactions
        self._user_vectors = user_vectors
        self._item_vectors = item_vectors
        self._weights = weights
        self._block = 1 + sum(len(weight.factors) for weight in weights.values())
        self._settings = settings
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

    def observe(self, start: int, stop: int) -> None:
        """Let the weights learn from interactions ``start`` to ``stop``."""
        seen = part(self._interactions, start, stop)
        self._counts += np.bincount(seen.item_rows, minlength=len(self._counts))
        for weight in self._weights.values():
            weight.observe(seen)

    def add(self, moment: Moment, events: npt.NDArray[np.int64], as_of_ms: int, generator: np.random.Generator) -> None:
        """Add interactions of one moment, with histories as they were before ``as_of_ms``."""
        num_items = len(self._item_vectors)
        chances = (self._counts + 1.0) ** 0.75
        chances /= chances.sum()
        cumulative = np.cumsum(chances)
        lifts = self._item_lifts(moment, num_items)
        for event in events:
            user, item = int(self._interactions.user_rows[event]), int(self._interactions.item_rows[event])
            history = self._history(user, as_of_ms)
            own, _ = history.distinct()
            drawn = np.searchsorted(cumulative, generator.random(self._settings.num_samples) * cumulative[-1])
            drawn = np.minimum(drawn, num_items - 1)
            drawn = drawn[~_contains(own, drawn) & (drawn != item)]
            others = own[own != item]
            rows = np.concatenate([[item], others, drawn])  # [num_candidates]
            is_own = _contains(own, rows)
            block = np.empty((len(rows), self._block), np.float32)
            block[:, 0] = self._item_vectors[rows] @ self._user_vectors[user]
            block[:, 1:] = lifts[:, rows].T
            block[is_own, 1:] += self._history_lifts(history, moment)[np.searchsorted(own, rows[is_own])]
            correction = np.zeros(len(rows), np.float32)
            correction[1 + len(others) :] = -np.log(chances[drawn] * self._settings.num_samples)
            self._features.append(block)
            self._is_own.append(is_own)
            self._corrections.append(correction)
            self._lengths.append(len(rows))

    def solve(self) -> tuple[npt.NDArray[np.float64], float]:
        """Return the exponents, float64 ``[2 * block]``, and the loss there: the penalised likelihood is concave."""
        features = np.concatenate(self._features)  # [num_rows, block]
        own_rows = np.flatnonzero(np.concatenate(self._is_own))
        own_features = features[own_rows]
        corrections = np.concatenate(self._corrections)
        lengths = np.array(self._lengths)
        starts = np.cumsum(lengths) - lengths
        is_own_taken = np.concatenate(self._is_own)[starts]
        taken = np.concatenate(
            [
                features[starts[~is_own_taken]].sum(0, dtype=np.float64),
                features[starts[is_own_taken]].sum(0, dtype=np.float64),
            ]
        ) / len(lengths)

        def loss_and_gradient(exponents: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
            new, own = exponents.astype(np.float32).reshape(2, -1)
            scores = features @ new
            scores[own_rows] = own_features @ own
            scores += corrections
            highest = np.maximum.reduceat(scores, starts)
            odds = np.exp(scores - np.repeat(highest, lengths))
            totals = np.add.reduceat(odds, starts)
            chances = odds / np.repeat(totals, lengths)
            of_own = own_features.T @ chances[own_rows]
            of_new = features.T @ chances - of_own
            expected = np.concatenate([of_new, of_own]).astype(np.float64) / len(lengths)
            log_totals = float((np.log(totals) + highest).mean(dtype=np.float64))
            loss = log_totals - float(taken @ exponents) + self._settings.penalty * float(exponents @ exponents)
            return loss, expected - taken + 2.0 * self._settings.penalty * exponents

        is_signed = [False, *(factor.is_signed for weight in self._weights.values() for factor in weight.factors)]
        bounds = [(None, None) if signed else (0.0, None) for signed in is_signed * 2]
        start = np.zeros(2 * self._block)
        start[[0, self._block]] = 1.0
        found = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 100})
        return found.x, float(found.fun)

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
