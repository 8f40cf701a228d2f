"""Learning how much each term of the ranking counts: a conditional logit on the latest interactions.

The ranking is ``P(i | u, moment) ∝ exp(cosine / τ) · Π lift^β`` (McFadden 1974). The fit asks, for interactions that
the vectors have not seen, which τ and β make the items that were taken likeliest. Items are sampled, and stand for
the rest with their sampling correction; the user's own items are all there, and have exponents of their own.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.plugins.contracts import ContextWeight, Factor, Moment, Observed
from springtide.ranking.weights import Exponents, Terms, bucket_of, factor_names
from springtide.training.graph import part, some_of
from springtide.training.logit import ConditionalLogit, ExponentSettings

_MAX_STARTS = 8  # Slices that a passing factor is learned over: each costs a fold of all counts.
_UNTOUCHED_SHARE = 0.25  # Of the history: before that, counts say little.
_MAX_CIRCUMSTANCES = 256  # Different ones, each of which makes weights of all items.
_SMALLEST_COSINE = 1e-6  # A cosine that counts for nothing would leave the temperature infinite.


@dataclass(frozen=True, slots=True)
class ExponentFit:
    """What the fit found.

    Attributes:
        exponents: The exponents.
        loss: Mean negative log-likelihood, natural logarithm.
        num_events: Interactions it was fitted on.
        errors: Standard error of each exponent.
    """

    exponents: Exponents
    loss: float
    num_events: int
    errors: Exponents


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
    events = known_events(interactions, split)
    if len(events) == 0:
        return None
    vectors = (user_vectors, item_vectors)
    if settings.is_live:
        latest = _live_problem(interactions, split, events, vectors, make_weights(), settings, generator)
        exponents, errors, loss = latest.solve()
    else:
        passing = _fit_passing(interactions, split, vectors, make_weights(), settings, generator)
        latest = _frozen_problem(interactions, split, events, vectors, make_weights(), passing[0], settings, generator)
        exponents, errors, loss = latest.solve()
        errors = np.where(np.isfinite(passing[0]), passing[1], errors)
    exponents, errors = _fit_whole_history(
        interactions, exponents, errors, vectors, make_weights(), settings, generator
    )
    exponents[0, 0] = max(exponents[0, 0], _SMALLEST_COSINE)
    names = factor_names(make_weights())
    return ExponentFit(_to_exponents(names, exponents), loss, latest.num_events, _to_exponents(names, errors))


def _live_problem(
    interactions: Observed,
    split: int,
    events: npt.NDArray[np.int64],
    vectors: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
    weights: Mapping[str, ContextWeight],
    settings: ExponentSettings,
    generator: np.random.Generator,
) -> ConditionalLogit:
    """Return the problem of the latest slice, each interaction with features as of its own moment.

    All exponents are free but those that need the whole history.
    """
    is_free = ~_needs_whole_history(weights)
    none = np.zeros((2, len(is_free)), np.float32)
    problem = ConditionalLogit(interactions, *vectors, weights, is_free, none, settings)
    problem.observe(part(interactions, 0, split))
    observed = split
    for moment, chosen in _moments(interactions, events, weights, settings, generator):
        chosen = chosen[chosen >= observed]  # Windows may overlap: nothing is asked for that was observed already.
        if len(chosen) == 0:
            continue
        first = int(chosen.min())
        if first > observed:
            problem.observe(part(interactions, observed, first))
            observed = first
        problem.add(moment, chosen, None, generator)
    return problem


def _frozen_problem(
    interactions: Observed,
    split: int,
    events: npt.NDArray[np.int64],
    vectors: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
    weights: Mapping[str, ContextWeight],
    fixed: npt.NDArray[np.float64],
    settings: ExponentSettings,
    generator: np.random.Generator,
) -> ConditionalLogit:
    """Return the problem of the latest slice, all features as of its start.

    Args:
        interactions: Oldest first.
        split: Where the slice starts.
        events: Interactions of the slice.
        vectors: Of users and items.
        weights: They know nothing yet.
        fixed: float64 ``[2, 1 + num_factors]``, exponents that are not sought; NaN for those that are.
        settings: How to sample.
        generator: The source of chance.
    """
    is_free = ~_needs_whole_history(weights) & np.isnan(fixed).all(0)
    known = np.nan_to_num(fixed, nan=0.0).astype(np.float32)
    problem = ConditionalLogit(interactions, *vectors, weights, is_free, known, settings)
    problem.observe(part(interactions, 0, split))
    _add_frozen(problem, interactions, split, events, settings.num_moments * settings.events_per_moment, generator)
    return problem


def _fit_passing(
    interactions: Observed,
    split: int,
    vectors: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
    weights: Mapping[str, ContextWeight],
    settings: ExponentSettings,
    generator: np.random.Generator,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the exponents of passing factors and their errors, float64 ``[2, 1 + num_factors]``, NaN for all others.

    With everything frozen at the start of one slice, that one moment decides what a trend is worth: whether the fashion
    of that week went on. So it is learned over several slices of the same length, one after the other, each frozen at
    its own start. Cosines are left out, since the vectors were trained on the earlier slices.
    """
    is_passing = np.array([False, *(factor.is_passing for weight in weights.values() for factor in weight.factors)])
    nothing = np.full((2, len(is_passing)), np.nan)
    length = len(interactions) - split
    oldest = int(_UNTOUCHED_SHARE * len(interactions))
    starts = list(range(split, oldest, -length))[:_MAX_STARTS][::-1]
    if not is_passing.any() or len(starts) < 2:
        return nothing, nothing
    is_free = ~_needs_whole_history(weights)
    is_free[0] = False
    none = np.zeros((2, len(is_free)), np.float32)
    problem = ConditionalLogit(interactions, *vectors, weights, is_free, none, settings)
    observed = 0
    for start in starts:
        problem.observe(part(interactions, observed, start))
        observed = start
        events = known_events(interactions, start)
        events = events[events < start + length]
        num_chosen = settings.num_moments * settings.events_per_moment // len(starts)
        _add_frozen(problem, interactions, start, events, num_chosen, generator)
    if problem.num_events == 0:
        return nothing, nothing
    exponents, errors, _ = problem.solve()
    return np.where(is_passing, exponents, np.nan), np.where(is_passing, errors, np.nan)


