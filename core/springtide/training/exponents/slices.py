"""Which interactions of a slice are asked for, and at which moments."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from springtide.interactions import Moment, Observed
from springtide.plugins.contracts import ContextWeight
from springtide.ranking.weights import bucket_of
from springtide.training.exponents.logit import ExponentSettings


def known_events(interactions: Observed, split: int) -> npt.NDArray[np.int64]:
    """Return the positions, from ``split`` on, of interactions whose user and item both came before it too."""
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
        for places in group_by_circumstances(interactions, near, with_time=True):
            shares[places] = bucket_of(weights, interactions.moment(int(near[places[0]]))) == bucket
        near = near[shares]
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
    columns = [of.codes[events].astype(np.int64) for of in interactions.circumstances.values()]
    if with_time:
        columns.append(interactions.timestamps_ms[events])
    if not columns or not len(events):
        return [np.arange(len(events))] if len(events) else []
    _, inverse, counts = np.unique(np.stack(columns), axis=1, return_inverse=True, return_counts=True)
    groups = np.split(np.argsort(inverse, kind="stable"), np.cumsum(counts)[:-1])
    return sorted(groups, key=len, reverse=True)
