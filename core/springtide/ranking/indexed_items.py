"""Answers by an index: it gives candidates, which are scored exactly, with everything that a request asks for.

The score of an unseen item is its value at the moment plus its cosine times a factor. So the best items are found from
both ends. The first end is the head of the moment's order, the items with the highest values: if even an item of cosine
1 behind it were worse than the answer so far, the answer is proved, and the index is not asked. The other end are the
nearest items, from the index. What is behind the head and no candidate has a lower value than the one and, as far as
the index has found all that are near, a lower cosine than the other: the head is looked at until no such item can
matter.

Items that are not as they were when the index was built, new ones above all, are scored exactly, each of them.
Forgotten items, filters and seen items are seen to where the candidates are scored, as without an index.
"""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.plugins.contracts.indexes import Index
from springtide.ranking import kernels
from springtide.ranking.candidate_kernels import with_candidates
from springtide.ranking.item_table import ItemTable
from springtide.ranking.serving_model import ServingModel
from springtide.ranking.weights import ItemOrder

Array = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]
Found = tuple[Rows, list[str], Array, Array, int]
Scan = Callable[[ItemOrder, Rows, Array, float], Found]
"""Finds the best items among those of an order and those apart, given the length of the longest vector in the order;
see ``best_items``."""

MEASURED_COUNT = 20  # Items of an answer when an index is measured; a longer answer asks for more candidates.
_PROBED = 256  # Items of the head that are looked at before the index is asked: ten microseconds.
_WIDENED_AT_ONCE = 4  # Times: that none of the nearest passes says little of how many are to be asked for.
_COMPARED_AT_ONCE = 16_384  # Vectors; 4 MB.


@dataclass(frozen=True, slots=True)
class BuiltIndex:
    """An index, and which vectors it holds.

    Attributes:
        index: The index.
        model: The model that gave the vectors.
        model_rows: int32 ``[n]``, the model's row of each item when it was built, -1 for an item that it does not know.
        folded_rows: int32 ``[num_folded]``, ascending: items that the model does not know, and that were indexed.
        folded_vectors: float32 ``[num_folded, d]``, their vectors.
        num_indexed: How many vectors it holds.
    """

    index: Index
    model: ServingModel
    model_rows: Rows
    folded_rows: Rows
    folded_vectors: Array
    num_indexed: int

    @classmethod
    def of(cls, index: Index, table: ItemTable, is_wanted: Callable[[], bool]) -> "BuiltIndex":
        """Build an index of all items of a table of which something is known.

        Args:
            index: The index, empty.
            table: The items.
            is_wanted: See ``Index.build``.

        Raises:
            Exception: Whatever the index raises.
        """
        rows = np.flatnonzero(table.has_vector).astype(np.int32)
        folded = rows[table.model_rows[rows] < 0]
        built = cls(index, table.model, table.model_rows, folded, table.vectors[folded], len(rows))
        index.build(table.vectors, rows, is_wanted)
        return built

    def changed_rows(self, table: ItemTable) -> Rows:
        """Return the items of a later table of the same model that are not as they were indexed, int32, ascending."""
        num_known = min(len(self.model_rows), table.num_items)
        is_changed = np.zeros(table.num_items, np.bool_)
        np.not_equal(table.model_rows[:num_known], self.model_rows[:num_known], out=is_changed[:num_known])
        is_changed[num_known:] = True
        is_changed[np.setdiff1d(table.folded.rows, self.folded_rows, assume_unique=True)] = True
        for start in range(0, len(self.folded_rows), _COMPARED_AT_ONCE):
            part = slice(start, start + _COMPARED_AT_ONCE)
            rows = self.folded_rows[part]
            is_changed[rows[(table.vectors[rows] != self.folded_vectors[part]).any(axis=1)]] = True
        is_changed &= table.has_vector
        return np.flatnonzero(is_changed).astype(np.int32)


@dataclass(slots=True)
class AnswerCounts:
    """How answers were found since an index is used.

    Attributes:
        proven: By the order of the moment alone, which proves that they are exact.
        by_index: By the index.
        exact: Exactly, since the index would have had to give too many candidates, gave too few, or failed.
        failed: Of these, how often the index failed.
    """

    proven: int = 0
    by_index: int = 0
    exact: int = 0
    failed: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, name: str) -> None:
        """Count one answer."""
        with self._lock:
            setattr(self, name, getattr(self, name) + 1)


