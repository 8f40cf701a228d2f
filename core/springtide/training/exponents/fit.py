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

from springtide.interactions import Moment, Observed
from springtide.model.exponents import Exponents, TermExponents
from springtide.plugins.contracts import ContextWeight, Factor
from springtide.ranking.weights import factor_names
from springtide.training.exponents.logit import ConditionalLogit, ExponentSettings
from springtide.training.exponents.slices import group_by_circumstances, known_events, moments_of
from springtide.training.graph import select, slice_of

_MAX_STARTS = 8  # Slices that a passing factor is learned over: each costs a fold of all counts.
_UNTOUCHED_SHARE = 0.25  # Of the history: before that, counts say little.
_MAX_CIRCUMSTANCES = 256  # Different ones, each of which makes weights of all items.
_FORGETTING = 2.0  # What the variance of earlier exponents grows by: vectors and tastes have changed meanwhile.
_SMALLEST_ERROR = 1e-3  # A belief that is surer than this could not be amended any more.
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


@dataclass(frozen=True, slots=True)
class FittedPrior:
    """Exponents that an earlier fit found, and their standard errors."""

    exponents: Exponents
    errors: Exponents


def fit_exponents(
    interactions: Observed,
    split: int,
    user_vectors: npt.NDArray[np.float32],
    item_vectors: npt.NDArray[np.float32],
    make_weights: Callable[[], Mapping[str, ContextWeight]],
    settings: ExponentSettings,
    seed: int,
    known: FittedPrior | None = None,
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
        known: What was found on earlier interactions than those from ``split`` on: it is the belief that these amend,
            and exponents that take the whole history, or several slices of it, stay as they were. Whoever goes on from
            it needs fewer interactions. It is left aside if it lacks a factor.

    Returns:
        The fit; None if no interaction of the slice has a user and an item that the vectors know.
    """
    generator = np.random.default_rng(seed)
    events = known_events(interactions, split)
    if len(events) == 0:
        return None
    vectors = (user_vectors, item_vectors)
    weights = make_weights()
    names = factor_names(weights)
    before = None if known is None else _to_arrays(names, known)
    passing = _is(weights, "is_short_lived") if not settings.is_live else np.zeros(1 + len(names), bool)
    if before is not None:
        settings = dataclasses.replace(settings, num_moments=settings.num_amending)
        is_kept = _is(weights, "needs_whole_history") | passing
        fixed, fixed_errors = np.where(is_kept, before, np.nan)
    elif passing.any():
        fixed, fixed_errors = _fit_passing(interactions, split, vectors, make_weights(), settings, generator)
    else:
        fixed = fixed_errors = np.full((2, 1 + len(names)), np.nan)
    latest = _latest_problem(interactions, split, events, vectors, weights, fixed, settings, generator)
    if before is None:
        exponents, errors, loss = latest.solve()
    else:
        mean, deviation = before
        exponents, errors, loss = latest.solve(mean, np.maximum(np.sqrt(_FORGETTING) * deviation, _SMALLEST_ERROR))
    errors = np.where(np.isfinite(fixed), fixed_errors, errors)
    if before is None:
        exponents, errors = _fit_whole_history(
            interactions, exponents, errors, vectors, make_weights(), settings, generator
        )
    exponents[0, 0] = max(exponents[0, 0], _SMALLEST_COSINE)
    return ExponentFit(_to_exponents(names, exponents), loss, latest.num_events, _to_exponents(names, errors))


def _latest_problem(
    interactions: Observed,
    split: int,
    events: npt.NDArray[np.int64],
    vectors: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
    weights: Mapping[str, ContextWeight],
    fixed: npt.NDArray[np.float64],
    settings: ExponentSettings,
    generator: np.random.Generator,
) -> ConditionalLogit:
    """Return the problem of the latest slice: each interaction with features as of its own moment, or of the start.

    Args:
        interactions: Oldest first.
        split: Where the slice starts.
        events: Interactions of the slice.
        vectors: Of users and items.
        weights: They know nothing yet.
        fixed: float64 ``[2, 1 + num_factors]``, exponents that are not sought; NaN for those that are, but that those
            which need the whole history are never sought here.
        settings: How to sample, and whether to freeze all features at the start.
        generator: The source of chance.
    """
    is_free = ~_is(weights, "needs_whole_history") & np.isnan(fixed).all(0)
    problem = ConditionalLogit(
        interactions, *vectors, weights, is_free, np.nan_to_num(fixed, nan=0.0).astype(np.float32), settings
    )
    problem.observe(slice_of(interactions, 0, split))
    if not settings.is_live:
        _add_frozen(problem, interactions, split, events, settings.num_moments * settings.events_per_moment, generator)
        return problem
    observed = split
    for moment, chosen in moments_of(interactions, events, weights, settings, generator):
        chosen = chosen[chosen >= observed]  # Windows may overlap: nothing is asked for that was observed already.
        if len(chosen) == 0:
            continue
        first = int(chosen.min())
        if first > observed:
            problem.observe(slice_of(interactions, observed, first))
            observed = first
        problem.add(moment, chosen, None, generator)
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
    is_short_lived = _is(weights, "is_short_lived")
    nothing = np.full((2, len(is_short_lived)), np.nan)
    length = len(interactions) - split
    oldest = int(_UNTOUCHED_SHARE * len(interactions))
    starts = list(range(split, oldest, -length))[:_MAX_STARTS][::-1]
    if len(starts) < 2:
        return nothing, nothing
    is_free = ~_is(weights, "needs_whole_history")
    is_free[0] = False
    none = np.zeros((2, len(is_free)), np.float32)
    problem = ConditionalLogit(interactions, *vectors, weights, is_free, none, settings)
    observed = 0
    for start in starts:
        problem.observe(slice_of(interactions, observed, start))
        observed = start
        events = known_events(interactions, start)
        events = events[events < start + length]
        num_chosen = settings.num_moments * settings.events_per_moment // len(starts)
        _add_frozen(problem, interactions, start, events, num_chosen, generator)
    if problem.num_events == 0:
        return nothing, nothing
    exponents, errors, _ = problem.solve()
    return np.where(is_short_lived, exponents, np.nan), np.where(is_short_lived, errors, np.nan)


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
    for places in group_by_circumstances(interactions, taken)[:_MAX_CIRCUMSTANCES]:
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
    is_free = _is(weights, "needs_whole_history")
    num_kept = exponents.shape[1]
    is_teacher = generator.random(len(vectors[0])) < 0.5
    of_teacher = is_teacher[interactions.user_rows]
    events = np.flatnonzero(~of_teacher)
    if not is_free[:num_kept].any() or len(events) == 0 or not of_teacher.any():
        return exponents, errors
    fixed = np.pad(exponents, [(0, 0), (0, 1)]).astype(np.float32)
    fixed[:, 0] = 0.0
    problem = ConditionalLogit(interactions, *vectors, weights, is_free, fixed, settings)
    problem.observe(select(interactions, of_teacher))
    for moment, chosen in moments_of(interactions, events, weights, settings, generator):
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


def _is(weights: Mapping[str, ContextWeight], trait: str) -> npt.NDArray[np.bool_]:
    """Return which terms have a trait of factors, bool ``[1 + num_factors]``; the cosine comes first and has none."""
    return np.array(
        [False, *(getattr(factor, trait) for weight in weights.values() for factor in weight.factors)], bool
    )


def _to_arrays(
    names: list[tuple[str, str]], known: FittedPrior
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """Return exponents and errors, float64 ``[2, 1 + num_factors]``; None if one is not known."""
    arrays = []
    for of_all in (known.exponents, known.errors):
        sides = (of_all.unseen, of_all.seen)
        if any(factor not in side.factors.get(weight, {}) for side in sides for weight, factor in names):
            return None
        arrays.append([[side.cosine, *(side.factors[weight][factor] for weight, factor in names)] for side in sides])
    return np.array(arrays[0]), np.array(arrays[1])


def _to_exponents(names: list[tuple[str, str]], values: npt.NDArray[np.float64]) -> Exponents:
    """Name the values, float64 ``[2, 1 + num_factors]``, of new items and of own ones."""
    new, own = (TermExponents(float(of_side[0]), _by_weight(names, of_side[1:])) for of_side in values)
    return Exponents(new, own)


def _by_weight(names: list[tuple[str, str]], exponents: npt.NDArray[np.float64]) -> dict[str, dict[str, float]]:
    factors: dict[str, dict[str, float]] = {}
    for (weight, factor), exponent in zip(names, exponents, strict=True):
        factors.setdefault(weight, {})[factor] = float(exponent)
    return factors
