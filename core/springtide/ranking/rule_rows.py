"""Rules as rows: what a rule is about, looked up once for as long as the items stay as they are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.errors import InvalidRequestError
from springtide.expressions import Columns, Expression, Schema, parse
from springtide.graph.nodes import NodeTable
from springtide.ranking.filters import rows_below
from springtide.steering.values import Rule

Rows = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
NO_ROWS: Rows = np.empty(0, np.int32)
LEAST_FACTOR, GREATEST_FACTOR = 1e-6, 1e6
"""Factors beyond are taken for these: a score is a float32, and odds of a millionth are as good as none."""


@dataclass(frozen=True, slots=True)
class ItemsNow:
    """The items that are ranked, as they are now, and who asks for them.

    Attributes:
        items: The items.
        num_items: Number of items that are ranked.
        columns: What expressions are evaluated on.
        schema: The attributes that they may name.
        version: Changes whenever an id or an attribute of the items does.
    """

    items: NodeTable
    num_items: int
    columns: Columns
    schema: Schema
    version: object


class CompiledRule:
    """A rule, and the rows of its items.

    What cannot be read any more, since an earlier release has stored it, is about nothing and holds for nobody.

    Args:
        rule: The rule.

    Attributes:
        rule: The rule.
        log_factor: What a boost or a burial adds to a score.
        segment: Says for whom it holds; None for everybody.
        is_steady: Whether it is about the same items for all users and moments.
    """

    __slots__ = ("_filter", "_found", "is_steady", "log_factor", "rule", "segment")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.log_factor = np.float32(math.log(min(max(rule.factor, LEAST_FACTOR), GREATEST_FACTOR)))
        self._filter = read(rule.filter, f"rules.{rule.name}.filter")
        self.segment = read(rule.segment, f"rules.{rule.name}.segment")
        self.is_steady = self._filter is None or self._filter.dependencies.is_steady
        self._found: tuple[object, Rows] = (None, NO_ROWS)

    def rows(self, now: ItemsNow) -> Rows:
        """Return the rows that the rule is about, int32 ``[n]``, each once: in the order of its list if it has one."""
        if not self.is_steady:
            return self._made(now)
        found = self._found
        if found[0] != now.version:
            self._found = found = now.version, self._made(now)
        return found[1]

    def holds_for(self, now: ItemsNow) -> bool:
        """Return whether the rule holds for the user at the moment."""
        if self.segment is None:
            return True
        return self.segment.check(now.schema, "segment", is_lenient=True).holds(now.columns)

    def _made(self, now: ItemsNow) -> Rows:
        mask: Mask | None = None
        if self._filter is not None:
            mask = self._filter.check(now.schema, "filter", is_lenient=True).mask(now.columns)
        if self.rule.items:
            listed = rows_below(now.items.ids.rows(list(dict.fromkeys(self.rule.items))), now.num_items)
            return listed if mask is None else listed[mask[listed]]
        return NO_ROWS if mask is None else np.flatnonzero(mask).astype(np.int32)


def read(text: str, field: str) -> Expression | None:
    """Return an expression of a rule or a scenario; None if it has none, and one that is never true if it is wrong.

    Args:
        text: The expression, which was checked when it was stored, maybe long ago.
        field: Where it stands, for errors.
    """
    if not text:
        return None
    try:
        return parse(text, field)
    except InvalidRequestError:
        return parse("1 == 2")


@dataclass(frozen=True, slots=True)
class RulePin:
    """An item that a rule pins.

    Attributes:
        slot: The slot that it is to have, 0 for the top.
        row: The item's row.
        rule: Name of the rule.
    """

    slot: int
    row: int
    rule: str


def boundaries_of(rules: Sequence[Rule]) -> list[int]:
    """Return the times at which a rule begins or ends to hold, milliseconds since the Unix epoch, ascending."""
    times = {time for rule in rules for time in (rule.start_ms, rule.end_ms) if time is not None}
    return sorted(times)
