"""Matrix factorisations, by the package `implicit`, which is an extra."""

import importlib.util
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from scipy import sparse

from springtide.errors import SettingsError
from springtide.plugins.contracts import History, Observed
from springtide_plugins.baselines.neighbours import had_in
from springtide_plugins.baselines.popularity import Popularity
from springtide_plugins.baselines.taken import Taken, below_one, had_by


class _Factors(Popularity):
    """Products of a user's and an item's factors; popularity for those of whom nothing is known.

    Raises:
        SettingsError: If the package is not installed.
    """

    learned: ClassVar[tuple[str, ...]] = ("num_users_of", "item_factors")
    item_factors: npt.NDArray[np.float32]  # [num_items, num_factors]

    def __init__(self) -> None:
        if importlib.util.find_spec("implicit") is None:
            raise SettingsError("wanted the package 'implicit', got none: pip install springtide[baselines]")

    def factors_of(self, user_rows: npt.NDArray[np.int64], had: sparse.csr_array) -> npt.NDArray[np.float32]:
        """Return float32 ``[n, num_factors]`` of users who had this, ``[n, num_items]``; 0 where nothing is known."""
        raise NotImplementedError

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return products of factors."""
        factors = self.factors_of(user_rows, had_in(Taken.of(histories, self.num_items), now_ms))
        scores: npt.NDArray[np.float32] = factors @ self.item_factors.T  # [n, num_items]
        scores[~factors.any(axis=1)] = below_one(self.num_users_of)
        return scores


class IALS(_Factors):
    """Alternating least squares on who had what (Hu et al. 2008); a user's factors are solved for as it is asked for.

    Args:
        factors: How many.
        l2: Penalty.
        confidence: Weight of what a user had beside that of what it had not, which is 1.
        iterations: Of both sides.
        num_threads: Of the fit.
    """

    def __init__(
        self,
        factors: PositiveInt = 64,
        l2: PositiveFloat = 1.0,
        confidence: PositiveFloat = 2.0,
        iterations: PositiveInt = 15,
        num_threads: PositiveInt = 2,
    ) -> None:
        super().__init__()
        self.num_factors = factors
        self.l2 = l2
        self.confidence = confidence
        self.iterations = iterations
        self.num_threads = num_threads

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Factorise."""
        from implicit.cpu.als import AlternatingLeastSquares  # Slow, and an extra.
        from threadpoolctl import threadpool_limits

        super().fit(interactions, num_users, num_items)
        with threadpool_limits(1, "blas"):  # It calls BLAS from threads of its own.
            model = AlternatingLeastSquares(
                self.num_factors, self.l2, self.confidence, iterations=self.iterations, num_threads=self.num_threads,
                random_state=0,
            )  # fmt: skip
            model.fit(sparse.csr_matrix(had_by(interactions, num_users, num_items)), show_progress=False)
        self.item_factors = model.item_factors.copy()
        self.item_factors[self.num_users_of == 0] = 0.0

    def factors_of(self, user_rows: npt.NDArray[np.int64], had: sparse.csr_array) -> npt.NDArray[np.float32]:
        """Solve for each user: what it had is 1, with the confidence, and all else 0."""
        squared = self.item_factors.T @ self.item_factors + self.l2 * np.eye(self.item_factors.shape[1])
        found = np.zeros((had.shape[0], len(squared)), np.float32)
        for user in np.flatnonzero(np.diff(had.indptr)):
            own = self.item_factors[had.indices[had.indptr[user] : had.indptr[user + 1]]]  # [num_had, num_factors]
            sides = squared + (self.confidence - 1.0) * (own.T @ own)
            found[user] = np.linalg.solve(sides, self.confidence * own.sum(axis=0))
        return found


class BPR(_Factors):
    """Factors learned by ranking what users had above what they had not (Rendle et al. 2009), with a bias for items.

    A user that the fit did not know has the mean of its items' factors.

    Args:
        factors: How many.
        learning_rate: Of each step.
        l2: Penalty.
        iterations: Passes over who had what.
        num_threads: Of the fit; with more than one, no two fits are the same.
    """

    learned = (*_Factors.learned, "user_factors")
    user_factors: npt.NDArray[np.float32]  # [num_users, num_factors]; 0 for those who had nothing.

    def __init__(
        self,
        factors: PositiveInt = 64,
        learning_rate: PositiveFloat = 0.01,
        l2: NonNegativeFloat = 0.01,
        iterations: PositiveInt = 100,
        num_threads: PositiveInt = 1,
    ) -> None:
        super().__init__()
        self.num_factors = factors
        self.learning_rate = learning_rate
        self.l2 = l2
        self.iterations = iterations
        self.num_threads = num_threads

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Factorise."""
        from implicit.cpu.bpr import BayesianPersonalizedRanking  # Slow, and an extra.

        super().fit(interactions, num_users, num_items)
        had = had_by(interactions, num_users, num_items)
        model = BayesianPersonalizedRanking(
            self.num_factors, self.learning_rate, self.l2, iterations=self.iterations, num_threads=self.num_threads,
            random_state=0,
        )  # fmt: skip
        model.fit(sparse.csr_matrix(had), show_progress=False)
        self.item_factors = model.item_factors.copy()
        self.user_factors = model.user_factors.copy()
        self.user_factors[np.diff(had.indptr) == 0] = 0.0

    def factors_of(self, user_rows: npt.NDArray[np.int64], had: sparse.csr_array) -> npt.NDArray[np.float32]:
        """Look users up; the last factor stands against the bias of items."""
        counts = np.diff(had.indptr)
        found: npt.NDArray[np.float32] = had @ self.item_factors  # [n, num_factors]
        found /= np.maximum(counts, 1)[:, None].astype(np.float32)
        found[counts > 0, -1] = 1.0
        is_known = (user_rows >= 0) & (user_rows < len(self.user_factors))
        is_known[is_known] = self.user_factors[user_rows[is_known]].any(axis=1)
        found[is_known] = self.user_factors[user_rows[is_known]]
        return found
