"""All that is said of why an item has its rank for a user: the terms of its score, and what carries it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from springtide.clock import Deadline
from springtide.explaining.counterfactual import Counterfactual, find_counterfactual
from springtide.explaining.influence import (
    EventInfluence,
    NeighbourInfluence,
    event_influences,
    neighbour_influences,
)
from springtide.explaining.paths import DEFAULT_LIMIT_S, DEFAULT_MAX_PATHS, Path, PathNode, find_paths
from springtide.explaining.reasons import reason_of
from springtide.explaining.templates import Templates, english
from springtide.explaining.terms import Explanation, explain, explain_items
from springtide.graph.view import GraphView
from springtide.ranking.query import Query
from springtide.ranking.scoring import Scorer

# Of the time that is left, in this order; the counterfactual has the rest.
_PATHS_SHARE = 0.4
_EVENTS_SHARE = 0.5
_NEIGHBOURS_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an explanation shall have, beside the terms.

    Attributes:
        max_paths: Most paths, 0 or more.
        limit_s: Seconds for paths, influence and the counterfactual together, 0 or more.
        count: The counterfactual is about the first so many items, at least 1.
        words: The language of the reasons; English if None.
        name_attribute: The attribute of items that names them in reasons; empty for their ids.

    Raises:
        ValueError: If a number is out of range.
    """

    max_paths: int = DEFAULT_MAX_PATHS
    limit_s: float = DEFAULT_LIMIT_S
    count: int = 20
    words: Templates | None = None
    name_attribute: str = ""

    def __post_init__(self) -> None:
        if self.max_paths < 0 or not self.limit_s >= 0 or self.count < 1:
            raise ValueError(f"wanted 0 or more paths and seconds, and a count of 1 or more, got {self!r}")


@dataclass(frozen=True, slots=True)
class Why:
    """Why an item has its rank.

    Attributes:
        terms: All terms of its score.
        paths: The paths that carry it, the strongest first.
        events: What each of the user's own events adds to its score, the largest first.
        neighbours: What the neighbours of user and item add to their cosine, the largest first.
        counterfactual: Without which of the user's items it were not among the first; None if nothing was found.
        reason: The strongest path and the terms in words.
        is_cut: Whether the time was over before all was found.
    """

    terms: Explanation
    paths: tuple[Path, ...]
    events: tuple[EventInfluence, ...]
    neighbours: tuple[NeighbourInfluence, ...]
    counterfactual: Counterfactual | None
    reason: str
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
    words = wanted.words or english()
    terms = explain(scorer, query, item_id, words)
    bound = replace(scorer.bind(query), count=wanted.count)
    user = scorer.serving.users.find(scorer.view, scorer.serving.table, bound)
    row = scorer.items.ids.row(item_id)
    deadline = Deadline.after(wanted.limit_s)
    until = _part(deadline, _PATHS_SHARE)
    paths = find_paths(
        scorer.view,
        scorer.state.rules,
        bound.user_row,
        user.history,
        [row],
        bound.moment.timestamp_ms,
        until,
        wanted.max_paths,
    )
    events, is_short = event_influences(scorer, user, query, bound, row, _part(deadline, _EVENTS_SHARE))
    is_cut = paths.is_cut or is_short
    neighbours, is_short = neighbour_influences(scorer, bound, row, _part(deadline, _NEIGHBOURS_SHARE))
    is_cut |= is_short
    counterfactual, is_short = find_counterfactual(scorer, user, query, bound, row, events, deadline)
    reason = reason_of(terms.sentence, paths.of_items[0], words, Names(scorer.view, wanted.name_attribute).name_of)
    return Why(terms, paths.of_items[0], events, neighbours, counterfactual, reason, is_cut or is_short)


@dataclass(frozen=True, slots=True)
class Names:
    """The names of nodes: the value of an attribute, or else the id.

    Attributes:
        view: The graph.
        attribute: A text or category attribute; empty for ids alone.
    """

    view: GraphView
    attribute: str = ""

    def name_of(self, node: PathNode) -> str:
        """Return a node's name."""
        if not self.attribute:
            return node.node_id
        nodes = self.view.nodes(node.node_type)
        row = nodes.ids.row(node.node_id)
        if row < 0:
            return node.node_id
        values = [value for name, value in nodes.category_values(row) if name == self.attribute]
        return nodes.text(self.attribute, row) or (values[0] if values else node.node_id)


@dataclass(frozen=True, slots=True)
class ShortWhy:
    """Why an item of an answer is there, in short.

    Attributes:
        reason: The strongest path and the terms in words.
        paths: The paths that carry it, the strongest first.
    """

    reason: str
    paths: tuple[Path, ...]


def why_items(scorer: Scorer, query: Query, item_ids: Sequence[str], wanted: Wanted) -> list[ShortWhy]:
    """Return why each item of an answer is there; all share the time. Nothing of an item that is gone by now.

    Args:
        scorer: Scores the items.
        query: The query that the answer is to.
        item_ids: The items, distinct.
        wanted: What shall be found, and in what time.

    Raises:
        InvalidRequestError: If something that the query names is unknown.
    """
    words = wanted.words or english()
    rows = {item_id: scorer.items.ids.row(item_id) for item_id in item_ids}
    there = [item_id for item_id, row in rows.items() if scorer.has_row(row)]
    found = {item_id: ShortWhy("", ()) for item_id in item_ids}
    if not there:
        return list(found.values())
    terms = explain_items(scorer, query, there, words)
    bound = scorer.bind(query)
    user = scorer.serving.users.find(scorer.view, scorer.serving.table, bound)
    paths = find_paths(
        scorer.view,
        scorer.state.rules,
        bound.user_row,
        user.history,
        [rows[item_id] for item_id in there],
        bound.moment.timestamp_ms,
        Deadline.after(wanted.limit_s),
        wanted.max_paths,
    )
    name_of = Names(scorer.view, wanted.name_attribute).name_of
    for item_id, of_item, carrying in zip(there, terms, paths.of_items, strict=True):
        found[item_id] = ShortWhy(reason_of(of_item.sentence, carrying, words, name_of), carrying)
    return list(found.values())


def _part(deadline: Deadline, share: float) -> Deadline:
    """Return the deadline of a search that may take a share of the time that is left."""
    return Deadline.after(deadline.remaining_s() * share)
