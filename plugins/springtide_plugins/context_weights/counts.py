"""Counts by item, and by item and bin, decayed over time and updated by each event."""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveFloat

from springtide.plugins.contracts import ItemGroups

Floats = npt.NDArray[np.float64]
NO_GROUPS = ItemGroups()
HalfLives = Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
_MAX_DOUBLINGS = 500.0  # float64 holds 2^1023: the landmark moves long before a sum could overflow.
_MAX_SINGLE_DOUBLINGS = 60.0  # float32 holds 2^127.


class DecayedCounts:
    """For each row, the sum of its events' weights, each halved with every half-life that has passed since the event.

    Forward decay (Cormode et al. 2009): weights grow with event time from a fixed landmark, so an event costs O(1)
    and the order of arrival does not matter; the common factor is divided out when the counts are read.

    Args:
        half_life_ms: Milliseconds, above 0; ``inf`` for plain counts.
    """

    def __init__(self, half_life_ms: float) -> None:
        self.half_life_ms = half_life_ms
        # Counts, landmark and newest event time: replaced as one, since other threads read them.
        self._held: tuple[Floats, int, int] | None = None

    def add(
        self, rows: npt.NDArray[np.int32], timestamps_ms: npt.NDArray[np.int64], weights: npt.NDArray[np.float32]
    ) -> None:
        """Add events, in any order."""
        if len(rows) == 0:
            return
        newest_ms = int(timestamps_ms.max())
        counts, landmark_ms, newest_before_ms = self._held or (np.zeros(0), newest_ms, newest_ms)
        newest_ms = max(newest_ms, newest_before_ms)
        if (newest_ms - landmark_ms) / self.half_life_ms > _MAX_DOUBLINGS:
            counts = counts * 2.0 ** ((landmark_ms - newest_ms) / self.half_life_ms)
            landmark_ms = newest_ms
        counts = grown(counts, int(rows.max()) + 1)
        add_at(counts, rows, weights * 2.0 ** ((timestamps_ms - landmark_ms) / self.half_life_ms))
        self._held = counts, landmark_ms, newest_ms

    @property
    def newest_ms(self) -> int:
        """Time of the newest event; 0 before the first."""
        return self._held[2] if self._held is not None else 0

    def at_newest(self, num_rows: int) -> Floats:
        """Return the counts decayed to the time of the newest event, float64 ``[num_rows]``."""
        decayed = np.zeros(num_rows)
        if (held := self._held) is not None:
            counts, landmark_ms, newest_ms = held
            known = min(num_rows, len(counts))
            decayed[:known] = counts[:known] * 2.0 ** ((landmark_ms - newest_ms) / self.half_life_ms)
        return decayed

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return all that ``restore`` needs."""
        held = self._held
        counts, landmark_ms, newest_ms = held or (np.zeros(0), 0, 0)
        clock = np.array([landmark_ms, newest_ms, held is not None], np.int64)
        return {"counts": counts.copy(), "clock": clock}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from what ``state`` returned."""
        landmark_ms, newest_ms, has_any = (int(value) for value in state["clock"])
        self._held = (np.array(state["counts"], np.float64), landmark_ms, newest_ms) if has_any else None


