"""Linear item-to-item models: the user's items times a matrix of weights."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from scipy import sparse

from springtide.plugins.contracts import History, Observed
from springtide_plugins.baselines.histories import HistoryEvents, scaled_below_one, seen_matrix
from springtide_plugins.baselines.popularity import Popularity
from springtide_plugins.ridge import upper_inverse

_TIE_BREAK = 1e-6  # Weight of popularity beside products, which are between 0 and about 1.
_MAX_SWEEPS = 50
_SMALLEST_STEP = 1e-4  # No weight moves further in the last sweep; weights are between 0 and about 1.


class _Linear(Popularity):
    """The user's items times a matrix of weights; items outside the matrix come last, by popularity."""

    learned: ClassVar[tuple[str, ...]] = ("num_users_of", "kept_items")
    kept_items: npt.NDArray[np.int32]  # [num_kept], the most popular items.
    max_items: int

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Choose the most popular items, and learn their matrix."""
        super().fit(interactions, num_users, num_items)
        order = np.argsort(-self.num_users_of, kind="stable")
        num_kept = min(self.max_items, int(np.count_nonzero(self.num_users_of)))
        self.kept_items = np.sort(order[:num_kept]).astype(np.int32)
        seen = seen_matrix(interactions, num_users, num_items)[:, self.kept_items]
        # A full sparse product would take three times the memory of the dense result.
        gram = np.zeros((num_kept, num_kept), np.float32)
        by_item = seen.T.tocsr()
        for first in range(0, num_kept, 512):
            gram[first : first + 512] = (by_item[first : first + 512] @ seen).toarray()
        self.learn(gram)

    def learn(self, gram: npt.NDArray[np.float32]) -> None:
        """Learn from the numbers of common users, float32 ``[num_kept, num_kept]``, which may be overwritten."""
        raise NotImplementedError

    def times(self, seen: sparse.csr_array) -> npt.NDArray[np.float32]:
        """Return the product of the seen items of users ``[n, num_kept]`` and the matrix, float32 ``[n, num_kept]``."""
        raise NotImplementedError

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return products with the matrix; popularity for users without any item in it."""
        popularity = scaled_below_one(self.num_users_of)
        seen = HistoryEvents.of(histories, self.num_items).seen(now_ms)[:, self.kept_items]
        scores = np.tile(popularity, (len(histories), 1))  # [n, num_items]
        with_items = np.flatnonzero(np.diff(seen.indptr))
        if len(with_items):
            products = self.times(seen[with_items])
            # Popularity ranks the items whose products are equal, such as 0.
            products = products + np.float32(_TIE_BREAK) * popularity[self.kept_items]
            scores[with_items] += products.min(axis=1, keepdims=True) - 1.0
            scores[np.ix_(with_items, self.kept_items)] = products
        return scores


class EASE(_Linear):
    """The matrix with a diagonal of 0 that reproduces the users' items best, in squared error.

    Steck 2019, Embarrassingly Shallow Autoencoders for Sparse Data. The matrix is dense: ``max_items`` squared times 4
    bytes, in memory and in the registry; the fit needs three times as much.

    Args:
        l2: L2 penalty.
        max_items: Number of most popular items in the matrix; the others come last, by popularity.
    """

    learned = (*_Linear.learned, "matrix")
    matrix: npt.NDArray[np.float32]  # [num_kept, num_kept]

    def __init__(self, l2: PositiveFloat = 500.0, max_items: PositiveInt = 10_000) -> None:
        self.l2 = l2
        self.max_items = max_items

    def learn(self, gram: npt.NDArray[np.float32]) -> None:
        """Invert the regularised matrix by Cholesky decomposition."""
        inverse = upper_inverse(gram, self.l2, "ease")
        upper = np.triu(inverse, 1)
        diagonal = np.diag(inverse).copy()
        del inverse
        matrix = upper + upper.T
        matrix /= -diagonal
        self.matrix = np.ascontiguousarray(matrix)

    def times(self, seen: sparse.csr_array) -> npt.NDArray[np.float32]:
        """Multiply."""
        product: npt.NDArray[np.float32] = seen @ self.matrix
        return product


class SLIM(_Linear):
    """The sparse matrix of non-negative weights that reproduces the users' items best (Ning and Karypis 2011).

    Each item has its own elastic net, over the items with the most common users.

    Args:
        l1: L1 penalty, in users.
        l2: L2 penalty, in users.
        neighbours: Number of other items that may have a weight for an item, at most.
        max_items: Number of most popular items in the matrix; the others come last, by popularity. The fit needs its
            square times 4 bytes.
    """

    learned = (*_Linear.learned, "matrix")
    matrix: sparse.csr_array  # float32 [num_kept, num_kept]

    def __init__(
        self,
        l1: NonNegativeFloat = 1.0,
        l2: PositiveFloat = 50.0,
        neighbours: PositiveInt = 100,
        max_items: PositiveInt = 10_000,
    ) -> None:
        self.l1 = l1
        self.l2 = l2
        self.neighbours = neighbours
        self.max_items = max_items

    def learn(self, gram: npt.NDArray[np.float32]) -> None:
        """Fit the elastic nets by coordinate descent."""
        num_kept = len(gram)
        count = min(self.neighbours, num_kept - 1)
        if count == 0:
            self.matrix = sparse.csr_array(np.zeros((num_kept, num_kept), np.float32))
            return
        from springtide_plugins.baselines.fitting import elastic_nets  # Imports numba, which serving does not need.

        candidates, weights = elastic_nets(gram, count, self.l1, self.l2, _MAX_SWEEPS, _SMALLEST_STEP)
        columns = np.repeat(np.arange(num_kept), count)
        is_used = weights.ravel() > 0.0
        triples = (weights.ravel()[is_used], (candidates.ravel()[is_used], columns[is_used]))
        self.matrix = sparse.csr_array(triples, shape=(num_kept, num_kept))

    def times(self, seen: sparse.csr_array) -> npt.NDArray[np.float32]:
        """Multiply."""
        product: npt.NDArray[np.float32] = (seen @ self.matrix).toarray()
        return product
