"""Which items are not to be shown at a moment: hidden ones, and those that are not yet or no longer to be had."""

import weakref
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_SECOND
from springtide.graph.nodes import NodeTable

FROM, UNTIL, HIDDEN = "available_from", "available_until", "is_hidden"
ATTRIBUTES = (FROM, UNTIL, HIDDEN)
"""The item attributes that say when an item may be shown; other attributes have no meaning of their own."""

_YES = frozenset({"1", "true", "yes"})
_LEAST_MS = 1e11  # As seconds, the year 5138; as milliseconds, 1973: no shop means either of them.
_MAX_KEPT = 8  # Spans between two changes whose rows are kept: now, and a few moments that somebody asks about.

Rows = npt.NDArray[np.int32]
HiddenRows = Callable[[NodeTable, int, int], Rows]
"""As ``hidden_rows``."""


def hidden_rows(items: NodeTable, timestamp_ms: int, num_items: int) -> Rows:
    """Return the rows of items that must not be shown at a moment, int32 ``[n]``, ascending, not to be changed.

    These are the items with ``is_hidden`` (a number other than 0, or a category ``true``, ``yes`` or ``1`` in any
    case), with ``available_from`` after the moment, or with ``available_until`` at the moment or before. Both are
    numbers, seconds since the Unix epoch, fractions included; from 1e11 on they are read as milliseconds. A value of
    another kind says nothing.

    It takes a microsecond, and returns the same array, as long as none of these attributes changes, and no item comes
    or goes by the clock.

    Args:
        items: The items, of which the latest attributes count.
        timestamp_ms: The moment, in milliseconds since the Unix epoch.
        num_items: Number of items that are ranked; later rows are left out.
    """
    known = _KNOWN.get(items)
    # Before the attributes: what changes in between is seen by the next call.
    attributes_version = items.attributes_version
    if known is None or known.attributes_version != attributes_version:
        version = items.version_of(ATTRIBUTES)
        if known is None or known.version != version:
            _KNOWN[items] = known = _Spans(version, items)
        known.attributes_version = attributes_version
    return known.at(timestamp_ms, num_items)


class _Spans:
    """The items that may not be shown, by the spans of time between which that changes.

    Args:
        version: Of the attributes, read before they are.
        items: The items.
    """

    __slots__ = ("_changes_ms", "_cut", "_first", "_hidden", "_kept", "_rows", "_stop", "attributes_version", "version")

    def __init__(self, version: object, items: NodeTable) -> None:
        self.version, self.attributes_version = version, object()
        rows, flags = items.all_numbers(HIDDEN)
        self._hidden = np.union1d(
            rows[flags != 0], items.all_with_category(HIDDEN, lambda value: value.strip().lower() in _YES)
        ).astype(np.int32)
        from_rows, from_s = items.all_numbers(FROM)
        until_rows, until_s = items.all_numbers(UNTIL)
        self._rows = np.union1d(from_rows, until_rows).astype(np.int32)
        self._first = np.full(len(self._rows), -np.inf)  # From then on an item may be shown,
        self._stop = np.full(len(self._rows), np.inf)  # and before then; both in milliseconds.
        self._first[np.searchsorted(self._rows, from_rows)] = _to_ms(from_s)
        self._stop[np.searchsorted(self._rows, until_rows)] = _to_ms(until_s)
        changes_ms = np.unique(np.concatenate([self._first, self._stop]))
        self._changes_ms = changes_ms[np.isfinite(changes_ms)]
        self._kept: dict[int, Rows] = {}  # By the number of changes that lie before.
        self._cut: tuple[Rows, int, Rows] | None = None  # The latest rows that were cut, for how many items, and cut.

    def at(self, timestamp_ms: int, num_items: int) -> Rows:
        """Return the rows below ``num_items`` that may not be shown at a moment; as long as they stay, one array."""
        rows = self._all_at(timestamp_ms)
        if not len(rows) or rows[-1] < num_items:
            return rows
        cut = self._cut
        if cut is None or cut[0] is not rows or cut[1] != num_items:
            self._cut = cut = rows, num_items, rows[: int(rows.searchsorted(num_items))]
        return cut[2]

    def _all_at(self, timestamp_ms: int) -> Rows:
        if not len(self._rows):
            return self._hidden
        span = int(self._changes_ms.searchsorted(timestamp_ms, side="right"))
        rows = self._kept.get(span)
        if rows is None:
            is_shown = (self._first <= timestamp_ms) & (timestamp_ms < self._stop)
            rows = np.union1d(self._hidden, self._rows[~is_shown]).astype(np.int32)
            # Replaced, never changed: other threads may be reading it.
            latest = list(self._kept.items())[1 - _MAX_KEPT :]
            self._kept = {**dict(latest), span: rows}
        return rows


def _to_ms(times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return times in milliseconds, given in seconds or, from ``_LEAST_MS`` on, in milliseconds."""
    return np.where(np.abs(times) >= _LEAST_MS, times, times * MS_PER_SECOND)


_KNOWN: "weakref.WeakKeyDictionary[NodeTable, _Spans]" = weakref.WeakKeyDictionary()