class BinnedCounts:
    """For each bin and row, the sum of the weights of the row's events in the bin, decayed if wanted.

    Forward decay, as in ``DecayedCounts``: an event costs O(1), and the order of arrival does not matter.

    Args:
        num_bins: Number of bins, such as 24 for hours of the day.
        half_life_ms: Milliseconds, above 0; ``inf`` for plain counts.
    """

    def __init__(self, num_bins: int, half_life_ms: float = np.inf) -> None:
        self.num_bins = num_bins
        self.half_life_ms = half_life_ms
        # Counts, landmark and newest event time: replaced as one, since other threads read them. Bins come first, since
        # one bin is read at a time.
        self._held: tuple[npt.NDArray[np.float32], int, int] = (np.zeros((num_bins, 0), np.float32), 0, 0)

    def add(
        self,
        rows: npt.NDArray[np.int32],
        bins: npt.NDArray[np.int64],
        timestamps_ms: npt.NDArray[np.int64],
        weights: npt.NDArray[np.float32],
    ) -> None:
        """Add events, in any order; ``bins`` int64 ``[n]``, each below ``num_bins``."""
        if len(rows) == 0:
            return
        counts, landmark_ms, newest_ms = self._held
        newest_here_ms = int(timestamps_ms.max())
        if counts.shape[1] == 0:
            landmark_ms = newest_ms = newest_here_ms
        newest_ms = max(newest_ms, newest_here_ms)
        if (newest_ms - landmark_ms) / self.half_life_ms > _MAX_SINGLE_DOUBLINGS:
            counts = counts * np.float32(2.0 ** ((landmark_ms - newest_ms) / self.half_life_ms))
            landmark_ms = newest_ms
        capacity, wanted = counts.shape[1], int(rows.max()) + 1
        if wanted > capacity:
            # A little more than is needed, so that growth is rare; no more, since a million items have to fit.
            grown_counts = np.zeros((self.num_bins, max(wanted, capacity + capacity // 16)), np.float32)
            grown_counts[:, :capacity] = counts
            counts = grown_counts
        if np.isfinite(self.half_life_ms):
            weights = (weights * 2.0 ** ((timestamps_ms - landmark_ms) / self.half_life_ms)).astype(np.float32)
        np.add.at(counts.reshape(-1), bins * counts.shape[1] + rows, weights)
        self._held = counts, landmark_ms, newest_ms

    def bin(self, index: int, num_rows: int) -> Floats:
        """Return the counts of one bin at the time of the newest event, float64 ``[num_rows]``."""
        counts, factor = self._at_newest()
        of_bin = np.zeros(num_rows)
        known = min(num_rows, counts.shape[1])
        of_bin[:known] = factor * counts[index, :known]
        return of_bin

    def smoothed(self, center: int, kernel: Floats, num_rows: int) -> Floats:
        """Return the counts around a bin, weighted by a cyclic kernel ``[num_bins]``, float64 ``[num_rows]``.

        ``kernel[j]`` is the weight of the bin ``j`` steps after the center.
        """
        counts, factor = self._at_newest()
        smoothed = np.zeros(num_rows)
        known = min(num_rows, counts.shape[1])
        for step in np.flatnonzero(kernel):
            smoothed[:known] += factor * kernel[step] * counts[(center + step) % self.num_bins, :known]
        return smoothed

    def totals(self, num_rows: int) -> Floats:
        """Return the counts over all bins, float64 ``[num_rows]``."""
        counts, factor = self._at_newest()
        totals = np.zeros(num_rows)
        known = min(num_rows, counts.shape[1])
        totals[:known] = factor * counts[:, :known].sum(0, dtype=np.float64)
        return totals

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return all that ``restore`` needs."""
        counts, landmark_ms, newest_ms = self._held
        return {"counts": counts.copy(), "clock": np.array([landmark_ms, newest_ms], np.int64)}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from what ``state`` returned."""
        landmark_ms, newest_ms = (int(value) for value in state["clock"])
        self._held = np.array(state["counts"], np.float32), landmark_ms, newest_ms

    def _at_newest(self) -> tuple[npt.NDArray[np.float32], float]:
        """Return the counts, and the factor that decays them to the time of the newest event."""
        counts, landmark_ms, newest_ms = self._held
        return counts, float(2.0 ** ((landmark_ms - newest_ms) / self.half_life_ms))


def add_at(counts: Floats, rows: npt.NDArray[np.int32], weights: Floats) -> None:
    """Add to rows of a column, duplicates included."""
    if len(rows) * 8 > len(counts):
        counts += np.bincount(rows, weights, minlength=len(counts))
    else:
        np.add.at(counts, rows, weights)


def grown(column: Floats, num_rows: int) -> Floats:
    """Return the column, made longer with zeros if it was too short; by half at least, so that growth is rare."""
    if num_rows <= len(column):
        return column
    longer = np.zeros(max(num_rows, len(column) * 3 // 2))
    longer[: len(column)] = column
    return longer


def shrunk_log_lift(observed: Floats, expected: Floats, prior: float, mean: Floats) -> npt.NDArray[np.float32]:
    """Return the logarithm of observed over expected counts, shrunk to a prior mean where little was observed.

    It is the log of the posterior mean of a Gamma-Poisson rate whose prior weighs as much as ``prior`` events.

    Args:
        observed: float64 ``[num_items]``.
        expected: float64 ``[num_items]``, counts to expect at the usual share.
        prior: Weight of the prior, in events, above 0.
        mean: float64 ``[num_items]``, prior mean of the lift.
    """
    logs: npt.NDArray[np.float32] = np.log((observed + prior * mean) / (expected + prior)).astype(np.float32)
    return logs


def log_lift(
    observed: Floats, expected: Floats, prior: float, groups: ItemGroups = NO_GROUPS
) -> npt.NDArray[np.float32]:
    """Return the logarithm of observed over expected counts, shrunk to that of the item's group.

    As ``shrunk_log_lift``, with the lift of the item's group as prior mean. The group's lift is shrunk in the same way
    to that of the group above it, and so on up to 1. So an item without events has the lift of its product type, and a
    rare type that of its category.

    Args:
        observed: float64 ``[num_items]``.
        expected: float64 ``[num_items]``, counts to expect at the usual share.
        prior: Weight of the prior, in events, above 0.
        groups: Groups of the items; an item beyond their length has none.
    """
    lift = np.ones(len(observed))
    is_any_shrunk = False
    for codes, size in zip(groups.codes, groups.sizes, strict=True):
        is_known = codes[: len(observed)] >= 0
        if not is_known.any():
            continue
        # A slice if all items have a group: reading it is faster than indexing.
        known = slice(len(is_known)) if is_known.all() else np.flatnonzero(is_known)
        of_known = codes[: len(observed)][known].astype(np.intp)  # The type that bincount works on: converted once.
        of_group, usual = (np.bincount(of_known, counts[known], size) for counts in (observed, expected))
        above: Floats | float = 1.0
        if is_any_shrunk:
            # A group may lie in several groups above: its prior is their mean, weighted by its members.
            spread = expected[known] + prior / len(observed)
            above = np.bincount(of_known, spread * lift[known], size) / (np.bincount(of_known, spread, size) + 1e-300)
        lift[known] = ((of_group + prior * above) / (usual + prior))[of_known]
        is_any_shrunk = True
    return shrunk_log_lift(observed, expected, prior, lift)