def _add_frozen(
    problem: ConditionalLogit,
    interactions: Observed,
    start: int,
    events: npt.NDArray[np.int64],
    num_chosen: int,
    generator: np.random.Generator,
) -> None:
    """Add some of the events, with features as of the time of the interaction at ``start``."""
    frozen_ms = int(interactions.timestamps_ms[start])
    taken = generator.choice(events, min(len(events), num_chosen), replace=False)
    for places in _alike(interactions, taken)[:_MAX_CIRCUMSTANCES]:
        moment = dataclasses.replace(interactions.moment(int(taken[places[0]])), timestamp_ms=frozen_ms)
        problem.add(moment, taken[places], frozen_ms, generator)


def _fit_whole_history(
    interactions: Observed,
    exponents: npt.NDArray[np.float64],
    errors: npt.NDArray[np.float64],
    vectors: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
    weights: Mapping[str, ContextWeight],
    settings: ExponentSettings,
    generator: np.random.Generator,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return exponents and their errors, float64 ``[2, 1 + num_factors]``, those of the whole history learned too.

    The weights learn from one half of the users, and the exponents from the other half's interactions at moments all
    over the history: what a profile says of a moment is then tested on people it has not seen. Cosines are left out,
    since the vectors were trained on these very interactions; the other exponents stay as they are. How long an item
    has been there has an exponent beside them, which is dropped again: popularity counts what never sold because it had
    not come yet, and an item that came in autumn would pass for one of autumn.
    """
    weights = {**weights, "": _Arrivals(interactions, len(vectors[1]))}
    is_free = _needs_whole_history(weights)
    num_kept = exponents.shape[1]
    is_teacher = generator.random(len(vectors[0])) < 0.5
    of_teacher = is_teacher[interactions.user_rows]
    events = np.flatnonzero(~of_teacher)
    if not is_free[:num_kept].any() or len(events) == 0 or not of_teacher.any():
        return exponents, errors
    fixed = np.pad(exponents, [(0, 0), (0, 1)]).astype(np.float32)
    fixed[:, 0] = 0.0
    problem = ConditionalLogit(interactions, *vectors, weights, is_free, fixed, settings)
    problem.observe(some_of(interactions, of_teacher))
    for moment, chosen in _moments(interactions, events, weights, settings, generator):
        problem.add(moment, chosen, None, generator)
    found, found_errors, _ = problem.solve()
    is_free, found, found_errors = is_free[:num_kept], found[:, :num_kept], found_errors[:, :num_kept]
    return np.where(is_free, found, exponents), np.where(is_free, found_errors, errors)


class _Arrivals(ContextWeight):
    """How much of all that happened came before an item's first interaction: the less it could sell, the higher."""

    factors = (Factor("arrival", is_signed=True, needs_whole_history=True),)

    def __init__(self, interactions: Observed, num_items: int) -> None:
        first = np.full(num_items, len(interactions))
        np.minimum.at(first, interactions.item_rows, np.arange(len(interactions)))
        since = (len(interactions) - first + 1.0) / (len(interactions) + 1.0)  # Share of all, from the first one on.
        self._log_lifts = -np.log(since)[None, :].astype(np.float32)  # [1, num_items]

    def item_log_lifts(self, moment: Moment, num_items: int) -> npt.NDArray[np.float32]:
        """Return the same at every moment."""
        return self._log_lifts


def _needs_whole_history(weights: Mapping[str, ContextWeight]) -> npt.NDArray[np.bool_]:
    """Return bool ``[1 + num_factors]``; the cosine, which comes first, does not."""
    return np.array(
        [False, *(factor.needs_whole_history for weight in weights.values() for factor in weight.factors)], bool
    )


def _to_exponents(names: list[tuple[str, str]], values: npt.NDArray[np.float64]) -> Exponents:
    """Name the values, float64 ``[2, 1 + num_factors]``, of new items and of own ones."""
    new, own = (Terms(float(of_side[0]), _by_weight(names, of_side[1:])) for of_side in values)
    return Exponents(new, own)


def _by_weight(names: list[tuple[str, str]], exponents: npt.NDArray[np.float64]) -> dict[str, dict[str, float]]:
    factors: dict[str, dict[str, float]] = {}
    for (weight, factor), exponent in zip(names, exponents, strict=True):
        factors.setdefault(weight, {})[factor] = float(exponent)
    return factors


def known_events(interactions: Observed, split: int) -> npt.NDArray[np.int64]:
    """Return the positions, from ``split`` on, of interactions whose user and item both came before it too."""
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
    moments = []
    centers = np.sort(generator.choice(events, min(settings.num_moments, len(events)), replace=False))
    half = max(1, min(len(events) // (2 * len(centers)), 4 * settings.events_per_moment))
    used = np.zeros(len(interactions), bool)
    for center in centers:
        moment = interactions.moment(int(center))
        bucket = bucket_of(weights, moment)
        position = int(np.searchsorted(events, center))
        near = events[max(0, position - half) : position + half]
        near = near[~used[near]]
        # Nearby events almost always share the hour: only distinct moments are asked.
        shares = np.zeros(len(near), bool)
        for places in _alike(interactions, near, with_time=True):
            shares[places] = bucket_of(weights, interactions.moment(int(near[places[0]]))) == bucket
        near = near[shares]
        if len(near) > settings.events_per_moment:
            near = np.sort(generator.choice(near, settings.events_per_moment, replace=False))
        used[near] = True
        if len(near):
            moments.append((moment, near))
    return moments


def _alike(
    interactions: Observed, events: npt.NDArray[np.int64], *, with_time: bool = False
) -> list[npt.NDArray[np.int64]]:
    """Return positions in ``events`` of those with the same circumstances (and time), the largest groups first."""
    columns = [of.codes[events].astype(np.int64) for of in interactions.circumstances.values()]
    if with_time:
        columns.append(interactions.timestamps_ms[events])
    if not columns or not len(events):
        return [np.arange(len(events))] if len(events) else []
    _, inverse, counts = np.unique(np.stack(columns), axis=1, return_inverse=True, return_counts=True)
    groups = np.split(np.argsort(inverse, kind="stable"), np.cumsum(counts)[:-1])
    return sorted(groups, key=len, reverse=True)
