"""Which items a query leaves out."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from springtide.errors import InvalidRequestError
from springtide.graph.applying import USER
from springtide.graph.view import GraphView
from springtide.ranking.query import Query
from springtide.settings.interaction_rules import InteractionRules

ANY = "*"


def check_query(query: Query, view: GraphView, rules: InteractionRules) -> None:
    """Check what a query names against what there is.

    Raises:
        InvalidRequestError: If the count is below 1, or an interaction type or an attribute is unknown.
    """
    if query.count < 1:
        raise InvalidRequestError("count", f"wanted at least 1, got {query.count}")
    _seen_relations(query.exclude_seen, rules)
    known = view.nodes(rules.item_type).kinds
    for position, (attribute, _) in enumerate(query.category_filters):
        if known.get(attribute) != "category":
            choices = ", ".join(sorted(name for name, kind in known.items() if kind == "category")) or "none"
            raise InvalidRequestError(
                f"category_filters[{position}].attribute",
                f"no category attribute of items named {attribute!r} (choices: {choices})",
            )


def allowed_items(
    query: Query, view: GraphView, rules: InteractionRules, num_items: int
) -> npt.NDArray[np.bool_] | None:
    """Return bool ``[num_items]``, which items may be ranked; None if the query leaves nothing out.

    In a graph of users alone nobody is told to follow themselves.
    """
    is_social = rules.item_type == USER
    filters = (query.exclude_seen, query.exclude_items, query.allow_items, query.category_filters)
    if not is_social and not any(filters):
        return None
    items = view.nodes(rules.item_type)
    allowed = np.ones(num_items, bool)
    if query.allow_items:
        allowed[:] = False
        allowed[_rows(items.ids.rows(query.allow_items), num_items)] = True
    for attribute, values in query.category_filters:
        passing = items.has_category(attribute, values)[:num_items]
        allowed[: len(passing)] &= passing
        allowed[len(passing) :] = False
    if query.exclude_items:
        allowed[_rows(items.ids.rows(query.exclude_items), num_items)] = False
    row = view.nodes(USER).ids.row(query.user_id) if query.user_id else -1
    if is_social and 0 <= row < num_items:
        allowed[row] = False
    for relation in _seen_relations(query.exclude_seen, rules) if row >= 0 else ():
        allowed[_rows(view.edges(rules.edge_type(relation)).all_targets(row).rows, num_items)] = False
    if query.exclude_seen and query.recent_items:
        allowed[_rows(items.ids.rows(query.recent_items), num_items)] = False
    return allowed


def _seen_relations(names: Iterable[str], rules: InteractionRules) -> set[str]:
    """Return the relations that names of rules, of interaction types, or ``*`` stand for."""
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


def _rows(rows: npt.NDArray[np.int32], num_items: int) -> npt.NDArray[np.int32]:
    return rows[(rows >= 0) & (rows < num_items)]
