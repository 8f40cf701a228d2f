"""Indexes: they find vectors that are near to another one without looking at all of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt


class Index:
    """Finds the items whose vectors are nearest to a user's, by cosine; it may miss some.

    The ranking scores what an index finds exactly, with all weights of the moment, so an index gives rows and no
    scores. It is built once for each model, in a background thread, then measured beside the exact answer: it is used
    only if its answers hold enough of the exact ones and take less time.

    Example:
        >>> class Exhaustive(Index):
        ...     def build(self, vectors, rows, is_wanted):
        ...         self.vectors, self.rows = vectors, rows
        ...
        ...     def search(self, vector, count):
        ...         cosines = self.vectors[self.rows] @ vector
        ...         return self.rows[np.argsort(-cosines, kind="stable")[:count]]
        >>> index = Exhaustive()
        >>> vectors = np.array([[1, 0], [0, 0], [0.6, 0.8], [0, 1]], np.float32)  # [num_items, d]
        >>> index.build(vectors, np.array([0, 2, 3], np.int32), lambda: True)
        >>> index.search(np.array([1, 0], np.float32), count=2)
        array([0, 2], dtype=int32)
    """

    def build(
        self, vectors: npt.NDArray[np.float32], rows: npt.NDArray[np.int32], is_wanted: Callable[[], bool]
    ) -> None:
        """Index vectors. Called once, before any search.

        Args:
            vectors: float32 ``[num_items, d]``; it never changes, and may be kept. It may be pages of a file.
            rows: int32 ``[n]``, ascending, at least one: which of the vectors to index; these have length 1. It never
                changes, and may be kept.
            is_wanted: Returns whether the index is still wanted. A build that takes longer than a second asks it every
                second or so, and returns at once if not: the model was replaced, or the server stops.

        Raises:
            Exception: If it cannot be built; it is then not used, and the log says why.
        """
        raise NotImplementedError

    def search(self, vector: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.integer[Any]]:
        """Return the rows of the vectors that are nearest to one. Any number of threads call it at once.

        Args:
            vector: float32 ``[d]``, of length 1; not to be changed.
            count: How many rows are wanted, at least 1.

        Returns:
            Integers ``[m]``: distinct rows among those that were indexed, in any order; at most ``count``, and fewer
            only if there are no more.

        Raises:
            Exception: If the search fails; the exact answer is then given in its place.
        """
        raise NotImplementedError

    @property
    def num_bytes(self) -> int:
        """Memory that the index takes beside the vectors, in bytes, about; 0 if it is not known."""
        return 0
