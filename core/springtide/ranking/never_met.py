"""The graph and a query as if a user had never met some items: all their events with them are gone, of any type."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from springtide.graph.edges import EdgeView, Neighbours
from springtide.ranking.filters import SeenRows
from springtide.ranking.query import Query

if TYPE_CHECKING:
    from springtide.graph.view import GraphView

Rows = npt.NDArray[np.int32]


def targets_without(edges: EdgeView, row: int, limit: int, removed: Rows | None) -> Neighbours:
    """Return the latest edges of one source, as if those to some targets had never been: earlier ones move up.

    Args:
        edges: The edges.
        row: The source; an unknown row has none.
        limit: How many edges at most.
        removed: int32 ``[n]``, the targets; None for none.

    Returns:
        Arrays ``[count]``, the newest first.
    """
    found = edges.all_targets(row, limit)
    if removed is None or not len(removed) or not len(found):
        return found
    is_left = ~np.isin(found.rows, removed)
    if is_left.all():
        return found
    if len(found) >= limit:
        found = edges.all_targets(row)
        is_left = ~np.isin(found.rows, removed)
    at = np.flatnonzero(is_left)[:limit]
    return Neighbours(found.rows[at], found.timestamps_ms[at], found.weights[at])


def seen_without(removed: Rows, seen_rows_of: SeenRows) -> SeenRows:
    """Return what finds the items that a user has seen, as another function does, but for some, int32 ``[n]``."""

    def seen_rows(view: "GraphView", user_id: str, row: int, relations: frozenset[str]) -> Rows:
        rows = seen_rows_of(view, user_id, row, relations)
        return rows[~np.isin(rows, removed)]

    return seen_rows


def untouched(query: Query, item_ids: list[str]) -> Query:
    """Return a query in which some items are not among those that the user has just touched."""
    if not query.recent_items:
        return query
    return replace(query, recent_items=tuple(each for each in query.recent_items if each not in item_ids))


def has_any(ascending: Rows, rows: Rows) -> bool:
    """Return whether some rows, int32 ``[n]``, are among others, which ascend."""
    return bool(len(ascending)) and bool((ascending.take(ascending.searchsorted(rows), mode="clip") == rows).any())
