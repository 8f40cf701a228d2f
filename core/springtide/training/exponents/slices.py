"""Choosing the interactions that exponents are fitted on, and the moments at which their features are computed."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from springtide.interactions import Moment, Observed
from springtide.model.registry import ModelArtifact
from springtide.plugins.contracts import ContextWeight
from springtide.ranking.weights import bucket_of
from springtide.training.exponents.logit import ExponentSettings

_WANTED_EVENTS = 1_000  # About a hundred for each exponent: with fewer, chance decides some of them.
_WIDEST_SLICE = 0.25  # Share of the interactions: the vectors need the rest.


def split_for_exponents(interactions: Observed, slice_share: float, base: ModelArtifact | None) -> int:
    """Return the position of the first interaction of the slice that exponents are fitted on.

    Without a base model the slice is the latest share of the interactions. It is widened if it has few interactions
    between known users and items, as happens where many of them are new. With a base model it is what came since.

    Args:
        interactions: At least one, oldest first.
        slice_share: Share of the interactions that the slice has if it is not widened.
        base: The model to fine-tune; None for a training from scratch.

    Returns:
        The position, at least 1: vectors are trained on the interactions before it.
    """
    if base is not None:
        newest_ms = base.manifest.graph_cut["newest_ms"]
        return max(1, int(np.searchsorted(interactions.timestamps_ms, newest_ms, side="right")))
    while True:
        split = max(1, int(len(interactions) * (1.0 - slice_share)))
        if slice_share >= _WIDEST_SLICE or len(known_events(interactions, split)) >= _WANTED_EVENTS:
            return split
        slice_share = min(1.5 * slice_share, _WIDEST_SLICE)


def known_events(interactions: Observed, split: int) -> npt.NDArray[np.int64]:
    """Return positions from ``split`` on, int64, of interactions whose user and item both have one before ``split``."""
    known_users = np.zeros(int(interactions.user_rows.max()) + 1, bool)
    known_items = np.zeros(int(interactions.item_rows.max()) + 1, bool)
    known_users[interactions.user_rows[:split]] = True
    known_items[interactions.item_rows[:split]] = True
    is_known = known_users[interactions.user_rows[split:]] & known_items[interactions.item_rows[split:]]
    return split + np.flatnonzero(is_known)


def moments_of(
    interactions: Observed,
    events: npt.NDArray[np.int64],
    weights: Mapping[str, ContextWeight],
    settings: ExponentSettings,
    generator: np.random.Generator,
) -> list[tuple[Moment, npt.NDArray[np.int64]]]:
    """Draw moments, and for each some interactions around it that have the same item lifts.

    Args:
        interactions: Positive interactions, oldest first.
        events: int64, positions of the interactions to draw from, ascending.
        weights: Context weights, whose buckets say which moments have the same item lifts.
        settings: How many moments, and how many interactions for each.
        generator: Source of randomness.

    Returns:
        Moments, oldest first, each with positions of interactions, int64; no interaction comes twice.
    """
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
        # Nearby events almost always share their moment: the bucket is computed once for each distinct one.
        has_bucket = np.zeros(len(near), bool)
        for group in group_by_circumstances(interactions, near, with_time=True):
            has_bucket[group] = bucket_of(weights, interactions.moment(int(near[group[0]]))) == bucket
        near = near[has_bucket]
        if len(near) > settings.events_per_moment:
            near = np.sort(generator.choice(near, settings.events_per_moment, replace=False))
        used[near] = True
        if len(near):
            moments.append((moment, near))
    return moments


def group_by_circumstances(
    interactions: Observed, events: npt.NDArray[np.int64], *, with_time: bool = False
) -> list[npt.NDArray[np.int64]]:
    """Return positions in ``events`` of those with the same circumstances (and time), the largest groups first."""
    columns = [each.codes[events].astype(np.int64) for each in interactions.circumstances.values()]
    if with_time:
        columns.append(interactions.timestamps_ms[events])
    if not columns or not len(events):
        return [np.arange(len(events))] if len(events) else []
    _, inverse, counts = np.unique(np.stack(columns), axis=1, return_inverse=True, return_counts=True)
    groups = np.split(np.argsort(inverse, kind="stable"), np.cumsum(counts)[:-1])
    return sorted(groups, key=len, reverse=True)
