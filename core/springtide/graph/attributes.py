"""The attributes of the nodes of one type: for each, the value with the latest event time, stored as columns."""

import itertools
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.events.model import NodeUpsert
from springtide.graph.attribute_times import AttributeTimes
from springtide.graph.categories import CategoryColumn
from springtide.graph.columns import fitted, with_room
from springtide.graph.late_attributes import AttributesSnapshot, LateAttributes
from springtide.graph.row_columns import RowColumn
from springtide.graph.vectors import VectorColumn
from springtide.ids import IdMap
from springtide.settings.model import AttributeKind

# A value as (rank of its kind, what is stored): of two with the same event time, the greater one stays.
_Value = tuple[int, Any]
_NOTHING: _Value = (-1, ())
_CLEARED: _Value = (0, ())
_CATEGORY, _NUMBER, _TEXT, _VECTOR = 1, 2, 3, 4


class AttributeColumns:
    """Columns of each kind. An attribute may have columns of several kinds, a node has its value in one of them.

    One thread writes. Others may read ``kinds`` and the columns, each dictionary by one access or a copy.

    Args:
        nodes: Ids of the nodes, which give the number of rows.
        schema: Kinds that the settings give; values of another kind are refused before they come here.

    Attributes:
        kinds: The kind of each attribute that readers see: the schema's, else the one that most nodes have; of equals
            the first of category, number, text and vector.
        categories: Category columns by name.
        numbers: Number columns by name, NaN where a node has none.
        texts: Text by row, by name.
        vectors: Vector columns by name.
        num_changes: Grows whenever a value changes.
        num_time_changes: Grows whenever a time changes and no value does.
    """

    def __init__(self, nodes: IdMap, schema: Mapping[str, AttributeKind]) -> None:
        self.kinds: dict[str, AttributeKind] = dict(schema)
        self.categories: dict[str, CategoryColumn] = {}
        self.numbers: dict[str, RowColumn[np.float64]] = {}
        self.texts: dict[str, dict[int, str]] = {}
        self.vectors: dict[str, VectorColumn] = {}
        self.num_changes = 0
        self.num_time_changes = 0
        self._lineage = object()
        self._num_changes_of: dict[str, int] = {}  # By attribute.
        self._nodes = nodes
        self._schema = schema
        self._num_values = np.empty(0, np.int32)  # Of each node, those of all kinds; cleared attributes are none.
        self._times = AttributeTimes()
        self._late_copies: weakref.WeakSet[LateAttributes] = weakref.WeakSet()

    def num_nodes_of(self, name: str) -> dict[AttributeKind, int]:
        """Return how many nodes have a value of each kind."""
        category, numbers = self.categories.get(name), self.numbers.get(name)
        vectors = self.vectors.get(name)
        return {
            "category": 0 if category is None else category.num_held,
            "number": 0 if numbers is None else numbers.num_held,
            "text": len(self.texts.get(name, ())),
            "vector": 0 if vectors is None else vectors.num_held,
        }

    def version_of(self, names: Sequence[str]) -> object:
        """Return what changes whenever a value of one of some attributes does."""
        counts = self._num_changes_of
        return (self._lineage, *(counts.get(name, 0) for name in names))

    def has_any(self, num_nodes: int) -> npt.NDArray[np.bool_]:
        """Return for each of the first nodes whether it has a value of any kind, bool ``[num_nodes]``."""
        has_any: npt.NDArray[np.bool_] = fitted(self._num_values, num_nodes, 0) > 0
        return has_any

    def upsert(self, row: int, upsert: NodeUpsert) -> None:
        """Set those attributes of a node that are not set at a later event time already."""
        self._keep(row)
        timestamp_ms = upsert.timestamp_ms
        names: list[str] = []
        num_new, has_changed = 0, False
        for name, value in _values_of(upsert).items():
            former = self._find(name, row)
            if former is None:
                num_new += 1
            elif (timestamp_ms, value) <= (self._times.of(name, row), former):
                continue
            names.append(name)
            if value != former:
                has_changed = True
                self._put(name, row, value, former)
        if names:
            num_held = self._times.num_held(row) + num_new
            others = (name for name in self._names_of(row, num_held) if name not in names)
            self._times.set(row, names, num_new, others, timestamp_ms)
            self._count_change(has_changed)

    def forget(self, rows: Sequence[int], until_ms: Sequence[int] | None = None) -> None:
        """Forget the attributes of nodes, and the category values that only they had.

        Args:
            rows: The nodes.
            until_ms: For each node, the event time after which attributes stay that were set; None for never.
        """
        num_dropped = 0
        for position, row in enumerate(rows):
            num_held = self._times.num_held(row)
            if not num_held:
                continue
            self._keep(row)
            held = list(self._names_of(row, num_held))
            if until_ms is not None:
                held = [name for name in held if self._times.of(name, row) <= until_ms[position]]
            for name in held:
                self._put(name, row, None, self._find(name, row))
            self._times.drop(row, held)
            num_dropped += len(held)
        # Also values that were replaced before: nobody may find what a node once had.
        if num_dropped or any(category.has_unused for category in self.categories.values()):
            for category in self.categories.values():
                category.forget_unused()
            self._count_change(has_value_changed=True)

    def reclaim(self) -> list[tuple[CategoryColumn, list[int]]]:
        """Return the codes of category values that were forgotten since the last call, with their columns.

        Columns of which little is left take less memory from then on.
        """
        for column in self.numbers.values():
            column.shrink(len(self._nodes))
        for category in self.categories.values():
            category.shrink()
        self._times.shrink()
        found = [(column, column.reclaim()) for column in self.categories.values()]
        return [(column, codes) for column, codes in found if codes]

    def late_snapshot(self, version: str) -> LateAttributes:
        """Return all columns as they are now, for another thread to copy; called by the thread that writes."""
        late = LateAttributes(
            version, len(self._nodes), self.kinds, self.categories, self.numbers, self.texts, self.vectors, self._times
        )
        self._late_copies.add(late)
        return late

    def restore(self, saved: AttributesSnapshot) -> None:
        """Restore the columns; values of another kind than the schema's are left out."""
        num_values = np.zeros(len(self._nodes), np.int32)
        num_cleared = np.zeros(len(self._nodes), np.int32)
        for name, category in saved.categories.items():
            column = CategoryColumn(self._nodes, category)
            if self._is_refused(name, "category"):
                for row in column.pairs()[0].tolist():
                    column.unset(row)
            self.categories[name] = column
            with_value, cleared = column.held_rows()
            num_values[with_value] += 1
            num_cleared[cleared] += 1
        for name, numbers in saved.numbers.items():
            if not self._is_refused(name, "number"):
                self.numbers[name] = RowColumn.of(numbers, np.float64, np.nan, len(self._nodes))
                num_values[numbers.held(np.nan)[0]] += 1
        for name, texts in saved.texts.items():
            if not self._is_refused(name, "text"):
                self.texts[name] = texts.as_dict()
                num_values[texts.rows] += 1
        for name, vectors in saved.vectors.items():
            if not self._is_refused(name, "vector"):
                self.vectors[name] = VectorColumn.of(vectors, len(self._nodes))
                num_values[vectors.rows] += 1
        self._num_values = num_values
        self._times.restore(saved.times, num_values + num_cleared)
        for name in {*self.categories, *self.numbers, *self.texts, *self.vectors}:
            self._settle_kind(name)

    def _keep(self, row: int) -> None:
        """Let each copy that is still to be made keep what a node has, which is about to change."""
        for late in self._late_copies:
            late.keep(row)

    def _is_refused(self, name: str, kind: AttributeKind) -> bool:
        return self._schema.get(name, kind) != kind

    def _count_change(self, has_value_changed: bool) -> None:
        self.num_changes += has_value_changed
        self.num_time_changes += not has_value_changed

    def _find(self, name: str, row: int) -> _Value | None:
        """Return what a node has of an attribute; None if nothing, as if it never had it."""
        category = self.categories.get(name)
        if category is not None:
            if values := category.values(row):
                return _CATEGORY, tuple(values)
            if category.is_cleared(row):
                return _CLEARED
        numbers = self.numbers.get(name)
        if numbers is not None and (number := numbers.get(row)) is not None:
            return _NUMBER, number
        text = self.texts.get(name, {}).get(row)
        if text is not None:
            return _TEXT, text
        vectors = self.vectors.get(name)
        vector = None if vectors is None else vectors.get(row)
        return None if vector is None else (_VECTOR, vector)

    def _names_of(self, row: int, count: int) -> Iterator[str]:
        """Return the attributes that a node has, cleared ones included, which are ``count``.

        The first ones of a kind are looked at first: others may be many, and of few nodes.
        """
        return itertools.islice(self._all_names_of(row), count)

    def _all_names_of(self, row: int) -> Iterator[str]:
        for name, category in self.categories.items():
            if category.is_held(row):
                yield name
        for name, texts in self.texts.items():
            if row in texts:
                yield name
        for name, vectors in self.vectors.items():
            if row in vectors.of_rows:
                yield name
        for name, numbers in self.numbers.items():
            if numbers.get(row) is not None:
                yield name

    def _put(self, name: str, row: int, value: _Value | None, former: _Value | None) -> None:
        """Replace what a node has of an attribute, ``former``, by ``value``; None for nothing."""
        rank, stored = value or _NOTHING
        former_rank, _ = former or _NOTHING
        if rank in (_CLEARED[0], _CATEGORY):
            if name not in self.categories:
                self.categories[name] = CategoryColumn(self._nodes)
            self.categories[name].set(row, stored)
        elif former_rank in (_CLEARED[0], _CATEGORY):
            self.categories[name].unset(row)
        if rank == _NUMBER:
            if name not in self.numbers:
                self.numbers[name] = RowColumn(np.float64, np.nan)
            self.numbers[name].set(row, stored, self._nodes)
        elif former_rank == _NUMBER:
            self.numbers[name].unset(row)
        if rank == _TEXT:
            self.texts.setdefault(name, {})[row] = stored
        elif former_rank == _TEXT:
            del self.texts[name][row]
        if rank == _VECTOR:
            if name not in self.vectors:
                self.vectors[name] = VectorColumn(len(stored))
            self.vectors[name].set(row, stored)
        elif former_rank == _VECTOR:
            del self.vectors[name].of_rows[row]
        self._num_changes_of[name] = self._num_changes_of.get(name, 0) + 1  # Readers that saw half of it look again.
        if rank != former_rank:
            self._num_values = with_room(self._num_values, row + 1, 0)
            self._num_values[row] += int(rank >= _CATEGORY) - int(former_rank >= _CATEGORY)
            self._settle_kind(name)

    def _settle_kind(self, name: str) -> None:
        """Find the kind that most nodes have, and drop columns in which nobody has a value."""
        num_nodes = self.num_nodes_of(name)
        category = self.categories.get(name)
        is_in_use = any(num_nodes.values()) or (category is not None and category.num_cleared > 0)
        if name not in self._schema:
            if is_in_use:
                self.kinds[name] = max(num_nodes, key=num_nodes.__getitem__)  # Of equals, the first.
            else:
                self.kinds.pop(name, None)
        if category is not None and not category.num_held and not category.num_cleared:
            del self.categories[name]
        if not num_nodes["number"]:
            self.numbers.pop(name, None)
        if not num_nodes["text"]:
            self.texts.pop(name, None)
        if not num_nodes["vector"]:  # From then on, vectors by this name may have another length.
            self.vectors.pop(name, None)
        if not is_in_use:
            self._times.forget_attribute(name)


def _values_of(upsert: NodeUpsert) -> dict[str, _Value]:
    """Return the values that an upsert gives; of several for one attribute, the one that stays."""
    values: dict[str, _Value] = {}
    for name, strings in upsert.categories.items():
        distinct = tuple(dict.fromkeys(filter(None, strings)))
        values[name] = (_CATEGORY, distinct) if distinct else _CLEARED
    for name, number in upsert.numbers.items():
        values[name] = max(values.get(name, _CLEARED), (_NUMBER, float(number)))
    for name, text in upsert.texts.items():
        values[name] = max(values.get(name, _CLEARED), (_TEXT, text))
    for name, vector in upsert.vectors.items():
        if vector:  # In 32 bits, as it is kept, and -0 as 0: which of two is the greater one must not change by that.
            kept = tuple((np.array(vector, np.float32) + np.float32(0)).tolist())
            values[name] = max(values.get(name, _CLEARED), (_VECTOR, kept))
        else:
            values.setdefault(name, _CLEARED)
    return values
