"""The live steering, compiled: what it makes of a query that is bound to the graph.

Everything that leaves items out is made one mask here, and each path honours it, since all of them take bound queries:
the search by bound, an index, a baseline, the fallback, ranks, explanations and similar items.
"""

from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from springtide.graph.nodes import NodeTable
from springtide.graph.view import GraphView
from springtide.ranking.binding import BoundQuery
from springtide.ranking.boosts import RULES, Boosts
from springtide.ranking.query import Query
from springtide.ranking.rule_rows import CompiledRule, RulePin, boundaries_of
from springtide.steering.merging import merged, scenario_of
from springtide.steering.values import NO_STEERING, QuerySteering, Steering

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int32]
_NOTHING_ASKED = QuerySteering()
_KEPT_BYTES = 64 * 2**20  # Of masks.
_MAX_KEPT = 256
_MAX_SETS = 1_024


@dataclass(frozen=True, slots=True)
class ItemsNow:
    """The items that are ranked, as they are now.

    Attributes:
        items: The items.
        num_items: Number of items that are ranked.
        version: Changes whenever an id or an attribute does.
    """

    items: NodeTable
    num_items: int
    version: object

    @classmethod
    def of(cls, items: NodeTable, num_items: int) -> "ItemsNow":
        """Return the items as they are now."""
        return cls(items, num_items, (items.attributes_version, items.ids_lineage, len(items.ids), num_items))


class RulesInForce:
    """Rules that hold together for a query, sorted by what they do.

    Args:
        rules: The rules.
    """

    __slots__ = ("_boosts", "blocks", "factors", "pins")

    def __init__(self, rules: list[CompiledRule]) -> None:
        self.blocks = [each for each in rules if each.rule.action == "block"]
        self.factors = [each for each in rules if each.rule.action in ("boost", "bury")]
        self.pins = [each for each in rules if each.rule.action == "pin"]
        self._boosts: tuple[object, Boosts | None] = (None, None)

    def take_out(self, now: ItemsNow, allowed: Mask) -> None:
        """Take the blocked items out of those that are allowed, bool ``[num_items]``, in place."""
        for each in self.blocks:
            allowed[each.listed(now.items, now.num_items)] = False

    def boosts(self, now: ItemsNow) -> Boosts | None:
        """Return what the rules add to scores; None for nothing. The same object as long as nothing has changed."""
        if not self.factors:
            return None
        found = self._boosts
        if found[0] != now.version:
            self._boosts = found = now.version, self._made(now)
        return found[1]

    def pinned(self, now: ItemsNow) -> tuple[RulePin, ...]:
        """Return which items have a slot, whether or not they may be in the answer."""
        return tuple(
            RulePin(each.rule.slot - 1 + position, row, each.rule.name)
            for each in self.pins
            for position, row in enumerate(each.listed(now.items, now.num_items).tolist())
        )

    def _made(self, now: ItemsNow) -> Boosts | None:
        logs = np.zeros(now.num_items, np.float32)
        for each in self.factors:
            logs[each.listed(now.items, now.num_items)] += each.log_factor
        rows = np.flatnonzero(logs).astype(np.int32)
        return Boosts(rows, {RULES: logs[rows]}, is_kept=True) if len(rows) else None


class Steered:
    """What steers the queries of one ranker: the live rules and scenarios, and what was made of them for the items.

    Any thread may call any method.

    Args:
        steering: The rules and scenarios that hold.

    Attributes:
        steering: These.
        is_idle: Whether there are no rules.
    """

    def __init__(self, steering: Steering = NO_STEERING) -> None:
        self.steering = steering
        self.is_idle = not steering.rules
        self._rules = [CompiledRule(rule) for rule in steering.rules]
        self._times = boundaries_of(steering.rules)
        self._in_force: dict[tuple[int, str], RulesInForce] = {}
        self._masks: OrderedDict[tuple[object, ...], tuple[tuple[object, ...], Mask]] = OrderedDict()

    def merged(self, query: Query) -> Query:
        """Return a query with what its scenario says where it says nothing.

        Raises:
            InvalidRequestError: If it names an unknown scenario.
        """
        asked = query.steering
        if asked is None or not asked.scenario:
            return query
        scenario = scenario_of(asked, self.steering)
        assert scenario is not None, "it has a name"
        count = query.count if asked.says_count or scenario.count is None else scenario.count
        seen = query.exclude_seen or scenario.exclude_seen
        return replace(query, steering=merged(asked, scenario), count=count, exclude_seen=seen)

    def applied(
        self, query: Query, bound: BoundQuery, view: GraphView, items: NodeTable, num_items: int, hidden: Rows
    ) -> BoundQuery:
        """Return a bound query with all that steers it.

        Args:
            query: The query, merged with its scenario.
            bound: The same, bound to the view.
            view: The graph.
            items: The items.
            num_items: Number of items that are ranked.
            hidden: Rows of the items that are not to be had at the moment, int32 ``[n]``, ascending.

        Raises:
            InvalidRequestError: If an expression of the query is wrong.
        """
        asked = query.steering or _NOTHING_ASKED
        now = ItemsNow.of(items, num_items)
        in_force = self._rules_in_force(bound.moment.timestamp_ms, asked.scenario)
        allowed = self._allowed(in_force, hidden, now)
        if allowed is not None and bound.allowed is not None:
            allowed = allowed & bound.allowed
        return replace(
            bound,
            allowed=bound.allowed if allowed is None else allowed,
            steering=asked,
            boosts=in_force.boosts(now),
            pins=in_force.pinned(now) if in_force.pins else (),
        )

    def _rules_in_force(self, now_ms: int, scenario: str) -> RulesInForce:
        """Return the rules that hold at a time in a scenario."""
        key = bisect_right(self._times, now_ms), scenario
        found = self._in_force.get(key)
        if found is None:
            if len(self._in_force) >= _MAX_SETS:
                self._in_force.clear()
            held = [each for each in self._rules if each.rule.holds_at(now_ms, scenario)]
            self._in_force[key] = found = RulesInForce(held)
        return found

    def _allowed(self, in_force: RulesInForce, hidden: Rows, now: ItemsNow) -> Mask | None:
        """Return which items are to be had, and blocked by no rule, bool ``[num_items]``; None for all."""
        if not in_force.blocks and not len(hidden):
            return None
        key = (id(in_force), id(hidden), now.version)
        found = self._masks.get(key)
        if found is not None and found[0][0] is in_force and found[0][1] is hidden:
            return found[1]
        allowed = np.ones(now.num_items, np.bool_)
        in_force.take_out(now, allowed)
        allowed[hidden] = False
        self._keep(key, (in_force, hidden), allowed)
        return allowed

    def _keep(self, key: tuple[object, ...], made_of: tuple[object, ...], allowed: Mask) -> None:
        self._masks[key] = made_of, allowed
        most = max(1, min(_MAX_KEPT, _KEPT_BYTES // max(1, allowed.nbytes)))
        while len(self._masks) > most:
            self._masks.popitem(last=False)
