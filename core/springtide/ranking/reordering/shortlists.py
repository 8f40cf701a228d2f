"""The best items as rerankers get them, and the order that they give back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.errors import BypassedError, InvalidRequestError
from springtide.graph.nodes import NodeTable
from springtide.plugins.contracts.rerankers import Reranker, Shortlist
from springtide.plugins.loading import Plugins
from springtide.ranking.candidates import Candidates
from springtide.settings.model import PartSettings, RankingSettings

Positions = npt.NDArray[np.int32]


class TableAttributes:
    """The attributes of some items of a table; see ``ShortlistAttributes``.

    Args:
        items: All items.
        rows: int32 ``[n]``, rows of the shortlist.
    """

    __slots__ = ("_items", "_rows")

    def __init__(self, items: NodeTable, rows: npt.NDArray[np.int32]) -> None:
        self._items, self._rows = items, rows.astype(np.int64)

    def categories(self, name: str) -> list[tuple[str, ...]]:
        """Return the values of a category of each item; empty where it has none."""
        column = self._items.categories_among((name,)).get(name)
        if column is None:
            return [()] * len(self._rows)
        return [tuple(column.values(row)) for row in self._rows.tolist()]

    def numbers(self, name: str) -> npt.NDArray[np.float32]:
        """Return a number of each item, float32 ``[n]``, NaN where it has none."""
        return np.asarray(self._items.numbers_at(name, self._rows), np.float32)

    def texts(self, name: str) -> list[str]:
        """Return a text of each item; empty where it has none."""
        return [self._items.text(name, row) or "" for row in self._rows.tolist()]


def make_rerankers(settings: RankingSettings, plugins: Plugins) -> dict[str, Reranker]:
    """Return the rerankers that the settings name, by name.

    Raises:
        SettingsError: If one is unknown, or does not take its options.
    """
    wanted = settings.rerankers.items()
    return {name: plugins.make("reranker", PartSettings(name=name, options=options)) for name, options in wanted}


def reranker_of(name: str, rerankers: Mapping[str, Reranker], *, is_asked_for: bool) -> Reranker | None:
    """Return a reranker by its name; None if a scenario, and not the request, names one that there is not.

    Raises:
        InvalidRequestError: If the request names one that there is not.
    """
    found = rerankers.get(name)
    if found is None and name and is_asked_for:
        choices = ", ".join(sorted(rerankers)) or "none"
        raise InvalidRequestError("reranker", f"no reranker named {name!r} (choices: {choices})")
    return found


def reranked(reranker: Reranker, candidates: Candidates, order: Positions, count: int) -> Positions | None:
    """Return positions in the order of a reranker, those that it leaves out behind, int32 ``[m]``; None if it fails.

    Args:
        reranker: Orders them.
        candidates: The pool.
        order: int32 ``[m]``, the positions that it orders, highest scores first; at least one.
        count: How many of them the answer will have.
    """
    rows, table = candidates.rows[order], candidates.scorer.serving.table
    vectors = np.empty((len(rows), 0), np.float32)
    if table is not None:
        vectors = np.zeros((len(rows), table.vectors.shape[1]), np.float32)
        has_vector = rows < len(table.vectors)
        vectors[has_vector] = table.vectors[rows[has_vector]]
    query = candidates.query
    shortlist = Shortlist(
        [candidates.ids[position] for position in order.tolist()],
        candidates.scores[order],
        candidates.cosines[order],
        vectors,
        TableAttributes(candidates.scorer.items, rows),
        query.user_id,
        query.moment,
    )
    try:
        found = reranker.order(shortlist, count)
    except BypassedError:
        return None
    first: npt.NDArray[Any] = np.asarray(found, np.int64)
    is_left = np.ones(len(order), np.bool_)
    is_left[first] = False
    anew: Positions = order[np.concatenate([first, np.flatnonzero(is_left)])]
    return anew
