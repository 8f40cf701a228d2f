"""Categorical attributes, stored as columns of codes."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from springtide.graph.late_ids import LateIdCopies, LateIds
from springtide.graph.row_columns import RowColumn
from springtide.graph.row_entries import RowCodes, RowNumbers
from springtide.ids import IdMap
from springtide.packed_texts import Texts

NONE = -1  # The node never had a value.
_UNUSED_SHARE = 4  # Values that no node has any more are forgotten when they are 1/4 of all,
_FEW = 64  # and more than this: where an attribute goes to and fro between a few values, these keep their codes.
_MOST_LOGGED = 65_536  # Changes: half a megabyte. Then those who read begin anew.
CLEARED = -2  # The attribute was cleared: an older value that arrives later does not come back.


@dataclass(frozen=True, slots=True)
class CategorySnapshot:
    """A copy of one category column.

    Attributes:
        vocabulary: The values in the order of their codes, empty where forgotten.
        first: int32, code of each node's first value, -1 where it has none, -2 where it was cleared.
        more: All codes of each row that has more than one.
    """

    vocabulary: Sequence[str]
    first: RowNumbers[np.int32]
    more: RowCodes


class _Others(NamedTuple):
    """Rows and codes of all values but the first ones, and how much of which log of changes they have."""

    rows: npt.NDArray[np.int32]
    codes: npt.NDArray[np.int32]
    log: list[int]
    num_logged: int


class CategoryColumn:
    """One categorical attribute, with any number of values for each node.

    One thread writes; any thread reads, and sees the latest values.

    Args:
        nodes: Ids of the nodes, which give the number of rows.
        saved: Snapshot to start from; None for an empty column.

    Attributes:
        vocabulary: The values and their codes.
        num_held: Number of nodes that have a value.
        num_cleared: Number of nodes for which the attribute was cleared.
    """

    __slots__ = (
        *("_changed", "_first", "_forgotten", "_is_logged", "_late_copies", "_more", "_nodes", "_num_uses", "_others"),
        "_unused",
        *("num_cleared", "num_held", "vocabulary"),
    )

    def __init__(self, nodes: IdMap, saved: CategorySnapshot | None = None) -> None:
        saved = saved or CategorySnapshot([], RowNumbers(None, np.empty(0, np.int32)), RowCodes.of_dict({}))
        vocabulary = saved.vocabulary
        self.vocabulary = IdMap(vocabulary.packed if isinstance(vocabulary, Texts) else vocabulary)
        self._late_copies = LateIdCopies()
        self._nodes = nodes
        self._first = RowColumn.of(saved.first, np.int32, NONE, len(nodes))
        self._more = saved.more.as_dict()  # All codes of each row that has more than one.
        self._others: _Others | None = None
        self._is_logged = False  # Only who asks for the other values wants the log.
        self._changed: list[int] = []  # Rows whose entry in `_more` has changed, each after its change.
        self._num_uses: list[int] = np.bincount(_codes_of(saved), minlength=len(self.vocabulary)).tolist()
        self._unused = {code for code, uses in enumerate(self._num_uses) if not uses and self.vocabulary.id(code)}
        self._forgotten: list[int] = []  # Codes that were forgotten since ``reclaim``.
        self.vocabulary.release(reversed(self.vocabulary.forgotten_rows(len(self.vocabulary)).tolist()))
        self.num_cleared = int(np.count_nonzero(saved.first.numbers == CLEARED))
        self.num_held = self._first.num_held - self.num_cleared

    def first_codes(self) -> npt.NDArray[np.int32]:
        """Return the code of each node's first value, int32 ``[num_nodes]``, -1 where it has none."""
        return np.maximum(self._first.dense(len(self._nodes)), NONE)

    def first_at(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Return the code of the first value of some nodes, int64 ``[n]``; int32 ``[n]``, below 0 where it has none."""
        return self._first.at(rows)

    def pairs(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return the rows and codes of all values, int32 ``[num_values]`` each."""
        extra_rows, extra_codes = self.other_values()
        rows, codes = self._first.held()
        rows, codes = rows[codes >= 0], codes[codes >= 0]
        return np.concatenate([rows, extra_rows]), np.concatenate([codes, extra_codes])

    def other_values(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return the rows and codes of all values but the first ones, int32 ``[num_others]`` each, to be read only.

        They are kept, and what has changed since is put into them: to read the values of 100,000 rows takes some 30 ms.
        """
        self._is_logged = True  # First: what changes from here on is in the log, or is read below.
        log = self._changed
        num_logged = len(log)
        kept = self._others
        if kept is None or kept.log is not log or num_logged - kept.num_logged > _MOST_LOGGED // 8:
            more = self._more.copy()  # The thread that writes goes on.
            rows, codes = _other_values(more)
        elif num_logged == kept.num_logged:
            return kept.rows, kept.codes
        else:
            more = self._more
            changed = {row: more.get(row, ()) for row in log[kept.num_logged : num_logged]}
            is_changed = np.zeros(1 + max(max(changed), int(kept.rows.max(initial=0))), np.bool_)
            is_changed[list(changed)] = True
            stays = ~is_changed[kept.rows]
            new_rows, new_codes = _other_values({row: values for row, values in changed.items() if values})
            rows = np.concatenate([kept.rows[stays], new_rows])
            codes = np.concatenate([kept.codes[stays], new_codes])
        rows.setflags(write=False)
        codes.setflags(write=False)
        self._others = _Others(rows, codes, log, num_logged)
        return rows, codes

    def pairs_at(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return the positions in ``rows``, int64 ``[n]``, and codes of all values of these nodes, int32 each."""
        more, codes = self._more, self._first.at(rows)
        positions = np.flatnonzero(codes >= 0).astype(np.int32)
        codes = codes[positions]
        if not more:
            return positions, codes
        extra = [(at, code) for at, row in enumerate(rows.tolist()) for code in more.get(row, ())[1:]]
        extra_positions, extra_codes = np.array(extra, np.int32).reshape(-1, 2).T
        return np.concatenate([positions, extra_positions]), np.concatenate([codes, extra_codes])

    def has_any(self, values: Iterable[str]) -> npt.NDArray[np.bool_]:
        """Return for each node whether it has one of the values, bool ``[num_nodes]``."""
        rows, others = self.other_values()  # Before the number of rows, so that all these rows are within it;
        first = self._first.dense(len(self._nodes))
        codes = self.vocabulary.rows(list(values))  # and the values last, so that no code is new to them.
        is_wanted = np.zeros(len(self.vocabulary) + 2, np.bool_)  # The last entries are for codes -2 and -1.
        is_wanted[codes[codes >= 0]] = True
        has_it = is_wanted[first]
        has_it[rows[is_wanted[others]]] = True
        return has_it

    def values(self, row: int) -> list[str]:
        """Return the values of one node."""
        first = self._first.get(row) if row >= 0 else None
        codes = self._more.get(row, (first,) if first is not None and first >= 0 else ())
        return self.vocabulary.ids(codes)

    def most_used(self, count: int) -> list[str]:
        """Return the values that the most nodes have, at most ``count``, the most frequent first."""
        num_uses = np.array(self._num_uses.copy(), np.int64)  # A copy first: the thread that writes goes on.
        codes = np.argsort(-num_uses, kind="stable")[:count]
        return [value for value in self.vocabulary.ids(codes[num_uses[codes] > 0]) if value]

    def num_nodes_with(self, code: int) -> int:
        """Return how many nodes have a value, given its code."""
        return self._num_uses[code]

    def is_cleared(self, row: int) -> bool:
        """Return whether the attribute of one node was cleared, and not set since."""
        return self._first.get(row) == CLEARED  # type: ignore[no-any-return]  # It is a number or None.

    def is_held(self, row: int) -> bool:
        """Return whether one node has a value, or the attribute was cleared."""
        return self._first.get(row) is not None

    def held_rows(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return the nodes that have a value, and those that were cleared, int32 ``[n]`` each, ascending."""
        rows, codes = self._first.held()
        return rows[codes >= 0], rows[codes < 0]

    def shrink(self) -> None:
        """Take less memory if only few nodes have a value any more."""
        self._first.shrink(len(self._nodes))

    def set(self, row: int, values: Sequence[str]) -> None:
        """Replace the values of one node by distinct values; no values clear it."""
        codes: list[int] = self.vocabulary.intern(values).tolist()
        self._num_uses += [0] * (len(self.vocabulary) - len(self._num_uses))
        for code in codes:
            self._num_uses[code] += 1
            self._unused.discard(code)
        self._replace(row, codes, CLEARED)

    def unset(self, row: int) -> None:
        """Make one node as if it never had a value."""
        self._replace(row, [], NONE)

    @property
    def has_unused(self) -> bool:
        """Whether there are values that no node has any more."""
        return bool(self._unused)

    def forget_unused(self) -> None:
        """Forget the values that no node has any more; until this is called they keep their codes."""
        self._late_copies.keep(list(self._unused))
        for code in self._unused:
            self.vocabulary.forget(code)
        self._forgotten += self._unused
        self._unused = set()

    def reclaim(self) -> list[int]:
        """Forget unused values if they are many; return the codes of all that were forgotten since the last call.

        To be given back by ``release``, once no reader of today's codes is left.
        """
        if len(self._unused) > _FEW + len(self.vocabulary) // _UNUSED_SHARE:
            self.forget_unused()
        codes, self._forgotten = self._forgotten, []
        return codes

    def release(self, codes: Iterable[int]) -> None:
        """Let new values have the codes of forgotten ones."""
        self.vocabulary.release(codes)

    @property
    def codes(self) -> tuple[RowColumn[np.int32], dict[int, tuple[int, ...]]]:
        """What ``CategorySnapshot`` calls ``first`` and ``more``; they are not copies."""
        return self._first, self._more

    def late_vocabulary(self) -> LateIds:
        """Return the values as they are now, for another thread to copy; called by the thread that writes."""
        return self._late_copies.begin(self.vocabulary)

    def _log(self, row: int) -> None:
        if self._is_logged:
            if len(self._changed) == _MOST_LOGGED:  # Who reads finds another log, and begins anew.
                self._changed = []
            self._changed.append(row)

    def _replace(self, row: int, codes: Sequence[int], if_none: int) -> None:
        former = self._first.get(row)
        former = NONE if former is None else former
        for code in self._more.get(row, (former,) if former >= 0 else ()):
            self._num_uses[code] -= 1
            if not self._num_uses[code]:
                self._unused.add(code)
        if len(codes) > 1:
            self._more[row] = tuple(codes)
            self._log(row)
        elif self._more.pop(row, None) is not None:
            self._log(row)
        first = codes[0] if codes else if_none
        self.num_held += (first >= 0) - (former >= 0)
        self.num_cleared += (first == CLEARED) - (former == CLEARED)
        if first == NONE:
            self._first.unset(row)
        else:
            self._first.set(row, first, self._nodes)


def _other_values(more: dict[int, tuple[int, ...]]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return the rows and codes of all values but the first ones, int32 ``[num_others]`` each."""
    counts = np.fromiter(map(len, more.values()), np.int64, len(more))
    rows = np.repeat(np.fromiter(more, np.int32, len(more)), counts)
    codes = np.fromiter(itertools.chain.from_iterable(more.values()), np.int32, len(rows))
    is_other = np.ones(len(rows), np.bool_)
    is_other[np.cumsum(counts) - counts] = False
    return rows[is_other], codes[is_other]


def _codes_of(saved: CategorySnapshot) -> npt.NDArray[np.int32]:
    """Return the codes of all values of all nodes, int32 ``[num_values]``, in any order."""
    rows, codes = saved.first.held(NONE)
    has_one = (codes >= 0) & ~np.isin(rows, saved.more.rows)  # The others have all of theirs there.
    return np.concatenate([codes[has_one], saved.more.codes])
