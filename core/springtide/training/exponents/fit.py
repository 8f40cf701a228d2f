"""Fitting how much each term of the ranking counts: a conditional logit on the latest interactions.

The ranking is ``P(i | u, moment) ∝ exp(cosine / τ) · Π lift^β`` (McFadden 1974). The fit finds the τ and β that make
the items of the latest interactions most likely, which the vectors have not seen. The alternatives are all items that
the user has seen, which have exponents of their own, and a sample of the unseen ones, corrected for the sampling.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.interactions import Moment, Observed
from springtide.model.exponents import Exponents, TermExponents
from springtide.model.fitted_weights import is_fitted
from springtide.plugins.contracts import ContextWeight, Factor
from springtide.ranking.weights import factor_names
from springtide.training.exponents.logit import ConditionalLogit, ExponentSettings
from springtide.training.exponents.slices import group_by_circumstances, known_events, moments_of
from springtide.training.graph import select, slice_of

Floats = npt.NDArray[np.float64]
Vectors = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""Unit vectors of users and of items, float32 ``[num_users, d]`` and ``[num_items, d]``."""

_MAX_STARTS = 8  # Slices that a short-lived factor is fitted over: the context weights learn anew up to each.
_UNTOUCHED_SHARE = 0.25  # Share of the history before which no slice starts: counts are too small there.
_MAX_CIRCUMSTANCES = 256  # Groups of interactions: weights compute the lifts of all items for each.
_PRIOR_VARIANCE_FACTOR = 2.0  # An earlier fit's variance is doubled: vectors and tastes have changed since.
_SMALLEST_ERROR = 1e-3  # Of a prior: a smaller one could hardly be updated any more.
_SMALLEST_COSINE = 1e-6  # With a cosine of 0 the temperature would be infinite.


@dataclass(frozen=True, slots=True)
class ExponentFit:
    """Result of a fit.

    Attributes:
        exponents: The exponents.
        loss: Mean negative log-likelihood, natural logarithm.
        num_events: Number of interactions it was fitted on.
        errors: Standard error of each exponent.
    """

    exponents: Exponents
    loss: float
    num_events: int
    errors: Exponents


