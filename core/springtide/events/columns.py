"""Collecting events into one EventBatch: dictionary-coded columns, in the order of event time."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from springtide.events.identity import (
    DELETE,
    INTERACTION,
    RELATION,
    UPSERT,
    MarkList,
    Uint64s,
    context_hash,
    hash_strings,
    interaction_contents,
    keys_of_rows,
)
from springtide.events.marks import BatchMarks, EventMarks
from springtide.events.model import EventBatch, Interactions, NodeDelete, NodeUpsert, Relation
from springtide.events.packed_ids import PackedIds
from springtide.events.row_kernels import InteractionRows
from springtide.packed_texts import pack, unpack

_NO_CONTEXT: Mapping[str, str] = {}


class BatchBuilder:
    """Collects decoded events; ``build`` returns them as a batch.

    Args:
        relations: Names of all interaction rules; a relation code is an index in it.

    Attributes:
        rows: The interactions. The decoder lets them read whole runs of records.
    """

    def __init__(self, relations: Sequence[str]) -> None:
        self._relations = relations
        self.rows = InteractionRows(context_hash)
        self.upserts: list[NodeUpsert] = []
        self.other_relations: list[Relation] = []
        self.deletes: list[NodeDelete] = []
        # Of events with an id; rows are counted as in the lists above.
        self.upsert_marks = MarkList(UPSERT)
        self.relation_marks = MarkList(RELATION)
        self.delete_marks = MarkList(DELETE)

    def is_empty(self) -> bool:
        """Return whether there are no events yet."""
        return not (len(self.rows) or self.upserts or self.other_relations or self.deletes)

    def add(
        self,
        user: str,
        item: str,
        relation_code: int,
        timestamp_ms: int,
        value: float,
        context: Mapping[str, str] = _NO_CONTEXT,
        recommendation_id: str = "",
    ) -> int:
        """Add an interaction, and return the number of its row; ``value`` is NaN for none."""
        row = self.rows.append(user.encode(), item.encode(), relation_code, timestamp_ms, value)
        if context:
            self.rows.contexts[row] = dict(context)
        if recommendation_id:
            self.rows.answer(row, recommendation_id.encode())
        return row

    def mark(self, row: int, about: tuple[str, str, str, str], context: int, published_ms: int) -> None:
        """Note what tells an interaction apart.

        Args:
            row: The number of its row; rows are marked in their order.
            about: Its id, user, item and type.
            context: Hash of its context.
            published_ms: Time of its record, in milliseconds since the Unix epoch.
        """
        key = keys_of_rows(INTERACTION, hash_strings(about)[None, :])
        self.rows.mark(row, int(key[0]), context, published_ms)

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
        recommendation_ids: Sequence[str] = (),
    ) -> None:
        """Add whole columns, arrays ``[n]``; ``users`` and ``items`` are indices in ``dictionary``.

        ``keys`` are those of ``EventMarks``, 0 where a row has no id; ``published_ms`` is the time of the record.
        Of ``recommendation_ids`` each may be empty; there are none if no row has one.
        """
        user_codes, item_codes, codes = (column.astype(np.int32) for column in (users, items, relation_codes))
        first = self.rows.append_packed(*pack(dictionary), user_codes, item_codes, codes, timestamps_ms, values)
        for row, answer_id in enumerate(recommendation_ids, start=first):
            if answer_id:
                self.rows.answer(row, answer_id.encode())
        if keys is not None:
            self.rows.mark_packed(first, keys, published_ms)

    def build(self) -> EventBatch:
        """Return the batch; its interactions are in the order of event time, and of arrival among those of one time."""
        order = self.rows.order()
        users, items = self.rows.texts()
        user_codes, item_codes, relation_codes, timestamps_ms, values = self.rows.columns(order)
        contexts: list[Mapping[str, str]] | None = None
        if known := self.rows.contexts:
            rows = range(len(values)) if order is None else order.tolist()
            contexts = [known.get(row, _NO_CONTEXT) for row in rows]
        interactions = Interactions(
            PackedIds(*users),
            user_codes,
            PackedIds(*items),
            item_codes,
            self._relations,
            relation_codes,
            timestamps_ms,
            values,
            contexts,
            self._recommendation_ids(order),
        )
        all_marks = (
            self._marks_of_interactions(order),
            self.upsert_marks.build(),
            self.relation_marks.build(),
            self.delete_marks.build(),
        )
        batch_marks = None if all_marks == (None, None, None, None) else BatchMarks(*all_marks)
        return EventBatch(interactions, self.upserts, self.other_relations, self.deletes, batch_marks)

    def _recommendation_ids(self, order: npt.NDArray[np.int64] | None) -> list[str] | None:
        """Return the answer that each interaction came of, as ``Interactions`` has it; ``order`` is as below."""
        answers = self.rows.answers()
        if answers is None:
            return None
        rows, codes, texts = answers
        each = np.full(len(self.rows), -1, np.int64)
        each[rows] = codes
        names = [*unpack(*texts), ""]  # The last one is that of code -1.
        return [names[code] for code in (each if order is None else each[order]).tolist()]

    def _marks_of_interactions(self, order: npt.NDArray[np.int64] | None) -> EventMarks | None:
        """Return the marks of the interactions in the order in which they arrived; None without ids.

        Args:
            order: The rows in the order of event time, int64 ``[n]``; None if they are in it.
        """
        marks = self.rows.marks()
        if marks is None:
            return None
        rows, keys, contexts, published_s, timestamps_ms, values = marks
        contents = interaction_contents(timestamps_ms, values, contexts)
        if order is not None:
            position_of = np.empty(len(order), np.int64)
            position_of[order] = np.arange(len(order))
            rows = position_of[rows]
        return EventMarks(rows, keys, contents, published_s)
