"""What users did after answers that were by a variant of an experiment, counted so that no definition need be known.

An event that carries the name of such an answer (``recommendation_ids``) is a row: who, by which variant, with what
relation, when, and how often that is so. Which rows are impressions and which are conversions is asked of the relations
when the experiment's result is. Rows that are equal are one row, and the times are kept, so that the deletion of a user
takes away what they did until then, and nothing else, whichever comes first: the tallies do not depend on the order of
events. They do not know rows of the graph, which others get later: a user is the digest of their id.
"""

import functools
import hashlib
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.packed_texts import pack, unpack
from springtide.recommendation_ids import ArmCode, arms_of

Arrays = Mapping[str, npt.NDArray[Any]]

MAX_ROWS = 4_000_000
"""Most rows, 24 bytes each, and room for as many again while they grow. Beyond, the older half keeps one time for each
user, variant and relation, the latest: counts are exact but where a user is deleted as of a time in between."""

MAX_ARMS_KNOWN = 10_000
"""Most variants that are counted; those of later experiments are left out then."""

_MIN_ROWS = 1_024
_FREED_SHARE = 8  # Of the rows, what folding must free; else it would be done again too soon.
_MAX_PENDING = 10_000  # Deletions that wait to be applied together: each alone would look at all rows.
_IDS_KEPT = 4_096  # Names of answers whose variants are kept: an answer of 20 items comes back 20 times.
_USER_BYTES = 8
_FACTORS = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # Odd, with bits as if by chance.
_COLUMNS = {"users": np.uint64, "arms": np.int16, "relations": np.int16, "times_ms": np.int64, "counts": np.uint32}

_arms_of = functools.lru_cache(_IDS_KEPT)(arms_of)


@dataclass(frozen=True, slots=True)
class VariantTally:
    """What the users of one variant did.

    Attributes:
        num_users: Users with an event that carries one of its answers.
        num_converted: Those of them with a conversion that does.
        num_impressions: Impressions that do.
        num_conversions: Conversions that do.
    """

    num_users: int
    num_converted: int
    num_impressions: int
    num_conversions: int