@dataclass(frozen=True, slots=True)
class IndexedItems:
    """An index over the table that is served.

    Attributes:
        built: The index.
        table: The table.
        changed: int32 ``[m]``, ascending: items of the table that are not as they were indexed.
        num_candidates: How many rows are asked for if the answer has up to 20 items.
        max_candidates: More rows than this are never asked for: an exact answer takes less time then.
        counts: How answers were found.
    """

    built: BuiltIndex
    table: ItemTable
    changed: Rows
    num_candidates: int
    max_candidates: int
    counts: AnswerCounts = field(default_factory=AnswerCounts)

    def best(
        self,
        scan: Scan,
        count: int,
        user: Array,
        factor: float,
        values: Array,
        order: ItemOrder,
        longest: float,
        apart: Rows,
        of_apart: Array,
        left_out: "LeftOut",
    ) -> Found | None:
        """Return the best items; None if they are to be found exactly.

        Args:
            scan: Finds the best items among some.
            count: How many are wanted.
            user: float32 ``[d]``, the user's vector.
            factor: What cosines are multiplied by.
            values: float32 ``[num_items]``, values of the moment.
            order: The items with the highest of them.
            longest: A length that no item's vector exceeds.
            apart: int32 ``[a]``, ascending: items that are scored otherwise.
            of_apart: float32 ``[a]``, their scores.
            left_out: What the query leaves out.
        """
        length = float(np.linalg.norm(user))
        head = ItemOrder(order.rows[:_PROBED], -np.inf)
        found = scan(head, apart, of_apart, longest)
        behind = float(values[order.rows[_PROBED]]) if len(order.rows) > _PROBED else order.highest
        reach = 1.0001 * abs(factor) * length * longest
        if behind == -np.inf or (len(found[0]) >= count and found[2][-1] > behind + reach):
            self.counts.add("proven")
            return found
        try:
            nearest = None if not length or not factor else self._nearest(count, user, length, factor, left_out)
        except Exception:  # Another's code; the exact answer takes its place.
            self.counts.add("failed")
            nearest = None
        if nearest is None:
            self.counts.add("exact")
            return None
        rows, bound = nearest
        of_items = values[: self.table.num_items]  # The weights of a moment may be of later items, too.
        both = with_candidates(user, factor, self.table.vectors, of_items, rows, self.changed, apart, of_apart)
        found = scan(ItemOrder(order.rows, -np.inf), *both, bound / length)
        has_enough = len(found[0]) >= count
        self.counts.add("by_index" if has_enough else "exact")
        return found if has_enough else None

    def _nearest(
        self, count: int, user: Array, length: float, factor: float, left_out: "LeftOut"
    ) -> tuple[Rows, float] | None:
        """Return candidates, int32, ascending, and a cosine that others do not exceed if the index has missed none.

        At least half as many as are wanted pass what the query leaves out: with a filter or many seen items, more are
        asked for. None if that would be too many.
        """
        index = self.built.index
        towards = user * np.float32(math.copysign(1.0 / length, factor))
        wanted = self.num_candidates * max(1, math.ceil(count / MEASURED_COUNT))
        asked = wanted
        while True:
            asked = min(asked, self.built.num_indexed)
            if asked > self.max_candidates:
                return None
            found = np.unique(index.search(towards, asked))
            if len(found) and not 0 <= found[0] <= found[-1] < self.table.num_items:
                raise ValueError(f"wanted rows below {self.table.num_items}, got {found[0]} to {found[-1]}")
            rows = found.astype(np.int32)
            num_passing = left_out.count_passing(rows)
            if 2 * num_passing >= wanted or len(rows) < asked or asked == self.built.num_indexed:
                break
            asked *= min(max(2, math.ceil(wanted / max(num_passing, 1))), _WIDENED_AT_ONCE)
        lowest = 0.0  # The cosine of an item of which nothing is known.
        if len(rows) >= asked and asked < self.built.num_indexed:
            cosines = kernels.cosines_of(user, self.table.vectors, rows)
            lowest = max(lowest, float((cosines * np.float32(math.copysign(1.0, factor))).min()))
        return rows, lowest


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The items that a query leaves out.

    Attributes:
        allowed: bool ``[num_items]``, which items pass its filters; None for all.
        rows: Rows that it leaves out otherwise, int32, ascending each.
    """

    allowed: npt.NDArray[np.bool_] | None
    rows: tuple[Rows, ...]

    def count_passing(self, rows: npt.NDArray[np.integer[Any]]) -> int:
        """Return how many of some rows are not left out."""
        is_passing = np.ones(len(rows), np.bool_)
        if self.allowed is not None:
            np.take(self.allowed, rows, mode="clip", out=is_passing)
        for ascending in self.rows:
            if len(ascending):
                at = ascending.searchsorted(rows)
                is_passing &= ascending.take(at, mode="clip") != rows
        return int(np.count_nonzero(is_passing))
