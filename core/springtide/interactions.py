"""Interactions as parts see them: the moment, what entered the graph, and one user's history."""

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

_FEW = 32  # Numbers up to which Python finds the greatest sooner than NumPy.
_MANY = 8_192  # Interactions that it pays to put in the order of items.
_BUCKET_BITS = 16  # There are fewer than 2^16 buckets of neighbouring items.
_MAX_TABLE = 4_000_000  # Keys: 32 MB for a moment. Sorting a million items takes 100 ms, and a table 10.


@dataclass(frozen=True, slots=True)
class Moment:
    """A time and its circumstances, as a request or an event gives them.

    Attributes:
        timestamp_ms: Milliseconds since the Unix epoch.
        place: Region, store or country; empty if unknown.
        weather: Weather condition; empty if unknown.
        attributes: Other circumstances by name, such as ``time_zone`` (an IANA name).
    """

    timestamp_ms: int
    place: str = ""
    weather: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)

    def circumstance(self, key: str) -> str:
        """Return a circumstance by the name that it has in the context map of events; empty if unknown."""
        if key == "place" and self.place:
            return self.place
        if key == "weather" and self.weather:
            return self.weather
        return self.attributes.get(key, "")


@dataclass(frozen=True, slots=True)
class Circumstances:
    """One circumstance of many interactions, such as their places.

    Attributes:
        codes: int32 ``[n]``, index in ``values``; -1 where it is unknown.
        values: The distinct values, as events spell them.
    """

    codes: npt.NDArray[np.int32]
    values: Sequence[str]


