"""Matrix factorisation, with the optional package `implicit`."""

import importlib.util
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from scipy import sparse

from springtide.errors import SettingsError
from springtide.plugins.contracts import History, Observed
from springtide_plugins.baselines.histories import HistoryEvents, scaled_below_one, seen_matrix
from springtide_plugins.baselines.popularity import Popularity


class _Factors(Popularity):
    """Products of user factors and item factors; popularity for users without factors.

    Raises:
        SettingsError: If the package is not installed.
    """

    learned: ClassVar[tuple[str, ...]] = ("num_users_of", "item_factors")
    item_factors: npt.NDArray[np.float32]  # [num_items, num_factors]

    def __init__(self) -> None:
        if importlib.util.find_spec("implicit") is None:
            raise SettingsError("wanted the package 'implicit', got none: pip install springtide[baselines]")

    def factors_of(self, user_rows: npt.NDArray[np.int64], seen: sparse.csr_array) -> npt.NDArray[np.float32]:
        """Return user factors, float32 ``[n, num_factors]``, for seen items ``[n, num_items]``; 0 if unknown."""
        raise NotImplementedError

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return the products of factors."""
        factors = self.factors_of(user_rows, HistoryEvents.of(histories, self.num_items).seen(now_ms))
        scores: npt.NDArray[np.float32] = factors @ self.item_factors.T  # [n, num_items]
        scores[~factors.any(axis=1)] = scaled_below_one(self.num_users_of)
        return scores


class IALS(_Factors):
    """Alternating least squares on implicit feedback (Hu et al. 2008); user factors are solved for at each request.

    Args:
        factors: Number of factors.
        l2: L2 penalty.
        confidence: Weight of seen items; unseen items have weight 1.
        iterations: Number of iterations, each over users and items.
        num_threads: Number of threads of the fit.
        seed: Seed of the factors that the fit begins with.
    """

    def __init__(
        self,
        factors: PositiveInt = 64,
        l2: PositiveFloat = 1.0,
        confidence: PositiveFloat = 2.0,
        iterations: PositiveInt = 15,
        num_threads: PositiveInt = 2,
        seed: NonNegativeInt = 0,
    ) -> None:
        super().__init__()
        self.num_factors = factors
        self.l2 = l2
        self.confidence = confidence
        self.iterations = iterations
        self.num_threads = num_threads
        self.seed = seed

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Factorise."""
        from implicit.cpu.als import AlternatingLeastSquares  # Slow to import, and optional.
        from threadpoolctl import threadpool_limits

        super().fit(interactions, num_users, num_items)
        with threadpool_limits(1, "blas"):  # The fit calls BLAS from its own threads.
            model = AlternatingLeastSquares(
                self.num_factors, self.l2, self.confidence, iterations=self.iterations, num_threads=self.num_threads,
                random_state=self.seed,
            )  # fmt: skip
            model.fit(sparse.csr_matrix(seen_matrix(interactions, num_users, num_items)), show_progress=False)
        self.item_factors = model.item_factors.copy()
        self.item_factors[self.num_users_of == 0] = 0.0

    def factors_of(self, user_rows: npt.NDArray[np.int64], seen: sparse.csr_array) -> npt.NDArray[np.float32]:
        """Solve the least squares problem of each user: 1 for seen items, with the confidence, and 0 for all others."""
        squared = self.item_factors.T @ self.item_factors + self.l2 * np.eye(self.item_factors.shape[1])
        found = np.zeros((seen.shape[0], len(squared)), np.float32)
        for user in np.flatnonzero(np.diff(seen.indptr)):
            rows = seen.indices[seen.indptr[user] : seen.indptr[user + 1]]
            items = self.item_factors[rows]  # [num_seen, num_factors]
            normal = squared + (self.confidence - 1.0) * (items.T @ items)
            found[user] = np.linalg.solve(normal, self.confidence * items.sum(axis=0))
        return found


class BPR(_Factors):
    """Factors learned by ranking seen items above unseen ones (Rendle et al. 2009), with a bias for items.

    Users that the fit does not know get the mean factors of their items.

    Args:
        factors: Number of factors.
        learning_rate: Learning rate.
        l2: L2 penalty.
        iterations: Number of passes over the interactions.
        num_threads: Number of threads of the fit; with more than one, fits cannot be repeated exactly.
        seed: Seed of the first factors and of the draws.
    """

    learned = (*_Factors.learned, "user_factors")
    by_user = ("user_factors",)
    user_factors: npt.NDArray[np.float32]  # [num_users, num_factors]; 0 for users without interactions.

    def __init__(
        self,
        factors: PositiveInt = 64,
        learning_rate: PositiveFloat = 0.01,
        l2: NonNegativeFloat = 0.01,
        iterations: PositiveInt = 100,
        num_threads: PositiveInt = 1,
        seed: NonNegativeInt = 0,
    ) -> None:
        super().__init__()
        self.num_factors = factors
        self.learning_rate = learning_rate
        self.l2 = l2
        self.iterations = iterations
        self.num_threads = num_threads
        self.seed = seed

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Factorise."""
        from implicit.cpu.bpr import BayesianPersonalizedRanking  # Slow to import, and optional.

        super().fit(interactions, num_users, num_items)
        seen = seen_matrix(interactions, num_users, num_items)
        model = BayesianPersonalizedRanking(
            self.num_factors, self.learning_rate, self.l2, iterations=self.iterations, num_threads=self.num_threads,
            random_state=self.seed,
        )  # fmt: skip
        model.fit(sparse.csr_matrix(seen), show_progress=False)
        self.item_factors = model.item_factors.copy()
        self.user_factors = model.user_factors.copy()
        self.user_factors[np.diff(seen.indptr) == 0] = 0.0

    def factors_of(self, user_rows: npt.NDArray[np.int64], seen: sparse.csr_array) -> npt.NDArray[np.float32]:
        """Look the users up; the last factor is 1, the coefficient of the bias of items."""
        counts = np.diff(seen.indptr)
        found: npt.NDArray[np.float32] = seen @ self.item_factors  # [n, num_factors]
        found /= np.maximum(counts, 1)[:, None].astype(np.float32)
        found[counts > 0, -1] = 1.0
        is_known = (user_rows >= 0) & (user_rows < len(self.user_factors))
        is_known[is_known] = self.user_factors[user_rows[is_known]].any(axis=1)
        found[is_known] = self.user_factors[user_rows[is_known]]
        return found
