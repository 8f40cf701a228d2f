"""What rules and a booster add to the scores of items."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.ranking.weights import ItemOrder, ItemWeights

Array = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]
RULES, BOOSTER = "rules", "booster"
"""Names of the two among the weights of an answer."""

MAX_APART = 256  # Rows: to score so few by themselves takes ten microseconds.
_KEPT_BYTES = 64 * 2**20  # Of sums that are kept with the weights of a moment.
_MAX_KEPT = 8
_NO_ROWS: Rows = np.empty(0, np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class Boosts:
    """Logarithms of the factors that multiply the odds of items. It never changes.

    Attributes:
        rows: int32 ``[m]``, ascending: the items that have any; None for all items, in the order of their rows.
        by_name: By ``rules`` and ``booster``, as far as there are any, float32 ``[m]``.
        logs: float32 ``[m]``, their sum.
        is_kept: Whether later queries are likely to have the same object.
    """

    rows: Rows | None
    by_name: dict[str, Array]
    is_kept: bool
    logs: Array = field(init=False)

    def __post_init__(self) -> None:
        first, *others = self.by_name.values()
        total = first
        for logs in others:
            total = total + logs
        object.__setattr__(self, "logs", total)

    @property
    def num_bytes(self) -> int:
        """Bytes of the arrays."""
        return self.logs.nbytes * (1 + len(self.by_name))

    @property
    def are_few(self) -> bool:
        """Whether so few items have any that they are scored by themselves."""
        return self.rows is not None and len(self.rows) <= MAX_APART

    def of(self, rows: npt.NDArray[np.integer[Any]]) -> Array:
        """Return what is added to the scores of some rows, float32 ``[n]``."""
        return self._taken(self.logs, rows)

    def named(self, rows: npt.NDArray[np.integer[Any]]) -> Iterator[tuple[str, Array]]:
        """Return the parts of ``of`` by name."""
        for name, logs in self.by_name.items():
            yield name, self._taken(logs, rows)

    def add_to(self, scores: Array) -> None:
        """Add it to scores, in place; float32 ``[n]``, at least as many as there are rows."""
        if self.rows is None:
            scores[: len(self.logs)] += self.logs
        else:
            scores[self.rows] += self.logs

    def spread(self, num_items: int) -> "Boosts":
        """Return the same for all items, which are ``num_items``."""
        if self.rows is None:
            return self
        by_name = {}
        for name, logs in self.by_name.items():
            by_name[name] = np.zeros(num_items, np.float32)
            by_name[name][self.rows] = logs
        return Boosts(None, by_name, self.is_kept)

    def _taken(self, logs: Array, rows: npt.NDArray[np.integer[Any]]) -> Array:
        if self.rows is None:
            return logs.take(rows)
        found = np.zeros(len(rows), np.float32)
        if len(self.rows):
            at = self.rows.searchsorted(rows)
            has_any = self.rows.take(at, mode="clip") == rows
            found[has_any] = logs[at[has_any]]
        return found


def joined(boosts: Boosts | None, others: Boosts, num_items: int) -> Boosts:
    """Return two boosts as one.

    Args:
        boosts: None for nothing.
        others: Those of other names.
        num_items: Number of items.
    """
    if boosts is None:
        return others
    by_name = {**boosts.spread(num_items).by_name, **others.spread(num_items).by_name}
    return Boosts(None, by_name, is_kept=False)


def boost_ranked(boosts: Boosts, scores: Array) -> None:
    """Raise and lower items in the scores of a baseline, whose scale is unknown, in place.

    A factor of e moves an item by the standard deviation of all finite scores.

    Args:
        boosts: The boosts.
        scores: float32 ``[num_items]``.
    """
    finite = scores[np.isfinite(scores)]
    spread = np.float32(finite.std(dtype=np.float64)) if len(finite) else np.float32(0.0)
    spread = spread or np.float32(1.0)  # Equal scores are put in order by any factor.
    if boosts.rows is None:
        scores[: len(boosts.logs)] += spread * boosts.logs
    else:
        scores[boosts.rows] += spread * boosts.logs


class BoostedTotals:
    """The totals of unseen items at a moment with their boosts.

    Args:
        at_moment: The weights of the moment.
        boosts: The boosts of many items.

    Attributes:
        boosts: These boosts.
        totals: float32 ``[num_items]``.
    """

    __slots__ = ("_order", "boosts", "totals")

    def __init__(self, at_moment: ItemWeights, boosts: Boosts) -> None:
        self.boosts = boosts
        self.totals = at_moment.unseen_total.copy()
        boosts.add_to(self.totals)
        self._order: ItemOrder | None = None

    def order(self) -> ItemOrder:
        """Return the items with the highest totals; made when it is first asked for.

        To put those of a single query in order would take longer than to look at all of them: then it has no items.
        """
        if self._order is None:
            if self.boosts.is_kept:
                self._order = ItemOrder.of(self.totals)
            else:
                finite = self.totals[np.isfinite(self.totals)]
                self._order = ItemOrder(_NO_ROWS, float(finite.max()) if len(finite) else -np.inf)
        return self._order


def boosted(at_moment: ItemWeights, boosts: Boosts) -> BoostedTotals:
    """Return the totals with boosts; those that are to be asked for again are kept with the weights of the moment.

    Args:
        at_moment: The weights of the moment.
        boosts: The boosts of many items.
    """
    kept = at_moment.boosted
    found: BoostedTotals | None = kept.get(id(boosts))
    if found is not None and found.boosts is boosts:
        return found
    made = BoostedTotals(at_moment, boosts)
    if boosts.is_kept:
        most = max(1, min(_MAX_KEPT, _KEPT_BYTES // max(1, made.totals.nbytes)))
        for former in list(kept)[: max(0, len(kept) - most + 1)]:
            kept.pop(former, None)
        kept[id(boosts)] = made
    return made
