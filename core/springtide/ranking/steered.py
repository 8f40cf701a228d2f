"""The live steering, compiled: what it makes of a query that is bound to the graph.

Everything that leaves items out is made one mask here, and each path honours it, since all of them take bound queries:
the search by bound, an index, a baseline, the fallback, ranks, explanations and similar items. What is the same for all
users is made once and kept until a rule, an attribute or an id changes, or the clock comes to where a rule begins.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from springtide.expressions import Columns, Program, Schema, parse
from springtide.graph.applying import USER
from springtide.graph.nodes import NodeTable
from springtide.graph.view import GraphView
from springtide.ranking.binding import BoundQuery
from springtide.ranking.boosts import BOOSTER, RULES, Boosts
from springtide.ranking.kept import Kept
from springtide.ranking.query import Query
from springtide.ranking.rule_rows import CompiledRule, ItemsNow, RulePin, boundaries_of, read
from springtide.steering.merging import merged, scenario_of
from springtide.steering.values import NO_STEERING, QuerySteering, Steering

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int32]
_NOTHING_ASKED = QuerySteering()
_MAX_SETS = 1_024
_MAX_PINNED = 1_000  # Of a rule: an answer has no more items.
_MAX_USERS = 8_192  # Whose segments are kept; some 200 bytes each.


class RulesInForce:
    """Rules that hold together for a query, sorted by what they do.

    Args:
        rules: The rules.
    """

    __slots__ = ("_boosts", "_factors", "_odd_factors", "_pinned", "blocks", "odd_blocks", "pins")

    def __init__(self, rules: Sequence[CompiledRule]) -> None:
        blocks = [each for each in rules if each.rule.action == "block"]
        factors = [each for each in rules if each.rule.action in ("boost", "bury")]
        self.blocks, self.odd_blocks = _by_steadiness(blocks)
        self._factors, self._odd_factors = _by_steadiness(factors)
        self.pins = [each for each in rules if each.rule.action == "pin"]
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


@dataclass(frozen=True, slots=True)
class _HeldRules:
    """The rules that hold at a time in a scenario.

    Attributes:
        for_all: Those of everybody.
        for_some: Those with a segment.
        by_holding: By which of the latter hold, all that hold then.
        is_of_user: Whether it depends on the user alone which of them hold.
    """

    for_all: list[CompiledRule]
    for_some: list[CompiledRule]
    by_holding: dict[tuple[bool, ...], RulesInForce]
    is_of_user: bool


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
        self._held: dict[tuple[int, str], _HeldRules] = {}
        self._holding: OrderedDict[tuple[object, ...], tuple[bool, ...]] = OrderedDict()
        self._masks: Kept[Mask] = Kept()
        self._boosts: Kept[Boosts] = Kept()

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
        item_type = items.node_type
        version = (items.attributes_version, items.ids_lineage, len(items.ids), num_items)
        columns = Columns(view, item_type, num_items, bound.moment, bound.user_id, bound.user_row)
        now = ItemsNow(items, num_items, columns, Schema.of(view, item_type), version)
        in_force = self._in_force(now, asked.scenario) if self._rules else _NO_RULES
        allowed = self._allowed(in_force, hidden, self._filters(asked, now), now)
        boosts = in_force.boosts(now)
        if asked.booster:
            boosts, is_out = self._with_booster(asked, boosts, now)
            if is_out is not None:
                allowed = ~is_out if allowed is None else allowed & ~is_out
        if bound.allowed is not None:
            allowed = bound.allowed if allowed is None else allowed & bound.allowed
        return BoundQuery(  # By position: ``replace`` takes five times as long.
            bound.user_id,
            bound.user_row,
            bound.moment,
            bound.recent_rows,
            bound.count,
            allowed,
            bound.excluded_rows,
            bound.has_list,
            bound.leaves_out_seen,
            asked,
            boosts,
            in_force.pinned(now) if in_force.pins else (),
        )

    def _in_force(self, now: ItemsNow, scenario: str) -> RulesInForce:
        """Return the rules that hold for the user at the moment in a scenario."""
        now_ms = now.columns.moment.timestamp_ms
        key = bisect_right(self._times, now_ms), scenario
        held = self._held.get(key)
        if held is None:
            if len(self._held) >= _MAX_SETS:
                self._held.clear()
            rules = [each for each in self._rules if each.rule.holds_at(now_ms, scenario)]
            some = [each for each in rules if each.segment is not None]
            uses = [each.segment.dependencies for each in some if each.segment is not None]
            is_of_user = not any(each.uses_context or each.uses_now for each in uses)
            held = _HeldRules([each for each in rules if each.segment is None], some, {}, is_of_user)
            self._held[key] = held
        holding = self._holding_of(held, key, now) if held.for_some else ()
        in_force = held.by_holding.get(holding)
        if in_force is None:
            if len(held.by_holding) >= _MAX_SETS:
                held.by_holding.clear()
            holds = {each.rule.name for each, holds in zip(held.for_some, holding, strict=True) if holds}
            both = {each.rule.name for each in held.for_all} | holds
            in_force = RulesInForce([each for each in self._rules if each.rule.name in both])
            held.by_holding[holding] = in_force
        return in_force

    def _holding_of(self, held: _HeldRules, key: tuple[int, str], now: ItemsNow) -> tuple[bool, ...]:
        """Return which of the rules with a segment hold for the user."""
        columns = now.columns
        if not held.is_of_user:
            return tuple(each.holds_for(now) for each in held.for_some)
        of_user = (*key, columns.user_row, columns.user_id, columns.view.nodes(USER).attributes_version)
        holding = self._holding.get(of_user)
        if holding is None:
            holding = tuple(each.holds_for(now) for each in held.for_some)
            self._holding[of_user] = holding
            while len(self._holding) > _MAX_USERS:
                self._holding.popitem(last=False)
        return holding

    def _filters(self, asked: QuerySteering, now: ItemsNow) -> tuple[Program, ...]:
        """Return the filters of a query and of its scenario."""
        programs = []
        if asked.filter:
            programs.append(parse(asked.filter, "filter").check(now.schema, "filter"))
        if asked.scenario:
            scenario = self.steering.scenarios[asked.scenario]
            expression = read(scenario.steering.filter, f"scenarios.{scenario.name}.filter")
            if expression is not None:
                programs.append(expression.check(now.schema, "filter", is_lenient=True))
        return tuple(programs)

    def _allowed(
        self, in_force: RulesInForce, hidden: Rows, filters: tuple[Program, ...], now: ItemsNow
    ) -> Mask | None:
        """Return which items are to be had, pass the filters, and are blocked by no rule; None for all.

        Returns:
            bool ``[num_items]``, not to be written to.
        """
        steady = tuple(each for each in filters if each.dependencies.is_steady)
        allowed = self._steadily_allowed(in_force, hidden, steady, now)
        if len(steady) == len(filters) and not in_force.odd_blocks:
            return allowed
        allowed = np.ones(now.num_items, np.bool_) if allowed is None else allowed.copy()
        for each in filters:
            if not each.dependencies.is_steady:
                allowed &= each.mask(now.columns)
        for rule in in_force.odd_blocks:
            allowed[rule.rows(now)] = False
        return allowed

    def _steadily_allowed(
        self, in_force: RulesInForce, hidden: Rows, filters: tuple[Program, ...], now: ItemsNow
    ) -> Mask | None:
        """Return the part of ``_allowed`` that is the same for all users."""
        if not in_force.blocks and not len(hidden) and not filters:
            return None
        made_of = (in_force, hidden, *filters)
        allowed = self._masks.get(made_of, now.version)
        if allowed is None:
            allowed = np.ones(now.num_items, np.bool_)
            for rule in in_force.blocks:
                allowed[rule.rows(now)] = False
            allowed[hidden] = False
            for each in filters:
                allowed &= each.mask(now.columns)
            self._masks.keep(made_of, now.version, allowed, allowed.nbytes)
        return allowed

    def _with_booster(self, asked: QuerySteering, rules: Boosts | None, now: ItemsNow) -> tuple[Boosts, Mask | None]:
        """Return the boosts of rules and booster, and which items the booster leaves out, bool ``[num_items]``."""
        is_own = self._says_booster(asked)
        expression = parse(asked.booster, "booster") if is_own else read(asked.booster, "booster")
        assert expression is not None, "there is one"
        program = expression.check(now.schema, "booster", is_lenient=not is_own)
        factors = program.values(now.columns)
        is_out = factors <= 0.0
        is_kept = program.dependencies.is_steady and (rules is None or rules.is_kept)
        made_of = (program, rules)
        boosts = self._boosts.get(made_of, now.version) if is_kept else None
        if boosts is None:
            spread = None if rules is None else rules.spread(now.num_items)
            by_name = {} if spread is None else dict(spread.by_name)
            by_name[BOOSTER] = np.log(np.where(is_out, np.float32(1.0), factors))
            boosts = Boosts(None, by_name, is_kept)
            if is_kept:
                self._boosts.keep(made_of, now.version, boosts, boosts.num_bytes)
        return boosts, is_out if is_out.any() else None

    def _says_booster(self, asked: QuerySteering) -> bool:
        """Return whether the booster of a merged query is its own."""
        scenario = self.steering.scenarios.get(asked.scenario)
        return scenario is None or scenario.steering.booster != asked.booster


_NO_RULES = RulesInForce(())
