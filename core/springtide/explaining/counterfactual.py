"""The smallest set of a user's own items without which an item is not among the first ones."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from springtide.clock import Deadline
from springtide.explaining.influence import EventInfluence, OwnEvents, Worlds
from springtide.ranking.binding import BoundQuery
from springtide.ranking.query import Query
from springtide.ranking.scoring import Scorer
from springtide.ranking.users import LiveUser


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """A set of own items without which an item is not among the first ``count``.

    Attributes:
        items: Ids of the items, at least one; all of the user's events with them are taken away, of any type.
        rank: The explained item's rank then, above ``count``; 0 if it is in no answer then.
        is_smallest: Whether every smaller set of own items was tried, and does not do it.
    """

    items: tuple[str, ...]
    rank: int
    is_smallest: bool


def find_counterfactual(
    scorer: Scorer,
    user: LiveUser,
    query: Query,
    bound: BoundQuery,
    row: int,
    influences: Sequence[EventInfluence],
    deadline: Deadline,
) -> tuple[Counterfactual | None, bool]:
    """Find a set of own items without which an item is not among the first ``bound.count``; and whether time was short.

    Own items are those of the user's positive events that the ranking looks at. Each set is tried: all items are ranked
    anew as if the user had never met its items, which may then be above, even if they were left out as seen. First a
    set is grown by the items of the largest influence until it does it, then those that it does not need are left out
    of it, and then smaller sets are looked for.

    Args:
        scorer: Scores the items.
        user: The user.
        query: The query.
        bound: The same, bound to the scorer's view.
        row: The explained item.
        influences: The influence of the user's events, the largest first.
        deadline: The search ends by then; what was found so far is returned.

    Returns:
        None if the item is not among the first, or no set was found.
    """
    search = _Search(scorer, query, bound, row, deadline)
    if search.rank_without([]) not in range(1, bound.count + 1):
        return None, False
    own = OwnEvents.of(scorer, user, bound).item_rows.tolist()
    rows_of = dict(zip(scorer.item_ids(np.array(own, np.int64)), own, strict=True))
    ordered = [rows_of[each.item_id] for each in influences if each.item_id in rows_of]
    found = search.grown(ordered)
    if found is None:
        return None, search.is_cut
    found = search.pruned(found)
    smaller, is_smallest = search.smaller(found, [*ordered, *(each for each in own if each not in ordered)])
    rank = search.rank_without(smaller)
    assert rank is not None, "wanted a set that was tried"
    return Counterfactual(tuple(scorer.item_ids(np.array(smaller, np.int64))), rank, is_smallest), search.is_cut


class _Search:
    """Tries sets of own items.

    Attributes:
        is_cut: Whether the time was over before all was tried.
    """

    def __init__(self, scorer: Scorer, query: Query, bound: BoundQuery, row: int, deadline: Deadline) -> None:
        self._scorer = scorer
        self._worlds = Worlds(scorer, query, bound)
        self._count = bound.count
        self._row = row
        self._deadline = deadline
        self._ranks: dict[frozenset[int], int] = {}
        self.is_cut = False

    def rank_without(self, rows: Iterable[int]) -> int | None:
        """Return the explained item's rank without some own items, 0 if it is in no answer; None if time is over."""
        key = frozenset(rows)
        if key not in self._ranks:
            if self._deadline.is_over():
                self.is_cut = True
                return None
            scores = self._scorer.score_as(*self._worlds.without(sorted(key)))
            own = scores[self._row]
            self._ranks[key] = 1 + int((scores > own).sum()) if np.isfinite(own) else 0
        return self._ranks[key]

    def grown(self, ordered: Sequence[int]) -> list[int] | None:
        """Return the first of some items, as many as it takes; None if all of them do not do it, or time is over."""
        for count in range(1, len(ordered) + 1):
            does = self._does(ordered[:count])
            if does is None:
                return None
            if does:
                return list(ordered[:count])
        return None

    def pruned(self, rows: Sequence[int]) -> list[int]:
        """Return a set without those items that it does not need, the ones of least influence first."""
        left = list(rows)
        for row in reversed(rows[:-1]):  # Without the last, the set was tried, and did not do it.
            if self._does([each for each in left if each != row]):
                left.remove(row)
        return left

    def smaller(self, rows: Sequence[int], own: Sequence[int]) -> tuple[list[int], bool]:
        """Return a smallest set of own items that does it, given one that does; and whether it is certainly one."""
        for size in range(1, len(rows)):
            for candidate in itertools.combinations(own, size):
                does = self._does(candidate)
                if does is None:
                    return list(rows), False
                if does:
                    return list(candidate), True
        return list(rows), True

    def _does(self, rows: Iterable[int]) -> bool | None:
        rank = self.rank_without(rows)
        return None if rank is None else rank == 0 or rank > self._count