@dataclass(frozen=True, slots=True)
class FittedPrior:
    """Result of an earlier fit, as the prior of the next one.

    Attributes:
        exponents: The exponents.
        errors: Standard error of each exponent.
    """

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
    prior: FittedPrior | None = None,
) -> ExponentFit | None:
    """Fit the exponents on the interactions from ``split`` on.

    Args:
        interactions: Positive interactions, oldest first.
        split: Position of the first interaction that the vectors have not seen.
        user_vectors: Unit vectors, float32 ``[num_users, d]``; users without interactions before may be missing or 0.
        item_vectors: Unit vectors, float32 ``[num_items, d]``.
        make_weights: Makes context weights that have learned nothing yet.
        settings: How to sample.
        seed: Seed of the sampling.
        prior: Result of a fit on earlier interactions, which the new ones update: fewer interactions are sampled then.
            Exponents that need the whole history, or several slices of it, stay as they were. It is ignored if it
            lacks a factor.

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
    before = None if prior is None else _to_arrays(names, prior)
    is_short_lived = np.zeros(1 + len(names), bool) if settings.is_live else _has_trait(weights, "is_short_lived")
    if before is not None:
        settings = dataclasses.replace(settings, num_moments=settings.num_moments_with_prior)
        is_kept = _has_trait(weights, "needs_whole_history") | is_short_lived
        fixed, fixed_errors = np.where(is_kept, before, np.nan)
    elif is_short_lived.any():
        unfitted = _without_fitted(make_weights())
        fixed, fixed_errors = _fit_short_lived(interactions, split, vectors, unfitted, settings, generator)
    else:
        fixed = fixed_errors = np.full((2, 1 + len(names)), np.nan)
    latest = _latest_choices(interactions, split, events, vectors, weights, fixed, settings, generator)
    if before is None:
        exponents, errors, loss = latest.solve()
    else:
        mean, deviation = before
        deviation = np.maximum(np.sqrt(_PRIOR_VARIANCE_FACTOR) * deviation, _SMALLEST_ERROR)
        exponents, errors, loss = latest.solve(mean, deviation)
    errors = np.where(np.isfinite(fixed), fixed_errors, errors)
    if before is None:
        exponents, errors = _fit_whole_history(
            interactions, exponents, errors, vectors, _without_fitted(make_weights()), settings, generator
        )
    exponents[0, 0] = max(exponents[0, 0], _SMALLEST_COSINE)
    return ExponentFit(_to_exponents(names, exponents), loss, latest.num_events, _to_exponents(names, errors))


def _latest_choices(
    interactions: Observed,
    split: int,
    events: npt.NDArray[np.int64],
    vectors: Vectors,
    weights: Mapping[str, ContextWeight],
    fixed: Floats,
    settings: ExponentSettings,
    generator: np.random.Generator,
) -> ConditionalLogit:
    """Return the choices of the latest slice, with features at the moment of each, or frozen at the start.

    Args:
        interactions: Positive interactions, oldest first.
        split: Where the slice starts.
        events: int64, positions of interactions of the slice.
        vectors: Vectors of users and items.
        weights: Context weights that have learned nothing yet.
        fixed: float64 ``[2, 1 + num_factors]``, exponents that are not fitted; NaN for the others. Exponents that need
            the whole history are not fitted here in any case: they are 0 if NaN.
        settings: How to sample, and whether features are frozen.
        generator: Source of randomness.
    """
    is_free = ~_has_trait(weights, "needs_whole_history") & np.isnan(fixed).all(0)
    choices = ConditionalLogit(
        interactions, *vectors, weights, is_free, np.nan_to_num(fixed, nan=0.0).astype(np.float32), settings
    )
    choices.observe(slice_of(interactions, 0, split))
    if not settings.is_live:
        _add_frozen(choices, interactions, split, events, settings.num_moments * settings.events_per_moment, generator)
        return choices
    observed = split
    for moment, chosen in moments_of(interactions, events, weights, settings, generator):
        chosen = chosen[chosen >= observed]  # Windows may overlap: nothing is predicted that was observed already.
        if len(chosen) == 0:
            continue
        first = int(chosen.min())
        if first > observed:
            choices.observe(slice_of(interactions, observed, first))
            observed = first
        choices.add(moment, chosen, None, generator)
    return choices


def _fit_short_lived(
    interactions: Observed,
    split: int,
    vectors: Vectors,
    weights: Mapping[str, ContextWeight],
    settings: ExponentSettings,
    generator: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Return the exponents of short-lived factors and their errors, float64 ``[2, 1 + num_factors]``; NaN elsewhere.

    With all features frozen at the start of one slice, the exponent of a trend would depend on that one moment:
    whether the fashion of that week went on. So it is fitted over several slices of the same length, one after the
    other, each frozen at its own start. Cosines are left out, since the vectors were trained on the earlier slices.
    """
    is_short_lived = _has_trait(weights, "is_short_lived")
    nothing = np.full((2, len(is_short_lived)), np.nan)
    length = len(interactions) - split
    oldest = int(_UNTOUCHED_SHARE * len(interactions))
    starts = list(range(split, oldest, -length))[:_MAX_STARTS][::-1]
    if len(starts) < 2:
        return nothing, nothing
    is_free = ~_has_trait(weights, "needs_whole_history")
    is_free[0] = False
    zeros = np.zeros((2, len(is_free)), np.float32)
    choices = ConditionalLogit(interactions, *vectors, weights, is_free, zeros, settings)
    observed = 0
    for start in starts:
        choices.observe(slice_of(interactions, observed, start))
        observed = start
        events = known_events(interactions, start)
        events = events[events < start + length]
        num_chosen = settings.num_moments * settings.events_per_moment // len(starts)
        _add_frozen(choices, interactions, start, events, num_chosen, generator)
    if choices.num_events == 0:
        return nothing, nothing
    exponents, errors, _ = choices.solve()
    return np.where(is_short_lived, exponents, np.nan), np.where(is_short_lived, errors, np.nan)


def _add_frozen(
    choices: ConditionalLogit,
    interactions: Observed,
    start: int,
    events: npt.NDArray[np.int64],
    num_chosen: int,
    generator: np.random.Generator,
) -> None:
    """Add some of the events, with features at the time of the interaction at ``start``."""
    frozen_ms = int(interactions.timestamps_ms[start])
    chosen = generator.choice(events, min(len(events), num_chosen), replace=False)
    for group in group_by_circumstances(interactions, chosen)[:_MAX_CIRCUMSTANCES]:
        moment = dataclasses.replace(interactions.moment(int(chosen[group[0]])), timestamp_ms=frozen_ms)
        choices.add(moment, chosen[group], frozen_ms, generator)


