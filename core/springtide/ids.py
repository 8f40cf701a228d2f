"""External ids to dense rows and back, one map per node type."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_MIN_CAPACITY = 1_024  # Rows; smaller arrays would be copied often to save few bytes.
_FEW = 32  # Ids up to which Python finds the unknown ones sooner than NumPy.


class IdMap:
    """Assigns a row to each id, in order of arrival; rows of forgotten ids are given away again once they are released.

    One thread interns, forgets and releases. Any thread may look ids up at the same time: it finds an id with its row,
    or not at all.

    Args:
        ids: Ids in row order, as ``all_ids`` returned them; an empty string stands for a forgotten id.

    Attributes:
        num_reuses: How many rows were given away again so far.

    Raises:
        ValueError: If an id occurs twice.
    """

    __slots__ = ("_ids", "_is_forgotten", "_released", "_reuse", "_rows", "num_reuses")

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self._ids: list[str] = list(ids)
        self._rows: dict[str, int] = {id_: row for row, id_ in enumerate(self._ids) if id_}
        if len(self._rows) + self._ids.count("") != len(self._ids):
            raise ValueError("wanted distinct ids, got one twice")
        self._is_forgotten = np.array([not id_ for id_ in self._ids], np.bool_)
        self._released: list[int] = []  # Rows to give away again, the last one first.
        self._reuse = np.empty(0, np.int64)  # By row, the number of its latest reuse; 0 for none.
        self.num_reuses = 0

    def __len__(self) -> int:
        """Number of rows, those of forgotten ids included."""
        return len(self._ids)

    @property
    def num_known(self) -> int:
        """Number of ids that have a row."""
        return len(self._rows)

    def intern(self, ids: Sequence[str]) -> npt.NDArray[np.int32]:
        """Return the rows of the ids, int32 ``[n]``; unknown ids get released rows, and after these the next ones.

        Raises:
            ValueError: If an id is empty; those before it keep their rows.
        """
        rows = self.rows(ids)
        if len(ids) <= _FEW:
            unknown = [index for index, row in enumerate(rows.tolist()) if row < 0]
        else:
            unknown = np.flatnonzero(rows < 0).tolist()
        for index in unknown:
            rows[index] = self._add(ids[index])
        return rows

    def rows(self, ids: Sequence[str]) -> npt.NDArray[np.int32]:
        """Return the rows of the ids, int32 ``[n]``, -1 where unknown."""
        return np.fromiter(map(self._rows.get, ids, itertools.repeat(-1)), np.int32, len(ids))

    def row(self, id_: str) -> int:
        """Return the id's row, or -1 if it is unknown."""
        return self._rows.get(id_, -1)

    def id(self, row: int) -> str:
        """Return the row's id; empty if it was forgotten."""
        return self._ids[row]

    def ids(self, rows: npt.NDArray[np.integer[Any]] | Sequence[int]) -> list[str]:
        """Return the ids of the rows; an empty string for a forgotten one."""
        ids = self._ids
        return [ids[row] for row in (rows.tolist() if isinstance(rows, np.ndarray) else rows)]

    def all_ids(self) -> list[str]:
        """Return a copy of all ids in row order; an empty string for each forgotten one."""
        return self._ids.copy()

    def forgotten_rows(self, count: int) -> npt.NDArray[np.int64]:
        """Return the rows below ``count`` that have no id now, int64 ``[n]``, ascending."""
        return np.flatnonzero(self._is_forgotten[:count])

    def reused_since(self, num_reuses: int, count: int) -> npt.NDArray[np.int64]:
        """Return the rows below ``count`` that have been given to another id since ``num_reuses``, int64, ascending."""
        if num_reuses == self.num_reuses:
            return np.empty(0, np.int64)
        return np.flatnonzero(self._reuse[:count] > num_reuses)

    def forget(self, row: int) -> None:
        """Forget the row's id; the same id would get another row, and the row stays empty until it is released."""
        id_, self._ids[row] = self._ids[row], ""
        self._rows.pop(id_, None)
        if row >= len(self._is_forgotten):
            longer = np.zeros(max(_MIN_CAPACITY, 2 * len(self._is_forgotten), len(self._ids)), np.bool_)
            longer[: len(self._is_forgotten)] = self._is_forgotten
            self._is_forgotten = longer
        self._is_forgotten[row] = True

    def release(self, rows: Iterable[int]) -> None:
        """Let rows of forgotten ids, which nobody uses any more, be given to new ids; each row at most once."""
        self._released.extend(rows)

    def _add(self, id_: str) -> int:
        row = self._rows.get(id_, -1)  # An id may occur twice in one call.
        if row >= 0:
            return row
        if not id_:
            raise ValueError("wanted an id, got an empty string")
        if self._released:
            row = self._reused_row()
            self._ids[row] = id_
        else:
            row = len(self._ids)
            self._ids.append(id_)
        self._rows[id_] = row  # Last: a reader that finds the row in the map also finds its id in the list.
        return row

    def _reused_row(self) -> int:
        row = self._released.pop()
        if row >= len(self._reuse):
            longer = np.zeros(len(self._ids) + len(self._ids) // 8, np.int64)
            longer[: len(self._reuse)] = self._reuse
            self._reuse = longer
        self.num_reuses += 1
        self._reuse[row] = self.num_reuses  # Before the id: a reader that finds the id also finds the reuse.
        self._is_forgotten[row] = False
        return row
