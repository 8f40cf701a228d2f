"""How much work a query is, in plain queries: for admission and for the order in which queries are ranked."""

from springtide.ranking.query import Query

_PLAIN_ITEMS = 100  # So many items named or wanted are as much work as the rest of a query, at most.
_WORK_OF_FILTER = 50  # A filter's, in items; it looks through all items, unless it was asked for lately.


def work_of(query: Query) -> float:
    """Return how many times the work of a plain query a query may be, for ``MicroBatcher``: roughly, and 1 or more.

    Filters and boosters of one query look through all items; rules and scenarios are compiled once for all.
    """
    num_items = len(query.recent_items) + len(query.exclude_items) + len(query.allow_items) + query.count
    num_filters = len(query.category_filters)
    if query.steering is not None or query.came_since_ms is not None:
        num_filters += query.came_since_ms is not None
        if (steering := query.steering) is not None:
            num_filters += bool(steering.filter) + bool(steering.booster)
    return 1.0 + (num_items + _WORK_OF_FILTER * num_filters) / _PLAIN_ITEMS
