"""The nodes of one type: their ids, and the latest value of each attribute as columns."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from springtide.errors import EventRefusedError
from springtide.events.model import NodeUpsert
from springtide.ids import IdMap

T = TypeVar("T", bound=np.generic)
AttributeKind = Literal["category", "number", "text"]


class CategoryColumn:
    """One categorical attribute, with any number of values for each node.

    Attributes:
        vocabulary: The values and their codes.
    """

    __slots__ = ("_first", "_more", "_nodes", "vocabulary")

    def __init__(self, nodes: IdMap, vocabulary: IdMap | None = None) -> None:
        self.vocabulary = IdMap() if vocabulary is None else vocabulary
        self._nodes = nodes
        self._first = np.empty(0, np.int32)
        self._more: dict[int, tuple[int, ...]] = {}  # Row to all its codes, where it has more than one.

    def first_codes(self) -> npt.NDArray[np.int32]:
        """Return the code of each node's first value, int32 ``[num_nodes]``, -1 where it has none."""
        return _fitted(self._first, len(self._nodes), -1).copy()

    def pairs(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return the rows and codes of all values, int32 ``[num_values]`` each."""
        first, more = self._first, self._more.copy()
        rows = np.flatnonzero(first >= 0).astype(np.int32)
        codes = first[rows]
        if not more:
            return rows, codes
        extra = [(row, code) for row, row_codes in more.items() for code in row_codes[1:]]
        extra_rows, extra_codes = np.array(extra, np.int32).T
        return np.concatenate([rows, extra_rows]), np.concatenate([codes, extra_codes])

    def has_any(self, values: Iterable[str]) -> npt.NDArray[np.bool_]:
        """Return for each node whether it has one of the values, bool ``[num_nodes]``."""
        codes = self.vocabulary.rows(list(values))
        is_wanted = np.zeros(len(self.vocabulary) + 1, np.bool_)  # The last place answers for code -1.
        is_wanted[codes[codes >= 0]] = True
        more = self._more.copy()  # Before the count, so that it covers these rows.
        has_it = is_wanted[_fitted(self._first, len(self._nodes), -1)]
        for row, row_codes in more.items():
            has_it[row] = any(is_wanted[code] for code in row_codes)
        return has_it

    def set(self, row: int, values: Sequence[str]) -> None:
        """Replace the values of one node; none clears it."""
        codes = self.vocabulary.intern(values).tolist()
        self._first = _with_room(self._first, len(self._nodes), -1)
        if len(codes) > 1:
            self._more[row] = tuple(codes)
        else:
            self._more.pop(row, None)
        self._first[row] = codes[0] if codes else -1

    def restore(self, first: npt.NDArray[np.int32], more: Mapping[int, tuple[int, ...]]) -> None:
        """Take up a snapshot's first codes, int32 ``[num_nodes]``, and all codes of rows with more than one."""
        self._first, self._more = first.copy(), dict(more)

    def forget_unused(self) -> None:
        """Forget the values that no node has any more."""
        is_used = np.zeros(len(self.vocabulary), np.bool_)
        is_used[self.pairs()[1]] = True
        for code in np.flatnonzero(~is_used).tolist():
            self.vocabulary.forget(code)

    def more_codes(self) -> dict[int, tuple[int, ...]]:
        """Return a copy of row to all codes, of the rows that have more than one value."""
        return self._more.copy()


@dataclass(frozen=True, slots=True)
class CategorySnapshot:
    """One category column as it was.

    Attributes:
        vocabulary: The values in the order of their codes, empty where forgotten.
        first: int32 ``[num_nodes]``, -1 where a node has none.
        more: Row to all its codes, of rows with more than one.
    """

    vocabulary: list[str]
    first: npt.NDArray[np.int32]
    more: dict[int, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class AttributesSnapshot:
    """All attributes of a node type as they were, for the checkpoint.

    Attributes:
        mark: Changes whenever an attribute does.
        kinds: The kind of each attribute.
        categories: By name.
        numbers: float32 ``[num_nodes]`` by name, NaN where a node has none.
        texts: Row to text by name.
    """

    mark: str
    kinds: dict[str, AttributeKind]
    categories: dict[str, CategorySnapshot]
    numbers: dict[str, npt.NDArray[np.float32]]
    texts: dict[str, dict[int, str]]


class NodeTable:
    """The nodes of one type. One thread writes; any thread reads, and sees the latest value of each attribute.

    Attributes:
        ids: Ids and rows.
        ids_lineage: Names the history of the ids: with the same lineage, an earlier state is a prefix of a later one.
    """

    def __init__(self, node_type: str) -> None:
        self.node_type = node_type
        self.ids = IdMap()
        self.ids_lineage = uuid.uuid4().hex
        self._kinds: dict[str, AttributeKind] = {}
        self._categories: dict[str, CategoryColumn] = {}
        self._numbers: dict[str, npt.NDArray[np.float32]] = {}
        self._texts: dict[str, dict[int, str]] = {}
        self._mark = (uuid.uuid4().hex, 0)
        self._snapshot: AttributesSnapshot | None = None

    def __len__(self) -> int:
        """Number of rows ever given, those of forgotten nodes included."""
        return len(self.ids)

    @property
    def kinds(self) -> dict[str, AttributeKind]:
        """The kind of each attribute known so far; a copy."""
        return self._kinds.copy()

    @property
    def categories(self) -> dict[str, CategoryColumn]:
        """The category columns by name; a copy of the dictionary, not of the columns."""
        return self._categories.copy()

    @property
    def numbers(self) -> dict[str, npt.NDArray[np.float32]]:
        """The numbers by name, copies, float32 ``[num_nodes]``, NaN where a node has none."""
        count = len(self)
        return {name: _fitted(column, count, np.nan).copy() for name, column in self._numbers.copy().items()}

    def text(self, name: str, row: int) -> str | None:
        """Return a text of one node, or None if it has none of that name."""
        return self._texts.get(name, {}).get(row)

    def has_category(self, name: str, values: Iterable[str]) -> npt.NDArray[np.bool_]:
        """Return for each node whether category ``name`` has one of the values, bool ``[num_nodes]``."""
        column = self._categories.get(name)
        return np.zeros(len(self), np.bool_) if column is None else column.has_any(values)

    def check(self, upsert: NodeUpsert) -> None:
        """Check that each attribute has the kind that it had before.

        Raises:
            EventRefusedError: If one has not (``wrong_attribute_kind``).
        """
        self._checked_kinds(upsert)

    def claim_kinds(self, upsert: NodeUpsert) -> None:
        """Check like ``check``, and settle the kinds of attributes that are new.

        Raises:
            EventRefusedError: If a kind differs from the one that it had before.
        """
        if new := self._checked_kinds(upsert):
            self._kinds.update(new)
            self._touch()

    def upsert(self, upsert: NodeUpsert) -> int:
        """Take up a node and its attributes, and return its row.

        Raises:
            EventRefusedError: If an attribute comes with another kind than before; nothing is taken up then.
        """
        self.claim_kinds(upsert)
        row = int(self.ids.intern([upsert.node_id])[0])
        for name, values in upsert.categories.items():
            if name not in self._categories:
                self._categories[name] = CategoryColumn(self.ids)
            self._categories[name].set(row, tuple(dict.fromkeys(filter(None, values))))
        for name, number in upsert.numbers.items():
            column = _with_room(self._numbers.get(name, np.empty(0, np.float32)), len(self), np.nan)
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
            for category in self._categories.values():
                category.set(row, ())
            for number in self._numbers.values():
                number[row : row + 1] = np.nan
            for texts in self._texts.values():
                texts.pop(row, None)
        for category in self._categories.values():
            category.forget_unused()
        self.ids_lineage = uuid.uuid4().hex
        self._touch()

    def snapshot(self) -> AttributesSnapshot:
        """Return the attributes as they are; nothing is copied if they are as they were at the last snapshot."""
        mark = f"{self._mark[0]}:{self._mark[1]}"
        if self._snapshot is None or self._snapshot.mark != mark:
            self._snapshot = AttributesSnapshot(
                mark,
                self.kinds,
                {
                    name: CategorySnapshot(column.vocabulary.all_ids(), column.first_codes(), column.more_codes())
                    for name, column in self._categories.items()
                },
                self.numbers,
                {name: texts.copy() for name, texts in self._texts.items()},
            )
        return self._snapshot

    def restore(self, ids: Iterable[str], ids_lineage: str, attributes: AttributesSnapshot) -> None:
        """Take up ids and attributes into a table that is still empty."""
        assert not len(self.ids), "only an empty table is restored"
        self.ids = IdMap(ids)
        self.ids_lineage = ids_lineage
        lineage, _, count = attributes.mark.partition(":")
        self._mark = (lineage, int(count))
        self._kinds = dict(attributes.kinds)
        self._numbers = {name: column.copy() for name, column in attributes.numbers.items()}
        self._texts = {name: texts.copy() for name, texts in attributes.texts.items()}
        for name, saved in attributes.categories.items():
            column = CategoryColumn(self.ids, IdMap(saved.vocabulary))
            column.restore(saved.first, saved.more)
            self._categories[name] = column

    def _touch(self) -> None:
        self._mark = (self._mark[0], self._mark[1] + 1)

    def _checked_kinds(self, upsert: NodeUpsert) -> dict[str, AttributeKind]:
        new: dict[str, AttributeKind] = {}
        of_kinds: tuple[tuple[AttributeKind, Iterable[str]], ...] = (
            ("category", upsert.categories),
            ("number", upsert.numbers),
            ("text", upsert.texts),
        )
        for kind, names in of_kinds:
            for name in names:
                known = self._kinds.get(name) or new.setdefault(name, kind)
                if known != kind:
                    raise EventRefusedError(
                        "wrong_attribute_kind",
                        f"attribute {name!r} of {self.node_type} {upsert.node_id!r}: wanted a {known} as before, "
                        f"got a {kind}",
                    )
        return new


def _fitted(column: npt.NDArray[T], count: int, fill: float) -> npt.NDArray[T]:
    if len(column) >= count:
        return column[:count]
    return np.concatenate([column, np.full(count - len(column), fill, column.dtype)])


def _with_room(column: npt.NDArray[T], count: int, fill: float) -> npt.NDArray[T]:
    return column if len(column) >= count else _fitted(column, max(64, 2 * count), fill)
