"""All that is said of why an item has its rank for a user: the terms of its score, and what carries it."""

from dataclasses import dataclass

from springtide.clock import Deadline
from springtide.explaining.paths import DEFAULT_LIMIT_S, DEFAULT_MAX_PATHS, Path, find_paths
from springtide.explaining.terms import Explanation, explain
from springtide.ranking.query import Query
from springtide.ranking.scoring import Scorer


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an explanation shall have, beside the terms.

    Attributes:
        max_paths: Most paths, 0 or more.
        limit_s: Seconds for paths, influence and the counterfactual together, 0 or more.
        count: The counterfactual is about the first so many items, at least 1.
        language: Language of the reasons; empty for the default.

    Raises:
        ValueError: If a number is out of range.
    """

    max_paths: int = DEFAULT_MAX_PATHS
    limit_s: float = DEFAULT_LIMIT_S
    count: int = 20
    language: str = ""

    def __post_init__(self) -> None:
        if self.max_paths < 0 or not self.limit_s >= 0 or self.count < 1:
            raise ValueError(f"wanted 0 or more paths and seconds, and a count of 1 or more, got {self!r}")


@dataclass(frozen=True, slots=True)
class Why:
    """Why an item has its rank.

    Attributes:
        terms: All terms of its score.
        paths: The paths that carry it, the strongest first.
        is_cut: Whether the time was over before all was found.
    """

    terms: Explanation
    paths: tuple[Path, ...]
    is_cut: bool


def why(scorer: Scorer, query: Query, item_id: str, wanted: Wanted) -> Why:
    """Return why an item has its rank.

    Args:
        scorer: Scores the items.
        query: Its ``count`` does not matter.
        item_id: The item.
        wanted: What shall be found, and in what time.

    Raises:
        InvalidRequestError: If the item, or something that the query names, is unknown.
    """
    terms = explain(scorer, query, item_id)
    deadline = Deadline.after(wanted.limit_s)
    bound = scorer.bind(query)
    user = scorer.serving.users.find(scorer.view, scorer.serving.table, bound)
    row = scorer.items.ids.row(item_id)
    moment_ms = bound.moment.timestamp_ms
    found = find_paths(
        scorer.view, scorer.state.rules, bound.user_row, user.history, [row], moment_ms, deadline, wanted.max_paths
    )
    return Why(terms, found.of_items[0], found.is_cut)
