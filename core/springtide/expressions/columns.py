"""What an expression is evaluated on: the columns of items, and one user at one moment."""

import datetime as dt
import functools
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_SECOND
from springtide.expressions.column_cache import ColumnCache, cache_of
from springtide.graph.applying import USER
from springtide.graph.view import GraphView
from springtide.interactions import Moment

TIME_ZONE = "time_zone"
"""The circumstance that names the time zone of ``hour(now)``; UTC without it."""

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """What an expression is evaluated on.

    Attributes:
        view: The graph.
        item_type: Type of the nodes that bare names are about.
        num_items: Number of rows that are asked for, from the first.
        moment: The moment and its circumstances.
        user_id: The user; empty for nobody.
        user_row: The user's row, -1 if the view does not know the user.
    """

    view: GraphView
    item_type: str
    num_items: int
    moment: Moment
    user_id: str = ""
    user_row: int = -1


class Frame:
    """The columns as they are read during one evaluation: all rows of the table, float64 and codes.

    Args:
        columns: What is evaluated on.

    Attributes:
        moment: The moment.
        user_id: The user; empty for nobody.
        num_rows: Number of rows that masks have.
        cache: What is kept between evaluations.
        version: Of the attributes and ids when the evaluation began.
    """

    def __init__(self, columns: Columns) -> None:
        items = columns.view.nodes(columns.item_type)
        self._items = items
        self._users = columns.view.nodes(USER)
        self._user_row = columns.user_row
        self.moment = columns.moment
        self.user_id = columns.user_id
        self.cache: ColumnCache = cache_of(items)
        self.num_rows = max(len(items), columns.num_items)
        self.version: object = (items.attributes_version, items.ids_lineage, self.num_rows)

    @property
    def now_s(self) -> np.float64:
        """The moment, seconds since the Unix epoch."""
        return np.float64(self.moment.timestamp_ms / MS_PER_SECOND)

    def local_time(self) -> dt.datetime:
        """Return the moment in the time zone of its circumstances, or else in UTC."""
        zone = _zone(self.moment.circumstance(TIME_ZONE)) or dt.UTC
        time_s = self.moment.timestamp_ms / MS_PER_SECOND
        try:
            return dt.datetime.fromtimestamp(time_s, zone)
        except (OverflowError, ValueError, OSError):  # Within a day of the year 1 or 10,000.
            return dt.datetime.fromtimestamp(time_s, dt.UTC)

    def number(self, name: str) -> Floats:
        """Return a number of all items, float64 ``[num_rows]``, NaN where one has none."""
        return self.cache.array(f"number {name}", self.version, lambda: self._number(name))

    def has_value(self, name: str) -> Mask:
        """Return for each item whether it has a value of an attribute of any kind, bool ``[num_rows]``."""
        return self.cache.array(f"has {name}", self.version, lambda: self._fitted(self._items.has_value(name), False))

    def has_any(self, name: str, values: Sequence[str]) -> Mask:
        """Return for each item whether a category has one of the values, bool ``[num_rows]``."""
        column = self._items.categories_among((name,)).get(name)
        if column is None or not values:
            return np.zeros(self.num_rows, np.bool_)
        codes = self._codes(name)  # First: the vocabulary must not be older.
        wanted = column.vocabulary.rows(list(values))
        return self._with_codes(codes, wanted[wanted >= 0], len(column.vocabulary))

    def has_prefix(self, name: str, prefix: str) -> Mask:
        """Return for each item whether a value of a category starts with a text, bool ``[num_rows]``."""
        column = self._items.categories_among((name,)).get(name)
        if column is None:
            return np.zeros(self.num_rows, np.bool_)
        codes = self._codes(name)
        values = column.vocabulary.all_ids()
        wanted = [code for code, value in enumerate(values) if value and value.startswith(prefix)]
        return self._with_codes(codes, np.array(wanted, np.int64), len(values))

    def is_one_of(self, item_ids: Sequence[str]) -> Mask:
        """Return for each item whether it has one of the ids, bool ``[num_rows]``."""
        mask = np.zeros(self.num_rows, np.bool_)
        rows = self._items.ids.rows(list(item_ids))
        mask[rows[(rows >= 0) & (rows < self.num_rows)]] = True
        return mask

    def circumstance(self, name: str) -> tuple[str, ...]:
        """Return a circumstance of the moment; none if it is unknown."""
        value = self.moment.circumstance(name)
        return (value,) if value else ()

    def user_number(self, name: str) -> np.float64:
        """Return a number of the user; NaN without one."""
        if self._user_row < 0:
            return np.float64("nan")
        return np.float64(self._users.numbers_at(name, np.array([self._user_row]))[0])

    def user_texts(self, name: str) -> tuple[str, ...]:
        """Return the values of a category of the user, or the one text; none of an unknown user."""
        if self._user_row < 0:
            return ()
        column = self._users.categories_among((name,)).get(name)
        if column is not None:
            return tuple(column.values(self._user_row))
        text = self._users.text(name, self._user_row)
        return () if text is None else (text,)

    def _number(self, name: str) -> Floats:
        numbers = self._items.number(name)
        if numbers is None:
            return np.full(self.num_rows, np.nan)
        return self._fitted(numbers.astype(np.float64, copy=False), np.nan)

    def _codes(self, name: str) -> tuple[npt.NDArray[Any], ...]:
        """Return 1 + each item's first code, int32 ``[num_rows]``; rows and 1 + codes of the others, int32 each."""
        return self.cache.arrays(f"codes {name}", self.version, lambda: self._read_codes(name))

    def _read_codes(self, name: str) -> tuple[npt.NDArray[Any], ...]:
        column = self._items.categories_among((name,)).get(name)
        if column is None:
            return np.zeros(self.num_rows, np.int32), np.empty(0, np.int32), np.empty(0, np.int32)
        rows, codes = column.other_values()
        is_inside = rows < self.num_rows
        return self._fitted(column.first_codes(), -1) + 1, rows[is_inside], codes[is_inside] + 1

    def _with_codes(
        self, codes: tuple[npt.NDArray[Any], ...], wanted: npt.NDArray[np.integer[Any]], num_codes: int
    ) -> Mask:
        first, rows, others = codes
        is_wanted = np.zeros(num_codes + 2, np.bool_)  # The first entry is for no value, the last for what came since.
        is_wanted[wanted + 1] = True
        mask: Mask = is_wanted.take(first, mode="clip")
        if len(rows):
            mask[rows[is_wanted.take(others, mode="clip")]] = True
        return mask

    def _fitted(self, array: npt.NDArray[Any], fill: Any) -> npt.NDArray[Any]:
        """Return a column cut or filled up to the rows of this evaluation."""
        if len(array) >= self.num_rows:
            return array[: self.num_rows]
        return np.concatenate([array, np.full(self.num_rows - len(array), fill, array.dtype)])


@functools.lru_cache(maxsize=1_024)
def _zone(name: str) -> zoneinfo.ZoneInfo | None:
    try:
        return zoneinfo.ZoneInfo(name) if name else None
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # A name may be anything, even a path.
        return None
