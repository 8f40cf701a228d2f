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
_LEVELS = 127  # Of either sign, in a byte.


class ItemItem(ContextWeight):
    """How much the items of a user's history speak for an item: the sum of their item-item weights, over a floor.

    The weights are those of the matrix with a diagonal of 0 that reproduces the users' items best, in squared error
    (EASE: Steck 2019, Embarrassingly Shallow Autoencoders for Sparse Data, equation 8). All count, the negative ones
    too: without these, or with few for each item, nothing is gained (record 0021). They are kept in bytes. With the sum
    ``e`` of an item, its log lift is ``log((max(e, 0) + floor) / floor)``: 0 for items that are not spoken for, and for
    those of the history itself, of which ``repeat`` and ``reorder`` know more. Where a history speaks for more than
    ``max_related``, lifts are over the next greatest sum in place of 0: a step between the last item that is taken and
    the next would say more than the weights do. The weights are learned in trainings; the history is the user's at the
    moment.

    Args:
        l2: L2 penalty, in users.
        max_related: Items that a history speaks for, at most: those with the greatest sums. None for all.
        max_items: Number of most popular items that have weights. The fit takes time in proportion to its cube, and its
            square times 12 bytes of memory; a model holds its square of bytes.
        floor: The sum at which the lift is 2.
    """

    factors = (Factor("together", words="had {lift} as much by people who had what you had"),)

    def __init__(
        self,
        l2: PositiveFloat = 500.0,
        max_related: PositiveInt | None = None,
        max_items: PositiveInt = 4_000,
        floor: PositiveFloat = 0.02,
    ) -> None:
        self._l2 = l2
        self._max_related = max_related
        self._max_items = max_items
        self._floor = floor
        self._fitted: _Weights | None = None

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> Mapping[str, npt.NDArray[Any]]:
        """Return the weights between the most popular items.

        ``kept`` int32 ``[n]``, ascending, are the rows of these items; ``weights`` int8 ``[n, n]`` how much the item of
        a row speaks for that of a column, in ``scales`` of the column, float32 ``[n]``.
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
        weights, scales = _in_bytes(self._inverse(seen, seen.T.tocsr()))
        return {"kept": kept, "weights": weights, "scales": scales}

    def _inverse(self, by_item: Any, by_user: Any) -> Floats:
        """Return the upper half of the inverse of the regularised numbers of common users, float32 ``[n, n]``."""
        count = by_item.shape[0]
        gram = np.empty((count, count), np.float32)
        for first in range(0, count, _GRAM_ROWS):
            gram[first : first + _GRAM_ROWS] = (by_item[first : first + _GRAM_ROWS] @ by_user).toarray()
        return upper_inverse(gram, self._l2, "item_item")

    def adopted(self, fitted: Mapping[str, npt.NDArray[Any]], item_rows: Int32s) -> "ItemItem":
        """Return a weight that speaks by these item-item weights."""
        made = ItemItem(self._l2, self._max_related, self._max_items, self._floor)
        if "weights" in fitted:  # Versions before kept a sparse matrix: they go on without it.
            made._fitted = _Weights(fitted, item_rows)
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
        sums += floor
        sums /= least + floor
        return RelatedItems(rows, np.log(sums, out=sums)[np.newaxis])


def _in_bytes(inverse: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Return the weights ``-inverse / diagonal``, int8 ``[n, n]``, and what one is worth in each column, float32.

    The diagonal is 0. The greatest weight of each column is the greatest number of a byte.

    Args:
        inverse: float32 ``[n, n]``, its upper half; it is overwritten.
    """
    count = len(inverse)
    diagonal = np.diag(inverse).copy()
    np.fill_diagonal(inverse, 0.0)
    for first in range(0, count, _GRAM_ROWS):
        last = min(first + _GRAM_ROWS, count)
        inverse[last:, first:last] = inverse[first:last, last:].T
        block = np.triu(inverse[first:last, first:last])
        inverse[first:last, first:last] = block + block.T
    weights = np.empty((count, count), np.int8)
    greatest = np.zeros(count, np.float32)
    for first in range(0, count, _GRAM_ROWS):
        np.maximum(greatest, np.abs(inverse[first : first + _GRAM_ROWS]).max(0), out=greatest)
    levels = np.where(greatest > 0, _LEVELS / np.maximum(greatest, np.finfo(np.float32).tiny), 0.0).astype(np.float32)
    for first in range(0, count, _GRAM_ROWS):
        block = inverse[first : first + _GRAM_ROWS] * -levels
        weights[first : first + _GRAM_ROWS] = np.rint(block, out=block)
    return weights, greatest / (_LEVELS * diagonal)


class _Weights:
    """The weights from each item to others, by live rows.

    Args:
        fitted: What ``ItemItem.fit`` returned.
        item_rows: int32, the live row of each item that the fit knew; -1 for none.
    """

    def __init__(self, fitted: Mapping[str, npt.NDArray[Any]], item_rows: Int32s) -> None:
        self._weights, self._scales = fitted["weights"], fitted["scales"]
        live_rows = item_rows[fitted["kept"]]
        self._position = np.full(int(live_rows.max(initial=-1)) + 1, -1, np.int32)
        known = np.flatnonzero(live_rows >= 0)
        self._position[live_rows[known]] = known
        order = known[np.argsort(live_rows[known])]
        self._rows = live_rows[order]
        # The columns in the order of live rows; None where they are in it already.
        self._order = None if np.array_equal(order, np.arange(len(live_rows))) else order

    def greatest(self, items: Int32s, count: int | None) -> tuple[Int32s, Floats, np.float32]:
        """Return the live rows of the items with the greatest sums of weights, ascending, these sums, and the next one.

        Items whose weights are added are left out. The next one is the greatest sum of all others; 0 where there are no
        more than ``count``.

        Args:
            items: int32, ascending: rows of the items whose weights are added.
            count: How many items, at most; fewer where several have the next sum. None for all above 0.
        """
        known = self._position[items[: items.searchsorted(len(self._position))]]
        known = known[known >= 0]
        least = np.float32(0.0)
        if not len(known):
            return known, np.empty(0, np.float32), least
        sums = sums_of(known, self._weights, self._scales)
        sums[known] = 0.0
        if self._order is not None:
            sums = sums[self._order]
        if count is not None and len(sums) > count:
            at = len(sums) - count - 1
            least = max(least, np.partition(sums, at)[at])
        is_greater = sums > least
        return self._rows[is_greater], sums[is_greater], least
