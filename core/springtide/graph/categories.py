"""Categorical attributes, stored as columns of codes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.graph.columns import fitted, with_room
from springtide.ids import IdMap


@dataclass(frozen=True, slots=True)
class CategorySnapshot:
    """A copy of one category column.

    Attributes:
        vocabulary: The values in the order of their codes, empty where forgotten.
        first: int32 ``[num_nodes]``, code of each node's first value, -1 where it has none.
        more: All codes of each row that has more than one.
    """

    vocabulary: list[str]
    first: npt.NDArray[np.int32]
    more: dict[int, tuple[int, ...]]


class CategoryColumn:
    """One categorical attribute, with any number of values for each node.

    One thread writes; any thread reads, and sees the latest values.

    Args:
        nodes: Ids of the nodes, which give the number of rows.
        saved: Snapshot to start from; None for an empty column.

    Attributes:
        vocabulary: The values and their codes.
    """

    __slots__ = ("_first", "_more", "_nodes", "_num_uses", "_unused", "vocabulary")

    def __init__(self, nodes: IdMap, saved: CategorySnapshot | None = None) -> None:
        saved = saved or CategorySnapshot([], np.empty(0, np.int32), {})
        self.vocabulary = IdMap(saved.vocabulary)
        self._nodes = nodes
        self._first = saved.first.copy()
        self._more = dict(saved.more)  # All codes of each row that has more than one.
        self._num_uses: list[int] = np.bincount(self.pairs()[1], minlength=len(self.vocabulary)).tolist()
        self._unused = {code for code, uses in enumerate(self._num_uses) if not uses and self.vocabulary.id(code)}

    def first_codes(self) -> npt.NDArray[np.int32]:
        """Return the code of each node's first value, int32 ``[num_nodes]``, -1 where it has none."""
        return fitted(self._first, len(self._nodes), -1).copy()

    def pairs(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return the rows and codes of all values, int32 ``[num_values]`` each."""
        first, more = self._first, self._more.copy()
        rows = np.flatnonzero(first >= 0).astype(np.int32)
        codes = first[rows]
        if not more:
            return rows, codes
        extra = [(row, code) for row, row_codes in more.items() for code in row_codes[1:]]
        extra_rows, extra_codes = np.array(extra, np.int32).T
        return np.concatenate([rows, extra_rows]), np.concatenate([codes, extra_codes])

    def has_any(self, values: Iterable[str]) -> npt.NDArray[np.bool_]:
        """Return for each node whether it has one of the values, bool ``[num_nodes]``."""
        codes = self.vocabulary.rows(list(values))
        is_wanted = np.zeros(len(self.vocabulary) + 1, np.bool_)  # The last entry is for code -1.
        is_wanted[codes[codes >= 0]] = True
        more = self._more.copy()  # Read before the number of rows, so that all these rows are within it.
        has_it = is_wanted[fitted(self._first, len(self._nodes), -1)]
        for row, row_codes in more.items():
            has_it[row] = any(is_wanted[code] for code in row_codes)
        return has_it

    def values(self, row: int) -> list[str]:
        """Return the values of one node."""
        first = int(self._first[row]) if 0 <= row < len(self._first) else -1
        codes = self._more.get(row, (first,) if first >= 0 else ())
        return self.vocabulary.ids(codes)

    def set(self, row: int, values: Sequence[str]) -> None:
        """Replace the values of one node by distinct values; no values clear it."""
        codes: list[int] = self.vocabulary.intern(values).tolist()
        self._num_uses += [0] * (len(self.vocabulary) - len(self._num_uses))
        for code in codes:
            self._num_uses[code] += 1
            self._unused.discard(code)
        for code in self._codes_of(row):
            self._num_uses[code] -= 1
            if not self._num_uses[code]:
                self._unused.add(code)
        self._first = with_room(self._first, len(self._nodes), -1)
        if len(codes) > 1:
            self._more[row] = tuple(codes)
        else:
            self._more.pop(row, None)
        self._first[row] = codes[0] if codes else -1

    def forget_unused(self) -> None:
        """Forget the values that no node has any more; until this is called they keep their codes."""
        for code in self._unused:
            self.vocabulary.forget(code)
        self._unused = set()

    def snapshot(self) -> CategorySnapshot:
        """Return a copy of the column; called by the thread that writes."""
        return CategorySnapshot(self.vocabulary.all_ids(), self.first_codes(), self._more.copy())

    def _codes_of(self, row: int) -> tuple[int, ...]:
        if row in self._more:
            return self._more[row]
        code = int(self._first[row]) if row < len(self._first) else -1
        return (code,) if code >= 0 else ()
