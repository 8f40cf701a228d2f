"""The best items by their scores, and the rank of a given item."""

import heapq
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from springtide.ids import IdMap

Array = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]
_BLOCK = 64  # Columns.
_FEW = 8


def best_of(scores: Array, counts: Sequence[int], ids: IdMap) -> list[tuple[Int64s, list[str]]]:
    """Return the rows and the ids of the items with the highest finite scores, best first, for each query.

    Items that are forgotten at this moment are left out, even if their scores are finite. Items of equal scores are in
    the order of their ids, so that two servers that read the same events in another order give the same answer.

    Args:
        scores: float32 ``[num_queries, num_items]``; scores of forgotten items may be overwritten.
        counts: The most items to return for each query.
        ids: Ids of the items.
    """
    top = []
    for count, of_query in zip(counts, scores, strict=True):
        rows, names = _best(of_query, count, ids)
        while not all(names):
            # Some were forgotten after the scores were made, which is rare: the search is repeated without them.
            of_query[rows[[not name for name in names]]] = -np.inf
            rows, names = _best(of_query, count, ids)
        top.append((rows, names))
    return top


def _best(scores: Array, count: int, ids: IdMap) -> tuple[Int64s, list[str]]:
    """Return the best rows and their ids, those of equal scores in the order of their ids; no id for a forgotten one.

    Args:
        scores: float32 ``[num_items]``.
        count: The most rows to return.
        ids: Ids of the items.
    """
    if count < 1:
        return np.empty(0, np.int64), []
    rows, values = _highest(scores, count)
    if len(rows) > count:
        lowest = values[count - 1]
        if values[count] == lowest:
            better, equal = rows[values > lowest], rows[values == lowest]
            names = ids.ids(equal)  # A forgotten item has no name; it comes first, so that the caller meets it.
            chosen = heapq.nsmallest(count - len(better), range(len(equal)), key=names.__getitem__)
            rows = np.concatenate([better, equal[chosen]])
        else:
            rows = rows[:count]
        values = values[:count]
    names = ids.ids(rows)
    if (values[1:] == values[:-1]).any():
        by_name = sorted(range(len(rows)), key=lambda index: (-values[index], names[index]))
        return rows[by_name], [names[index] for index in by_name]
    return rows, names


def _highest(scores: Array, count: int) -> tuple[Int64s, Array]:
    """Return rows and values of finite scores, descending: the highest, all that are equal to them, and maybe more.

    There are fewer than ``count`` if fewer scores are finite; those of equal scores are in ascending order.

    Args:
        scores: float32 ``[num_items]``.
        count: How many are wanted, at least 1.
    """
    rows, values = _sorted(scores, (scores >= _bound(scores, count)).nonzero()[0], count)
    if len(rows) < count or not (math.isfinite(values[0]) and math.isfinite(values[-1])):
        # A bound that is not finite bounds nothing.
        rows, values = _sorted(scores, np.isfinite(scores).nonzero()[0], count)
    return rows, values


def _sorted(scores: Array, rows: Int64s, count: int) -> tuple[Int64s, Array]:
    values = scores[rows]
    if len(rows) > _FEW * count:  # To sort fewer takes no longer than to look for the highest.
        kept = values >= np.partition(values, len(values) - count)[len(values) - count]
        rows, values = rows[kept], values[kept]
    order = (-values).argsort(kind="stable")
    return rows[order], values[order]


def _bound(scores: Array, count: int) -> np.float32:
    """Return a number that at least ``count`` scores reach: the maxima of as many blocks do.

    To look for the highest among few maxima, and then among the few scores that reach the lowest of these, takes a
    sixth of the time of looking among all.
    """
    num_blocks = len(scores) // _BLOCK
    if num_blocks < count:
        return np.float32(-np.inf)
    maxima = scores[: num_blocks * _BLOCK].reshape(_BLOCK, num_blocks).max(axis=0)
    maxima.partition(num_blocks - count)
    bound: np.float32 = maxima[num_blocks - count]
    return bound


def ranks_of(scores: Array, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Return the rank of one item in each row of scores, int64 ``[n]``, 1 for the best.

    Items of equal scores share the middle one of their ranks. An item that is not ranked has rank ``num_items + 1``.

    Args:
        scores: float32 ``[n, num_items]``, ``-inf`` for items that are not ranked.
        rows: int32 ``[n]``; an item without a column (-1, or past the last) is not ranked.
    """
    num_items = scores.shape[1]
    ranks = np.full(len(rows), num_items + 1, np.int64)
    for position, (of_query, row) in enumerate(zip(scores, rows.tolist(), strict=True)):
        if 0 <= row < num_items and np.isfinite(of_query[row]):
            num_higher = np.count_nonzero(of_query > of_query[row])
            num_equal = np.count_nonzero(of_query == of_query[row])
            ranks[position] = 1 + num_higher + (num_equal - 1) // 2
    return ranks
