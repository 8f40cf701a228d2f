"""An expression that was checked: masks of items, factors of items, or whether a segment holds."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from springtide.expressions.columns import Columns, Frame
from springtide.expressions.operations import Value
from springtide.expressions.tree import Tree
from springtide.expressions.typed import Typed

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What an expression looks at.

    Attributes:
        uses_user: Whether it looks at the user.
        uses_context: Whether it looks at the moment's circumstances.
        uses_now: Whether it looks at the time.
        item_attributes: The attributes of items that it names.
        user_attributes: The attributes of users that it names.
    """

    uses_user: bool
    uses_context: bool
    uses_now: bool
    item_attributes: frozenset[str]
    user_attributes: frozenset[str]

    @classmethod
    def of(cls, tree: Tree) -> "Dependencies":
        """Return what a tree looks at."""
        nodes = list(tree.nodes())
        shapes = {node.shape for node in nodes}
        asks_local_time = any(node.shape == "call" and node.value in ("hour", "weekday", "month") for node in nodes)
        return cls(
            not shapes.isdisjoint(("user", "user_id")),
            "context" in shapes or asks_local_time,  # The time zone is a circumstance.
            "now" in shapes,
            frozenset(node.value for node in nodes if node.shape == "item"),
            frozenset(node.value for node in nodes if node.shape == "user"),
        )

    @property
    def is_steady(self) -> bool:
        """Whether it is the same for all users and moments."""
        return not (self.uses_user or self.uses_context or self.uses_now)


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """An expression that was checked. Any thread may use it; attributes that have gone since are missing.

    Attributes:
        dependencies: What it looks at.
    """

    dependencies: Dependencies
    _root: Typed

    def mask(self, columns: Columns) -> npt.NDArray[np.bool_]:
        """Return for each item whether a filter lets it through, bool ``[num_items]``, to be read only.

        What is the same for all users and moments is kept, so that asking again takes some microseconds.
        """
        return self._column(columns, np.bool_)

    def values(self, columns: Columns) -> npt.NDArray[np.float32]:
        """Return for each item the factor of a booster, float32 ``[num_items]``, to be read only.

        It is 1 where the expression's value is missing, 0 where it is 0 or below, and else from 0.000001 to 1,000,000.
        """
        return self._column(columns, np.float32)

    def holds(self, columns: Columns) -> bool:
        """Return whether a segment holds for the user at the moment."""
        with np.errstate(all="ignore"):
            return bool(self._root.run(Frame(columns)))

    def _column(self, columns: Columns, dtype: type[T]) -> npt.NDArray[T]:
        frame = Frame(columns)
        with np.errstate(all="ignore"):  # What has no result is missing.
            value: Value = self._root.run(frame)
        if np.ndim(value) == 0:
            return np.full(columns.num_items, value, dtype)
        column: npt.NDArray[T] = value[: columns.num_items]
        return column
