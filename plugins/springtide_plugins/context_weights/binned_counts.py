"""Counts by item and bin, in half the memory of a column of floats, and exact however many there are."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from springtide_plugins.context_weights import count_kernels
from springtide_plugins.context_weights.counts import Floats, length_in_use, refuse_row
from springtide_plugins.context_weights.epochs import KEPT, Epochs, newest_of

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

_HALF_LIVES = 8
_QUANTA = 2**14  # A view of weight 0.001 is 16 of them. A cell of int32 holds 130,000 events of weight 1.
_NO_CELLS = np.zeros((0, 0), np.int32)
_MIN_STEP = 16_384  # Rows.
_LEAST, _MOST = -(2**31), 2**31 - 1  # What a cell can hold.
_HIGH_BITS = 30  # What a cell cannot hold goes to a second column, by multiples of 2^30.


class _Cells:
    """The sums of one epoch in quanta, int32 ``[num_bins, capacity]``, with a second column where they are large."""

    __slots__ = ("_num_steps", "high", "low")

    def __init__(self, low: Int32s, high: Int32s | None = None) -> None:
        self.low = low
        self.high = high
        self._num_steps = 0  # Odd while a sum is moved from one column to the other: readers look again.

    @property
    def num_rows(self) -> int:
        """Number of rows without those at the end whose sums are all 0."""
        return max(length_in_use(column) for column in (self.low, self.high) if column is not None)

    def grown(self, num_rows: int) -> "_Cells":
        """Return the cells with room for more rows."""
        capacity = self.low.shape[1]
        if num_rows <= capacity:
            return self
        # A little more than is needed, so that growth is rare; no more, since a million items have to fit. A few items
        # have room for many: what is not in use takes no memory.
        shape = (len(self.low), max(num_rows, capacity + max(capacity // 16, _MIN_STEP)))
        low, high = np.zeros(shape, np.int32), None
        low[:, :capacity] = self.low
        if self.high is not None:
            high = np.zeros(shape, np.int32)
            high[:, :capacity] = self.high
        return _Cells(low, high)

    def forget(self, rows: Int32s) -> None:
        """Forget all events of some rows, int32 ``[n]``."""
        rows = rows[rows < self.low.shape[1]]
        self._num_steps += 1
        for column in (self.low, self.high):
            if column is not None:
                column[:, rows] = 0
        self._num_steps += 1

    @property
    def num_steps(self) -> int:
        """Grows with each change of both columns; odd during one."""
        return self._num_steps

    def add_to(self, counts: Floats, bin_: int, weight: float) -> int:
        """Add the sums of a bin, times a weight, to the counts, float64 ``[num_rows]``; return their sum in quanta."""
        high = _NO_CELLS if self.high is None else self.high
        return count_kernels.accumulate_bin(self.low, high, bin_, weight, counts)

    def carry(self, bin_: int, row: int, quanta: int) -> None:
        """Add an event whose sum is too large for the first column."""
        high = np.zeros_like(self.low) if self.high is None else self.high  # Only pages in use take memory.
        total = int(self.low[bin_, row]) + quanta
        self._num_steps += 1
        high[bin_, row] += total >> _HIGH_BITS
        self.low[bin_, row] = total & (2**_HIGH_BITS - 1)
        self.high = high
        self._num_steps += 1


class Quanta(NamedTuple):
    """Weights of events in quanta.

    Attributes:
        newest_ms: The newest time so far.
        of_epoch: uint8 ``[n]``, the epoch of each event, counted from the oldest that is kept; 255 for one before it.
        quanta: int64 ``[n]``.
    """

    newest_ms: int
    of_epoch: npt.NDArray[np.uint8]
    quanta: Int64s


class BinnedCounts:
    """For each bin and row, the sum of the weights of the row's events in the bin, decayed if wanted.

    An event costs O(1). The order of arrival does not matter, to the last bit (``epochs``). A cell takes 4 bytes, as
    long as the events span no more than one epoch, of eight half-lives.

    Args:
        num_bins: Number of bins, such as 24 for hours of the day.
        half_life_ms: Milliseconds, above 0; ``inf`` for plain counts.
    """

    def __init__(self, num_bins: int, half_life_ms: float = np.inf) -> None:
        self.num_bins = num_bins
        self.half_life_ms = half_life_ms
        self._epochs = Epochs(half_life_ms, _HALF_LIVES, _QUANTA)
        # Sums in quanta by epoch, and newest event time: replaced as one, since other threads read them. Bins come
        # first, since one bin is read at a time.
        self._held: tuple[Mapping[int, _Cells], int | None]
        # Of the writing thread alone: the cells, the sums of the epochs that are kept, and when the newest of these
        # ends.
        self._cells: Mapping[int, _Cells]
        self._sums: list[Int32s]
        self._oldest: int
        self._end_ms: float
        self._no_sums = np.zeros((num_bins, 0), np.int32)
        self._continue({}, None)

    def add(
        self,
        rows: npt.NDArray[np.int32],
        bins: npt.NDArray[np.int64],
        timestamps_ms: npt.NDArray[np.int64],
        weights: npt.NDArray[np.float32],
        newest_ms: int | None = None,
    ) -> None:
        """Add events, in any order; with negative weights, take them back.

        Args:
            rows: int32 ``[n]``.
            bins: int64 ``[n]``, each below ``num_bins``.
            timestamps_ms: int64 ``[n]``.
            weights: float32 ``[n]``.
            newest_ms: The newest time so far, if it may be newer than that of the events; None if not.
        """
        if newest_ms is None:
            newest_ms = newest_of(timestamps_ms)
        if newest_ms is None:
            return
        self.add_quanta(rows, bins, self.quanta_of(timestamps_ms, weights, newest_ms))

    def quanta_of(
        self, timestamps_ms: npt.NDArray[np.int64], weights: npt.NDArray[np.float32], newest_ms: int
    ) -> Quanta:
        """Return the weights of events in quanta, for counts of this half-life that have seen the same events."""
        newest_before_ms = self._held[1]
        if newest_before_ms is not None and newest_before_ms > newest_ms:
            newest_ms = newest_before_ms
        self._turn_to(newest_ms)
        of_epoch, quanta = np.empty(len(weights), np.uint8), np.empty(len(weights), np.int64)
        count_kernels.quantise(timestamps_ms, weights, of_epoch, quanta, *self._arguments)
        return Quanta(newest_ms, of_epoch, quanta)

    def add_quanta(self, rows: npt.NDArray[np.int32], bins: npt.NDArray[np.int64], events: Quanta) -> None:
        """Add events whose weights were made quanta before, by these counts or by others with the same events."""
        self._turn_to(events.newest_ms)
        done = 0
        while True:
            done = count_kernels.add_to_bins(self._sums, bins, rows, events.of_epoch, events.quanta, done)
            if done == len(rows):
                break
            number, row, bin_ = int(events.of_epoch[done]), int(rows[done]), int(bins[done])
            refuse_row(row, is_new_epoch=number >= KEPT)
            if not 0 <= bin_ < self.num_bins:
                raise ValueError(f"wanted bins from 0 to {self.num_bins - 1}, got {bin_}")
            epoch = self._oldest + number
            held = self._cells.get(epoch) or _Cells(self._no_sums)
            if row < held.low.shape[1]:
                held.carry(bin_, row, int(events.quanta[done]))
                done += 1
                continue
            held = held.grown(int(rows.max()) + 1)
            self._sums[number], self._cells = held.low, {**self._cells, epoch: held}
        self._held = self._cells, events.newest_ms

    def _turn_to(self, newest_ms: int) -> None:
        """Let go of the epochs that are too old at a time; readers do not see it yet."""
        if newest_ms < self._end_ms:
            return
        self._oldest = self._epochs.oldest_kept(newest_ms)
        self._end_ms = self._epochs.end_of(self._oldest + KEPT - 1)
        self._arguments = self._epochs.as_arguments(self._oldest)
        self._cells = {epoch: held for epoch, held in self._cells.items() if epoch >= self._oldest}
        kept = [self._cells.get(self._oldest + number) for number in range(KEPT)]
        self._sums = [self._no_sums if held is None else held.low for held in kept]

    def forget(self, rows: npt.NDArray[np.int32]) -> None:
        """Forget all events of some rows, int32 ``[n]``."""
        for cells in self._held[0].values():
            cells.forget(rows)

    def bin(self, index: int, num_rows: int) -> Floats:
        """Return the counts of one bin at the time of the newest event, float64 ``[num_rows]``."""
        return self.smoothed(index, np.eye(1, self.num_bins)[0], num_rows)[0]

    def smoothed(self, center: int, kernel: Floats, num_rows: int) -> tuple[Floats, float]:
        """Return the counts around a bin, weighted by a cyclic kernel ``[num_bins]``, float64 ``[num_rows]``.

        ``kernel[j]`` is the weight of the bin ``j`` steps after the center.

        Returns:
            The counts; and their sum, which does not depend on the order of rows, to the last bit.
        """
        bins = [(center + step) % self.num_bins for step in np.flatnonzero(kernel).tolist()]
        return self._sum(bins, kernel[kernel != 0].tolist(), num_rows)

    def totals(self, num_rows: int) -> tuple[Floats, float]:
        """Return the counts over all bins, float64 ``[num_rows]``, and their sum; see ``smoothed``."""
        return self._sum(range(self.num_bins), [1.0] * self.num_bins, num_rows)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return all that ``restore`` needs."""
        cells, newest_ms = self._held
        num_rows = {epoch: held.num_rows for epoch, held in cells.items()}
        epochs = sorted(epoch for epoch in cells if num_rows[epoch])
        shape = (len(epochs), self.num_bins, max(num_rows.values(), default=0))
        state = {"counts": np.zeros(shape, np.int32)}
        if any(held.high is not None for held in cells.values()):
            state["high"] = np.zeros(shape, np.int32)
        for index, epoch in enumerate(epochs):
            held, known = cells[epoch], num_rows[epoch]
            state["counts"][index, :, :known] = held.low[:, :known]
            if held.high is not None:
                state["high"][index, :, :known] = held.high[:, :known]
        clock = np.array([newest_ms or 0, newest_ms is not None, *epochs], np.int64)
        return {**state, "clock": clock}

    def restore(self, state: Mapping[str, npt.NDArray[Any]], saved_bins: Sequence[int] | None = None) -> None:
        """Continue from what ``state`` returned.

        Args:
            state: The state.
            saved_bins: For each bin, its number in the state, -1 for a bin that was not there; None if they are the
                same.
        """
        counts, high = state["counts"], state.get("high")
        if counts.ndim == 2:
            counts, clock = self._from_landmark(counts, state["clock"].tolist())
        else:
            clock = state["clock"].tolist()
        newest_ms, has_any, *epochs = clock
        cells = {}
        for index, epoch in enumerate(epochs):
            low_of, high_of = (
                None if column is None else _chosen(np.array(column[index], np.int32), saved_bins)
                for column in (counts, high)
            )
            assert low_of is not None, "there is always a first column"
            cells[epoch] = _Cells(low_of, high_of)
        self._continue(cells, newest_ms if has_any else None)

    def _continue(self, cells: Mapping[int, _Cells], newest_ms: int | None) -> None:
        """Continue from cells by epoch, and the newest time; None if there is none."""
        self._cells, self._sums, self._oldest, self._end_ms = cells, [], 0, -math.inf
        self._arguments = self._epochs.as_arguments(0)
        self._held = cells, newest_ms

    def _from_landmark(self, counts: npt.NDArray[Any], clock: Sequence[int]) -> tuple[Int32s, list[int]]:
        """Return counts and clock of a state of before there were epochs: sums that grow from a landmark."""
        landmark_ms, newest_ms = clock
        if counts.shape[1] == 0:
            return np.zeros((0, len(counts), 0), np.int32), [0, 0]
        epoch = self._epochs.of_time(newest_ms)
        at_newest = counts.astype(np.float64) * 2.0 ** ((landmark_ms - newest_ms) / self.half_life_ms)
        quanta = np.rint(at_newest / self._epochs.factor(epoch, newest_ms))
        return np.minimum(quanta, 2**31 - 1).astype(np.int32)[None], [newest_ms, 1, epoch]

    def _sum(self, bins: Sequence[int], weights: Sequence[float], num_rows: int) -> tuple[Floats, float]:
        """Return the weighted sum of some bins, decayed to the newest event, and the sum of that."""
        while True:
            cells, newest_ms = self._held
            num_steps = [held.num_steps for held in cells.values()]
            counts, total = np.zeros(num_rows), 0.0
            for epoch in sorted(cells):
                factor = self._epochs.factor(epoch, newest_ms or 0)
                for bin_, weight in zip(bins, weights, strict=True):
                    total += weight * factor * cells[epoch].add_to(counts, bin_, weight * factor)
            if num_steps == [held.num_steps for held in cells.values()] and not any(step % 2 for step in num_steps):
                # What is taken back was counted, unless a state was made by an older release.
                return np.maximum(counts, 0.0, out=counts), max(total, 0.0)


def _chosen(column: Int32s, bins: Sequence[int] | None) -> Int32s:
    """Return the given bins, int32 ``[num_bins, num_rows]``; zeros for bin -1."""
    if bins is None:
        return column
    chosen = np.zeros((len(bins), column.shape[1]), np.int32)
    for bin_, saved_bin in enumerate(bins):
        if saved_bin >= 0:
            chosen[bin_] = column[saved_bin]
    return chosen
