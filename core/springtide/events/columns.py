"""Collecting events into one EventBatch: dictionary-coded columns, in the order of event time."""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.events.identity import (
    DELETE,
    INTERACTION,
    RELATION,
    UPSERT,
    MarkList,
    Uint32s,
    Uint64s,
    interaction_contents,
    to_seconds,
)
from springtide.events.marks import BatchMarks, EventMarks
from springtide.events.model import EventBatch, Interactions, NodeDelete, NodeUpsert, Relation
from springtide.events.plain import PlainInteractions

_NO_CONTEXT: Mapping[str, str] = {}


class BatchBuilder:
    """Collects decoded events; ``build`` returns them as a batch.

    Single interactions are in plain lists, which the decoder appends to directly: a method call per event would cost as
    much as all its checks. Packed batches are added as whole arrays.

    Args:
        relations: Names of all interaction rules; a relation code is an index in it.
    """

    def __init__(self, relations: Sequence[str]) -> None:
        self._relations = relations
        # Looking up a new id gives it the next code, without a call into Python.
        self.users: defaultdict[str, int] = defaultdict(itertools.count().__next__)
        self.items: defaultdict[str, int] = defaultdict(itertools.count().__next__)
        self.user_codes: list[int] = []
        self.item_codes: list[int] = []
        self.relation_codes: list[int] = []
        self.timestamps_ms: list[int] = []
        self.values: list[float] = []
        self.contexts: dict[int, Mapping[str, str]] = {}  # By index among the single interactions.
        self.upserts: list[NodeUpsert] = []
        self.other_relations: list[Relation] = []
        self.deletes: list[NodeDelete] = []
        # Of events with an id; rows are counted as in the lists above, contexts stand for contents of interactions.
        self.interaction_marks = MarkList(INTERACTION)
        self.upsert_marks = MarkList(UPSERT)
        self.relation_marks = MarkList(RELATION)
        self.delete_marks = MarkList(DELETE)
        self._packed: list[tuple[npt.NDArray[Any], ...]] = []
        self._plain_keys: list[tuple[int, Uint64s, Uint32s]] = []  # First row, keys, times of the records.
        self._packed_keys: list[tuple[int, Uint64s, int]] = []  # Number of rows before, keys, time of the record in ms.

    def is_empty(self) -> bool:
        """Return whether there are no events yet."""
        return not (self.user_codes or self._packed or self.upserts or self.other_relations or self.deletes)

    def add_plain(self, plain: PlainInteractions, start: int, stop: int, published_s: Uint32s) -> None:
        """Add the plain interactions from ``start`` up to ``stop``, counted among themselves.

        Args:
            plain: All plain interactions.
            start: The first to add.
            stop: The first after those to add.
            published_s: Times of the records of all plain interactions in seconds, uint32 ``[n]``; not read without
                ids.
        """
        if plain.keys is not None:
            self._plain_keys.append((len(self.user_codes), plain.keys[start:stop], published_s[start:stop]))
        self.user_codes += map(self.users.__getitem__, plain.users[start:stop])
        self.item_codes += map(self.items.__getitem__, plain.items[start:stop])
        self.relation_codes += plain.relation_codes[start:stop]
        self.timestamps_ms += plain.timestamps_ms[start:stop]
        self.values += plain.values[start:stop]

    def add_packed(
        self,
        dictionary: Sequence[str],
        users: npt.NDArray[np.uint32],
        items: npt.NDArray[np.uint32],
        relation_codes: npt.NDArray[np.int16],
        timestamps_ms: npt.NDArray[np.int64],
        values: npt.NDArray[np.float32],
        keys: Uint64s | None = None,
        published_ms: int = 0,
    ) -> None:
        """Add whole columns, arrays ``[n]``; ``users`` and ``items`` are indices in ``dictionary``.

        ``keys`` are those of ``EventMarks``, 0 where a row has no id; ``published_ms`` is the time of the record.
        """
        if keys is not None:
            self._packed_keys.append((sum(len(columns[0]) for columns in self._packed), keys, published_ms))
        self._packed.append(
            (
                _recode(dictionary, users, self.users),
                _recode(dictionary, items, self.items),
                relation_codes,
                timestamps_ms,
                values,
            )
        )

    def build(self) -> EventBatch:
        """Return the batch; its interactions are in the order of event time."""
        singles = (
            np.array(self.user_codes, np.int32),
            np.array(self.item_codes, np.int32),
            np.array(self.relation_codes, np.int16),
            np.array(self.timestamps_ms, np.int64),
            np.array(self.values, np.float32),
        )
        columns: list[npt.NDArray[Any]] = list(singles)
        if self._packed:
            columns = [np.concatenate(parts) for parts in zip(singles, *self._packed, strict=True)]
        timestamps_ms = columns[3]
        marks = self._marks_of_interactions(timestamps_ms, columns[4])
        contexts: list[Mapping[str, str]] | None = None
        if self.contexts:
            contexts = [self.contexts.get(position, _NO_CONTEXT) for position in range(len(timestamps_ms))]
        if len(timestamps_ms) > 1 and np.any(timestamps_ms[1:] < timestamps_ms[:-1]):
            order = np.argsort(timestamps_ms, kind="stable")
            columns = [column[order] for column in columns]
            contexts = None if contexts is None else [contexts[position] for position in order]
            if marks is not None:
                position_of = np.empty(len(order), np.int64)
                position_of[order] = np.arange(len(order))
                marks = replace(marks, rows=position_of[marks.rows])
        user_codes, item_codes, relation_codes, timestamps_ms, values = columns
        interactions = Interactions(
            list(self.users),
            user_codes,
            list(self.items),
            item_codes,
            self._relations,
            relation_codes,
            timestamps_ms,
            values,
            contexts,
        )
        all_marks = marks, self.upsert_marks.build(), self.relation_marks.build(), self.delete_marks.build()
        batch_marks = None if all_marks == (None, None, None, None) else BatchMarks(*all_marks)
        return EventBatch(interactions, self.upserts, self.other_relations, self.deletes, batch_marks)

    def _marks_of_interactions(
        self, timestamps_ms: npt.NDArray[np.int64], values: npt.NDArray[np.float32]
    ) -> EventMarks | None:
        """Return the marks of the interactions in the order in which they arrived, single ones first; None without ids.

        Args:
            timestamps_ms: int64 ``[n]``, in the order of arrival; those of packed batches come last.
            values: float32 ``[n]``.
        """
        parsed = self.interaction_marks.build()
        if parsed is not None and not self._plain_keys and not self._packed_keys:  # One by one, so they are in order.
            times, numbers = timestamps_ms[parsed.rows], values[parsed.rows]
            contents = interaction_contents(times, numbers, parsed.contents.astype(np.uint64))
            return EventMarks(parsed.rows, parsed.keys, contents, parsed.published_s)
        parts = [] if parsed is None else [(parsed.rows, parsed.keys, parsed.published_s)]
        for first, keys, published_s in self._plain_keys:
            parts.append((first + np.arange(len(keys)), keys, published_s))
        for before, keys, published_ms in self._packed_keys:
            published_s = np.broadcast_to(to_seconds(np.array([published_ms])), keys.shape)
            parts.append((len(self.user_codes) + before + np.arange(len(keys)), keys, published_s))
        if not parts:
            return None
        rows, keys, published_s = (np.concatenate([part[column] for part in parts]) for column in range(3))
        contexts = np.zeros(len(rows), np.uint64)
        if parsed is not None:
            contexts[: len(parsed)] = parsed.contents  # Only what was parsed one by one has a context.
        order = np.argsort(rows, kind="stable")
        order = order[keys[order] != 0]
        rows = rows[order]
        contents = interaction_contents(timestamps_ms[rows], values[rows], contexts[order])
        return EventMarks(rows, keys[order], contents, published_s[order])


def _recode(
    dictionary: Sequence[str], codes: npt.NDArray[np.uint32], known: defaultdict[str, int]
) -> npt.NDArray[np.int32]:
    """Translate codes from ``dictionary`` to ``known``, int32 ``[n]``; new strings are added to ``known``."""
    is_used = np.zeros(len(dictionary), np.bool_)
    is_used[codes] = True
    recoded = np.zeros(len(dictionary), np.int32)
    used = map(known.__getitem__, itertools.compress(dictionary, is_used.tolist()))
    recoded[is_used] = np.fromiter(used, np.int32)
    return recoded[codes]
