"""Rules as rows: whom a rule is about, looked up once for as long as the items stay as they are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.graph.nodes import NodeTable
from springtide.ranking.filters import rows_below
from springtide.steering.values import Rule

Rows = npt.NDArray[np.int32]
NO_ROWS: Rows = np.empty(0, np.int32)
LEAST_FACTOR, GREATEST_FACTOR = 1e-6, 1e6
"""Factors beyond are taken for these: a score is a float32, and odds of a millionth are as good as none."""


class CompiledRule:
    """A rule, and the rows of its items.

    Args:
        rule: The rule.

    Attributes:
        rule: The rule.
        log_factor: What a boost or a burial adds to a score.
    """

    __slots__ = ("_found", "log_factor", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.log_factor = np.float32(math.log(min(max(rule.factor, LEAST_FACTOR), GREATEST_FACTOR)))
        self._found: tuple[object, Rows] = (None, NO_ROWS)

    def listed(self, items: NodeTable, num_items: int) -> Rows:
        """Return the rows of the items that the rule lists, in its order, int32 ``[n]``; unknown ones are left out."""
        key = (items.ids_lineage, len(items.ids), num_items)  # Before the rows: a change is looked at again.
        found = self._found
        if found[0] != key:
            self._found = found = key, rows_below(items.ids.rows(self.rule.items), num_items)
        return found[1]


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
