"""Weighted sums of cells, kept from one reading to the next, so that only rows that have changed are weighed again.

The weights of moments close in time are for the most part the same: those of the hour, the weekday, and the time of
year each come again, and most rows have not changed since.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide_plugins.context_weights import kept_kernels
from springtide_plugins.context_weights.cell_pages import SparseCells

Int64s = npt.NDArray[np.int64]
MOST_ROWS = 2**19  # Of more, a set of weights alone takes over 4 MiB, and is read as seldom as they change.
_MOST_BYTES = 2**25
_MOST_READINGS = 256  # Sums that so many readings did not ask for are let go: on a server, after some minutes.
_ROWS_OF_PAGE = 8
_ROOM_SHARE, _MIN_ROOM = 16, 1_024  # Room for later rows: a row of 16, or so many.


@dataclass(slots=True)
class _Kept:
    cells: SparseCells
    of_codes: npt.NDArray[np.int32]
    sums: Int64s
    known: Int64s  # Their total.
    look: int
    reading: int = 0

    @property
    def nbytes(self) -> int:
        return self.of_codes.nbytes + self.sums.nbytes


class KeptSums:
    """The weighted sums of the sets of weights that were asked for of late."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, bytes], _Kept] = OrderedDict()  # The most recently used last.
        self._nbytes = 0
        self._reading = 0
        self._lock = threading.Lock()

    def accumulate(
        self, epoch: int, cells: SparseCells, units: Int64s, unit: float, counts: npt.NDArray[np.float64]
    ) -> list[float] | None:
        """Add weighted sums to counts, and return their totals, as ``cell_kernels.accumulate`` does.

        Returns:
            None if nothing was added: there are too many rows to keep, or another thread is here.
        """
        if counts.shape[1] > MOST_ROWS or not self._lock.acquire(blocking=False):
            return None
        try:
            look = kept_kernels.next_look(cells)
            if look == 1:
                self._drop([key for key, kept in self._kept.items() if kept.cells is cells])
            sets = [self._of(epoch, cells, weights, counts.shape[1]) for weights in units]
            totals, _ = kept_kernels.accumulate_kept(
                cells,
                list(units),
                [kept.of_codes for kept in sets],
                [kept.sums for kept in sets],
                [kept.known for kept in sets],
                [kept.look for kept in sets],
                unit,
                counts,
            )
            for kept in sets:
                kept.look, kept.reading = look, self._reading
            self._reading += 1
            self._make_room(len(sets))
            return totals
        finally:
            self._lock.release()

    def _of(self, epoch: int, cells: SparseCells, weights: Int64s, num_rows: int) -> _Kept:
        """Return the kept sums of a set of weights, empty ones if there are none."""
        key = epoch, weights.tobytes()
        kept = self._kept.get(key)
        if kept is not None and (kept.cells is not cells or len(kept.sums) < num_rows):
            self._drop([key])
            kept = None
        if kept is None:
            room = num_rows + max(num_rows // _ROOM_SHARE, _MIN_ROOM)
            sums = np.zeros(-(-room // _ROWS_OF_PAGE) * _ROWS_OF_PAGE, np.int64)
            of_codes = kept_kernels.weights_of_codes(cells, weights)
            kept = self._kept[key] = _Kept(cells, of_codes, sums, np.zeros(4, np.int64), 0)
            self._nbytes += kept.nbytes
        self._kept.move_to_end(key)
        return kept

    def _make_room(self, num_asked: int) -> None:
        """Let go of what was not asked for lately, and of more until the rest fits; not of what was asked for now."""
        for key, kept in list(self._kept.items())[: max(0, len(self._kept) - num_asked)]:
            if self._nbytes <= _MOST_BYTES and self._reading - kept.reading <= _MOST_READINGS:
                break
            self._drop([key])

    def _drop(self, keys: list[tuple[int, bytes]]) -> None:
        for key in keys:
            self._nbytes -= self._kept.pop(key).nbytes
