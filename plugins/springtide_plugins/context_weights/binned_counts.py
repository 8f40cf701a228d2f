"""Counts by item and bin, in half the memory of a column of floats, and exact however many there are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide_plugins.context_weights import kernels
from springtide_plugins.context_weights.counts import Floats, length_in_use
from springtide_plugins.context_weights.epochs import FEW, KEPT, Epochs, newest_of

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

    def add(self, bins: Int64s, rows: Int32s, quanta: Int64s) -> None:
        """Add events, arrays ``[n]``."""
        done = 0
        while (done := kernels.add_to_bins(self.low, bins, rows, quanta, done)) < len(rows):
            self._carry(int(bins[done]), int(rows[done]), int(quanta[done]))
            done += 1

    def add_one(self, bin_: int, row: int, quanta: int) -> None:
        """Add one event."""
        total = int(self.low[bin_, row]) + quanta
        if _LEAST <= total <= _MOST:
            self.low[bin_, row] = total
        else:
            self._carry(bin_, row, quanta)

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
        return kernels.accumulate_bin(self.low, high, bin_, weight, counts)

    def _carry(self, bin_: int, row: int, quanta: int) -> None:
        """Add an event whose sum is too large for the first column."""
        high = np.zeros_like(self.low) if self.high is None else self.high  # Only pages in use take memory.
        total = int(self.low[bin_, row]) + quanta
        self._num_steps += 1
        high[bin_, row] += total >> _HIGH_BITS
        self.low[bin_, row] = total & (2**_HIGH_BITS - 1)
        self.high = high
        self._num_steps += 1


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
        self._held: tuple[Mapping[int, _Cells], int | None] = ({}, None)

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
        cells, newest_before_ms = self._held
        newest_ms = newest_ms if newest_before_ms is None else max(newest_ms, newest_before_ms)
        oldest_epoch = self._epochs.of_time(newest_ms) - KEPT + 1
        cells = {epoch: held for epoch, held in cells.items() if epoch >= oldest_epoch}
        if len(rows) <= FEW:
            columns = rows.tolist(), bins.tolist(), timestamps_ms.tolist(), weights.tolist()
            for row, bin_, time_ms, weight in zip(*columns, strict=True):
                if (epoch := self._epochs.of_time(time_ms)) >= oldest_epoch:
                    cells[epoch] = held = (cells.get(epoch) or self._no_cells()).grown(row + 1)
                    held.add_one(bin_, row, self._epochs.quantised_one(epoch, time_ms, weight))
            self._held = cells, newest_ms
            return
        for epoch, here in self._epochs.split(timestamps_ms, oldest_epoch):
            rows_here = rows[here]
            held = cells.get(epoch) or self._no_cells()
            held = held.grown(int(rows_here.max()) + 1)
            quanta = self._epochs.quantised(epoch, timestamps_ms[here], weights[here]).astype(np.int64)
            held.add(np.ascontiguousarray(bins[here], np.int64), np.ascontiguousarray(rows_here), quanta)
            cells[epoch] = held
        self._held = cells, newest_ms

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
        self._held = cells, (newest_ms if has_any else None)

    def _no_cells(self) -> _Cells:
        return _Cells(np.zeros((self.num_bins, 0), np.int32))

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
