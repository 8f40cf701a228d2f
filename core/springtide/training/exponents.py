"""Learning how much each term of the ranking counts: a conditional logit on the latest interactions.

The ranking is ``P(i | u, moment) ∝ exp(cosine / τ) · Π lift^β`` (McFadden 1974). The fit asks, for interactions that
the vectors have not seen, which τ and β make the items that were taken likeliest. Items are sampled, and stand for
the rest with their sampling correction; the user's own items are all there, and have exponents of their own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.plugins.contracts import ContextWeight, Moment, Observed
from springtide.ranking.weights import Exponents, Terms, bucket_of, factor_names
from springtide.training.logit import ConditionalLogit

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
    problem = ConditionalLogit(
        interactions, user_vectors, item_vectors, weights, settings.num_samples, settings.penalty
    )
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
