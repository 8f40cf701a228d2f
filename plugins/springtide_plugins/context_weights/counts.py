"""Counts by item, decayed over time and updated by each event; and the lifts that counts give."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveFloat

from springtide.plugins.contracts import ItemGroups
from springtide_plugins.context_weights import count_kernels, lift_kernels
from springtide_plugins.context_weights.epochs import KEPT, Epochs, grown, newest_of

Floats = npt.NDArray[np.float64]
Int32s = npt.NDArray[np.int32]
NO_GROUPS = ItemGroups()
HalfLives = Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
# Sums reach 2^60: 4 billion events of weight 1 at the end of an epoch, or 64 billion that do not decay.
_HALF_LIVES = 16
_QUANTA = 2**12
_PLAIN_QUANTA = 2**24
_NO_SUMS: Int32s = np.zeros(0, np.int32)
_HIGH_BITS = 30  # A sum is ``low + (high << 30)``.
_ROWS_AT_ONCE = 16_384
_MANY = 1_000_000  # Rows; of so many, half as many more would be much memory.


class _Sums(NamedTuple):
    """The sums of one epoch in quanta, for the most part in one column of 4 bytes.

    Attributes:
        low: int32 ``[capacity]``.
        high: int32 ``[capacity]``, multiples of 2^30 to add; without entries if all are 0.
    """

    low: Int32s = _NO_SUMS
    high: Int32s = _NO_SUMS

    def grown(self, num_rows: int) -> "_Sums":
        """Return a copy with room for more rows; by half at least, or by an eighth of many, so that growth is rare."""
        old = len(self.low)
        longer = max(num_rows, old + (old // 2 if old < _MANY else old // 8))
        return _Sums(_longer(self.low, longer), _longer(self.high, longer) if len(self.high) else _NO_SUMS)

    @property
    def length_in_use(self) -> int:
        """Number of rows without those at the end whose sums are 0."""
        return max(map(_length_in_use, self))


class DecayedCounts:
    """For each row, the sum of its events' weights, each halved with every half-life that has passed since the event.

    An event costs O(1). The order of arrival does not matter, to the last bit (``epochs``).

    Args:
        half_life_ms: Milliseconds, above 0; ``inf`` for plain counts.
    """

    def __init__(self, half_life_ms: float) -> None:
        self.half_life_ms = half_life_ms
        self._epochs = Epochs(half_life_ms, _HALF_LIVES, _PLAIN_QUANTA if np.isinf(half_life_ms) else _QUANTA)
        # Sums in quanta by epoch, and newest event time: replaced as one, since other threads read them.
        self._held: tuple[Mapping[int, _Sums], int] | None
        # Of the writing thread alone: the sums, those of the epochs that are kept, and when the newest of these ends.
        self._sums: Mapping[int, _Sums]
        self._columns: list[_Sums]
        self._oldest: int
        self._end_ms: float
        self._continue({}, None)

    def add(
        self,
        rows: npt.NDArray[np.int32],
        timestamps_ms: npt.NDArray[np.int64],
        weights: npt.NDArray[np.float32],
        newest_ms: int | None = None,
    ) -> None:
        """Add events, in any order; with negative weights, take them back.

        Args:
            rows: int32 ``[n]``.
            timestamps_ms: int64 ``[n]``.
            weights: float32 ``[n]``.
            newest_ms: The newest time so far, if it may be newer than that of the events; None if not.
        """
        if newest_ms is None:
            newest_ms = newest_of(timestamps_ms)
        if newest_ms is None:
            return
        newest_ms = self._turned_to(newest_ms)
        columns, arguments, done = self._columns, self._arguments, 0
        while True:
            lows, highs = zip(*columns, strict=True)
            done = count_kernels.add_decayed(lows, highs, rows, timestamps_ms, weights, done, *arguments)
            if done == len(rows):
                break
            number = self._epochs.of_time(int(timestamps_ms[done])) - self._oldest
            refuse_row(int(rows[done]), is_new_epoch=number >= KEPT)
            if rows[done] >= len(lows[number]):
                columns[number] = columns[number].grown(int(rows.max()) + 1)
            else:  # The sum is too large for the first column.
                columns[number] = _Sums(lows[number], np.zeros_like(lows[number]))  # Only pages in use take memory.
            self._sums = {**self._sums, self._oldest + number: columns[number]}
        self._held = self._sums, newest_ms

    def note_newest(self, newest_ms: int) -> None:
        """Note a time that may be newer than all events so far."""
        newest_ms = self._turned_to(newest_ms)
        self._held = self._sums, newest_ms

    def _turned_to(self, newest_ms: int) -> int:
        """Return the newest time, and let go of the epochs that are too old then; readers do not see it yet."""
        if (held := self._held) is not None:
            newest_ms = max(newest_ms, held[1])
        if newest_ms >= self._end_ms:
            self._oldest = self._epochs.oldest_kept(newest_ms)
            self._end_ms = self._epochs.end_of(self._oldest + KEPT - 1)
            self._sums = {epoch: column for epoch, column in self._sums.items() if epoch >= self._oldest}
            self._columns = [self._sums.get(self._oldest + number, _Sums()) for number in range(KEPT)]
            self._arguments = self._epochs.as_arguments(self._oldest)
        return newest_ms

    def forget(self, rows: npt.NDArray[np.int32]) -> None:
        """Forget all events of some rows, int32 ``[n]``."""
        for sums in self._held[0].values() if self._held is not None else ():
            for column in sums:
                column[rows[rows < len(column)]] = 0

    @property
    def newest_ms(self) -> int:
        """Time of the newest event; 0 before the first."""
        return self._held[1] if self._held is not None else 0

    def at_newest(self, num_rows: int, newest_ms: int | None = None, start: int = 0) -> Floats:
        """Return the counts decayed to the time of the newest event, float64 ``[num_rows - start]``.

        Args:
            num_rows: Number of rows.
            newest_ms: The newest event time, if it is not that of these events alone.
            start: The first row.
        """
        decayed = np.zeros(num_rows - start)
        if (held := self._held) is not None:
            sums, own_newest_ms = held
            newest_ms = own_newest_ms if newest_ms is None else newest_ms
            for epoch in sorted(sums):
                low, high = sums[epoch]
                count_kernels.add_column(low[start:], high[start:], self._epochs.factor(epoch, newest_ms), decayed)
        # What is taken back was counted, unless a state was made by an older release.
        return np.maximum(decayed, 0.0, out=decayed)

    def with_total(self, num_rows: int) -> tuple[Floats, float]:
        """Return ``at_newest`` and ``total``, by one pass over the rows."""
        decayed, total = np.zeros(num_rows), 0.0
        if (held := self._held) is not None:
            sums, newest_ms = held
            for epoch in sorted(sums):
                factor = self._epochs.factor(epoch, newest_ms)
                total += count_kernels.add_column(*sums[epoch], factor, decayed) * factor
        return np.maximum(decayed, 0.0, out=decayed), max(total, 0.0)

    def total(self, num_rows: int, newest_ms: int | None = None) -> float:
        """Return the sum of ``at_newest``; it does not depend on the order of rows, to the last bit."""
        sums, own_newest_ms = self._held or ({}, 0)
        newest_ms = own_newest_ms if newest_ms is None else newest_ms
        total, ignored = 0.0, np.empty(num_rows)
        for epoch in sorted(sums):
            total += count_kernels.add_column(*sums[epoch], 0.0, ignored) * self._epochs.factor(epoch, newest_ms)
        return max(total, 0.0)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return all that ``restore`` needs."""
        sums, newest_ms = self._held or ({}, 0)
        num_rows = {epoch: column.length_in_use for epoch, column in sums.items()}
        epochs = sorted(epoch for epoch in sums if num_rows[epoch])
        state: dict[str, npt.NDArray[Any]] = {"clock": np.array([newest_ms, self._held is not None, *epochs], np.int64)}
        for index, epoch in enumerate(epochs):
            low, high = sums[epoch]
            state[f"{index}/low"] = low[: num_rows[epoch]].copy()
            if _length_in_use(high):
                state[f"{index}/high"] = high[: num_rows[epoch]].copy()
        return state

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from what ``state`` returned, or from what earlier releases wrote."""
        if "counts" in state and state["counts"].ndim == 1:
            self._restore_landmark(np.array(state["counts"], np.float64), state["clock"])
            return
        newest_ms, has_any, *epochs = state["clock"].tolist()
        if "counts" in state:
            sums = [_of_floats(counts) for counts in state["counts"]]
        elif "low" not in state:
            parts = [part_of_state(state, str(index)) for index in range(len(epochs))]
            sums = [_Sums(part["low"].copy(), _where_in_use(part.get("high", _NO_SUMS))) for part in parts]
        else:
            high = state.get("high", [_NO_SUMS] * len(epochs))
            sums = [_Sums(np.array(low), _where_in_use(of_low)) for low, of_low in zip(state["low"], high, strict=True)]
        self._continue(dict(zip(epochs, sums, strict=True)) if has_any else {}, newest_ms if has_any else None)

    def _restore_landmark(self, counts: Floats, clock: npt.NDArray[np.int64]) -> None:
        """Continue from a state of before there were epochs: sums that grow from a landmark, not rounded."""
        landmark_ms, newest_ms, has_any = clock.tolist()
        if not has_any:
            self._continue({}, None)
            return
        at_newest = counts * grown((landmark_ms - newest_ms) / self.half_life_ms)
        epoch = self._epochs.of_time(newest_ms)
        self._continue({epoch: _of_floats(np.rint(at_newest / self._epochs.factor(epoch, newest_ms)))}, newest_ms)

    def _continue(self, sums: Mapping[int, _Sums], newest_ms: int | None) -> None:
        """Continue from sums by epoch, and the newest time; None if there is none."""
        self._sums, self._columns, self._oldest, self._end_ms = sums, [], 0, -math.inf
        self._arguments = self._epochs.as_arguments(0)
        self._held = None if newest_ms is None else (sums, newest_ms)


def _of_floats(counts: Floats) -> _Sums:
    """Return whole numbers, float64 ``[num_rows]``, as sums."""
    whole = np.clip(counts, -(2.0**59), 2.0**59).astype(np.int64)
    if not len(whole) or (whole.min() >= -(2**31) and whole.max() < 2**31):
        return _Sums(whole.astype(np.int32))
    return _Sums((whole & (2**_HIGH_BITS - 1)).astype(np.int32), _where_in_use((whole >> _HIGH_BITS).astype(np.int32)))


def _where_in_use(high: Int32s) -> Int32s:
    """Return a copy of which only pages in use take memory; without entries if all are 0."""
    rows = np.flatnonzero(high)
    if not len(rows):
        return _NO_SUMS
    copy = np.zeros(len(high), np.int32)
    copy[rows] = high[rows]
    return copy


def _length_in_use(column: Int32s) -> int:
    """Return the number of entries without the zeros at the end; looks at no more than these."""
    stop = len(column)
    while stop:
        start = max(0, stop - _ROWS_AT_ONCE)
        if len(in_use := np.flatnonzero(column[start:stop])):
            return start + int(in_use[-1]) + 1
        stop = start
    return 0


def _longer(column: Int32s, length: int) -> Int32s:
    longer = np.zeros(length, np.int32)
    longer[: len(column)] = column
    return longer


def part_of_state(state: Mapping[str, npt.NDArray[Any]], name: str) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a state whose names begin with ``name`` and a slash, by the rest of their names."""
    return {key.removeprefix(f"{name}/"): array for key, array in state.items() if key.startswith(f"{name}/")}


