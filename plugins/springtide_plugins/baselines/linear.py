"""Linear models between items: what a user had, times one matrix."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from numba import njit
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from scipy import sparse
from scipy.linalg import lapack

from springtide.errors import TrainingError
from springtide.plugins.contracts import History, Observed
from springtide_plugins.baselines.neighbours import had_in
from springtide_plugins.baselines.popularity import Popularity
from springtide_plugins.baselines.taken import Taken, below_one, had_by

_NEXT_TO_NOTHING = 1e-6  # Share of popularity beside products, which are between 0 and about 1 where they say anything.
_MAX_SWEEPS = 50
_SMALLEST_STEP = 1e-4  # No weight moves further in the last sweep; weights are between 0 and about 1.


class _Linear(Popularity):
    """What a user had times a matrix of items; the items that the matrix does not hold come last, by popularity."""

    learned: ClassVar[tuple[str, ...]] = ("num_users_of", "kept_items")
    kept_items: npt.NDArray[np.int32]  # [num_kept], the most popular ones.
    max_items: int

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Choose the most popular items, and learn of them."""
        super().fit(interactions, num_users, num_items)
        order = np.argsort(-self.num_users_of, kind="stable")
        num_kept = min(self.max_items, int(np.count_nonzero(self.num_users_of)))
        self.kept_items = np.sort(order[:num_kept]).astype(np.int32)
        had = had_by(interactions, num_users, num_items)[:, self.kept_items]
        # A product of sparse matrices would take three times the memory of the dense one at its fullest.
        gram = np.zeros((num_kept, num_kept), np.float32)
        by_item = had.T.tocsr()
        for first in range(0, num_kept, 512):
            gram[first : first + 512] = (by_item[first : first + 512] @ had).toarray()
        self.learn(gram)

    def learn(self, gram: npt.NDArray[np.float32]) -> None:
        """Learn the matrix from the users that items share, float32 ``[num_kept, num_kept]``; it may be overwritten."""
        raise NotImplementedError

    def times(self, had: sparse.csr_array) -> npt.NDArray[np.float32]:
        """Return float32 ``[n, num_kept]`` for users who had this, ``[n, num_kept]``."""
        raise NotImplementedError

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return what the user had times the matrix; popularity for those who had nothing that it holds."""
        popularity = below_one(self.num_users_of)
        had = had_in(Taken.of(histories, self.num_items), now_ms)[:, self.kept_items]
        scores = np.tile(popularity, (len(histories), 1))  # [n, num_items]
        knows = np.flatnonzero(np.diff(had.indptr))
        if len(knows):
            found = self.times(had[knows])
            # What no weight says anything about goes by popularity, too small to tell apart what they do.
            found = found + np.float32(_NEXT_TO_NOTHING) * popularity[self.kept_items]
            scores[knows] += found.min(axis=1, keepdims=True) - 1.0
            scores[np.ix_(knows, self.kept_items)] = found
        return scores


class EASE(_Linear):
    """The matrix without a diagonal that reproduces best what users had.

    Steck 2019, Embarrassingly Shallow Autoencoders for Sparse Data. The matrix is dense: ``max_items`` squared times 4
    bytes, in memory and in the registry; fitting takes three times that.

    Args:
        l2: Penalty.
        max_items: How many of the most popular items are looked at; the others come last, by popularity.
    """

    learned = (*_Linear.learned, "matrix")
    matrix: npt.NDArray[np.float32]  # [num_kept, num_kept]

    def __init__(self, l2: PositiveFloat = 500.0, max_items: PositiveInt = 10_000) -> None:
        self.l2 = l2
        self.max_items = max_items

    def learn(self, gram: npt.NDArray[np.float32]) -> None:
        """Invert it by Cholesky."""
        gram[np.diag_indices_from(gram)] += self.l2
        # Column-major without a copy, since it is symmetric. Single precision is enough: l2 bounds the condition.
        factor, failed = lapack.spotrf(gram.T, overwrite_a=True)
        if failed == 0:
            inverse, failed = lapack.spotri(factor, overwrite_c=True)
        if failed != 0:
            raise TrainingError(f"wanted a greater l2 of baseline 'ease', got {self.l2}: its matrix cannot be inverted")
        upper = np.triu(inverse, 1)
        diagonal = np.diag(inverse).copy()
        del inverse, factor
        matrix = upper + upper.T
        matrix /= -diagonal
        self.matrix = np.ascontiguousarray(matrix)

    def times(self, had: sparse.csr_array) -> npt.NDArray[np.float32]:
        """Multiply."""
        product: npt.NDArray[np.float32] = had @ self.matrix
        return product


class SLIM(_Linear):
    """The sparse matrix of weights of at least 0 that reproduces best what users had (Ning and Karypis 2011).

    Each item has an elastic net of its own, over those items that have most users in common with it.

    Args:
        l1: Penalty of the sum of weights, as a number of users.
        l2: Penalty of the squared weights, as a number of users.
        neighbours: How many other items may have a weight for an item.
        max_items: How many of the most popular items are looked at; the others come last, by popularity. Fitting takes
            its square times 4 bytes.
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
        """Descend along one coordinate after the other."""
        num_kept = len(gram)
        count = min(self.neighbours, num_kept - 1)
        if count == 0:
            self.matrix = sparse.csr_array(np.zeros((num_kept, num_kept), np.float32))
            return
        candidates, weights = _elastic_nets(gram, count, self.l1, self.l2, _MAX_SWEEPS, _SMALLEST_STEP)
        columns = np.repeat(np.arange(num_kept), count)
        is_used = weights.ravel() > 0.0
        triples = (weights.ravel()[is_used], (candidates.ravel()[is_used], columns[is_used]))
        self.matrix = sparse.csr_array(triples, shape=(num_kept, num_kept))

    def times(self, had: sparse.csr_array) -> npt.NDArray[np.float32]:
        """Multiply."""
        product: npt.NDArray[np.float32] = (had @ self.matrix).toarray()
        return product


@njit(cache=True, nogil=True)
def _elastic_nets(
    gram: npt.NDArray[np.float32], count: int, l1: float, l2: float, max_sweeps: int, smallest_step: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return the candidates of each item and their weights, ``[num_kept, count]``.

    Each item's net minimises, over weights of at least 0, half the squared error of the item's column as a sum of its
    candidates' columns, plus l1 times the sum of the weights, plus half l2 times the sum of their squares.
    """
    num_kept = len(gram)
    candidates = np.zeros((num_kept, count), np.int64)
    weights = np.zeros((num_kept, count), np.float32)
    own = np.empty((count, count), np.float32)
    for item in range(num_kept):
        in_common = -gram[item].copy()
        in_common[item] = 1.0  # Comes last.
        chosen = np.argpartition(in_common, count - 1)[:count]
        for row in range(count):
            for column in range(count):
                own[row, column] = gram[chosen[row], chosen[column]]
        found = np.zeros(count, np.float32)
        slope = gram[item][chosen].copy()  # Of the squared error, where all weights are 0; kept up to date.
        for _ in range(max_sweeps):
            furthest = 0.0
            for place in range(count):
                pull = slope[place] + own[place, place] * found[place] - l1
                moved = max(pull, 0.0) / (own[place, place] + l2) - found[place]
                if moved != 0.0:
                    found[place] += moved
                    furthest = max(furthest, abs(moved))
                    slope -= np.float32(moved) * own[place]
            if furthest < smallest_step:
                break
        candidates[item] = chosen
        weights[item] = found
    return candidates, weights