@dataclass(frozen=True, slots=True)
class ItemGroups:
    """Groups of items, from coarse to fine levels: department, category, product type.

    Attributes:
        names: Attribute of each level.
        codes: For each level, int32 ``[num_items]``, group of each item; -1 where it has none.
        sizes: Number of groups of each level.

    Raises:
        ValueError: If they differ in the number of levels, or the levels in the number of items.
    """

    names: Sequence[str] = ()
    codes: Sequence[npt.NDArray[np.int32]] = ()
    sizes: Sequence[int] = ()
    _paths: list[tuple[npt.NDArray[np.int32], Sequence[npt.NDArray[np.int32]]]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        refuse_unequal_lengths(names=self.names, codes=self.codes, sizes=self.sizes)
        refuse_unequal_lengths(**dict(zip(self.names, self.codes, strict=True)))

    def paths(self) -> tuple[npt.NDArray[np.int32], Sequence[npt.NDArray[np.int32]]]:
        """Return the path of each item, int32 ``[num_items]``; and each path's group by level, int32 ``[m]``.

        Items of one path are in the same groups at all levels. There are few paths, so what depends on an item's groups
        alone is computed once for each path. Cached: groups are replaced when items or attributes change.

        Raises:
            ValueError: If a group is not below its level's size.
        """
        if not self._paths:
            num_items = len(self.codes[0]) if self.codes else 0
            path_of = np.zeros(num_items, np.int64)
            of_levels: list[npt.NDArray[np.int32]] = []
            num_paths = min(num_items, 1)
            for codes, size in zip(self.codes, self.sizes, strict=True):
                if num_items and codes.max() >= size:
                    raise ValueError(f"wanted groups below {size}, got {codes.max()}")
                groups = np.maximum(codes, -1).astype(np.int64)
                path_of *= size + 1
                path_of += groups
                path_of += 1
                path_of, first = _numbered(path_of, num_paths * (size + 1))
                of_levels = [of_level[first] for of_level in (*self.codes[: len(of_levels)], codes)]
                num_paths = len(first)
            levels = [np.maximum(of_level, -1).astype(np.int32) for of_level in of_levels]
            self._paths.append((path_of.astype(np.int32), levels))
        return self._paths[0]


def _numbered(keys: npt.NDArray[np.int64], num_keys: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the number of each key among the distinct ones, ascending, int64 ``[n]``; and a position of each of these.

    Args:
        keys: int64 ``[n]``, each from 0 to below ``num_keys``.
        num_keys: How many there could be.
    """
    if num_keys > _MAX_TABLE:
        _, first, numbers = np.unique(keys, return_index=True, return_inverse=True)
        return numbers, first
    position = np.full(num_keys, -1, np.int64)
    position[keys] = np.arange(len(keys))
    is_there = position >= 0
    numbers = np.cumsum(is_there) - 1
    return numbers[keys], position[is_there]


@dataclass(frozen=True, slots=True)
class Observed:
    """Positive interactions as they enter the graph, in any order: what context weights learn from.

    Attributes:
        user_rows: int32 ``[n]``.
        item_rows: int32 ``[n]``.
        timestamps_ms: int64 ``[n]``.
        weights: float32 ``[n]``, edge weights.
        circumstances: The circumstances that context weights need (``ContextWeight.context_keys``), by key. They come
            from the events' context maps, or else from the users' attributes of that name.
        newest_ms: The newest event time so far if it may be newer than that of these interactions, such as that of one
            that a deletion held for; None if not.
        clock_ms: The time that counts decay to: ``newest_ms``, or the newest event time here; None without both.

    Raises:
        ValueError: If the columns differ in length.
    """

    user_rows: npt.NDArray[np.int32]
    item_rows: npt.NDArray[np.int32]
    timestamps_ms: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    circumstances: Mapping[str, Circumstances] = field(default_factory=dict)
    newest_ms: int | None = None
    clock_ms: int | None = field(init=False)

    def __post_init__(self) -> None:
        refuse_unequal_lengths(
            user_rows=self.user_rows,
            item_rows=self.item_rows,
            timestamps_ms=self.timestamps_ms,
            weights=self.weights,
            **{f"circumstances[{key!r}]": column.codes for key, column in self.circumstances.items()},
        )
        clock_ms = self.newest_ms
        if len(self):  # Here, since every weight asks for it.
            times = self.timestamps_ms
            own_ms = max(times.tolist()) if len(self) <= _FEW else int(times.max())
            clock_ms = own_ms if clock_ms is None else max(own_ms, clock_ms)
        object.__setattr__(self, "clock_ms", clock_ms)

    def __len__(self) -> int:
        return len(self.item_rows)

    @classmethod
    def joined(cls, parts: Sequence["Observed"]) -> "Observed":
        """Return parts of a stream as one, in their order.

        Args:
            parts: At least one. Of two with values of a circumstance, one has the values of the other, and perhaps more
                behind them.
        """
        if len(parts) == 1:
            return parts[0]
        circumstances = {}
        for key in dict.fromkeys(key for part in parts for key in part.circumstances):
            columns = [part.circumstances.get(key) for part in parts]
            codes = [
                np.full(len(part), -1, np.int32) if column is None else column.codes
                for part, column in zip(parts, columns, strict=True)
            ]
            values = max((column.values for column in columns if column is not None), key=len)
            circumstances[key] = Circumstances(np.concatenate(codes), values)
        return cls(
            np.concatenate([part.user_rows for part in parts]),
            np.concatenate([part.item_rows for part in parts]),
            np.concatenate([part.timestamps_ms for part in parts]),
            np.concatenate([part.weights for part in parts]),
            circumstances,
            max((part.newest_ms for part in parts if part.newest_ms is not None), default=None),
        )

    def by_items(self) -> "Observed":
        """Return the same with those of an item, or of a few neighbouring ones, together, else in their order.

        Then each part of a table by item comes from memory once for all events that it takes. Few stay as they are.
        """
        if len(self) < _MANY:
            return self
        shift = max(0, int(self.item_rows.max()).bit_length() - _BUCKET_BITS)
        order = np.argsort((self.item_rows >> shift).astype(np.uint16), kind="stable")  # A radix sort.
        return replace(
            self,
            user_rows=self.user_rows[order],
            item_rows=self.item_rows[order],
            timestamps_ms=self.timestamps_ms[order],
            weights=self.weights[order],
            circumstances={
                key: Circumstances(column.codes[order], column.values) for key, column in self.circumstances.items()
            },
        )

    def moment(self, index: int) -> Moment:
        """Return the moment of one interaction, with its circumstances."""
        known = {
            key: column.values[column.codes[index]]
            for key, column in self.circumstances.items()
            if column.codes[index] >= 0
        }
        place, weather = known.pop("place", ""), known.pop("weather", "")
        return Moment(int(self.timestamps_ms[index]), place, weather, known)


@dataclass(frozen=True, slots=True)
class History:
    """One user's positive interactions, newest first.

    Attributes:
        item_rows: int32 ``[n]``.
        timestamps_ms: int64 ``[n]``, descending.
        weights: float32 ``[n]``.

    Raises:
        ValueError: If the columns differ in length.
    """

    item_rows: npt.NDArray[np.int32]
    timestamps_ms: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    _distinct: list[tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if not len(self.item_rows) == len(self.timestamps_ms) == len(self.weights):  # Written out: it is made often.
            refuse_unequal_lengths(item_rows=self.item_rows, timestamps_ms=self.timestamps_ms, weights=self.weights)

    def distinct(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return the distinct items, int32 ``[m]`` ascending, and each interaction's index in them, int64 ``[n]``.

        Cached: one history is used for many moments.
        """
        if not self._distinct:
            items, inverse = np.unique(self.item_rows, return_inverse=True)
            self._distinct.append((items, inverse))
        return self._distinct[0]

    def before(self, timestamp_ms: int) -> "History":
        """Return the part of the history that lies strictly before a time."""
        first = int(np.searchsorted(-self.timestamps_ms, -timestamp_ms, side="right"))
        return History(self.item_rows[first:], self.timestamps_ms[first:], self.weights[first:])

    def where(self, is_kept: npt.NDArray[np.bool_]) -> "History":
        """Return the interactions where ``is_kept``, bool ``[n]``."""
        if is_kept.all():
            return self
        return History(self.item_rows[is_kept], self.timestamps_ms[is_kept], self.weights[is_kept])


NO_HISTORY = History(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float32))
"""The history of a user without interactions."""


def refuse_unequal_lengths(**columns: Sized) -> None:
    """Raise ValueError if columns differ in length, naming each with its length."""
    if len(set(map(len, columns.values()))) > 1:
        found = ", ".join(f"{name} {len(column)}" for name, column in columns.items())
        raise ValueError(f"wanted columns of one length, got {found}")


NO_EVENTS = Observed(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float32))
"""No interactions."""
