"""A reranker: items of which there is a number, such as a margin, move up by it."""

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from springtide.plugins.contracts import Reranker, RerankerFactory, Shortlist
from springtide.plugins.hookspecs import hookimpl


class MyPart(Reranker):
    """Orders by the score, and by a number of the items; both are scaled to 0 to 1 within the shortlist.

    Args:
        attribute: Number by which items move up; those without it count as the lowest.
        share: What the number counts, 0 to 1; the score counts the rest.
    """

    def __init__(self, attribute: str = "margin", share: Annotated[float, Field(ge=0, le=1)] = 0.5) -> None:
        self.attribute = attribute
        self.share = share

    def order(self, shortlist: Shortlist, count: int) -> npt.NDArray[np.integer[Any]]:
        """Sort by the sum; equal ones stay in the order of their scores."""
        numbers = shortlist.attributes.numbers(self.attribute)
        values = (1 - self.share) * _scaled(shortlist.scores) + self.share * _scaled(numbers)
        return np.argsort(-values, kind="stable")


def _scaled(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return values from 0 for the lowest to 1 for the highest; 0 for NaN, and if all are the same."""
    if not np.isfinite(values).any():
        return np.zeros_like(values)
    low, high = np.nanmin(values), np.nanmax(values)
    scaled: npt.NDArray[np.float32] = np.nan_to_num((values - low) / max(high - low, np.float32(1e-12)), nan=0.0)
    return scaled


@hookimpl
def register_rerankers(register: Callable[[str, RerankerFactory], None]) -> None:
    """Register the reranker."""
    register("my_part", MyPart)
