"""The live steering, compiled: what it makes of a query that is bound to the graph.

Everything that leaves items out is made one mask here, and each path honours it, since all of them take bound queries:
the search by bound, an index, a baseline, the fallback, ranks, explanations and similar items. What is the same for all
users is made once and kept until a rule, an attribute or an id changes, or the clock comes to where a rule begins.
"""

from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from springtide.expressions import Columns, Program, Schema, parse
from springtide.graph.applying import USER
from springtide.graph.nodes import NodeTable
from springtide.graph.view import GraphView
from springtide.ranking.binding import BoundQuery
from springtide.ranking.boosts import BOOSTER, Boosts
from springtide.ranking.kept import Kept
from springtide.ranking.query import Query
from springtide.ranking.rule_rows import CompiledRule, ItemsNow, RulePin, boundaries_of, read
from springtide.ranking.rules_in_force import RulesInForce
from springtide.steering.merging import merged, scenario_of
from springtide.steering.values import NO_STEERING, QuerySteering, Steering

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int32]
_NOTHING_ASKED = QuerySteering()
_MAX_SETS = 1_024
_MAX_USERS = 8_192  # Whose segments are kept; some 200 bytes each.
_PLANNED_BYTES = 64 * 2**20  # Of masks that plans hold, at most: most are those of ``_masks``.
_MAX_PLANS = 256


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


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What steers all queries that say the same, and for whose users the same rules hold, as long as nothing changes.

    Attributes:
        version: Of the items.
        hidden: The items that are not to be had.
        allowed: See ``BoundQuery``; ``num_allowed``, ``boosts`` and ``pins`` likewise.
    """

    version: object
    hidden: Rows
    allowed: Mask | None
    num_allowed: int | None
    boosts: Boosts | None
    pins: tuple[RulePin, ...]


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
        self._plans: OrderedDict[tuple[object, ...], _Plan] = OrderedDict()
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
        version = (items.attributes_version, items.ids_lineage, len(items.ids), num_items)
        key = None if asked.booster or bound.allowed is not None else self._plan_key(asked, bound, view)
        plan = None if key is None else self._plans.get(key)
        if plan is None or plan.hidden is not hidden or plan.version != version:
            plan, is_kept = self._planned(asked, bound, view, items, num_items, hidden, version)
            if is_kept and (key := self._plan_key(asked, bound, view)) is not None:
                self._keep(key, plan, num_items)
        return BoundQuery(  # By position: ``replace`` takes five times as long.
            bound.user_id,
            bound.user_row,
            bound.moment,
            bound.recent_rows,
            bound.count,
            plan.allowed,
            bound.excluded_rows,
            bound.has_list,
            bound.leaves_out_seen,
            asked,
            plan.boosts,
            plan.pins,
            None,
            plan.num_allowed,
        )

    def _plan_key(self, asked: QuerySteering, bound: BoundQuery, view: GraphView) -> tuple[object, ...] | None:
        """Return what a plan depends on beside the items; None as long as it is not known which rules hold."""
        if not self._rules:
            return (asked.scenario, asked.filter)
        span = bisect_right(self._times, bound.moment.timestamp_ms)
        held = self._held.get((span, asked.scenario))
        if held is None or not held.is_of_user:
            return None
        holding: tuple[bool, ...] | None = ()
        if held.for_some:
            of_user = (span, asked.scenario, bound.user_row, bound.user_id, view.nodes(USER).attributes_version)
            holding = self._holding.get(of_user)
        return None if holding is None else (asked.scenario, asked.filter, span, holding)

    def _keep(self, key: tuple[object, ...], plan: _Plan, num_items: int) -> None:
        """Keep a plan; the oldest leave first."""
        most = max(1, min(_MAX_PLANS, _PLANNED_BYTES // max(1, num_items)))
        self._plans[key] = plan
        while len(self._plans) > most:
            try:
                self._plans.popitem(last=False)
            except KeyError:  # Another thread has dropped the last one.
                break

    def _planned(
        self,
        asked: QuerySteering,
        bound: BoundQuery,
        view: GraphView,
        items: NodeTable,
        num_items: int,
        hidden: Rows,
        version: object,
    ) -> tuple[_Plan, bool]:
        """Return what steers a query, and whether it is the same for all that say so and have the same rules."""
        item_type = items.node_type
        columns = Columns(view, item_type, num_items, bound.moment, bound.user_id, bound.user_row)
        now = ItemsNow(items, num_items, columns, Schema.of(view, item_type), version)
        in_force = self._in_force(now, asked.scenario) if self._rules else _NO_RULES
        filters = self._filters(asked, now)
        allowed = self._allowed(in_force, hidden, filters, now)
        boosts = in_force.boosts(now)
        if asked.booster:
            boosts, is_out = self._with_booster(asked, boosts, now)
            if is_out is not None:
                allowed = ~is_out if allowed is None else allowed & ~is_out
        if bound.allowed is not None:
            allowed = bound.allowed if allowed is None else allowed & bound.allowed
        is_steady = in_force.is_steady and all(each.dependencies.is_steady for each in filters)
        is_kept = is_steady and not asked.booster and bound.allowed is None
        num_allowed = int(np.count_nonzero(allowed)) if is_kept and allowed is not None else None
        pins = in_force.pinned(now) if in_force.pins else ()
        return _Plan(version, hidden, allowed, num_allowed, boosts, pins), is_kept

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
