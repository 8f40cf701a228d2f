"""Which items a query leaves out: blocked and seen ones, and those that a filter does not let through."""

import functools
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY
from springtide.errors import InvalidRequestError
from springtide.graph.applying import USER
from springtide.graph.nodes import NodeTable
from springtide.graph.tombstones import NEVER_MS
from springtide.graph.view import GraphView
from springtide.ranking.query import Query
from springtide.settings.interaction_rules import InteractionRules

Rows = npt.NDArray[np.int32]
ANY = "*"
_NO_ROWS: Rows = np.empty(0, np.int32)


def check_query(query: Query, view: GraphView, rules: InteractionRules) -> None:
    """Check the names in a query as ``binding.bind`` does, without binding it.

    Raises:
        InvalidRequestError: If an interaction type or an attribute is unknown.
    """
    relations_of(query.exclude_seen, rules)
    _check_attributes(query, view, rules)


def allowed_items(
    query: Query, view: GraphView, rules: InteractionRules, num_items: int
) -> npt.NDArray[np.bool_] | None:
    """Return bool ``[num_items]``, which items pass the allow list, the category filters and the age; None if all do.

    Raises:
        InvalidRequestError: If a filter names an unknown attribute.
    """
    _check_attributes(query, view, rules)
    if not query.allow_items and not query.category_filters and query.came_since_ms is None:
        return None
    items = view.nodes(rules.item_type)
    allowed = np.ones(num_items, bool)
    if query.allow_items:
        allowed[:] = False
        allowed[rows_below(items.ids.rows(query.allow_items), num_items)] = True
    for attribute, values in query.category_filters:
        passing = items.has_category(attribute, values)[:num_items]
        allowed[: len(passing)] &= passing
        allowed[len(passing) :] = False
    if query.came_since_ms is not None:
        allowed &= came_since(items, query, num_items)
    return allowed


def came_since(items: NodeTable, query: Query, num_items: int) -> npt.NDArray[np.bool_]:
    """Return bool ``[num_items]``, which items came in the time that a query asks about.

    For a question about the past, what came more than a day later is not there yet; clocks of producers may be ahead.
    """
    first_ms = items.lifetimes.all_first_ms(num_items)
    since_ms = NEVER_MS if query.came_since_ms is None else query.came_since_ms
    until_ms = query.moment.timestamp_ms + MS_PER_DAY
    is_new: npt.NDArray[np.bool_] = (first_ms != NEVER_MS) & (first_ms >= since_ms) & (first_ms <= until_ms)
    return is_new


SeenRows = Callable[[GraphView, str, int, frozenset[str]], Rows]
"""Gives the rows that a user has seen, by view, id, row and relations: int32, ascending."""


def excluded_rows(
    query: Query,
    user_row: int,
    recent_rows: Rows,
    view: GraphView,
    rules: InteractionRules,
    num_items: int,
    seen_rows_of: SeenRows | None = None,
) -> Rows:
    """Return rows of items that the query leaves out by name, or because the user has seen them: int32, ascending.

    In a graph of users alone, the user is left out of their own recommendations.

    Args:
        query: The query.
        user_row: The user's row, -1 if the view does not know the user.
        recent_rows: int32 ``[m]``, rows of the query's recent items.
        view: The graph.
        rules: The interaction rules.
        num_items: Number of items that are ranked; later rows are not.
        seen_rows_of: A cache of what users have seen; None to look into the graph.

    Raises:
        InvalidRequestError: If ``exclude_seen`` names an unknown interaction type.
    """
    if not query.exclude_seen and not query.exclude_items and rules.item_type != USER:
        return _NO_ROWS
    excluded = []
    if query.exclude_items:
        excluded.append(view.nodes(rules.item_type).ids.rows(query.exclude_items))
    if query.exclude_seen:
        relations = relations_of(query.exclude_seen, rules)
        if seen_rows_of is None:
            excluded.append(seen_rows(user_row, recent_rows, relations, view, rules))
        else:
            seen = seen_rows_of(view, query.user_id, user_row, relations)
            if not excluded and not len(recent_rows) and rules.item_type != USER:
                return seen if not len(seen) or seen[-1] < num_items else seen[: int(seen.searchsorted(num_items))]
            excluded += [seen, recent_rows]
    if rules.item_type == USER:
        excluded.append(np.array([user_row], np.int32))
    return np.sort(rows_below(np.concatenate(excluded), num_items))


def seen_rows(
    user_row: int, recent_rows: Rows, relations: Iterable[str], view: GraphView, rules: InteractionRules
) -> Rows:
    """Return the rows of items that a user has seen in some relations, recent items included: int32 ``[n]``."""
    if user_row < 0:
        return recent_rows
    edges = (view.edges(rules.edge_type(relation)) for relation in relations)
    return np.concatenate([recent_rows, *(of_relation.all_targets(user_row).rows for of_relation in edges)])


@functools.lru_cache(maxsize=256)
def relations_of(names: tuple[str, ...], rules: InteractionRules) -> frozenset[str]:
    """Return the relations that names of rules, of interaction types, or ``*`` stand for.

    ``*`` stands for all but those in which items are shown: else what was shown once would never come again.

    Raises:
        InvalidRequestError: If one stands for none.
    """
    relations: set[str] = set()
    for position, name in enumerate(names):
        found = {
            rule.name
            for rule in rules.rules
            if name in (rule.name, rule.type_name) or (name == ANY and not rule.is_shown)
        }
        if not found and name != ANY:
            choices = ", ".join(sorted({*rules.types, *rules.relations, ANY}))
            raise InvalidRequestError(
                f"exclude_seen[{position}]", f"no interaction named {name!r} (choices: {choices})"
            )
        relations |= found
    return frozenset(relations)


@functools.lru_cache(maxsize=256)
def has_all_positive(names: tuple[str, ...], rules: InteractionRules) -> bool:
    """Return whether names, as ``relations_of`` takes them, stand for all positive relations, and maybe others."""
    return bool(names) and relations_of(names, rules).issuperset(rules.positive_relations)


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


def rows_below(rows: Rows, count: int) -> Rows:
    """Return the rows that lie from 0 to below a count."""
    return rows[(rows >= 0) & (rows < count)]
