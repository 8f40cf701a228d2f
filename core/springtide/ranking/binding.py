"""Binding a query to the graph as it is: ids become rows, and names are checked, once for all that follows."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from springtide.graph.applying import USER
from springtide.graph.nodes import NodeTable
from springtide.graph.view import GraphView
from springtide.interactions import Moment
from springtide.ranking.boosts import Boosts
from springtide.ranking.filters import SeenRows, allowed_items, excluded_rows, has_all_positive, rows_below
from springtide.ranking.query import Query
from springtide.ranking.rule_rows import RulePin
from springtide.settings.interaction_rules import InteractionRules
from springtide.steering.values import QuerySteering

Rows = npt.NDArray[np.int32]
_NO_ROWS: Rows = np.empty(0, np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class BoundQuery:
    """A query whose ids were looked up in a view of the graph.

    Attributes:
        user_id: The user; empty for a user without an id.
        user_row: The user's row, -1 if the view does not know the user.
        moment: The moment; circumstances that the query does not give are the user's attributes of that name.
        recent_rows: int32 ``[n]``, rows of the recent items that the view knows, latest first.
        count: Number of items, at least 1.
        allowed: bool ``[num_items]``, whether an item passes the allow list and all filters, no rule blocks it, and it
            is available at the moment; None for all. Not to be written to.
        excluded_rows: int32 ``[m]``, rows below ``num_items`` of items to leave out, ascending.
        has_list: Whether the query names the items to rank.
        leaves_out_seen: Whether all items of the user's positive interactions are left out.
        steering: What steers the query beside what is below, merged with its scenario; None for nothing.
        boosts: What rules and the booster add to the scores; None for nothing.
        pins: The items that rules pin, whether or not they may be in the answer.
        rotated: What is added to the scores of what was shown to the user and ignored; None for nothing.
        num_allowed: How many items are allowed, where that is known beforehand.
    """

    user_id: str
    user_row: int
    moment: Moment
    recent_rows: Rows = field(default_factory=lambda: _NO_ROWS)
    count: int = 1
    allowed: npt.NDArray[np.bool_] | None = None
    excluded_rows: Rows = field(default_factory=lambda: _NO_ROWS)
    has_list: bool = False
    leaves_out_seen: bool = False
    steering: QuerySteering | None = None
    boosts: Boosts | None = None
    pins: tuple[RulePin, ...] = ()
    rotated: Boosts | None = None
    num_allowed: int | None = None

    @property
    def added(self) -> tuple[Boosts, ...]:
        """All that is added to the scores."""
        return tuple(each for each in (self.boosts, self.rotated) if each is not None)

    def mask(self, scores: npt.NDArray[np.float32]) -> None:
        """Set the items that the query leaves out to ``-inf``, in place; scores are float32 ``[num_items]``."""
        if self.allowed is not None:
            scores[~self.allowed] = -np.inf
        if len(self.excluded_rows):
            scores[self.excluded_rows] = -np.inf


def bind(
    query: Query,
    view: GraphView,
    rules: InteractionRules,
    circumstance_keys: Sequence[str],
    num_items: int,
    seen_rows_of: SeenRows | None = None,
) -> BoundQuery:
    """Look up all that a query names.

    In a graph of users alone, the user is left out of their own recommendations.

    Args:
        query: The query.
        view: The graph.
        rules: The interaction rules.
        circumstance_keys: The circumstances that the context weights look at.
        num_items: Number of items that are ranked; later rows are not.
        seen_rows_of: A cache of what users have seen; None to look into the graph.

    Raises:
        InvalidRequestError: If an interaction type or an attribute is unknown.
    """
    users = view.nodes(USER)
    user_row = users.ids.row(query.user_id) if query.user_id else -1
    if user_row >= view.num_nodes(USER):
        user_row = -1
    recent_rows = _NO_ROWS
    if query.recent_items:
        num_known = view.num_nodes(rules.item_type)
        recent_rows = rows_below(view.nodes(rules.item_type).ids.rows(query.recent_items), num_known)
    has_list = bool(query.allow_items)
    has_filter = query.category_filters or query.came_since_ms is not None
    return BoundQuery(  # By position: by name it takes twice as long.
        query.user_id,
        user_row,
        _with_attributes(query.moment, users, user_row, circumstance_keys),
        recent_rows,
        query.count,
        allowed_items(query, view, rules, num_items) if has_list or has_filter else None,
        excluded_rows(query, user_row, recent_rows, view, rules, num_items, seen_rows_of),
        has_list,
        has_all_positive(query.exclude_seen, rules),
    )


def _with_attributes(moment: Moment, users: NodeTable, user_row: int, circumstance_keys: Sequence[str]) -> Moment:
    """Return the moment with the user's attributes for circumstances that it does not give."""
    if user_row < 0:
        return moment
    columns = users.categories_among(circumstance_keys)
    if not columns:  # As with most streams.
        return moment
    of_user = {key: column.values(user_row) for key, column in columns.items() if not moment.circumstance(key)}
    known = {key: values[0] for key, values in of_user.items() if values}  # Of several values, the first.
    return replace(moment, attributes={**moment.attributes, **known}) if known else moment
