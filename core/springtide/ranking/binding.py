"""Binding a query to the graph as it is: ids become rows, and names are checked, once for all that follows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from springtide.errors import InvalidRequestError
from springtide.graph.applying import USER
from springtide.graph.view import GraphView
from springtide.interactions import Moment
from springtide.ranking.query import Query
from springtide.settings.interaction_rules import InteractionRules

Rows = npt.NDArray[np.int32]
ANY = "*"
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
        allowed: bool ``[num_items]``, whether an item passes the allow list and the category filters; None for all.
        excluded_rows: int32 ``[m]``, rows below ``num_items`` of items to leave out, in any order.
    """

    user_id: str
    user_row: int
    moment: Moment
    recent_rows: Rows = field(default_factory=lambda: _NO_ROWS)
    count: int = 1
    allowed: npt.NDArray[np.bool_] | None = None
    excluded_rows: Rows = field(default_factory=lambda: _NO_ROWS)

    def mask(self, scores: npt.NDArray[np.float32]) -> None:
        """Set the items that the query leaves out to ``-inf``, in place; scores are float32 ``[num_items]``."""
        if self.allowed is not None:
            scores[~self.allowed] = -np.inf
        if len(self.excluded_rows):
            scores[self.excluded_rows] = -np.inf


def check_query(query: Query, view: GraphView, rules: InteractionRules) -> None:
    """Check the names in a query as ``bind`` does, without binding it.

    Raises:
        InvalidRequestError: If an interaction type or an attribute is unknown.
    """
    relations_of(query.exclude_seen, rules)
    _check_attributes(query, view, rules)


def bind(
    query: Query, view: GraphView, rules: InteractionRules, circumstance_keys: Sequence[str], num_items: int
) -> BoundQuery:
    """Look up all that a query names.

    In a graph of users alone, the user is left out of their own recommendations.

    Args:
        query: The query.
        view: The graph.
        rules: The interaction rules.
        circumstance_keys: The circumstances that the context weights look at.
        num_items: Number of items that are ranked; later rows are not.

    Raises:
        InvalidRequestError: If an interaction type or an attribute is unknown.
    """
    relations = relations_of(query.exclude_seen, rules)
    user_row = view.nodes(USER).ids.row(query.user_id) if query.user_id else -1
    if user_row >= view.num_nodes(USER):
        user_row = -1
    recent_rows = _NO_ROWS
    if query.recent_items:
        recent_rows = _below(view.nodes(rules.item_type).ids.rows(query.recent_items), view.num_nodes(rules.item_type))
    excluded = []
    if query.exclude_items:
        excluded.append(view.nodes(rules.item_type).ids.rows(query.exclude_items))
    if relations:
        excluded.append(seen_rows(user_row, recent_rows, relations, view, rules))
    if rules.item_type == USER:
        excluded.append(np.array([user_row], np.int32))
    return BoundQuery(
        user_id=query.user_id,
        user_row=user_row,
        moment=_with_attributes(query.moment, view, user_row, circumstance_keys),
        recent_rows=recent_rows,
        count=query.count,
        allowed=_allowed(query, view, rules, num_items),
        excluded_rows=_below(np.concatenate(excluded), num_items) if excluded else _NO_ROWS,
    )


def seen_rows(
    user_row: int, recent_rows: Rows, relations: Iterable[str], view: GraphView, rules: InteractionRules
) -> Rows:
    """Return the rows of items that a user has seen in some relations, recent items included: int32 ``[n]``."""
    if user_row < 0:
        return recent_rows
    edges = (view.edges(rules.edge_type(relation)) for relation in relations)
    return np.concatenate([recent_rows, *(of_relation.all_targets(user_row).rows for of_relation in edges)])


def relations_of(names: Sequence[str], rules: InteractionRules) -> set[str]:
    """Return the relations that names of rules, of interaction types, or ``*`` stand for.

    Raises:
        InvalidRequestError: If one stands for none.
    """
    relations: set[str] = set()
    for position, name in enumerate(names):
        found = {rule.name for rule in rules.rules if name in (ANY, rule.name, rule.type_name)}
        if not found:
            choices = ", ".join(sorted({*rules.types, *rules.relations, ANY}))
            raise InvalidRequestError(
                f"exclude_seen[{position}]", f"no interaction named {name!r} (choices: {choices})"
            )
        relations |= found
    return relations


def _check_attributes(query: Query, view: GraphView, rules: InteractionRules) -> None:
    if not query.category_filters:
        return
    known = view.nodes(rules.item_type).kinds
    for position, (attribute, _) in enumerate(query.category_filters):
        if known.get(attribute) != "category":
            choices = ", ".join(sorted(name for name, kind in known.items() if kind == "category")) or "none"
            raise InvalidRequestError(
                f"category_filters[{position}].attribute",
                f"no category attribute of items named {attribute!r} (choices: {choices})",
            )


def _allowed(query: Query, view: GraphView, rules: InteractionRules, num_items: int) -> npt.NDArray[np.bool_] | None:
    _check_attributes(query, view, rules)
    if not query.allow_items and not query.category_filters:
        return None
    items = view.nodes(rules.item_type)
    allowed = np.ones(num_items, bool)
    if query.allow_items:
        allowed[:] = False
        allowed[_below(items.ids.rows(query.allow_items), num_items)] = True
    for attribute, values in query.category_filters:
        passing = items.has_category(attribute, values)[:num_items]
        allowed[: len(passing)] &= passing
        allowed[len(passing) :] = False
    return allowed


def _with_attributes(moment: Moment, view: GraphView, user_row: int, circumstance_keys: Sequence[str]) -> Moment:
    """Return the moment with the user's attributes for circumstances that it does not give."""
    if user_row < 0:
        return moment
    missing = [key for key in circumstance_keys if not moment.circumstance(key)]
    if not missing:
        return moment
    of_user = dict(reversed(view.nodes(USER).category_values(user_row)))  # Of several values, the first.
    known = {key: of_user[key] for key in missing if key in of_user}
    return replace(moment, attributes={**moment.attributes, **known}) if known else moment


def _below(rows: Rows, count: int) -> Rows:
    """Return the rows that lie from 0 to below a count."""
    return rows[(rows >= 0) & (rows < count)]
