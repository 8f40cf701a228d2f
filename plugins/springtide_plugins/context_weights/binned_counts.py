"""Counts by item and bin, exact however many there are, in memory for those alone that are not 0."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from springtide_plugins.context_weights import cell_kernels, cell_state_kernels, count_kernels
from springtide_plugins.context_weights.cell_pages import SparseCells
from springtide_plugins.context_weights.counts import Floats, part_of_state, refuse_row
from springtide_plugins.context_weights.epochs import KEPT, Epochs, grown, newest_of
from springtide_plugins.context_weights.kept_sums import KeptSums

Int64s = npt.NDArray[np.int64]

_HALF_LIVES = 8
_QUANTA = 2**14  # A view of weight 0.001 is 16 of them. Sums of int32 hold 130,000 events of weight 1.
_ROWS_AT_ONCE = 65_536
_SETS_AT_ONCE = 4  # That are weighed by one pass over all rows.
_UNITS = 2**23  # Of a weight of 1: with whole weights, sums over bins do not depend on the order of their parts.
_ARRAYS = ("kinds", "codes", "sums", "dense", "wide")  # What ``cell_state_kernels.state_of`` returns.


class Quanta(NamedTuple):
    """Weights of events in quanta.

    Attributes:
        newest_ms: The newest time so far.
        oldest: Number of the oldest epoch that is kept.
        of_epoch: uint8 ``[n]``, the epoch of each event, counted from the oldest that is kept; 255 for one before it.
        quanta: int64 ``[n]``.
    """

    newest_ms: int
    oldest: int
    of_epoch: npt.NDArray[np.uint8]
    quanta: Int64s


class BinnedCounts:
    """For each bin and row, the sum of the weights of the row's events in the bin, decayed if wanted.

    Bins may be of several parts, such as hours and weekdays: an event lies in one of each. An event costs O(1). The
    order of arrival does not matter, to the last bit (``epochs``). A row takes 6 bytes for each combination of bins
    with events, and no more than 4 for each bin, as long as the events span no more than one epoch, of eight
    half-lives (``cell_pages``).

    Args:
        sizes: Number of bins of each part, such as 24 for hours of the day; one number for one part.
        half_life_ms: Milliseconds, above 0; ``inf`` for plain counts.

    Attributes:
        num_bins: Number of bins of all parts, which are numbered one after another.
    """

    def __init__(self, sizes: int | Sequence[int], half_life_ms: float = np.inf) -> None:
        self._sizes = (sizes,) if isinstance(sizes, int) else tuple(sizes)
        self.num_bins = sum(self._sizes)
        self.half_life_ms = half_life_ms
        self._epochs = Epochs(half_life_ms, _HALF_LIVES, _QUANTA)
        # Sums in quanta by epoch, and newest event time: replaced as one, since other threads read them.
        self._held: tuple[Mapping[int, SparseCells], int | None]
        # Of the writing thread alone: the cells, those of the epochs that are kept, and when the newest of these ends.
        self._cells: Mapping[int, SparseCells]
        self._kept: list[SparseCells | None]
        self._oldest: int
        self._end_ms: float
        self._continue({}, None)

    def add(
        self,
        rows: npt.NDArray[np.int32],
        bins: npt.NDArray[np.int64],
        timestamps_ms: npt.NDArray[np.int64],
        weights: npt.NDArray[np.float32],
        newest_ms: int | None = None,
    ) -> Quanta | None:
        """Add events, in any order; with negative weights, take them back.

        Args:
            rows: int32 ``[n]``.
            bins: int64 ``[num_parts, n]``, each below its part's size; ``[n]`` for one part.
            timestamps_ms: int64 ``[n]``.
            weights: float32 ``[n]``.
            newest_ms: The newest time so far, if it may be newer than that of the events; None if not.

        Returns:
            The weights in quanta; None if there are no events and no newest time.
        """
        if newest_ms is None:
            newest_ms = newest_of(timestamps_ms)
        if newest_ms is None:
            return None
        events = self._quanta_of(timestamps_ms, weights, newest_ms)
        done = 0
        while True:
            done = cell_kernels.add_to_cells(self._kept, bins, rows, events.of_epoch, events.quanta, done)
            if done == len(rows):
                break
            number = int(events.of_epoch[done])
            refuse_row(int(rows[done]), is_new_epoch=number >= KEPT)
            if self._kept[number] is not None:
                raise ValueError(
                    f"wanted bins from 0 to {', '.join(str(size - 1) for size in self._sizes)}, "
                    f"got {', '.join(map(str, np.atleast_2d(bins)[:, done].tolist()))}"
                )
            self._kept[number] = cells = SparseCells(self._sizes)
            self._cells = {**self._cells, self._oldest + number: cells}
        self._held = self._cells, events.newest_ms
        return events

    def _quanta_of(
        self, timestamps_ms: npt.NDArray[np.int64], weights: npt.NDArray[np.float32], newest_ms: int
    ) -> Quanta:
        """Return the weights of events in quanta, after letting go of the epochs that are too old then."""
        newest_before_ms = self._held[1]
        if newest_before_ms is not None and newest_before_ms > newest_ms:
            newest_ms = newest_before_ms
        if newest_ms >= self._end_ms:  # Readers do not see it yet.
            self._oldest = self._epochs.oldest_kept(newest_ms)
            self._end_ms = self._epochs.end_of(self._oldest + KEPT - 1)
            self._arguments = self._epochs.as_arguments(self._oldest)
            self._cells = {epoch: cells for epoch, cells in self._cells.items() if epoch >= self._oldest}
            self._kept = [self._cells.get(self._oldest + number) for number in range(KEPT)]
        of_epoch, quanta = np.empty(len(weights), np.uint8), np.empty(len(weights), np.int64)
        count_kernels.quantise(timestamps_ms, weights, of_epoch, quanta, *self._arguments)
        return Quanta(newest_ms, self._oldest, of_epoch, quanta)

    def forget(self, rows: npt.NDArray[np.int32]) -> None:
        """Forget all events of some rows, int32 ``[n]``."""
        for cells in self._held[0].values():
            cells.forget(rows)

    @property
    def num_rows(self) -> int:
        """Number of rows up to the last one that was ever written to, and up to 7 more."""
        return max((cells.num_rows for cells in self._held[0].values()), default=0)

    def bin(self, index: int, num_rows: int) -> Floats:
        """Return the counts of one bin at the time of the newest event, float64 ``[num_rows]``."""
        return self.smoothed(index, np.eye(1, self.num_bins)[0], num_rows)[0]

    def smoothed(self, center: int, kernel: Floats, num_rows: int) -> tuple[Floats, float]:
        """Return the counts around a bin of the only part, weighted by a cyclic kernel ``[num_bins]``, float64.

        ``kernel[j]`` is the weight of the bin ``j`` steps after the center.

        Returns:
            The counts, ``[num_rows]``; and their sum, which does not depend on the order of rows, to the last bit.
        """
        counts, totals = self.weighted(np.roll(kernel, center)[None, :], num_rows)
        return counts[0], totals[0]

    def totals(self, num_rows: int) -> tuple[Floats, float]:
        """Return the counts over all bins of the first part, float64 ``[num_rows]``, and their sum."""
        counts, totals = self.weighted((np.arange(self.num_bins) < self._sizes[0])[None, :].astype(float), num_rows)
        return counts[0], totals[0]

    def weighted(self, weights: Floats, num_rows: int) -> tuple[Floats, list[float]]:
        """Return counts weighted by bin, for some sets of weights in one pass.

        Args:
            weights: float64 ``[num_sets, num_bins]``; below 4, rounded to multiples of 2^-23. Up to 8 sets.
            num_rows: Number of rows.

        Returns:
            The counts at the time of the newest event, float64 ``[num_sets, num_rows]``; and the sum of each set, which
            does not depend on the order of rows, to the last bit.
        """
        counts, totals = np.zeros((len(weights), num_rows)), [0.0] * len(weights)
        cells, newest_ms = self._held
        units = np.rint(weights * _UNITS).astype(np.int64)
        for epoch in sorted(cells):
            unit = self._epochs.factor(epoch, newest_ms or 0) / _UNITS
            found = self._kept_sums.accumulate(epoch, cells[epoch], units, unit, counts)
            if found is None:
                found = cell_kernels.accumulate(cells[epoch], units, unit, counts)
            totals = [total + more for total, more in zip(totals, found, strict=True)]
        # What is taken back was counted, unless a state was made by an older release.
        return np.maximum(counts, 0.0, out=counts), [max(total, 0.0) for total in totals]

    def factors(self) -> dict[int, float]:
        """Return what a quantum of each epoch counts at the time of the newest event, by epoch."""
        cells, newest_ms = self._held
        return {epoch: self._epochs.factor(epoch, newest_ms or 0) for epoch in sorted(cells)}

    def exact(self, epoch: int, weights: Int64s) -> tuple[Int64s, list[int]]:
        """Return sums of an epoch in quanta, weighted by bin.

        Args:
            epoch: One of those that there are sums of.
            weights: int64 ``[num_sets, num_bins]``, each below 2^25.

        Returns:
            For the first set the sum of each row, int64 ``[num_rows]``; and for each set that of all rows.
        """
        cells = self._held[0][epoch]
        first, totals = np.zeros((1, cells.num_rows)), []
        cell_kernels.accumulate(cells, weights[:1], 1.0, first)
        for start in range(0, len(weights), _SETS_AT_ONCE):
            sets = weights[start : start + _SETS_AT_ONCE]
            totals += cell_kernels.accumulate(cells, sets, 1.0, np.zeros((len(sets), cells.num_rows)))
        return first[0].astype(np.int64), [int(total) for total in totals]

    def newest_in(self, epoch: int) -> int:
        """Return the newest time so far, or the end of an epoch that is before it."""
        return int(min(self._held[1] or 0, self._epochs.end_of(epoch) - 1))

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return all that ``restore`` needs."""
        cells, newest_ms = self._held
        saved = {epoch: cell_state_kernels.state_of(cells[epoch]) for epoch in sorted(cells)}
        epochs = [epoch for epoch, (kinds, *_) in saved.items() if len(kinds)]
        clock = np.array([newest_ms or 0, newest_ms is not None, *epochs], np.int64)
        state: dict[str, npt.NDArray[Any]] = {"clock": clock}
        for index, epoch in enumerate(epochs):
            arrays: tuple[npt.NDArray[Any], ...] = saved[epoch]
            state |= {f"{index}/{name}": array for name, array in zip(_ARRAYS, arrays, strict=True)}
        return state

    def restore(self, state: Mapping[str, npt.NDArray[Any]], saved_bins: Sequence[int] | None = None) -> None:
        """Continue from what ``state`` returned.

        Args:
            state: The state.
            saved_bins: For each bin of the only part, its number in the state, -1 for a bin that was not there; None
                if they are the same.

        Raises:
            ValueError: If the arrays do not fit each other.
        """
        if "counts" in state:
            self.restore_parts([state], saved_bins)
            return
        newest_ms, has_any, *epochs = state["clock"].tolist()
        cells = {}
        for index, epoch in enumerate(epochs):
            arrays = part_of_state(state, str(index))
            cells[epoch] = SparseCells(self._sizes if saved_bins is None else (arrays["dense"].shape[1],))
            cell_state_kernels.fill(cells[epoch], *(arrays[name] for name in _ARRAYS))
            if saved_bins is not None:
                saved, cells[epoch] = cells[epoch], SparseCells(self._sizes)
                for bin_, saved_bin in enumerate(saved_bins):
                    if saved_bin >= 0:
                        cell_state_kernels.copy_bin(saved, saved_bin, cells[epoch], bin_)
        self._continue(cells, newest_ms if has_any else None)

    def restore_parts(
        self, states: Sequence[Mapping[str, npt.NDArray[Any]]], saved_bins: Sequence[int] | None = None
    ) -> None:
        """Continue from states of before rows were kept apart, those of each part: sums by epoch, bin and row.

        Args:
            states: For each part its ``counts`` and its ``clock``, and ``high`` where some are multiples of 2^30.
            saved_bins: As for ``restore``.
        """
        cells: dict[int, SparseCells] = {}
        newest_ms = None
        for part, state in enumerate(states):
            counts, high, clock = state["counts"], state.get("high"), state["clock"].tolist()
            if counts.ndim == 2:
                counts, clock = self._from_landmark(counts, clock)
            newest_ms, has_any, *epochs = clock
            newest_ms = newest_ms if has_any else None
            bins = range(self._sizes[part]) if saved_bins is None else saved_bins
            for index, epoch in enumerate(epochs):
                to = cells.setdefault(epoch, SparseCells(self._sizes))
                for start in range(0, counts.shape[2], _ROWS_AT_ONCE):  # As a whole, int64 would take twice the memory.
                    rows = slice(start, start + _ROWS_AT_ONCE)
                    sums = counts[index, :, rows].astype(np.int64)
                    if high is not None:
                        sums += high[index, :, rows].astype(np.int64) << 30
                    cell_state_kernels.fill_bins(to, part, start, _chosen(sums, bins))
        self._continue(cells, newest_ms)

    def _continue(self, cells: Mapping[int, SparseCells], newest_ms: int | None) -> None:
        """Continue from cells by epoch, and the newest time; None if there is none."""
        self._cells, self._kept, self._oldest, self._end_ms = cells, [], 0, -math.inf
        self._arguments = self._epochs.as_arguments(0)
        self._kept_sums = KeptSums()
        self._held = cells, newest_ms

    def _from_landmark(self, counts: npt.NDArray[Any], clock: Sequence[int]) -> tuple[npt.NDArray[Any], list[int]]:
        """Return counts and clock of a state of before there were epochs: sums that grow from a landmark."""
        landmark_ms, newest_ms = clock
        if counts.shape[1] == 0:
            return np.zeros((0, len(counts), 0), np.int32), [0, 0]
        epoch = self._epochs.of_time(newest_ms)
        at_newest = counts.astype(np.float64) * grown((landmark_ms - newest_ms) / self.half_life_ms)
        quanta = np.rint(at_newest / self._epochs.factor(epoch, newest_ms))
        return np.minimum(quanta, 2**31 - 1).astype(np.int32)[None], [newest_ms, 1, epoch]


def _chosen(sums: Int64s, bins: Sequence[int]) -> Int64s:
    """Return the sums of the given bins, int64 ``[num_bins, num_rows]``; zeros for bin -1."""
    chosen = np.zeros((len(bins), sums.shape[1]), np.int64)
    for bin_, saved_bin in enumerate(bins):
        if saved_bin >= 0:
            chosen[bin_] = sums[saved_bin]
    return chosen
