"""Maximal marginal relevance: items that are relevant, and unlike those before them."""

from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from springtide.plugins.contracts import Reranker, Shortlist
from springtide.ranking.reordering.kernels import greedy


class MaximalMarginalRelevance(Reranker):
    """Orders by relevance, less the likeness to what comes before (Carbonell and Goldstein 1998).

    It is what a request's ``diversity`` does; as a reranker, a scenario or a request names it with these options.

    Args:
        diversity: 0 gives the order of the scores, 1 the items that are least alike.
        attribute: Category in which they shall differ; empty for the vectors.
    """

    def __init__(self, diversity: Annotated[float, Field(ge=0, le=1)] = 0.3, attribute: str = "") -> None:
        self.diversity = diversity
        self.attribute = attribute

    def order(self, shortlist: Shortlist, count: int) -> npt.NDArray[np.integer[Any]]:
        """Return the positions of the first ``count`` items; the others follow as they were."""
        num_items = len(shortlist)
        count, positions = min(count, num_items), np.arange(num_items, dtype=np.int32)
        vectors = None if self.attribute else np.ascontiguousarray(shortlist.vectors)
        values = self._codes(shortlist) if self.attribute else None
        fixed = np.full(count, -1, np.int32)
        scores = np.ascontiguousarray(shortlist.scores)
        return greedy(count, positions, scores, self.diversity, vectors, positions, values, None, fixed)

    def _codes(self, shortlist: Shortlist) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], int]:
        """Return the position and the code of each value of the attribute, int32 ``[p]`` each; the number of codes."""
        code_of: dict[str, int] = {}
        pairs = [
            (position, code_of.setdefault(value, len(code_of)))
            for position, values in enumerate(shortlist.attributes.categories(self.attribute))
            for value in values
        ]
        of_pairs = np.array(pairs, np.int32).reshape(-1, 2)
        return of_pairs[:, 0].copy(), of_pairs[:, 1].copy(), len(code_of)
