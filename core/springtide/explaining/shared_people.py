"""People who had the same items: distinct ones, counted within a time, exactly or as lower bounds.

They can be counted from either side: by the people of each of the user's items, or by the items of each of the people
who had an explained one. The side with fewer edges is walked. If neither is likely to be done in time, it is the
second, the latest people first: then each of the user's items has its part of the counts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY, Deadline
from springtide.explaining import kernels
from springtide.graph.edges import EdgeColumns, EdgeView

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
T = TypeVar("T", bound=np.generic)

RECENT_MS = 7 * MS_PER_DAY
_STEPS_AT_ONCE = 2_048  # Edges between two looks at the clock: 0.3 ms where each comes from memory.
_STEP_S = 50e-9  # What an edge takes, about: 10 ns from the cache, 130 from memory.
_NEVER_MS = np.iinfo(np.int64).min
_Raw = tuple[EdgeColumns, int, int]  # ``EdgeView.raw``.


@dataclass(frozen=True, slots=True)
class Counts:
    """People who had one of the user's own items, or whom a relation leads to, and an explained item; ``[num_own, n]``.

    Attributes:
        num_shared: int32, how many people.
        num_recent: int32, how many of these had the explained item in the last 7 days before the moment.
        last_ms: int64, when one of them last had it; meaningless where there are none.
        is_complete: bool, whether all people were counted; else the counts are lower bounds.
        sizes: int64 ``[num_own]``, edges of each own item, or people whom the relation leads to.
    """

    num_shared: Int32s
    num_recent: Int32s
    last_ms: Int64s
    is_complete: Bools
    sizes: Int64s

    @classmethod
    def none(cls, num_own: int, num_items: int) -> "Counts":
        """Return counts of 0, which are complete."""
        shape = (num_own, num_items)
        return cls(
            np.zeros(shape, np.int32),
            np.zeros(shape, np.int32),
            np.full(shape, _NEVER_MS),
            np.ones(shape, np.bool_),
            np.zeros(num_own, np.int64),
        )


class Holders:
    """The people who had each of some explained items, as of a moment.

    Args:
        views: The edges that count as having an item, from people to items, by relation.
        num_people: Number of people's rows.
        left_out: A person who never counts; -1 for none.
        item_rows: The explained items, distinct.
        moment_ms: Nothing later counts.
        deadline: They are noted by then, the latest ones of each item first.

    Attributes:
        sizes: int64 ``[n]``, edges of each item.
        is_complete: bool ``[n]``, whether all were noted.
    """

    def __init__(
        self,
        views: Sequence[EdgeView],
        num_people: int,
        left_out: int,
        item_rows: Sequence[int],
        moment_ms: int,
        deadline: Deadline,
    ) -> None:
        self._views = views
        self._raw: list[_Raw] = [view.raw for view in views]
        self._left_out = left_out
        self._before_ms = moment_ms + 1
        self._recent_ms = self._before_ms - RECENT_MS
        self._num_items = len(item_rows)
        self._head = np.zeros(num_people, np.int32)
        room = 4 * _STEPS_AT_ONCE
        self._older: Int32s = np.empty(room, np.int32)
        self._items: Int32s = np.empty(room, np.int32)
        self._people: Int32s = np.empty(room, np.int32)
        self._latest_ms: Int64s = np.empty(room, np.int64)
        self._num_notes = 0
        self.is_complete = np.ones(self._num_items, np.bool_)
        edges = self._num_edges(np.array(item_rows, np.int64))
        for position, item in enumerate(np.argsort(edges, kind="stable").tolist()):
            # Those of few people first: each then gets its part of the time, and what the others left.
            until = Deadline.after(deadline.remaining_s() / (self._num_items - position))
            self.is_complete[item] = self._note(item, item_rows[item], until)
        self.sizes = edges

    def shared_with(self, own_rows: Int32s, deadline: Deadline) -> Counts:
        """Count the people who had the user's items, int32 ``[num_own]``, and the explained ones.

        Args:
            own_rows: Rows of the user's items, distinct.
            deadline: The counts are lower bounds where it comes before the end.
        """
        people = self._latest_first()
        of_people = sum(int(view.degrees(people.astype(np.int64), is_source=True).sum()) for view in self._views)
        edges = self._num_edges(own_rows.astype(np.int64))
        of_items = int(edges.sum())
        if of_items < of_people and of_items * _STEP_S < deadline.remaining_s():
            return self._by_items(own_rows, edges, deadline)
        return self._by_people(own_rows, edges, people, deadline)

    def among(self, people_rows: Int32s) -> Counts:
        """Count which of some people, rows int32 ``[m]``, had the explained items; as of one own item."""
        counts = Counts.none(1, self._num_items)
        people = np.unique(people_rows[(people_rows >= 0) & (people_rows < len(self._head))])
        positions = np.arange(len(people), dtype=np.int32)
        self._count(people, positions, np.zeros(len(people), np.int32), counts)
        counts.sizes[0] = len(people)
        counts.is_complete[:] = self.is_complete
        return counts

    def _by_items(self, own_rows: Int32s, edges: Int64s, deadline: Deadline) -> Counts:
        """Count by the people of each own item; those of few edges first."""
        counts = Counts.none(len(own_rows), self._num_items)
        counts.sizes[:] = edges
        counts.is_complete[:] = self.is_complete
        marks = np.zeros(len(self._head), np.int32)
        for own in np.argsort(edges, kind="stable").tolist():
            row = int(own_rows[own])
            for columns, length, generation in self._chains(row):
                edge = int(columns.by_target.head[row])
                while edge >= 0:
                    if deadline.is_over():
                        counts.is_complete[own] = False
                        break
                    edge = kernels.count_shared(
                        edge,
                        length,
                        columns.by_target.prev,
                        columns.source,
                        columns.timestamps_ms,
                        columns.dead_since,
                        generation,
                        self._before_ms,
                        _STEPS_AT_ONCE,
                        self._left_out,
                        own + 1,
                        marks,
                        self._head,
                        self._older,
                        self._items,
                        self._latest_ms,
                        self._recent_ms,
                        counts.num_shared[own],
                        counts.num_recent[own],
                        counts.last_ms[own],
                    )
        return counts

    def _by_people(self, own_rows: Int32s, edges: Int64s, people: Int32s, deadline: Deadline) -> Counts:
        """Count by the items of each person, rows int32 ``[m]``, in this order."""
        counts = Counts.none(len(own_rows), self._num_items)
        counts.sizes[:] = edges
        own_of = np.zeros(int(own_rows.max()) + 1 if len(own_rows) else 0, np.int32)
        own_of[own_rows] = np.arange(1, len(own_rows) + 1)
        is_walked = np.zeros(len(people), np.bool_)
        first, at_once = 0, max(_STEPS_AT_ONCE // 2, 1)
        while first < len(people) and not deadline.is_over():
            # Each relation walks the same people, as many as the one that gets least far.
            found = []
            stop = len(people)
            for columns, length, generation in self._raw:
                marks = np.zeros(len(own_rows), np.int32)
                room = (np.empty(at_once, np.int32), np.empty(at_once, np.int32))
                reached, num_pairs, is_cut = kernels.pairs_with_own(
                    people[:stop],
                    first,
                    length,
                    columns.by_source.head,
                    columns.by_source.prev,
                    columns.target,
                    columns.timestamps_ms,
                    columns.dead_since,
                    generation,
                    self._before_ms,
                    at_once,
                    own_of,
                    marks,
                    *room,
                )
                stop = reached
                found.append((room[0][:num_pairs], room[1][:num_pairs], is_cut))
            pair_people = np.concatenate([each[0] for each in found])
            pair_own = np.concatenate([each[1] for each in found])
            if len(found) > 1:
                keys = np.unique(pair_people[pair_people < stop].astype(np.int64) << 32 | pair_own[pair_people < stop])
                pair_people, pair_own = (keys >> 32).astype(np.int32), (keys & 0xFFFFFFFF).astype(np.int32)
            self._count(people, pair_people, pair_own, counts)
            is_walked[first:stop] = True
            if any(is_cut for *_, is_cut in found):  # Only the first of a call can have more edges than it may take.
                is_walked[first] = False
            first = stop
        self._note_what_is_left(people[~is_walked], counts)
        return counts

    def _note_what_is_left(self, people: Int32s, counts: Counts) -> None:
        """Say of which items people are left whose items were not all looked at."""
        is_left = np.zeros(len(self._head), np.bool_)
        is_left[people] = True
        notes = slice(0, self._num_notes)
        has_left = np.bincount(self._items[notes], is_left[self._people[notes]], minlength=self._num_items) > 0
        counts.is_complete[:] = self.is_complete & ~has_left

    def _count(self, people: Int32s, pair_people: Int32s, pair_own: Int32s, counts: Counts) -> None:
        kernels.count_pairs(
            people,
            pair_people,
            pair_own,
            self._head,
            self._older,
            self._items,
            self._latest_ms,
            self._recent_ms,
            counts.num_shared,
            counts.num_recent,
            counts.last_ms,
        )

    def _note(self, item: int, item_row: int, deadline: Deadline) -> bool:
        """Note who had an item, and return whether that was all of its edges."""
        for columns, length, generation in self._chains(item_row):
            edge = int(columns.by_target.head[item_row])
            while edge >= 0:
                if deadline.is_over():
                    return False
                self._make_room()
                edge, self._num_notes = kernels.note_holders(
                    edge,
                    length,
                    columns.by_target.prev,
                    columns.source,
                    columns.timestamps_ms,
                    columns.dead_since,
                    generation,
                    self._before_ms,
                    _STEPS_AT_ONCE,
                    self._left_out,
                    item,
                    self._num_notes,
                    self._head,
                    self._older,
                    self._items,
                    self._latest_ms,
                    self._people,
                )
        return True

    def _chains(self, item_row: int) -> Iterator[_Raw]:
        for raw in self._raw:
            if 0 <= item_row < len(raw[0].by_target.head):
                yield raw

    def _make_room(self) -> None:
        if self._num_notes + _STEPS_AT_ONCE > len(self._older):
            room = 2 * len(self._older)
            self._older, self._items = _longer(self._older, room), _longer(self._items, room)
            self._people, self._latest_ms = _longer(self._people, room), _longer(self._latest_ms, room)

    def _num_edges(self, item_rows: Int64s) -> Int64s:
        """Return how many edges lead to each item, later and dead ones included; int64 ``[n]`` both."""
        edges = np.zeros(len(item_rows), np.int64)
        for view in self._views:
            edges += view.degrees(item_rows, is_source=False)
        return edges

    def _latest_first(self) -> Int32s:
        """Return the people who had an explained item, int32 ``[m]``: first the latest of each, then the next ones."""
        items, people = self._items[: self._num_notes], self._people[: self._num_notes]
        if self._num_items == 1:
            return people.copy()
        # The notes of one item are in a row, the latest first.
        first = np.zeros(self._num_items, np.int64)
        starts = np.flatnonzero(np.diff(items, prepend=-1))
        first[items[starts]] = starts
        order = np.argsort(np.arange(len(items)) - first[items], kind="stable")
        _, once = np.unique(people[order], return_index=True)
        distinct: Int32s = people[order][np.sort(once)]
        return distinct


def _longer(array: npt.NDArray[T], room: int) -> npt.NDArray[T]:
    longer = np.empty(room, array.dtype)
    longer[: len(array)] = array
    return longer