def refuse_row(row: int, *, is_new_epoch: bool) -> None:
    """Raise ValueError for an event that never has a place: its row is negative, or it is newer than the newest."""
    if row < 0 or is_new_epoch:
        raise ValueError(f"wanted events up to the newest time, with rows of 0 or more, got row {row}")


def log_lift(
    observed: Floats, expected: Floats, prior: float, groups: ItemGroups = NO_GROUPS
) -> npt.NDArray[np.float32]:
    """Return the logarithm of observed over expected counts, shrunk to that of the item's group.

    Lifts are posterior means of a Gamma-Poisson rate whose prior weighs as much as ``prior`` events, with the lift of
    the item's group as prior mean. The group's lift is shrunk in the same way to that of the group above it, and so on
    up to 1. So an item without events has the lift of its product type, and a rare type that of its category.

    Args:
        observed: float64 ``[num_items]``.
        expected: float64 ``[num_items]``, counts to expect at the usual share.
        prior: Weight of the prior, in events, above 0.
        groups: Groups of the items; an item beyond their length has none.
    """
    lifts = shrunk_lifts(observed, expected, prior, groups)
    return np.log(lifts, out=lifts)


def shrunk_lifts(
    observed: Floats, expected: Floats, prior: float, groups: ItemGroups = NO_GROUPS
) -> npt.NDArray[np.float32]:
    """Return what ``log_lift`` takes the logarithm of, float32 ``[num_items]``."""
    lifts = np.empty(len(observed), np.float32)
    lift_kernels.shrunk_lifts(observed, expected, prior, *groups.paths(), groups.sizes, lifts)
    return lifts
