"""Fitting how much dislikes count: what users with dislikes chose later, given all other terms of the ranking."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from springtide.interactions import NO_HISTORY, History, Moment, Observed
from springtide.model.exponents import DislikeExponents, Exponents
from springtide.plugins.contracts import ContextWeight
from springtide.ranking.dislikes import direction, disliked_at, standing
from springtide.ranking.related import find, related_scores, related_terms
from springtide.ranking.weights import ItemWeights, history_terms, history_weights, item_weights
from springtide.training.exponents.likelihood import Choices, GaussianPrior, maximise
from springtide.training.graph import slice_of

Array = npt.NDArray[np.float32]

_MIN_EVENTS = 50  # Fewer choices of users with dislikes say too little.
_MAX_EVENTS = 2_000  # Two exponents need no more.
_NUM_SAMPLES = 128  # Items sampled for each choice, to stand for those that were not chosen.
_DEVIATION = DislikeExponents(item=1.0, like=0.25)  # Of the prior, whose means are the exponents before the fit.
_LEAST = DislikeExponents(item=0.5, like=0.05)  # Chance must not make a dislike mean nothing.


@dataclass(frozen=True, slots=True)
class _Alternatives:
    """What one user could choose from at one moment; the first was chosen.

    Attributes:
        features: float32 ``[n, 2]``, minus the strength of the user's dislike of each item, and minus the part of its
            cosine term that lies in the direction of what they dislike.
        corrections: float32 ``[n]``, the score without these, and the correction for the sampling.
    """

    features: Array
    corrections: Array


def with_dislikes(
    exponents: Exponents,
    interactions: Observed,
    split: int,
    disliked: Observed,
    vectors: tuple[Array, Array],
    make_weights: Callable[[], Mapping[str, ContextWeight]],
    seed: int,
) -> Exponents:
    """Return fitted exponents with those of dislikes fitted too, if there are any dislikes.

    Args:
        exponents: The others are fitted; those of dislikes are as they were before.
        interactions: As in ``fit_dislikes``.
        split: As in ``fit_dislikes``.
        disliked: As in ``fit_dislikes``.
        vectors: As in ``fit_dislikes``.
        make_weights: Makes context weights that have learned nothing yet.
        seed: As in ``fit_dislikes``.
    """
    if not len(disliked):
        return exponents
    weights = make_weights()
    for weight in weights.values():
        weight.observe(slice_of(interactions, 0, split))
    return replace(exponents, dislikes=fit_dislikes(interactions, split, disliked, vectors, weights, exponents, seed))


def fit_dislikes(
    interactions: Observed,
    split: int,
    disliked: Observed,
    vectors: tuple[Array, Array],
    weights: Mapping[str, ContextWeight],
    exponents: Exponents,
    seed: int,
) -> DislikeExponents:
    """Return how much dislikes count, by the choices from ``split`` on; those given if there are too few.

    It is a conditional logit with all other exponents fixed, and a normal prior around those of ``exponents``. Context
    weights are as they were at ``split``.

    Args:
        interactions: Positive interactions, oldest first.
        split: Position of the first interaction that vectors and weights have not seen.
        disliked: Negative interactions, oldest first.
        vectors: Unit vectors of users and items, float32 ``[num_users, d]`` and ``[num_items, d]``.
        weights: Context weights that have learned from the interactions before ``split``.
        exponents: The exponents, fitted but for those of dislikes.
        seed: Seed of the sampling.
    """
    events = split + np.flatnonzero(np.isin(interactions.user_rows[split:], disliked.user_rows))
    if len(events) < _MIN_EVENTS:
        return exponents.dislikes
    generator = np.random.default_rng(seed)
    events = np.sort(generator.choice(events, min(len(events), _MAX_EVENTS), replace=False))
    moment = Moment(int(interactions.timestamps_ms[split]))
    at_moment = item_weights(weights, exponents, moment, len(vectors[1]))
    sampler = _Sampler(interactions, split, len(vectors[1]))
    liked_by, disliked_by = _ByUser(interactions), _ByUser(disliked)
    terms, relating = history_terms(weights, exponents), related_terms(weights, exponents)
    found = []
    for event in events.tolist():
        user, item = int(interactions.user_rows[event]), int(interactions.item_rows[event])
        now_ms = int(interactions.timestamps_ms[event])
        history = liked_by.history(user, now_ms)
        dislikes = standing(disliked_by.history(user, now_ms), [history])
        if len(dislikes.item_rows):
            rows, corrections = sampler.draw(item, history, dislikes, generator)
            of_seen = history_weights(terms, history, Moment(now_ms))
            user_vector = vectors[0][user] if user < len(vectors[0]) else np.zeros(vectors[1].shape[1], np.float32)
            seen, _ = history.distinct()
            habit = sum(of_seen.values(), np.zeros(len(seen), np.float32))
            related, related_seen = related_scores(relating, history, Moment(now_ms), seen, len(vectors[1]))
            habit = sum(related_seen.values(), habit)
            alternatives = _alternatives(
                rows, seen, habit, related.of(rows), dislikes, now_ms, (user_vector, vectors[1]), at_moment, exponents
            )
            found.append(_Alternatives(alternatives.features, alternatives.corrections + corrections))
    if len(found) < _MIN_EVENTS:
        return exponents.dislikes
    return _solve(found, exponents.dislikes)


def _alternatives(
    rows: npt.NDArray[np.int64],
    seen_rows: npt.NDArray[np.int32],
    habit: Array,
    related: Array,
    dislikes: History,
    now_ms: int,
    vectors: tuple[Array, Array],
    at_moment: ItemWeights,
    exponents: Exponents,
) -> _Alternatives:
    """Return the features of some items for one user.

    Args:
        rows: int64 ``[n]``, the items.
        seen_rows: int32 ``[m]``, ascending: what the user has had.
        habit: float32 ``[m]``, what the history adds to the scores of these.
        related: float32 ``[n]``, what the history adds to the scores of the items as unseen ones.
        dislikes: The user's dislikes.
        now_ms: The time.
        vectors: The user's vector and those of all items.
        at_moment: The item weights.
        exponents: How much each term counts.
    """
    user_vector, item_vectors = vectors
    cosines = item_vectors[rows] @ user_vector
    unseen = exponents.unseen.cosine * cosines + at_moment.unseen_total[rows] + related
    is_seen, position = find(seen_rows, rows)
    seen = exponents.seen.cosine * cosines + at_moment.seen_total[rows]
    scores = np.where(is_seen, seen, unseen)
    scores[is_seen] += habit[position]
    disliked = disliked_at(dislikes, now_ms)
    is_disliked, position = find(disliked.rows, rows)
    strengths = np.zeros(len(rows), np.float32)
    strengths[is_disliked] = disliked.strengths[position]
    scores[is_disliked] -= disliked.doubts[position] * np.maximum(scores - unseen, 0.0)[is_disliked]
    away = direction(dislikes, item_vectors, now_ms)
    likeness = np.zeros(len(rows), np.float32) if away is None else item_vectors[rows] @ away
    likeness = likeness * np.where(is_seen, exponents.seen.cosine, exponents.unseen.cosine).astype(np.float32)
    return _Alternatives(-np.stack([strengths, likeness], axis=1), scores.astype(np.float32))


def _solve(found: list[_Alternatives], prior: DislikeExponents) -> DislikeExponents:
    choices = Choices(
        np.concatenate([each.features for each in found]).astype(np.float32),
        np.zeros(sum(len(each.corrections) for each in found), np.bool_),
        np.concatenate([each.corrections for each in found]),
        np.cumsum([len(each.corrections) for each in found]),
    )
    mean = np.array([[prior.item, prior.like], [0.0, 0.0]])
    precision = np.array([[_DEVIATION.item, _DEVIATION.like], [1.0, 1.0]]) ** -2.0 / len(found)
    is_free = np.array([[True, True], [False, False]])
    exponents, _ = maximise(choices, is_free, np.zeros((2, 2), bool), GaussianPrior(mean, precision), mean.copy())
    item, like = exponents[0].tolist()
    return DislikeExponents(max(item, _LEAST.item), max(like, _LEAST.like))


class _ByUser:
    """Interactions, looked up by user."""

    def __init__(self, interactions: Observed) -> None:
        self._interactions = interactions
        self._order = np.argsort(interactions.user_rows, kind="stable")  # User by user, oldest first.
        self._users = interactions.user_rows[self._order]

    def history(self, user: int, before_ms: int) -> History:
        """Return the interactions of a user before a time, newest first."""
        first, stop = np.searchsorted(self._users, [user, user + 1])
        events = self._order[first:stop]
        events = events[: np.searchsorted(self._interactions.timestamps_ms[events], before_ms)][::-1]
        if not len(events):
            return NO_HISTORY
        of = self._interactions
        return History(of.item_rows[events], of.timestamps_ms[events], of.weights[events])


class _Sampler:
    """Draws the alternatives of a choice: what the user has seen or dislikes, and unseen items by their popularity."""

    def __init__(self, interactions: Observed, split: int, num_items: int) -> None:
        counts = np.bincount(interactions.item_rows[:split], minlength=num_items)
        self._log_chances = np.log(counts + 1.0) - np.log(counts + 1.0).max()
        self._cumulative = np.cumsum(np.exp(self._log_chances))
        self._log_chances -= np.log(self._cumulative[-1])

    def draw(
        self, item: int, history: History, dislikes: History, generator: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], Array]:
        """Return items, int64 ``[n]``, the chosen one first, and corrections for the sampling, float32 ``[n]``."""
        known = np.union1d(history.item_rows, dislikes.item_rows).astype(np.int64)
        known = known[(known != item) & (known < len(self._cumulative))]
        drawn = np.searchsorted(self._cumulative, generator.random(_NUM_SAMPLES) * self._cumulative[-1])
        drawn = np.minimum(drawn, len(self._cumulative) - 1)
        drawn = drawn[(drawn != item) & ~np.isin(drawn, known)]
        corrections = np.zeros(1 + len(known) + len(drawn), np.float32)
        corrections[1 + len(known) :] = -(self._log_chances[drawn] + np.log(_NUM_SAMPLES))
        return np.concatenate([[item], known, drawn]), corrections
