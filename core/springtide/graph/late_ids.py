"""The ids of a node table as they are now, copied later by another thread while nodes are added and forgotten."""

import weakref
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from springtide.graph.late_columns import let_others_run
from springtide.ids import IdMap
from springtide.packed_texts import PackedTexts, joined, pack

_ROWS_AT_ONCE = 16_384  # Copied within 0.3 ms, in which no other Python thread runs.


class LateIds:
    """The ids of the first rows of a map when this was made, of which any part is copied later, by any thread.

    The thread that forgets ids tells before it does (``LateIdCopies``). What is forgotten or reused while a part is
    copied is as it was.

    Args:
        ids: The map.

    Attributes:
        num_rows: Number of rows when this was made.
    """

    __slots__ = ("__weakref__", "_forgotten", "_ids", "_num_reuses", "num_rows")

    def __init__(self, ids: IdMap) -> None:
        self.num_rows = len(ids)
        self._ids = ids
        self._num_reuses = ids.num_reuses
        self._forgotten: dict[int, str] = {}  # Ids that were forgotten since, by row.

    def keep(self, rows: Sequence[int]) -> None:
        """Keep the ids of rows that are about to be forgotten; called by the thread that forgets them."""
        for row in rows:
            if row < self.num_rows and self._ids.reuse_of(row) <= self._num_reuses:  # Else it had no id at that time.
                self._forgotten.setdefault(row, self._ids.id(row))

    def packed(self, start: int, stop: int) -> PackedTexts:
        """Return the ids of the rows [start, stop); a row that had none has no bytes."""
        parts = []
        for part in _cut(start, stop):
            parts.append(PackedTexts(*self._ids.packed(*part)))
            let_others_run()
        # Asked for after the copy: whatever happened to a row meanwhile is among these.
        reused = self._ids.reused_since(self._num_reuses, stop).tolist()
        was = dict.fromkeys(reused, "") | self._forgotten.copy()
        return _with(joined(parts), {row - start: id_ for row, id_ in was.items() if start <= row < stop})


class LateIdCopies:
    """The copies of one map's ids that may still be made."""

    __slots__ = ("_copies",)

    def __init__(self) -> None:
        self._copies: weakref.WeakSet[LateIds] = weakref.WeakSet()

    def begin(self, ids: IdMap) -> LateIds:
        """Return the ids as they are now; one that is dropped costs nothing more."""
        copy = LateIds(ids)
        self._copies.add(copy)
        return copy

    def keep(self, rows: Sequence[int]) -> None:
        """Let each copy keep the ids of rows that are about to be forgotten."""
        for copy in self._copies:
            copy.keep(rows)


def _cut(start: int, stop: int) -> Iterator[tuple[int, int]]:
    for at in range(start, stop, _ROWS_AT_ONCE):
        yield at, min(at + _ROWS_AT_ONCE, stop)


def _with(texts: PackedTexts, others: Mapping[int, str]) -> PackedTexts:
    """Return the texts with some replaced."""
    if not others:
        return texts
    utf8, offsets = texts
    lengths = np.diff(offsets)
    pieces: list[npt.NDArray[np.uint8]] = []
    at = 0
    for row in sorted(others):
        text = pack([others[row]]).utf8
        pieces += [utf8[at : offsets[row]], text]
        at, lengths[row] = offsets[row + 1], len(text)
    return PackedTexts(np.concatenate([*pieces, utf8[at:]]), np.concatenate([[0], np.cumsum(lengths)]))
