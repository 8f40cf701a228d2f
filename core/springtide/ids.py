"""External ids to dense rows and back, one map per node type."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


class IdMap:
    """Assigns a row to each id, in order of arrival; a row is never assigned twice.

    One thread interns and forgets. Any thread may look ids up at the same time: it finds an id with its row, or not at
    all.

    Args:
        ids: Ids in row order, as ``all_ids`` returned them; an empty string stands for a forgotten id.

    Raises:
        ValueError: If an id occurs twice.
    """

    __slots__ = ("_ids", "_rows")

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self._ids: list[str] = list(ids)
        self._rows: dict[str, int] = {id_: row for row, id_ in enumerate(self._ids) if id_}
        if len(self._rows) + self._ids.count("") != len(self._ids):
            raise ValueError("wanted distinct ids, got one twice")

    def __len__(self) -> int:
        """Number of rows assigned so far, those of forgotten ids included."""
        return len(self._ids)

    def intern(self, ids: Sequence[str]) -> npt.NDArray[np.int32]:
        """Return the rows of the ids, int32 ``[n]``; unknown ids get the next rows.

        Raises:
            ValueError: If an id is empty; those before it keep their rows.
        """
        rows = self.rows(ids)
        for index in np.flatnonzero(rows < 0).tolist():
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

    def forget(self, row: int) -> None:
        """Forget the row's id; the row is not used again, and the same id would get a new one."""
        id_, self._ids[row] = self._ids[row], ""
        self._rows.pop(id_, None)

    def _add(self, id_: str) -> int:
        row = self._rows.get(id_, -1)  # An id may occur twice in one call.
        if row < 0:
            if not id_:
                raise ValueError("wanted an id, got an empty string")
            row = len(self._ids)
            self._ids.append(id_)
            self._rows[id_] = row  # Last: a reader that finds the row in the map also finds its id in the list.
        return row
