"""What is asked of the ranking, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from springtide.interactions import Moment

Personalization = Literal["learned", "folded_in", "context_only", "fallback"]


@dataclass(frozen=True, slots=True)
class Query:
    """Whom to recommend to, when, how many items, and what to leave out.

    Attributes:
        moment: The moment and its circumstances.
        user_id: Empty when only ``recent_items`` tell who asks.
        recent_items: Items just touched, latest first, beside the user's own history.
        count: How many items are wanted, at least 1.
        exclude_seen: Relations (or interaction types) in which a seen item is left out; ``*`` for any.
        exclude_items: Items to leave out.
        allow_items: Items to rank; all if empty.
        category_filters: (attribute, values): an item passes a filter if it has one of the values.
    """

    moment: Moment
    user_id: str = ""
    recent_items: tuple[str, ...] = ()
    count: int = 20
    exclude_seen: tuple[str, ...] = ()
    exclude_items: tuple[str, ...] = ()
    allow_items: tuple[str, ...] = ()
    category_filters: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class RankedItem:
    """One item of an answer: ``score`` is ``cosine / temperature`` plus the logarithms of all ``weights``.

    Where a baseline ranks, the score is its own, the cosine 0, and there are no weights.

    Attributes:
        item_id: The item.
        score: What items are ranked by.
        cosine: Of the user's and the item's vectors, -1 to 1.
        weights: Each context weight's factor, lift to the power of its exponent; 1 is neutral. ``familiarity`` stands
            for what the cosine counts more or less for items that the user had.
    """

    item_id: str
    score: float
    cosine: float
    weights: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Ranking:
    """An answer.

    Attributes:
        items: Best first.
        personalization: How much of it is about the user.
        model_version: The version that ranked, of a model or a baseline; empty when there was none.
    """

    items: tuple[RankedItem, ...]
    personalization: Personalization
    model_version: str
