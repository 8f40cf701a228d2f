"""What callers ask of the ranking, and what it answers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from springtide.errors import InvalidRequestError
from springtide.interactions import Moment
from springtide.steering.assignment import Arm
from springtide.steering.values import QuerySteering

Array = npt.NDArray[np.float32]
Personalization = Literal["learned", "folded_in", "context_only", "fallback"]


@dataclass(frozen=True, slots=True)
class Query:
    """The user and the moment to recommend for, how many items, and which ones to leave out.

    Attributes:
        moment: The moment and its circumstances.
        user_id: The user; empty for a user without an id.
        recent_items: Items that the user has just touched, latest first. They count in addition to the user's history.
        count: Number of items, at least 1.
        exclude_seen: Relations or interaction types: items that the user has seen in one of them are left out.
            ``*`` stands for all in which items are not just shown.
        exclude_items: Items to leave out.
        allow_items: The only items to rank; empty for all items.
        category_filters: Pairs of an attribute and values. An item passes if it has one of the values; it must pass all
            filters.
        with_weights: Whether the answer gives the weights of each item; without them it takes less time.
        steering: What the query steers its ranking with; None for nothing.
        came_since_ms: Only items that were first heard of since then are ranked, milliseconds since the Unix epoch;
            None for all.
        goes_together: How much it counts what people had together with the recent items (``together``); 0 for nothing.

    Raises:
        InvalidRequestError: If ``count`` is below 1. Whether the names mean anything, only the graph can say:
            ``binding`` checks them.
    """

    moment: Moment
    user_id: str = ""
    recent_items: tuple[str, ...] = ()
    count: int = 20
    exclude_seen: tuple[str, ...] = ()
    exclude_items: tuple[str, ...] = ()
    allow_items: tuple[str, ...] = ()
    category_filters: tuple[tuple[str, tuple[str, ...]], ...] = ()
    with_weights: bool = True
    steering: QuerySteering | None = None
    came_since_ms: int | None = None
    goes_together: float = 0.0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InvalidRequestError("count", f"wanted at least 1, got {self.count}")


class RankedItem(NamedTuple):  # Made for each item of each answer, in half the time of a frozen dataclass.
    """One item of a ranking. Its score is ``cosine / temperature`` plus the logarithms of all ``weights``.

    If a baseline ranks, the score is the baseline's, the cosine is 0, and there are no weights.

    Attributes:
        item_id: The item.
        score: Items are sorted by it, the highest first.
        cosine: Cosine of the user's and the item's vectors, -1 to 1. The vector of a user with dislikes may be shorter
            than 1, which makes it smaller.
        weights: By context weight, the product of its lifts, each raised to its exponent; 1 is neutral. ``familiarity``
            is the factor by which the cosine counts differently for items that the user has seen, ``dislike`` that by
            which the user's dislikes lower the item.
    """

    item_id: str
    score: float
    cosine: float
    weights: Mapping[str, float]


class RankedItems(Sequence[RankedItem]):
    """The items of a ranking, each made when it is looked at: a batch of answers takes little memory.

    Attributes:
        ids: Id of each item.
        scores: float32 ``[n]``.
        cosines: float32 ``[n]``.
        names: Names of the weights; empty if the query wants none.
        weights: float32 ``[n, num_names]``.
    """

    __slots__ = ("cosines", "ids", "names", "scores", "weights")

    def __init__(self, ids: Sequence[str], scores: Array, cosines: Array, names: Sequence[str], weights: Array) -> None:
        self.ids = ids
        self.scores = scores
        self.cosines = cosines
        self.names = names
        self.weights = weights

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self) -> Iterator[tuple[str, float, float, list[float]]]:
        """Return id, score, cosine and weights, in the order of ``names``, of each item: less work than its objects."""
        return zip(self.ids, self.scores.tolist(), self.cosines.tolist(), self.weights.tolist(), strict=True)

    def __iter__(self) -> Iterator[RankedItem]:
        names = self.names
        for item_id, score, cosine, weights in self.rows():
            yield RankedItem(item_id, score, cosine, dict(zip(names, weights, strict=True)))

    @overload
    def __getitem__(self, index: int) -> RankedItem: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[RankedItem]: ...

    def __getitem__(self, index: int | slice) -> RankedItem | Sequence[RankedItem]:
        scores, cosines, weights = self.scores[index], self.cosines[index], self.weights[index]
        if isinstance(index, slice):
            return RankedItems(self.ids[index], scores, cosines, self.names, weights)
        names_and_weights = zip(self.names, weights.tolist(), strict=True)
        return RankedItem(self.ids[index], float(scores), float(cosines), dict(names_and_weights))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # it holds arrays

    def __repr__(self) -> str:
        return repr(tuple(self))


@dataclass(frozen=True, slots=True)
class Vector:
    """The value of a vector attribute: its numbers."""

    numbers: tuple[float, ...]


AttributeValue = tuple[str, ...] | float | str | Vector
"""Value of an attribute: a category's values, a number, or a text."""


@dataclass(frozen=True, slots=True)
class Extras:
    """What a steered answer says beyond its ranked items; sequences have an entry for each item, or none at all.

    Attributes:
        attributes: The attributes of each item that the query wants, by name.
        placed_by: What put each item at its place other than its score, such as ``rule NAME``; empty where nothing did.
        propensities: For how likely each item was to be shown where exploration chose it; 0 where its score did.
        next_page_token: Token of the next page; empty if there is none.
    """

    attributes: Sequence[Mapping[str, AttributeValue]] = ()
    placed_by: Sequence[str] = ()
    propensities: Sequence[float] = ()
    next_page_token: str = ""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The answer to a query.

    Attributes:
        items: Best first.
        personalization: What the answer knows of the user.
        model_version: Version of the model or baseline that ranked; empty for the fallback.
        extras: What a steered answer says beyond its items; None for nothing.
        arms: The variants of experiments that the answer is by.
    """

    items: RankedItems
    personalization: Personalization
    model_version: str
    extras: Extras | None = None
    arms: tuple[Arm, ...] = ()
