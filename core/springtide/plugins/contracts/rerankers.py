"""Rerankers: they order the best items of an answer anew."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from springtide.interactions import Moment


class ShortlistAttributes(Protocol):
    """The attributes of the items of a shortlist, each read when it is asked for."""

    def categories(self, name: str) -> list[tuple[str, ...]]:
        """Return the values of a category of each item; empty where it has none."""
        ...

    def numbers(self, name: str) -> npt.NDArray[np.float32]:
        """Return a number of each item, float32 ``[n]``, NaN where it has none."""
        ...

    def texts(self, name: str) -> list[str]:
        """Return a text of each item; empty where it has none."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Shortlist:
    """The best items of an answer before they are ordered anew; arrays are not to be changed.

    Attributes:
        item_ids: Id of each item.
        scores: float32 ``[n]``, finite, highest first: logits of a model, or what a baseline says.
        cosines: float32 ``[n]``, of user and item; 0 without a model.
        vectors: float32 ``[n, d]``, unit vectors, or 0 for an item of which nothing is known; ``[n, 0]`` without a
            model.
        attributes: The items' attributes.
        user_id: The user; empty for a user without an id.
        moment: The moment to recommend for.
    """

    item_ids: Sequence[str]
    scores: npt.NDArray[np.float32]
    cosines: npt.NDArray[np.float32]
    vectors: npt.NDArray[np.float32]
    attributes: ShortlistAttributes
    user_id: str
    moment: Moment

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.item_ids)


class Reranker:
    """Orders the best items of an answer anew. What is blocked, hidden or seen is not among them.

    Rules that pin items, ``max_per`` and ``exploration`` hold after it. The same object answers all requests, several
    at once.

    Example:
        >>> from springtide.testing import shortlist_of
        >>> class CheapestFirst(Reranker):
        ...     def order(self, shortlist, count):
        ...         return np.argsort(shortlist.attributes.numbers("price"), kind="stable")
        >>> shortlist = shortlist_of(["tea", "mug", "pot"], numbers={"price": [4.0, 9.0, 2.5]})
        >>> CheapestFirst().order(shortlist, count=2)
        array([2, 0, 1])
    """

    def order(self, shortlist: Shortlist, count: int) -> npt.NDArray[np.integer[Any]]:
        """Return the positions of items in the shortlist, the one for the first slot first.

        Args:
            shortlist: About five times as many items as are wanted, or all that there are; at least one.
            count: How many of them the answer will have, at least 1.

        Returns:
            Integers ``[m]``: distinct positions, at most as many as there are items. Items that are left out follow in
            the order in which they were.

        Raises:
            Exception: If it cannot; the answer then has the order of the scores.
        """
        raise NotImplementedError
