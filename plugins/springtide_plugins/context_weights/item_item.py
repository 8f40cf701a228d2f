"""What people had who also had what the user had: item-item weights, fitted in a training."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import PositiveFloat, PositiveInt

from springtide.plugins.contracts import ContextWeight, Factor, History, Moment, Observed, RelatedItems
from springtide_plugins.context_weights.neighbour_kernels import sums_of
from springtide_plugins.ridge import upper_inverse

Int32s = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

_GRAM_ROWS = 512  # Of items, multiplied at once: a sparse product of all would take thrice the memory.
_SMALLEST = 1e-4  # Smaller weights say nothing: the floor is a hundred times as large.


class ItemItem(ContextWeight):
    """How much the items of a user's history speak for an item: the sum of their item-item weights, over a floor.

    The weights are those of the matrix with a diagonal of 0 that reproduces the users' items best, in squared error
    (EASE: Steck 2019, Embarrassingly Shallow Autoencoders for Sparse Data, equation 8). Each item keeps its greatest
    positive ones. With the sum ``e`` of an item, its log lift is ``log((max(e, 0) + floor) / floor)``: 0 for items of
    which no weight speaks. Where a long history speaks for more than ``max_related``, lifts are over the next greatest
    sum in place of 0: a step between the last item that is taken and the next would say more than the weights do. The
    weights are learned in trainings; the history is the user's at the moment.

    Args:
        l2: L2 penalty, in users.
        neighbours: Other items that an item speaks for, at most.
        max_related: Items that a history speaks for, at most: those with the greatest sums.
        max_items: Number of most popular items that have weights. The fit takes time in proportion to its cube, and its
            square times 12 bytes of memory.
        floor: The sum at which the lift is 2.
    """

    factors = (Factor("together", words="had {lift} as much by people who had what you had"),)

    def __init__(
        self,
        l2: PositiveFloat = 500.0,
        neighbours: PositiveInt = 200,
        max_related: PositiveInt = 1_500,
        max_items: PositiveInt = 5_000,
        floor: PositiveFloat = 0.02,
    ) -> None:
        self._l2 = l2
        self._neighbours = neighbours
        self._max_related = max_related
        self._max_items = max_items
        self._floor = floor
        self._fitted: _Neighbours | None = None

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> Mapping[str, npt.NDArray[Any]]:
        """Return the greatest positive weights of each of the most popular items.

        ``kept`` int32 ``[n]``, ascending, are the rows of these items; ``pointers`` int64 ``[n + 1]``, ``targets``
        int32 and ``values`` float32 the weights as a sparse matrix by rows: from an item to those that it speaks for,
        as positions in ``kept``, ascending.
        """
        from scipy import sparse

        pairs = np.unique(interactions.user_rows.astype(np.int64) * num_items + interactions.item_rows)
        users, items = pairs // max(num_items, 1), pairs % max(num_items, 1)
        num_users_of = np.bincount(items, minlength=num_items)
        num_kept = min(self._max_items, int(np.count_nonzero(num_users_of)))
        kept = np.sort(np.argsort(-num_users_of, kind="stable")[:num_kept]).astype(np.int32)
        if num_kept < 2:
            return {}
        position = np.full(num_items, -1, np.int32)
        position[kept] = np.arange(num_kept)
        is_kept = position[items] >= 0
        of_kept = position[items[is_kept]], users[is_kept]
        ones = np.ones(len(of_kept[0]), np.float32)
        seen = sparse.csr_array((ones, of_kept), shape=(num_kept, num_users))
        return {"kept": kept, **self._strongest(self._inverse(seen, seen.T.tocsr()))}

    def _inverse(self, by_item: Any, by_user: Any) -> Floats:
        """Return the upper half of the inverse of the regularised numbers of common users, float32 ``[n, n]``."""
        count = by_item.shape[0]
        gram = np.empty((count, count), np.float32)
        for first in range(0, count, _GRAM_ROWS):
            gram[first : first + _GRAM_ROWS] = (by_item[first : first + _GRAM_ROWS] @ by_user).toarray()
        return upper_inverse(gram, self._l2, "item_item")

    def _strongest(self, inverse: Floats) -> dict[str, npt.NDArray[Any]]:
        """Return the greatest positive weights of each item; the upper half of the inverse is overwritten."""
        diagonal = np.diag(inverse).copy()
        upper = np.triu(inverse, 1)
        counts, targets, values = [], [], []
        for row in range(len(inverse)):
            weights = upper[row] + upper[:, row]
            weights /= -diagonal
            found = np.flatnonzero(weights > _SMALLEST)
            if len(found) > self._neighbours:
                order = np.argsort(-weights[found], kind="stable")[: self._neighbours]
                found = np.sort(found[order])
            counts.append(len(found))
            targets.append(found.astype(np.int32))
            values.append(weights[found])
        pointers = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return {"pointers": pointers, "targets": np.concatenate(targets), "values": np.concatenate(values)}

    def adopted(self, fitted: Mapping[str, npt.NDArray[Any]], item_rows: Int32s) -> "ItemItem":
        """Return a weight that speaks by these item-item weights."""
        made = ItemItem(self._l2, self._neighbours, self._max_related, self._max_items, self._floor)
        made._fitted = _Neighbours(fitted, item_rows)
        return made

    def related(self, history: History, moment: Moment) -> RelatedItems | None:
        """Return the items that the history speaks for."""
        if self._fitted is None:
            return None
        items, _ = history.distinct()
        rows, sums, least = self._fitted.greatest(items, self._max_related)
        if not len(rows):
            return None
        floor = np.float32(self._floor)
        return RelatedItems(rows, np.log((sums + floor) / (least + floor))[None, :])


class _Neighbours:
    """The weights from each item to others, by live rows.

    Args:
        fitted: What ``ItemItem.fit`` returned.
        item_rows: int32, the live row of each item that the fit knew; -1 for none.
    """

    def __init__(self, fitted: Mapping[str, npt.NDArray[Any]], item_rows: Int32s) -> None:
        self._pointers, self._targets, self._values = (fitted[name] for name in ("pointers", "targets", "values"))
        self._live_rows = live = item_rows[fitted["kept"]]
        self._position = np.full(int(live.max(initial=-1)) + 1, -1, np.int32)
        known = np.flatnonzero(live >= 0)
        self._position[live[known]] = known

    def greatest(self, items: Int32s, count: int) -> tuple[Int32s, Floats, np.float32]:
        """Return the live rows of the items with the greatest sums of weights, ascending, these sums, and the next one.

        The next one is the greatest sum of all others; 0 where there are no more than ``count``.

        Args:
            items: int32, ascending: rows of the items whose weights are added.
            count: How many items, at most; fewer where several have the next sum.
        """
        known = self._position[items[: items.searchsorted(len(self._position))]]
        # In the order of the fit, not of live rows: two servers add the same numbers in the same order.
        known = np.sort(known[known >= 0])
        positions, sums = sums_of(known, self._pointers, self._targets, self._values)
        rows = self._live_rows[positions]
        is_live = rows >= 0
        if not is_live.all():
            rows, sums = rows[is_live], sums[is_live]
        least = np.float32(0.0)
        if len(rows) > count:
            at = len(sums) - count - 1
            least = np.partition(sums, at)[at]
            is_greater = sums > least
            rows, sums = rows[is_greater], sums[is_greater]
        if (rows[1:] < rows[:-1]).any():
            order = np.argsort(rows)
            rows, sums = rows[order], sums[order]
        return rows, sums, least
