"""What goes with the items of a basket: what the people who had these lately had within the same day or session."""

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY
from springtide.graph.view import GraphView
from springtide.settings.interaction_rules import InteractionRules

Rows = npt.NDArray[np.int32]
Array = npt.NDArray[np.float32]

TOGETHER = "together"
"""Its name among the weights of an answer."""

WINDOW_MS = MS_PER_DAY // 2
"""Items that somebody had at most so far apart belong together: a basket, or a session."""

_MAX_ITEMS = 20  # Of the basket, the latest.
_MAX_PEOPLE = 100  # For each item, who had it latest.
_MAX_EACH = 64  # Of each of them, the latest items in the time.
_PRIOR = 20.0  # People who went by popularity alone are added to those who had an item.


def log_lifts(
    view: GraphView, rules: InteractionRules, basket: Rows, before_ms: int, num_items: int
) -> tuple[Rows, Array]:
    """Return the items that people had together with those of a basket, and how much likelier that was than usual.

    For an item j it is the logarithm of the mean over the basket's items b of P(j | b) / P(j), where P(j | b) is the
    share of the people with b who had j about then, shrunk to P(j), relative to what it is for items that nobody had
    with any of them.

    Args:
        view: The graph.
        rules: Which interactions are positive.
        basket: int32 ``[n]``, rows of the basket's items, the latest first.
        before_ms: Only what was before counts, milliseconds since the Unix epoch.
        num_items: Number of items that are ranked; later rows are left out.

    Returns:
        Rows int32 ``[m]``, ascending, and float32 ``[m]``, 0 or more.
    """
    basket = basket[:_MAX_ITEMS]
    num_people, found = np.zeros(len(basket)), []
    all_edges = [view.edges(rules.edge_type(relation)) for relation in rules.positive_relations]
    for edges in all_edges:
        people = edges.recent_sources(basket, _MAX_PEOPLE, before_ms)
        of, at = np.nonzero(people.rows >= 0)
        num_people += np.bincount(of, minlength=len(basket))
        times = people.timestamps_ms[of, at]
        items = edges.recent_targets(people.rows[of, at], _MAX_EACH, np.minimum(times + WINDOW_MS + 1, before_ms))
        is_near = (items.rows >= 0) & (items.timestamps_ms >= (times - WINDOW_MS)[:, np.newaxis])
        is_near &= items.rows < num_items
        which, _ = np.nonzero(is_near)
        found.append((items.rows[is_near], of[which]))
    counts = np.zeros(num_items)
    for near, of in found:
        counts += np.bincount(near, 1.0 / (num_people[of] + _PRIOR), num_items)
    rows = np.flatnonzero(counts)
    if not len(rows):
        return rows.astype(np.int32), np.empty(0, np.float32)
    degrees = np.zeros(len(rows), np.int64)
    for edges in all_edges:
        degrees += edges.degrees(rows, is_source=False)
    share = degrees / sum(map(len, all_edges))
    by_popularity = float(np.sum(_PRIOR / (num_people + _PRIOR)))
    lifts = 1.0 + counts[rows] / np.maximum(share, 1e-12) / by_popularity
    return rows.astype(np.int32), np.log(lifts).astype(np.float32)
