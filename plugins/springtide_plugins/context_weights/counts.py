"""Counts that the stream keeps up to date: by item, by item and bin, and decayed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_MAX_DOUBLINGS = 500.0  # float64 holds 2^1023: the landmark moves long before a sum could overflow.


class DecayedCounts:
    """For each row, the sum of its events' weights, each halved with every half-life that has passed since.

    Forward decay (Cormode et al. 2009): weights grow with event time from a fixed landmark, so an event costs O(1)
    and the order of arrival does not matter; the common factor is divided out when the counts are read.

    Args:
        half_life_ms: Milliseconds, above 0; ``inf`` for plain counts.
    """

    def __init__(self, half_life_ms: float) -> None:
        self.half_life_ms = half_life_ms
        self._counts: Floats = np.zeros(0)
        self._landmark_ms: int | None = None
        self._newest_ms = 0

    def add(
        self, rows: npt.NDArray[np.int32], timestamps_ms: npt.NDArray[np.int64], weights: npt.NDArray[np.float32]
    ) -> None:
        """Add events, in any order."""
        if len(rows) == 0:
            return
        newest_ms = int(timestamps_ms.max())
        if self._landmark_ms is None:
            self._landmark_ms = newest_ms
            self._newest_ms = newest_ms
        self._newest_ms = max(self._newest_ms, newest_ms)
        if (self._newest_ms - self._landmark_ms) / self.half_life_ms > _MAX_DOUBLINGS:
            self._counts *= 2.0 ** ((self._landmark_ms - self._newest_ms) / self.half_life_ms)
            self._landmark_ms = self._newest_ms
        self._counts = grown(self._counts, int(rows.max()) + 1)
        grown_weights = weights * 2.0 ** ((timestamps_ms - self._landmark_ms) / self.half_life_ms)
        add_at(self._counts, rows, grown_weights)

    @property
    def newest_ms(self) -> int:
        """Time of the newest event; 0 before the first."""
        return self._newest_ms

    def at_newest(self, num_rows: int) -> Floats:
        """Return float64 ``[num_rows]``, the counts decayed to the time of the newest event."""
        counts = np.zeros(num_rows)
        known = min(num_rows, len(self._counts))
        if self._landmark_ms is not None:
            decay = 2.0 ** ((self._landmark_ms - self._newest_ms) / self.half_life_ms)
            counts[:known] = self._counts[:known] * decay
        return counts

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return what is needed to go on."""
        has_landmark = self._landmark_ms is not None
        clock = np.array([self._landmark_ms or 0, self._newest_ms, has_landmark], np.int64)
        return {"counts": self._counts.copy(), "clock": clock}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take up what ``state`` gave."""
        self._counts = np.array(state["counts"], np.float64)
        landmark_ms, newest_ms, has_landmark = (int(value) for value in state["clock"])
        self._landmark_ms = landmark_ms if has_landmark else None
        self._newest_ms = newest_ms


class BinnedCounts:
    """For each bin and row, the sum of the weights of the row's events that fell into the bin.

    Args:
        num_bins: How many bins, such as 24 for hours of the day.
    """

    def __init__(self, num_bins: int) -> None:
        self.num_bins = num_bins
        self._counts: npt.NDArray[np.float32] = np.zeros(
            (num_bins, 0), np.float32
        )  # Bins first: one is read at a time.

    def add(self, rows: npt.NDArray[np.int32], bins: npt.NDArray[np.int64], weights: npt.NDArray[np.float32]) -> None:
        """Add events, in any order; ``bins`` int64 ``[n]``, each below ``num_bins``."""
        if len(rows) == 0:
            return
        capacity = self._counts.shape[1]
        wanted = int(rows.max()) + 1
        if wanted > capacity:
            counts = np.zeros((self.num_bins, max(wanted, capacity * 3 // 2)), np.float32)
            counts[:, :capacity] = self._counts
            self._counts = counts
        np.add.at(self._counts.reshape(-1), bins * self._counts.shape[1] + rows, weights)

    def smoothed(self, center: int, kernel: Floats, num_rows: int) -> Floats:
        """Return float64 ``[num_rows]``: counts around a bin, weighted by a cyclic kernel ``[num_bins]``.

        ``kernel[j]`` is the weight of the bin ``j`` steps after the center.
        """
        counts = np.zeros(num_rows)
        known = min(num_rows, self._counts.shape[1])
        for step in np.flatnonzero(kernel):
            counts[:known] += kernel[step] * self._counts[(center + step) % self.num_bins, :known]
        return counts

    def totals(self, num_rows: int) -> Floats:
        """Return float64 ``[num_rows]``, counts over all bins."""
        totals = np.zeros(num_rows)
        known = min(num_rows, self._counts.shape[1])
        totals[:known] = self._counts[:, :known].sum(0, dtype=np.float64)
        return totals

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return what is needed to go on."""
        return {"counts": self._counts.copy()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take up what ``state`` gave."""
        self._counts = np.array(state["counts"], np.float32)


def add_at(counts: Floats, rows: npt.NDArray[np.int32], weights: Floats) -> None:
    """Add to rows of a column, duplicates included."""
    if len(rows) * 8 > len(counts):
        counts += np.bincount(rows, weights, minlength=len(counts))
    else:
        np.add.at(counts, rows, weights)


def grown(column: Floats, num_rows: int) -> Floats:
    """Return the column, with zeros behind it if it was too short; half as much again, so that growth is rare."""
    if num_rows <= len(column):
        return column
    longer = np.zeros(max(num_rows, len(column) * 3 // 2))
    longer[: len(column)] = column
    return longer


def log_lift(observed: Floats, expected: Floats, prior: float) -> npt.NDArray[np.float32]:
    """Return the logarithm of observed over expected, drawn to 0 where little was observed.

    The posterior mean of a Gamma-Poisson rate whose prior has mean 1 and weighs as much as ``prior`` events.
    """
    lift: npt.NDArray[np.float32] = (np.log(observed + prior) - np.log(expected + prior)).astype(np.float32)
    return lift
