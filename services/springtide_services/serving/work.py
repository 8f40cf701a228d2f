"""How much work a query is, in plain queries: for admission and for the order in which queries are ranked."""

from springtide.ranking.query import Query

_PLAIN_ITEMS = 100  # So many items named or wanted are as much work as the rest of a query, at most.
_WORK_OF_FILTER = 50  # A filter's, in items; it looks through all items, unless it was asked for lately.


def work_of(query: Query) -> float:
    """Return how many times the work of a plain query a query may be, for ``MicroBatcher``: roughly, and 1 or more."""
    num_named = len(query.recent_items) + len(query.exclude_items) + len(query.allow_items)
    return work_of_items(num_named + query.count, len(query.category_filters))


def work_of_items(num_items: int, num_filters: int) -> float:
    """Return the work of a query that names or wants so many items, and has so many filters."""
    return 1.0 + (num_items + _WORK_OF_FILTER * num_filters) / _PLAIN_ITEMS