def _fit_whole_history(
    interactions: Observed,
    exponents: Floats,
    errors: Floats,
    vectors: Vectors,
    weights: Mapping[str, ContextWeight],
    settings: ExponentSettings,
    generator: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Return exponents and errors, float64 ``[2, 1 + num_factors]``, with factors that need the whole history fitted.

    The weights learn from one half of the users, and the exponents from interactions of the other half at moments all
    over the history: so a seasonal profile is tested on users it has not seen. Cosines are left out, since the vectors
    were trained on these interactions; the other exponents stay as they are. A term for the age of items is fitted too
    and then dropped. Popularity is too low for items that came late, since they could not sell before; without that
    term, an item that came in autumn would look like an autumn item.
    """
    weights = {**weights, "": _Arrivals(interactions, len(vectors[1]))}
    is_free = _has_trait(weights, "needs_whole_history")
    num_kept = exponents.shape[1]
    is_training_user = generator.random(len(vectors[0])) < 0.5
    is_training = is_training_user[interactions.user_rows]
    events = np.flatnonzero(~is_training)
    if not is_free[:num_kept].any() or len(events) == 0 or not is_training.any():
        return exponents, errors
    fixed = np.pad(exponents, [(0, 0), (0, 1)]).astype(np.float32)
    fixed[:, 0] = 0.0
    choices = ConditionalLogit(interactions, *vectors, weights, is_free, fixed, settings)
    choices.observe(select(interactions, is_training))
    for moment, chosen in moments_of(interactions, events, weights, settings, generator):
        choices.add(moment, chosen, None, generator)
    found, found_errors, _ = choices.solve()
    is_free, found, found_errors = is_free[:num_kept], found[:, :num_kept], found_errors[:, :num_kept]
    return np.where(is_free, found, exponents), np.where(is_free, found_errors, errors)


class _Arrivals(ContextWeight):
    """Minus the logarithm of the share of all interactions that came since an item's first: high for late items."""

    factors = (Factor("arrival", is_signed=True, needs_whole_history=True),)

    def __init__(self, interactions: Observed, num_items: int) -> None:
        first = np.full(num_items, len(interactions))
        np.minimum.at(first, interactions.item_rows, np.arange(len(interactions)))
        share_since = (len(interactions) - first + 1.0) / (len(interactions) + 1.0)
        self._log_lifts = -np.log(share_since)[None, :].astype(np.float32)  # [1, num_items]

    def item_log_lifts(self, moment: Moment, num_items: int) -> npt.NDArray[np.float32]:
        """Return the same at every moment."""
        return self._log_lifts


class _Silent(ContextWeight):
    """Has the factors of a weight, and says nothing."""

    def __init__(self, weight: ContextWeight) -> None:
        self.factors = weight.factors
        self.context_keys = weight.context_keys


def _without_fitted(weights: Mapping[str, ContextWeight]) -> dict[str, ContextWeight]:
    """Return the weights, with nothing said by those that were fitted on interactions that are to be predicted."""
    return {name: _Silent(weight) if is_fitted(weight) else weight for name, weight in weights.items()}


def _has_trait(weights: Mapping[str, ContextWeight], trait: str) -> npt.NDArray[np.bool_]:
    """Return which terms have a trait of ``Factor``, bool ``[1 + num_factors]``; the first is the cosine, with none."""
    return np.array(
        [False, *(getattr(factor, trait) for weight in weights.values() for factor in weight.factors)], bool
    )


def _to_arrays(names: list[tuple[str, str]], prior: FittedPrior) -> tuple[Floats, Floats] | None:
    """Return exponents and errors, float64 ``[2, 1 + num_factors]``; None if the prior lacks a factor."""
    arrays = []
    for exponents in (prior.exponents, prior.errors):
        sides = (exponents.unseen, exponents.seen)
        if any(factor not in side.factors.get(weight, {}) for side in sides for weight, factor in names):
            return None
        arrays.append([[side.cosine, *(side.factors[weight][factor] for weight, factor in names)] for side in sides])
    return np.array(arrays[0]), np.array(arrays[1])


def _to_exponents(names: list[tuple[str, str]], values: Floats) -> Exponents:
    """Name the values, float64 ``[2, 1 + num_factors]``, for unseen items and for seen ones."""
    unseen, seen = (TermExponents(float(side[0]), _by_weight(names, side[1:])) for side in values)
    return Exponents(unseen, seen)


def _by_weight(names: list[tuple[str, str]], exponents: npt.NDArray[np.float64]) -> dict[str, dict[str, float]]:
    factors: dict[str, dict[str, float]] = {}
    for (weight, factor), exponent in zip(names, exponents, strict=True):
        factors.setdefault(weight, {})[factor] = float(exponent)
    return factors
