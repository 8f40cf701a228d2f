"""The nodes of one type: their ids, and the latest value of each attribute as columns."""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from springtide.events.attribute_kinds import wrong_kind, wrong_length
from springtide.events.model import NodeUpsert
from springtide.graph.attributes import AttributeColumns
from springtide.graph.categories import CategoryColumn
from springtide.graph.late_attributes import AttributesSnapshot, LateAttributes
from springtide.graph.late_ids import LateIdCopies, LateIds
from springtide.graph.lifetimes import Lifetimes
from springtide.graph.row_columns import RowColumn
from springtide.graph.row_entries import RowVectors
from springtide.graph.vectors import VectorColumn
from springtide.ids import IdMap
from springtide.packed_texts import PackedTexts
from springtide.settings.model import AttributeKind

_NO_SCHEMA: Mapping[str, AttributeKind] = {}


class NodeTable:
    """The nodes of one type. One thread writes; any thread reads, and sees the latest value of each attribute.

    The latest value is the one with the latest event time, whenever it arrived; of two with the same time, a number
    goes before a category, a text before both, a vector before all, and of one kind the greater one stays. An attribute
    whose nodes disagree on its kind has the kind that most of them have, and readers see it at those nodes alone.
    Vectors of one name have one length, that of the first, while a node has one.

    Args:
        node_type: The type.
        schema: Kinds of attributes that are fixed; the kinds of the others follow from the nodes.

    Attributes:
        ids: Ids and rows.
        lifetimes: Which deletion each node follows (``lifetimes.born_ms``), and when it was last heard of.
    """

    def __init__(self, node_type: str, schema: Mapping[str, AttributeKind] = _NO_SCHEMA) -> None:
        self.node_type = node_type
        self.ids = IdMap()
        self._late_copies = LateIdCopies()
        self._lineage = uuid.uuid4().hex
        self.lifetimes = Lifetimes()
        self._schema = schema
        self._columns = AttributeColumns(self.ids, schema)
        self._version = (uuid.uuid4().hex, 0, 0)  # Lineage, and the counts of changes to begin with.
        self._forgotten: list[int] = []  # Rows that were forgotten since ``take_forgotten``.

    def __len__(self) -> int:
        """Number of rows, including those of forgotten nodes."""
        return len(self.ids)

    @property
    def num_living(self) -> int:
        """Number of nodes, without those that were forgotten."""
        return self.ids.num_known

    @property
    def ids_lineage(self) -> str:
        """Name of the history of the ids: within one lineage, an earlier state is a prefix of a later one.

        It also changes when a node is deleted whose later events live on, under the same id.
        """
        num_reuses = self.ids.num_reuses
        return f"{self._lineage}+{num_reuses}" if num_reuses else self._lineage

    @property
    def kinds(self) -> dict[str, AttributeKind]:
        """Kind of each attribute that is in use or in the schema; a copy."""
        return self._columns.kinds.copy()

    def kind(self, name: str) -> AttributeKind | None:
        """Return the kind of an attribute that is in use or in the schema; None of another."""
        return self._columns.kinds.get(name)

    @property
    def categories(self) -> dict[str, CategoryColumn]:
        """Category columns by name; the dictionary is a copy, the columns are not."""
        kinds = self._columns.kinds
        columns = self._columns.categories.copy()
        return {name: column for name, column in columns.items() if kinds.get(name) == "category"}

    def categories_among(self, names: Iterable[str]) -> dict[str, CategoryColumn]:
        """Return the category columns that have one of some names, by name: less work than ``categories``."""
        kinds, columns = self._columns.kinds, self._columns.categories
        if not columns:
            return {}
        found = {name: columns.get(name) for name in names if kinds.get(name) == "category"}
        return {name: column for name, column in found.items() if column is not None}

    @property
    def numbers(self) -> dict[str, npt.NDArray[np.float64]]:
        """Numbers by name, copies, float64 ``[num_nodes]``, NaN where a node has none."""
        found = {name: self.number(name) for name in self._numbers()}
        return {name: column for name, column in found.items() if column is not None}

    @property
    def number_names(self) -> list[str]:
        """Names of the numbers that readers see, sorted."""
        return sorted(self._numbers())

    def number(self, name: str) -> npt.NDArray[np.float64] | None:
        """Return one number of all nodes, float64 ``[num_nodes]``, NaN where a node has none; a copy.

        None if no node has it.
        """
        column = self._number(name)
        return None if column is None else column.dense(len(self)).copy()

    @property
    def attributes_version(self) -> object:
        """Changes whenever an attribute does."""
        lineage, count, _ = self._version
        return lineage, count + self._columns.num_changes

    def version_of(self, names: Sequence[str]) -> object:
        """Return what changes whenever a value of one of some attributes does, and seldom otherwise."""
        return self._columns.version_of(names)

    def attribute_names(self) -> set[str]:
        """Return the names of all attributes that a node has, hidden and cleared ones included."""
        columns = self._columns
        return {*columns.categories, *columns.numbers, *columns.texts, *columns.vectors}

    def text(self, name: str, row: int) -> str | None:
        """Return a text of one node, or None if it has none of that name."""
        columns = self._columns
        return columns.texts.get(name, {}).get(row) if columns.kinds.get(name) == "text" else None

    def texts_at(self, name: str, rows: Iterable[int]) -> list[str]:
        """Return a text of some nodes, empty where a node has none."""
        columns = self._columns
        texts = columns.texts.get(name, {}) if columns.kinds.get(name) == "text" else {}
        return [texts.get(row, "") for row in rows]

    @property
    def vector_lengths(self) -> dict[str, int]:
        """Length of each vector attribute that readers see, by name; a copy."""
        kinds, columns = self._columns.kinds, self._columns.vectors.copy()
        return {name: column.length for name, column in columns.items() if kinds.get(name) == "vector"}

    def vector_length(self, name: str) -> int | None:
        """Return the length of a vector attribute, hidden or not; None if no node has one."""
        column = self._columns.vectors.get(name)
        return None if column is None else column.length

    def vector(self, name: str, row: int) -> tuple[float, ...] | None:
        """Return a vector of one node, or None if it has none of that name."""
        column = self._vector(name)
        return None if column is None else column.get(row)

    def vectors(self, name: str, num_nodes: int) -> RowVectors | None:
        """Return a vector of the first nodes, of those that have it; None if readers see none of that name."""
        column = self._vector(name)
        return None if column is None else column.held(num_nodes)

    def vectors_at(self, name: str, rows: npt.NDArray[np.int64]) -> RowVectors | None:
        """Return a vector of some nodes, by position in ``rows``, int64 ``[n]``; None as in ``vectors``."""
        column = self._vector(name)
        return None if column is None else column.at(rows)

    def num_with(self, name: str) -> int:
        """Return how many nodes have a value of an attribute, as readers see it."""
        kind = self._columns.kinds.get(name)
        return 0 if kind is None else self._columns.num_nodes_of(name)[kind]

    def category_values(self, row: int) -> list[tuple[str, str]]:
        """Return (attribute, value) for every category value of one node."""
        return [(name, value) for name, column in self.categories.items() for value in column.values(row)]

    def number_values(self, row: int) -> dict[str, float]:
        """Return the numbers of one node by name."""
        if row < 0:
            return {}
        found = {name: column.get(row) for name, column in self._numbers().items()}
        return {name: value for name, value in found.items() if value is not None}

    def numbers_at(self, name: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return one number of some nodes, float64 ``[n]``, NaN where a node has none.

        Args:
            name: The attribute.
            rows: int64 ``[n]``.
        """
        column = self._number(name)
        return np.full(len(rows), np.nan) if column is None else column.at(rows)

    def all_numbers(self, name: str) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Return the nodes that have a number of that name, int32 ``[n]`` ascending, and the numbers, float64 ``[n]``.

        Also those of an attribute that is of another kind at most nodes, which other readers do not see.
        """
        column = self._columns.numbers.get(name)
        return (np.empty(0, np.int32), np.empty(0)) if column is None else column.held()

    def all_with_category(self, name: str, is_wanted: Callable[[str], bool]) -> npt.NDArray[np.int32]:
        """Return the nodes of which one value of a category is wanted, int32 ``[n]`` ascending.

        Also those of an attribute that is of another kind at most nodes, which other readers do not see.
        """
        column = self._columns.categories.get(name)
        if column is None:
            return np.empty(0, np.int32)
        rows, codes = column.pairs()
        used = np.unique(codes)
        wanted = [
            code for code, value in zip(used.tolist(), column.vocabulary.ids(used), strict=True) if is_wanted(value)
        ]
        return np.unique(rows[np.isin(codes, wanted)])

    def has_category(self, name: str, values: Iterable[str]) -> npt.NDArray[np.bool_]:
        """Return for each node whether category ``name`` has one of the values, bool ``[num_nodes]``."""
        column = self.categories.get(name)
        return np.zeros(len(self), np.bool_) if column is None else column.has_any(values)

    def has_value(self, name: str) -> npt.NDArray[np.bool_]:
        """Return for each node whether it has a value of an attribute, as readers see it, bool ``[num_nodes]``."""
        columns, kind = self._columns, self._columns.kinds.get(name)
        if kind == "number" and (numbers := columns.numbers.get(name)) is not None:
            return ~np.isnan(numbers.dense(len(self)))
        if kind == "category" and (category := columns.categories.get(name)) is not None:
            return category.first_codes() >= 0
        of_rows: Mapping[int, object] = {}
        if kind == "text":
            of_rows = columns.texts.get(name, {}).copy()  # A copy: the thread that writes goes on.
        elif kind == "vector" and (vectors := columns.vectors.get(name)) is not None:
            of_rows = vectors.of_rows.copy()
        has_it = np.zeros(len(self), np.bool_)
        has_it[np.fromiter(of_rows, np.int64, len(of_rows))] = True
        return has_it

    def has_attributes(self) -> npt.NDArray[np.bool_]:
        """Return for each node whether it has a value of any attribute, hidden or not, bool ``[num_nodes]``."""
        return self._columns.has_any(len(self))

    def settled_kind(self, name: str) -> AttributeKind | None:
        """Return the kind that most nodes have; None if no node has a value."""
        return self._columns.kinds.get(name) if any(self._columns.num_nodes_of(name).values()) else None

    def upsert(self, upsert: NodeUpsert) -> int:
        """Add or update a node and its attributes, and return its row.

        Raises:
            EventRefusedError: If an attribute has another kind than the schema's (``wrong_attribute_kind``); then
                nothing changes. Likewise if a vector has another length than others of its name
                (``wrong_vector_length``).
        """
        self._check_schema(upsert)
        self._check_lengths(upsert)
        row = int(self.ids.intern([upsert.node_id])[0])
        self._columns.upsert(row, upsert)
        return row

    def forget(self, rows: Sequence[int]) -> None:
        """Forget the ids and attributes of the rows, and the category values that only they had."""
        self._columns.forget(rows)
        self._late_copies.keep(rows)
        for row in rows:
            self.ids.forget(row)
            self.lifetimes.forget(row)
        self._forgotten += rows
        self._lineage = uuid.uuid4().hex

    def take_forgotten_values(self) -> list[tuple[CategoryColumn, list[int]]]:
        """Return the codes of category values that were forgotten since the last call, with their columns."""
        return self._columns.reclaim()

    def take_forgotten(self) -> list[int]:
        """Return the rows that were forgotten since the last call."""
        rows, self._forgotten = self._forgotten, []
        return rows

    def cut(self, rows: Sequence[int], deleted_ms: Sequence[int]) -> None:
        """Forget what was known of the rows until a time each, inclusive; their ids stay, for what came later."""
        self._columns.forget(rows, deleted_ms)
        self.lifetimes.bear(rows, deleted_ms)
        self._lineage = uuid.uuid4().hex

    def snapshot(self) -> AttributesSnapshot:
        """Return a copy of the attributes; called by the thread that writes."""
        return self.late_attributes().copied()

    def late_attributes(self) -> LateAttributes:
        """Return the attributes as they are now, for another thread to copy; called by the thread that writes."""
        lineage, count, time_count = self._version
        version = f"{lineage}:{count + self._columns.num_changes}:{time_count + self._columns.num_time_changes}"
        return self._columns.late_snapshot(version)

    def late_ids(self) -> LateIds:
        """Return the ids as they are now, for another thread to copy; called by the thread that writes."""
        return self._late_copies.begin(self.ids)

    def restore(self, ids: Iterable[str] | PackedTexts, ids_lineage: str, attributes: AttributesSnapshot) -> None:
        """Restore ids and attributes into an empty table."""
        assert not len(self.ids), "only an empty table is restored"
        self.ids = IdMap(ids)
        self._lineage = ids_lineage
        lineage, *counts = attributes.version.split(":")
        self._version = (lineage, int(counts[0]), int(counts[1]) if len(counts) > 1 else 0)
        self._columns = AttributeColumns(self.ids, self._schema)
        self._columns.restore(attributes)

    def _number(self, name: str) -> RowColumn[np.float64] | None:
        """Return a number column that readers see, or None; less work than ``_numbers``."""
        columns = self._columns
        return columns.numbers.get(name) if columns.kinds.get(name) == "number" else None

    def _vector(self, name: str) -> VectorColumn | None:
        """Return a vector column that readers see, or None."""
        columns = self._columns
        return columns.vectors.get(name) if columns.kinds.get(name) == "vector" else None

    def _numbers(self) -> dict[str, RowColumn[np.float64]]:
        """Return the number columns that readers see; the dictionary is a copy, the columns are not."""
        kinds = self._columns.kinds
        columns = self._columns.numbers.copy()
        return {name: column for name, column in columns.items() if kinds.get(name) == "number"}

    def _check_schema(self, upsert: NodeUpsert) -> None:
        if not self._schema:
            return
        for name, kind in upsert.kinds():
            if self._schema.get(name, kind) != kind:
                raise wrong_kind(f"{name} of {self.node_type} {upsert.node_id}", f"a {self._schema[name]}", f"a {kind}")

    def _check_lengths(self, upsert: NodeUpsert) -> None:
        for name, vector in upsert.vectors.items():
            length = self.vector_length(name)
            if vector and length is not None and len(vector) != length:
                raise wrong_length(f"{name} of {self.node_type} {upsert.node_id}", length, len(vector))
