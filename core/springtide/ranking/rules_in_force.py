"""Rules that hold together for a query: what they add to scores, what they block, and which items they pin."""

from collections.abc import Sequence

import numpy as np

from springtide.ranking.boosts import RULES, Boosts
from springtide.ranking.rule_rows import CompiledRule, ItemsNow, RulePin

_MAX_PINNED = 1_000  # Of a rule: an answer has no more items.


class RulesInForce:
    """Rules that hold together for a query, sorted by what they do.

    Args:
        rules: The rules.

    Attributes:
        blocks: Those that block the same items for all users and moments.
        odd_blocks: The other ones that block.
        pins: Those that pin.
        is_steady: Whether all are about the same items for all users and moments.
    """

    __slots__ = ("_boosts", "_factors", "_odd_factors", "_pinned", "blocks", "is_steady", "odd_blocks", "pins")

    def __init__(self, rules: Sequence[CompiledRule]) -> None:
        blocks = [each for each in rules if each.rule.action == "block"]
        factors = [each for each in rules if each.rule.action in ("boost", "bury")]
        self.blocks, self.odd_blocks = _by_steadiness(blocks)
        self._factors, self._odd_factors = _by_steadiness(factors)
        self.pins = [each for each in rules if each.rule.action == "pin"]
        self.is_steady = all(each.is_steady for each in rules)
        self._boosts: tuple[object, Boosts | None] = (None, None)
        self._pinned: tuple[object, tuple[RulePin, ...]] = (None, ())

    def boosts(self, now: ItemsNow) -> Boosts | None:
        """Return what the rules add to scores; None for nothing. The same object as long as nothing has changed."""
        if self._odd_factors:
            return _boosts_of([*self._factors, *self._odd_factors], now, is_kept=False)
        if not self._factors:
            return None
        found = self._boosts
        if found[0] != now.version:
            self._boosts = found = now.version, _boosts_of(self._factors, now, is_kept=True)
        return found[1]

    def pinned(self, now: ItemsNow) -> tuple[RulePin, ...]:
        """Return which items have a slot, whether or not they may be in the answer."""
        found = self._pinned
        if found[0] != now.version:
            pinned = tuple(
                RulePin(each.rule.slot - 1 + position, row, each.rule.name)
                for each in self.pins
                for position, row in enumerate(each.rows(now)[:_MAX_PINNED].tolist())
            )
            found = now.version, pinned
            if all(each.is_steady for each in self.pins):
                self._pinned = found
        return found[1]


def _by_steadiness(rules: Sequence[CompiledRule]) -> tuple[list[CompiledRule], list[CompiledRule]]:
    return [each for each in rules if each.is_steady], [each for each in rules if not each.is_steady]


def _boosts_of(rules: Sequence[CompiledRule], now: ItemsNow, *, is_kept: bool) -> Boosts | None:
    logs = np.zeros(now.num_items, np.float32)
    for each in rules:
        logs[each.rows(now)] += each.log_factor
    rows = np.flatnonzero(logs).astype(np.int32)
    return Boosts(rows, {RULES: logs[rows]}, is_kept) if len(rows) else None
