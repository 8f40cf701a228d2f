"""Exploration: a share of an answer's slots goes to items of which little is known, each with a known probability.

Which slots are explored is drawn, and so is what they get: each slot that may be explored is as likely as the others,
and each item as likely as the others at each of them. So the propensity is exact: the expected number of explored
slots, by the number of slots and that of items. The items are those that the score would not show: the least known
ones, and of these the best for the user. Among them ``max_per`` holds beforehand, so that no draw has to be refused.
"""

import math
import random
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.graph.nodes import NodeTable
from springtide.graph.view import GraphView
from springtide.ranking.hash_kernels import hash_of
from springtide.settings.interaction_rules import InteractionRules

BUCKET_MS = 600_000
"""The same request within ten minutes is answered with the same draw, so that a page that is loaded again stays."""

MAX_EXPLORED = 100
"""So many items may be drawn: the fewer, the better they suit the user; the more, the more is learned of."""

MAX_LEAST_KNOWN = 1_000
"""So many of the least known items are looked at for those that suit the user."""

_FEW_EDGES = 100_000  # To put the items of a smaller graph in order takes few milliseconds.

Rows = npt.NDArray[np.int32]
_KEPT: weakref.WeakKeyDictionary[NodeTable, tuple[int, Rows]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Draw:
    """What exploration puts where.

    Attributes:
        items: By slot, 0 for the first: index among the items that may be drawn.
        propensity: For how likely each of these items was to get its slot, 0 to 1.
    """

    items: dict[int, int]
    propensity: float


def draw(slots: Sequence[int], num_items: int, share: float, seed: int) -> Draw:
    """Draw which slots are explored, and which items they get.

    Args:
        slots: The slots that may be explored.
        num_items: Number of items that may be drawn.
        share: Share of the slots that are explored on average, 0 to 1.
        seed: The same one gives the same draw.
    """
    if not slots or not num_items or share <= 0:
        return Draw({}, 0.0)
    generator = random.Random(seed)  # it chooses items, and no secrets
    least = math.floor(share * len(slots))
    rest = share * len(slots) - least
    most = min(least + (generator.random() < rest), num_items)
    expected = (1.0 - rest) * min(least, num_items) + rest * min(least + 1, num_items)
    chosen_slots, chosen_items = generator.sample(slots, most), generator.sample(range(num_items), most)
    propensity = expected / (len(slots) * num_items)
    return Draw(dict(zip(chosen_slots, chosen_items, strict=True)), propensity)


def seed_of(user_id: str, recent_items: Sequence[str], now_ms: int, page_number: int) -> int:
    """Return the seed of an answer: the same for a user (or a session) and a page within ``BUCKET_MS``."""
    words = (user_id, () if user_id else tuple(recent_items), now_ms // BUCKET_MS, page_number)
    return hash_of(repr(words).encode(errors="surrogatepass"))


def least_known(
    view: GraphView, rules: InteractionRules, allowed: npt.NDArray[np.bool_] | None, num_items: int
) -> Rows:
    """Return the items with the fewest interactions, the newest first among equal ones, int32 ``[n]``.

    Args:
        view: The graph.
        rules: Name the interactions.
        allowed: bool ``[num_items]``, the items to choose among; None for all.
        num_items: Number of items.
    """
    order = _order_of(view, rules, num_items)
    newer = np.arange(num_items - 1, len(order) - 1, -1, dtype=np.int32)  # They came after the order was made.
    found, num_found, start, block = [newer if allowed is None else newer[allowed[newer]]], 0, 0, 4 * MAX_LEAST_KNOWN
    num_found = len(found[0])
    while num_found < MAX_LEAST_KNOWN and start < len(order):
        rows = order[start : start + block]
        rows = rows[rows < num_items]
        found.append(rows if allowed is None else rows[allowed[rows]])
        num_found += len(found[-1])
        start, block = start + block, 4 * block
    return np.concatenate(found)[:MAX_LEAST_KNOWN]


def _order_of(view: GraphView, rules: InteractionRules, num_items: int) -> Rows:
    """Return the items in the order of ``least_known``, int32 ``[n]``: as it was until a 64th of the edges had changed.

    Of a million items it takes 0.1 s to make, and in a large graph a few events change nothing that matters here.
    """
    items, num_edges = view.nodes(rules.item_type), view.num_edges
    kept = _KEPT.get(items)
    if kept is not None:
        former_edges, order = kept
        num_changed = abs(num_edges - former_edges)
        if (num_edges > _FEW_EDGES and num_changed * 64 < num_edges) or (not num_changed and len(order) == num_items):
            return order
    rows = np.arange(num_items - 1, -1, -1)  # Later rows are newer items, as a rule.
    num_events = np.zeros(num_items, np.int64)
    for relation in rules.relations:
        num_events += view.edges(rules.edge_type(relation)).degrees(rows, is_source=False)
    order = rows[np.argsort(num_events, kind="stable")].astype(np.int32)
    _KEPT[items] = num_edges, order
    return order


def within_caps(
    num_items: int, caps: tuple[Rows, Rows, Rows, int] | None, taken: npt.NDArray[np.int32]
) -> npt.NDArray[np.int64]:
    """Return which items may be drawn together, int64 ``[m]``: each value at most as often as it may come.

    Args:
        num_items: Number of items, the best first.
        caps: (items, codes, most of each, number of codes), as the kernel takes them; None for no bound.
        taken: int32 ``[number of codes]``, how often each value is in the answer already.
    """
    if caps is None:
        return np.arange(num_items)
    values: list[list[tuple[int, int]]] = [[] for _ in range(num_items)]
    for item, code, most in zip(*(each.tolist() for each in caps[:3]), strict=True):
        values[item].append((code, most))
    counts, chosen = taken.copy(), []
    for item, of_item in enumerate(values):
        if all(counts[code] < most for code, most in of_item):
            chosen.append(item)
            for code, _ in of_item:
                counts[code] += 1
    return np.array(chosen, np.int64)
