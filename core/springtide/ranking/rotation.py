"""Rotation: what was shown to a user and ignored sinks, and comes back with time."""

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY
from springtide.graph.view import GraphView
from springtide.ranking.never_met import targets_without
from springtide.settings.interaction_rules import InteractionRules

ROTATION = "rotation"
"""Name of the factor among the weights of an answer."""

DEFAULT_TIME_MS = MS_PER_DAY
_LEAST_LOG = (
    -30.0
)  # Of one fresh show at a rate of 1: below any score, so that it comes only where nothing else is left.
_NEVER_MS = np.iinfo(np.int64).min
_MAX_EDGES = 4_096  # Of a user and a relation, the latest; that is 200 pages of 20 items in the rotation's time.


@dataclass(frozen=True, slots=True, eq=False)
class Rotated:
    """The items that a user was shown and has ignored.

    Attributes:
        rows: int32 ``[m]``, ascending.
        logs: float32 ``[m]``, what that adds to the score of each, below 0.
    """

    rows: npt.NDArray[np.int32]
    logs: npt.NDArray[np.float32]


NOTHING_ROTATED = Rotated(np.empty(0, np.int32), np.empty(0, np.float32))


def rotation(
    view: GraphView,
    rules: InteractionRules,
    user_row: int,
    now_ms: int,
    rate: float,
    time_ms: int,
    num_items: int,
    removed: npt.NDArray[np.int32] | None = None,
) -> Rotated:
    """Return which items sink for a user, and by how much.

    Each time that an item was shown, and not taken since, multiplies its odds by ``1 - rate`` to the power of what is
    left of that show: 1 when it was shown, falling evenly to 0 after ``time_ms``.

    Args:
        view: The graph.
        rules: Say which interactions are shows, and which take an item: all others that are not negative.
        user_row: The user's row, -1 for an unknown one.
        now_ms: The time, milliseconds since the Unix epoch; later shows do not count.
        rate: 0 (nothing sinks) to 1 (what was shown comes last until it is back).
        time_ms: After how long a show is forgotten, in milliseconds, above 0.
        num_items: Rows from here on are left out.
        removed: int32 ``[n]``, items that count as if the user had never met them; None for none.
    """
    shown_in, taken_in = _relations(rules)
    if user_row < 0 or rate <= 0 or not shown_in:
        return NOTHING_ROTATED
    rows, times_ms = _edges(view, rules, shown_in, user_row, removed)
    is_counted = (times_ms > now_ms - time_ms) & (times_ms <= now_ms) & (rows < num_items)
    rows, times_ms = rows[is_counted], times_ms[is_counted]
    if not len(rows):
        return NOTHING_ROTATED
    distinct, inverse = np.unique(rows, return_inverse=True)
    last_taken_ms = np.full(len(distinct), _NEVER_MS)
    taken_rows, taken_ms = _edges(view, rules, taken_in, user_row, removed)
    at = np.searchsorted(distinct, taken_rows)
    counts = (distinct.take(at, mode="clip") == taken_rows) & (taken_ms <= now_ms)
    np.maximum.at(last_taken_ms, at[counts], taken_ms[counts])
    left = np.where(times_ms > last_taken_ms[inverse], 1.0 - (now_ms - times_ms) / time_ms, 0.0)
    of_show = max(math.log1p(-rate), _LEAST_LOG) if rate < 1 else _LEAST_LOG
    logs = of_show * np.bincount(inverse, left, minlength=len(distinct))
    sinks = logs < 0
    return Rotated(distinct[sinks].astype(np.int32), logs[sinks].astype(np.float32))


@functools.lru_cache(maxsize=64)
def _relations(rules: InteractionRules) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the relations in which items are shown, and those in which they are taken."""
    shown = rules.shown_relations
    taken = tuple(rule.name for rule in rules.rules if rule.name not in shown and not rule.is_negative)
    return shown, taken


def _edges(
    view: GraphView,
    rules: InteractionRules,
    relations: tuple[str, ...],
    user_row: int,
    removed: npt.NDArray[np.int32] | None,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return the items of a user's latest edges of some relations, int32 ``[n]``, and their times, int64 ``[n]``."""
    of_relations = (view.edges(rules.edge_type(relation)) for relation in relations)
    found = [targets_without(edges, user_row, _MAX_EDGES, removed) for edges in of_relations]
    if not found:
        return np.empty(0, np.int32), np.empty(0, np.int64)
    return np.concatenate([each.rows for each in found]), np.concatenate([each.timestamps_ms for each in found])
