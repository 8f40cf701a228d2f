"""The attributes of the nodes of one type as they are now, copied later by another thread."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.graph.attribute_times import NO_TIME, AttributeTimes, TimesSnapshot
from springtide.graph.categories import NONE, CategoryColumn, CategorySnapshot
from springtide.graph.columns import fitted
from springtide.graph.late_columns import ROWS_AT_ONCE, in_parts, let_others_run
from springtide.graph.late_ids import LateIds
from springtide.graph.row_columns import RowColumn
from springtide.graph.row_entries import RowCodes, RowNumbers, RowTexts, RowVectors
from springtide.graph.vectors import VectorColumn, vectors_of
from springtide.packed_texts import Texts
from springtide.settings.model import AttributeKind

# By what a column holds: its type, and what stands for nothing.
_DTYPES = {"times": np.int64, "category": np.int32, "number": np.float64, "own": np.int64}
_FILLS = {"times": NO_TIME, "category": NONE, "number": np.nan, "own": NO_TIME}


@dataclass(frozen=True, slots=True)
class AttributesSnapshot:
    """A copy of all attributes of a node type, for the checkpoint.

    Attributes:
        version: Changes whenever an attribute or its time does.
        kinds: Kind of each attribute that is in use.
        categories: Category columns by name.
        numbers: float64 by name, NaN where a node has none.
        texts: Texts of rows by name.
        times: When the attributes were set.
        vectors: Vectors of rows by name.
    """

    version: str
    kinds: dict[str, AttributeKind]
    categories: dict[str, CategorySnapshot]
    numbers: dict[str, RowNumbers[np.float64]]
    texts: dict[str, RowTexts]
    times: TimesSnapshot
    vectors: dict[str, RowVectors] = field(default_factory=dict)


class LateAttributes:
    """The attributes as they are when this is made, of which a copy is made later, by another thread.

    The thread that writes tells which nodes it is about to change, and what they have now is kept. Of arrays and
    dictionaries this holds those of now: others may take their place meanwhile, and these then stay as they are.

    Args:
        version: The version of the attributes.
        num_nodes: Number of nodes.
        kinds: Kind of each attribute that is in use.
        categories: Category columns by name.
        numbers: Number columns by name.
        texts: Text by row, by name.
        vectors: Vector columns by name.
        times: When the attributes were set.
    """

    __slots__ = (
        "__weakref__",
        "_columns",
        "_copy",
        "_dictionaries",
        "_kept",
        "_kinds",
        "_lengths",
        "_num_nodes",
        "_vocabularies",
        "version",
    )

    def __init__(
        self,
        version: str,
        num_nodes: int,
        kinds: Mapping[str, AttributeKind],
        categories: Mapping[str, CategoryColumn],
        numbers: Mapping[str, RowColumn[np.float64]],
        texts: Mapping[str, dict[int, str]],
        vectors: Mapping[str, VectorColumn],
        times: AttributeTimes,
    ) -> None:
        self.version = version
        self._num_nodes = num_nodes
        self._kinds = dict(kinds)
        self._vocabularies: dict[str, LateIds] = {name: column.late_vocabulary() for name, column in categories.items()}
        # By what they hold: of which attribute, and whether values or times.
        self._columns: dict[tuple[str, str], npt.NDArray[Any]] = {("times", ""): times.of_nodes}
        self._dictionaries: dict[tuple[str, str], dict[int, Any]] = {}
        for name, category in categories.items():
            first, self._dictionaries["more", name] = category.codes
            self._add("category", name, first)
        for name, own in times.own.items():
            self._add("own", name, own)
        for name, column in numbers.items():
            self._add("number", name, column)
        for name, of_rows in texts.items():
            self._dictionaries["text", name] = of_rows
        self._lengths = {name: vector_column.length for name, vector_column in vectors.items()}
        for name, vector_column in vectors.items():
            self._dictionaries["vector", name] = vector_column.of_rows
        # By row, what it had: by the number of the column or, after these, the dictionary.
        self._kept: dict[int, dict[int, Any]] = {}
        self._copy: AttributesSnapshot | None = None

    def keep(self, row: int) -> None:
        """Keep what a node has, which is about to change; called by the thread that writes."""
        if self._copy is None and row < self._num_nodes and row not in self._kept:
            of_columns = (column[row] if row < len(column) else None for column in self._columns.values())
            had = enumerate(itertools.chain(of_columns, (of_rows.get(row) for of_rows in self._dictionaries.values())))
            # Without what it did not have: there may be a thousand columns, of which each row has a few.
            self._kept[row] = {number: entry for number, entry in had if entry is not None}

    def copied(self) -> AttributesSnapshot:
        """Return the copy; the same one whenever it is asked for, by one thread."""
        if self._copy is None:
            columns = {key: column[: self._num_nodes].copy() for key, column in self._columns.items()}
            # Asked for after the copies: whatever has changed meanwhile is among these.
            kept = iter(self._kept.copy().items())
            while part := list(itertools.islice(kept, ROWS_AT_ONCE)):
                for number, column in enumerate(columns.values()):
                    entries = {row: each[number] for row, each in part if number in each}
                    column[list(entries)] = list(entries.values())
                let_others_run()
            self._copy = self._snapshot(columns)
            self._columns, self._dictionaries, self._kept = {}, {}, {}
        return self._copy

    def _add(self, what: str, name: str, column: RowColumn[Any]) -> None:
        entries = column.entries
        if isinstance(entries, dict):
            self._dictionaries[what, name] = entries
        else:
            self._columns[what, name] = entries

    def _snapshot(self, columns: Mapping[tuple[str, str], npt.NDArray[Any]]) -> AttributesSnapshot:
        num_nodes = self._num_nodes
        numbers: dict[tuple[str, str], RowNumbers[Any]] = {
            (what, name): RowNumbers(None, fitted(column, num_nodes, _FILLS[what]))
            for (what, name), column in columns.items()
        }
        texts, more, vectors = {}, {}, {}
        for number, ((what, name), of_rows) in enumerate(self._dictionaries.items(), start=len(columns)):
            parts = in_parts(of_rows, num_nodes, self._kept, number)
            if what == "text":
                texts[name] = RowTexts.joined([RowTexts.of(*part) for part in parts])
            elif what == "vector":
                held = {row: vector for rows, of_part in parts for row, vector in zip(rows, of_part, strict=True)}
                vectors[name] = vectors_of(held, self._lengths[name])
            elif what == "more":
                more[name] = RowCodes.joined([RowCodes.of(*part) for part in parts])
            else:
                dtype = _DTYPES[what]
                arrays = [(np.array(rows, np.int32), np.array(entries, dtype)) for rows, entries in parts]
                rows, entries = (np.concatenate(each) for each in zip(*arrays, strict=True))
                numbers[what, name] = RowNumbers(rows, entries)
        of_kind: dict[str, dict[str, RowNumbers[Any]]] = {what: {} for what in _DTYPES}
        for (what, name), column in numbers.items():
            of_kind[what][name] = column
        own = {name: column.held(NO_TIME) for name, column in of_kind["own"].items()}
        return AttributesSnapshot(
            self.version,
            self._kinds,
            {
                name: CategorySnapshot(Texts(ids.packed(0, ids.num_rows)), of_kind["category"][name], more[name])
                for name, ids in self._vocabularies.items()
            },
            of_kind["number"],
            {name: of_rows for name, of_rows in texts.items() if len(of_rows.rows)},
            TimesSnapshot(numbers["times", ""].numbers, {name: each for name, each in own.items() if len(each[0])}),
            {name: of_rows for name, of_rows in vectors.items() if len(of_rows.rows)},
        )