class ExperimentTallies:
    """The rows of all experiments. One thread adds; any thread may ask.

    Args:
        max_rows: See ``MAX_ROWS``.

    Attributes:
        num_left_out: Events that were not counted, since there was no room for their users.
    """

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self.num_left_out = 0
        self._max_rows = max_rows
        self._columns: dict[str, npt.NDArray[Any]] = {name: np.zeros(0, dtype) for name, dtype in _COLUMNS.items()}
        self._num_rows = 0
        self._arm_codes: dict[ArmCode, int] = {}
        self._relation_codes: dict[str, int] = {}
        self._pending: dict[int, int] = {}  # Until when users are deleted.
        self._no_room_above = max_rows  # With so many rows, folding did not help.
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._num_rows

    @property
    def num_bytes(self) -> int:
        """Bytes of the columns, room included."""
        return sum(column.nbytes for column in self._columns.values())

    def add(
        self,
        recommendation_ids: Sequence[str],
        user_ids: Sequence[str],
        user_codes: npt.NDArray[np.int32],
        relations: Sequence[str],
        relation_codes: npt.NDArray[np.int16],
        timestamps_ms: npt.NDArray[np.int64],
        deleted_ms: npt.NDArray[np.int64],
    ) -> None:
        """Count interactions; those that carry no answer by a variant are none of ours.

        Args:
            recommendation_ids: The answer of each, empty for none, ``[n]``.
            user_ids: Distinct users.
            user_codes: int32 ``[n]``, index in ``user_ids``.
            relations: Distinct relations.
            relation_codes: int16 ``[n]``, index in ``relations``.
            timestamps_ms: int64 ``[n]``, event times in milliseconds since the Unix epoch.
            deleted_ms: int64 ``[num_user_ids]``, until when each user is deleted: events until then do not count.
        """
        rows: dict[tuple[int, int, int, int], int] = {}
        keys: dict[int, int] = {}
        for position, recommendation_id in enumerate(recommendation_ids):
            if not recommendation_id or not (arms := _arms_of(recommendation_id)):
                continue
            user, time_ms = int(user_codes[position]), int(timestamps_ms[position])
            if time_ms <= deleted_ms[user]:
                continue
            if (key := keys.get(user)) is None:
                key = keys[user] = _key(user_ids[user])
            relation = self._code(self._relation_codes, relations[relation_codes[position]])
            for arm in arms:
                if (code := self._code(self._arm_codes, arm)) is not None and relation is not None:
                    row = key, code, relation, time_ms
                    rows[row] = rows.get(row, 0) + 1
                else:
                    self.num_left_out += 1
        if rows:
            with self._lock:
                self._append(rows)

    def forget(self, user_id: str, deleted_ms: int) -> None:
        """Forget what a user did until a time, inclusive, milliseconds since the Unix epoch."""
        if not self._num_rows:
            return
        key = _key(user_id)
        with self._lock:
            self._pending[key] = max(deleted_ms, self._pending.get(key, deleted_ms))
            if len(self._pending) > _MAX_PENDING:
                self._settle()

    def tally(
        self, name_hash: int, num_variants: int, impressions: Collection[str], conversions: Collection[str]
    ) -> list[VariantTally]:
        """Return what the users of each variant of an experiment did.

        Args:
            name_hash: Hash of the experiment's name.
            num_variants: How many variants it has.
            impressions: Relations that say that an item was shown.
            conversions: Relations that count as conversions.
        """
        with self._lock:
            self._settle()
            columns, num_rows = self._columns, self._num_rows
            arms, relations = dict(self._arm_codes), dict(self._relation_codes)
        users, of_arm, of_relation, _, counts = (column[:num_rows] for column in columns.values())
        shown = np.isin(of_relation, [code for name, code in relations.items() if name in impressions])
        converted = np.isin(of_relation, [code for name, code in relations.items() if name in conversions])
        tallies = []
        for variant in range(num_variants):
            is_own = of_arm == arms.get((name_hash, variant), -1)
            is_converted = is_own & converted
            tallies.append(
                VariantTally(
                    len(np.unique(users[is_own])),
                    len(np.unique(users[is_converted])),
                    int(counts[is_own & shown].sum()),
                    int(counts[is_converted].sum()),
                )
            )
        return tallies

    def arrays(self) -> Arrays:
        """Return all rows as arrays that never change, for a checkpoint; called by the thread that adds."""
        with self._lock:
            self._settle()
            relations = pack(self._relation_codes)
            hashes, variants = zip(*self._arm_codes, strict=True) if self._arm_codes else ((), ())
            # What is added later is written behind these rows, or into other arrays.
            return {
                **{name: column[: self._num_rows] for name, column in self._columns.items()},
                "arm_hashes": np.array(hashes, np.uint32),
                "arm_variants": np.array(variants, np.int16),
                "relations.utf8": relations.utf8,
                "relations.offsets": relations.offsets,
            }

    def restore(self, arrays: Arrays) -> None:
        """Go on from what ``arrays`` returned.

        Raises:
            ValueError: If the arrays do not fit each other.
        """
        columns = {name: np.array(arrays[name], dtype) for name, dtype in _COLUMNS.items()}
        lengths = {len(column) for column in columns.values()}
        arms = list(zip(arrays["arm_hashes"].tolist(), arrays["arm_variants"].tolist(), strict=True))
        relations = unpack(arrays["relations.utf8"], arrays["relations.offsets"])
        if len(lengths) != 1 or not _are_below(columns["arms"], len(arms)):
            raise ValueError(f"wanted columns of one length, and arms below {len(arms)}, got lengths {sorted(lengths)}")
        if not _are_below(columns["relations"], len(relations)):
            raise ValueError(f"wanted relations below {len(relations)}")
        with self._lock:
            self._columns, self._num_rows = columns, lengths.pop()
            self._arm_codes = {arm: code for code, arm in enumerate(arms)}
            self._relation_codes = {name: code for code, name in enumerate(relations)}
            self._pending = {}

    def content(self) -> list[bytes]:
        """Return all rows in an order that does not depend on that of events, nor on the codes."""
        with self._lock:
            self._settle()
            self._merge()
            arms, relations = list(self._arm_codes), list(self._relation_codes)
            rows = zip(*(column[: self._num_rows].tolist() for column in self._columns.values()), strict=True)
            return sorted(
                repr((user, arms[arm], relations[relation], time_ms, count)).encode()
                for user, arm, relation, time_ms, count in rows
            )

    def _code(self, codes: dict, of: object) -> int | None:  # type: ignore[type-arg]  # Of arms or of relations.
        code: int | None = codes.get(of)
        if code is None and len(codes) < MAX_ARMS_KNOWN:
            code = codes[of] = len(codes)
        return code

    def _append(self, rows: dict[tuple[int, int, int, int], int]) -> None:
        if self._num_rows + len(rows) > len(self._columns["users"]):
            self._make_room(len(rows))
        fits = min(len(rows), len(self._columns["users"]) - self._num_rows)
        start, stop = self._num_rows, self._num_rows + fits
        for column, values in zip(
            self._columns.values(), [*zip(*rows, strict=True), tuple(rows.values())], strict=True
        ):
            column[start:stop] = np.fromiter(values[:fits], column.dtype, fits)
        self._num_rows = stop
        self.num_left_out += sum(list(rows.values())[fits:])

    def _make_room(self, num_wanted: int) -> None:
        """Merge rows; make the columns twice as long, or fold old rows, if that leaves too little room."""
        if self._num_rows + num_wanted > self._max_rows and self._num_rows >= self._no_room_above:
            return  # It was tried: to look at all rows with each batch would hold up the stream.
        self._settle()
        self._merge()
        if self._num_rows and self._num_rows + num_wanted > self._max_rows - self._max_rows // _FREED_SHARE:
            times_ms = self._columns["times_ms"][: self._num_rows]
            self._merge(until_ms=int(np.partition(times_ms, len(times_ms) // 2)[len(times_ms) // 2]))
            is_full = self._num_rows + num_wanted > self._max_rows - self._max_rows // _FREED_SHARE
            self._no_room_above = self._num_rows if is_full else self._max_rows
        wanted = 2 * (self._num_rows + num_wanted)
        capacity = min(max(wanted, _MIN_ROWS), self._max_rows)
        if capacity > len(self._columns["users"]):
            rows = {name: column[: self._num_rows] for name, column in self._columns.items()}
            self._columns = _with_room(rows, capacity - self._num_rows)

    def _settle(self) -> None:
        """Take away what deleted users did."""
        if not self._pending:
            return
        deleted = np.fromiter(sorted(self._pending), np.uint64, len(self._pending))
        until_ms = np.array([self._pending[key] for key in deleted.tolist()], np.int64)
        users, times_ms = self._columns["users"][: self._num_rows], self._columns["times_ms"][: self._num_rows]
        at = np.searchsorted(deleted, users).clip(max=len(deleted) - 1)
        is_kept = (deleted[at] != users) | (times_ms > until_ms[at])
        self._pending = {}
        if not is_kept.all():
            self._keep({name: column[: self._num_rows][is_kept] for name, column in self._columns.items()})

    def _merge(self, until_ms: int | None = None) -> None:
        """Make equal rows one; those until a time count as equal if they are but for the time, and keep the latest."""
        users, arms, relations, times_ms, counts = (column[: self._num_rows] for column in self._columns.values())
        is_old = np.zeros(self._num_rows, np.bool_) if until_ms is None else times_ms <= until_ms
        # Equal rows have one number, by which they are sorted in a fifth of the time that all columns take. Others may
        # have it too, once in many billions: what they keep apart is not merged, and counts the same.
        numbers = users ^ _mixed(arms, 0) ^ _mixed(relations, 1) ^ np.where(is_old, np.uint64(0), _mixed(times_ms, 2))
        order = np.argsort(numbers)
        users, arms, relations, times_ms = users[order], arms[order], relations[order], times_ms[order]
        counts, is_old = counts[order], is_old[order]
        is_first = np.ones(len(order), np.bool_)  # Of the rows that become one.
        same = (users[1:] == users[:-1]) & (arms[1:] == arms[:-1]) & (relations[1:] == relations[:-1])
        is_first[1:] = ~(same & ((times_ms[1:] == times_ms[:-1]) | (is_old[1:] & is_old[:-1])))
        if is_first.all():
            return
        starts = np.flatnonzero(is_first)
        totals = np.add.reduceat(counts, starts, dtype=np.uint64).clip(max=np.iinfo(np.uint32).max)
        merged = {"users": users[starts], "arms": arms[starts], "relations": relations[starts]}
        latest_ms = np.maximum.reduceat(times_ms, starts)
        self._keep({**merged, "times_ms": latest_ms, "counts": totals.astype(np.uint32)})

    def _keep(self, columns: Arrays) -> None:
        self._num_rows = len(columns["users"])
        room = max(len(self._columns["users"]) - self._num_rows, 0)
        self._columns = {
            name: np.concatenate([column, np.zeros(room, column.dtype)]) for name, column in columns.items()
        }


def _with_room(columns: Arrays, room: int) -> dict[str, npt.NDArray[Any]]:
    return {name: np.concatenate([column, np.zeros(room, column.dtype)]) for name, column in columns.items()}


def _mixed(column: npt.NDArray[Any], which: int) -> npt.NDArray[np.uint64]:
    """Return a number of 64 bits for each value, uint64 ``[n]``, that differs between columns."""
    mixed: npt.NDArray[np.uint64] = (column.astype(np.uint64) + np.uint64(1)) * np.uint64(_FACTORS[which])
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(_FACTORS[which])
    return mixed


def _key(user_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(user_id.encode(), digest_size=_USER_BYTES).digest())


def _are_below(codes: npt.NDArray[Any], num: int) -> bool:
    return not len(codes) or bool((codes >= 0).all() and (codes < num).all())
