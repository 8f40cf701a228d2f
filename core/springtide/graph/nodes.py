"""The nodes of one type: their ids, and the latest value of each attribute as columns."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from springtide.errors import EventRefusedError
from springtide.events.model import NodeUpsert
from springtide.graph.categories import CategoryColumn, CategorySnapshot
from springtide.graph.columns import fitted, with_room
from springtide.graph.lifetimes import Lifetimes
from springtide.ids import IdMap

AttributeKind = Literal["category", "number", "text"]


@dataclass(frozen=True, slots=True)
class AttributesSnapshot:
    """A copy of all attributes of a node type, for the checkpoint.

    Attributes:
        version: Changes whenever an attribute does.
        kinds: Kind of each attribute.
        categories: Category columns by name.
        numbers: float32 ``[num_nodes]`` by name, NaN where a node has none.
        texts: Text by row, by name.
    """

    version: str
    kinds: dict[str, AttributeKind]
    categories: dict[str, CategorySnapshot]
    numbers: dict[str, npt.NDArray[np.float32]]
    texts: dict[str, dict[int, str]]


class NodeTable:
    """The nodes of one type. One thread writes; any thread reads, and sees the latest value of each attribute.

    Attributes:
        ids: Ids and rows.
        ids_lineage: Name of the history of the ids: within one lineage, an earlier state is a prefix of a later one.
            It also changes when a node is deleted whose later events live on, under the same id.
        lifetimes: Which deletion each node follows (``lifetimes.born_ms``), and when it was last heard of.
    """

    def __init__(self, node_type: str) -> None:
        self.node_type = node_type
        self.ids = IdMap()
        self.ids_lineage = uuid.uuid4().hex
        self.lifetimes = Lifetimes()
        self._kinds: dict[str, AttributeKind] = {}
        self._categories: dict[str, CategoryColumn] = {}
        self._numbers: dict[str, npt.NDArray[np.float32]] = {}
        self._texts: dict[str, dict[int, str]] = {}
        self._version = (uuid.uuid4().hex, 0)
        self._snapshot: AttributesSnapshot | None = None

    def __len__(self) -> int:
        """Number of rows, including those of forgotten nodes."""
        return len(self.ids)

    @property
    def kinds(self) -> dict[str, AttributeKind]:
        """Kind of each known attribute; a copy."""
        return self._kinds.copy()

    @property
    def categories(self) -> dict[str, CategoryColumn]:
        """Category columns by name; the dictionary is a copy, the columns are not."""
        return self._categories.copy()

    @property
    def numbers(self) -> dict[str, npt.NDArray[np.float32]]:
        """Numbers by name, copies, float32 ``[num_nodes]``, NaN where a node has none."""
        count = len(self)
        return {name: fitted(column, count, np.nan).copy() for name, column in self._numbers.copy().items()}

    @property
    def attributes_version(self) -> object:
        """Changes whenever an attribute does."""
        return self._version

    def text(self, name: str, row: int) -> str | None:
        """Return a text of one node, or None if it has none of that name."""
        return self._texts.get(name, {}).get(row)

    def category_values(self, row: int) -> list[tuple[str, str]]:
        """Return (attribute, value) for every category value of one node."""
        return [(name, value) for name, column in self._categories.copy().items() for value in column.values(row)]

    def number_values(self, row: int) -> dict[str, float]:
        """Return the numbers of one node by name."""
        found = {name: float(column[row]) for name, column in self._numbers.copy().items() if 0 <= row < len(column)}
        return {name: value for name, value in found.items() if not np.isnan(value)}

    def has_category(self, name: str, values: Iterable[str]) -> npt.NDArray[np.bool_]:
        """Return for each node whether category ``name`` has one of the values, bool ``[num_nodes]``."""
        column = self._categories.get(name)
        return np.zeros(len(self), np.bool_) if column is None else column.has_any(values)

    def check(self, upsert: NodeUpsert) -> None:
        """Check that each attribute has the same kind as before.

        Raises:
            EventRefusedError: If one has another kind (``wrong_attribute_kind``).
        """
        self._checked_kinds(upsert)

    def claim_kinds(self, upsert: NodeUpsert) -> None:
        """Check like ``check``, and fix the kinds of new attributes.

        Raises:
            EventRefusedError: If an attribute has another kind than before.
        """
        if new := self._checked_kinds(upsert):
            self._kinds.update(new)
            self._touch()

    def upsert(self, upsert: NodeUpsert) -> int:
        """Add or update a node and its attributes, and return its row.

        Raises:
            EventRefusedError: If an attribute has another kind than before; then nothing changes.
        """
        self.claim_kinds(upsert)
        row = int(self.ids.intern([upsert.node_id])[0])
        for name, values in upsert.categories.items():
            if name not in self._categories:
                self._categories[name] = CategoryColumn(self.ids)
            self._categories[name].set(row, tuple(dict.fromkeys(filter(None, values))))
        for name, number in upsert.numbers.items():
            column = with_room(self._numbers.get(name, np.empty(0, np.float32)), len(self), np.nan)
            column[row] = number
            self._numbers[name] = column
        for name, text in upsert.texts.items():
            self._texts.setdefault(name, {})[row] = text
        if upsert.categories or upsert.numbers or upsert.texts:
            self._touch()
        return row

    def forget(self, rows: Sequence[int]) -> None:
        """Forget the ids and attributes of the rows, and the category values that only they had."""
        for row in rows:
            self.ids.forget(row)
            self.lifetimes.forget(row)
            self._clear(row)
        self._renew()

    def cut(self, rows: Sequence[int], deleted_ms: Sequence[int]) -> None:
        """Forget what was known of the rows until a time each, inclusive; their ids stay, for what came later."""
        for row in rows:
            self._clear(row)
        self.lifetimes.bear(rows, deleted_ms)
        self._renew()

    def _clear(self, row: int) -> None:
        for category in self._categories.values():
            category.set(row, ())
        for number in self._numbers.values():
            number[row : row + 1] = np.nan
        for texts in self._texts.values():
            texts.pop(row, None)

    def _renew(self) -> None:
        for category in self._categories.values():
            category.forget_unused()
        self.ids_lineage = uuid.uuid4().hex
        self._touch()

    def snapshot(self) -> AttributesSnapshot:
        """Return a copy of the attributes; the last copy, if nothing has changed since."""
        version = f"{self._version[0]}:{self._version[1]}"
        if self._snapshot is None or self._snapshot.version != version:
            self._snapshot = AttributesSnapshot(
                version,
                self.kinds,
                {name: column.snapshot() for name, column in self._categories.items()},
                self.numbers,
                {name: texts.copy() for name, texts in self._texts.items()},
            )
        return self._snapshot

    def restore(self, ids: Iterable[str], ids_lineage: str, attributes: AttributesSnapshot) -> None:
        """Restore ids and attributes into an empty table."""
        assert not len(self.ids), "only an empty table is restored"
        self.ids = IdMap(ids)
        self.ids_lineage = ids_lineage
        lineage, _, count = attributes.version.partition(":")
        self._version = (lineage, int(count))
        self._kinds = dict(attributes.kinds)
        self._numbers = {name: column.copy() for name, column in attributes.numbers.items()}
        self._texts = {name: texts.copy() for name, texts in attributes.texts.items()}
        for name, saved in attributes.categories.items():
            self._categories[name] = CategoryColumn(self.ids, saved)

    def _touch(self) -> None:
        self._version = (self._version[0], self._version[1] + 1)

    def _checked_kinds(self, upsert: NodeUpsert) -> dict[str, AttributeKind]:
        new: dict[str, AttributeKind] = {}
        names_by_kind: tuple[tuple[AttributeKind, Iterable[str]], ...] = (
            ("category", upsert.categories),
            ("number", upsert.numbers),
            ("text", upsert.texts),
        )
        for kind, names in names_by_kind:
            for name in names:
                known = self._kinds.get(name) or new.setdefault(name, kind)
                if known != kind:
                    raise EventRefusedError(
                        "wrong_attribute_kind",
                        f"attribute {name!r} of {self.node_type} {upsert.node_id!r}: wanted a {known} as before, "
                        f"got a {kind}",
                    )
        return new
