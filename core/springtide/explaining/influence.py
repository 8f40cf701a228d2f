"""What each of a user's own events, and each neighbour, adds: the score with all of them, minus that without this one.

Nothing is estimated: each time, the user (or the item) is folded in again without it, as if it had never been.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from springtide.clock import Deadline
from springtide.errors import BypassedError
from springtide.explaining.paths import PathNode
from springtide.graph.applying import USER
from springtide.plugins.serving_edges import ServingEdges
from springtide.ranking.binding import BoundQuery
from springtide.ranking.dislikes import log_weights
from springtide.ranking.folded_items import ItemFolder
from springtide.ranking.item_table import ItemTable
from springtide.ranking.neighbourhood import Neighbourhood
from springtide.ranking.query import Query
from springtide.ranking.scoring import Scorer, cosine_of
from springtide.ranking.users import LiveUser

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EventInfluence:
    """What a user's events with one item add to the score of the explained one.

    Attributes:
        item_id: The item of the events.
        relation: Relation of the latest of them; empty for a recent item of the request.
        timestamp_ms: When that was.
        influence: The explained item's score, minus its score without these events.
    """

    item_id: str
    relation: str
    timestamp_ms: int
    influence: float


@dataclass(frozen=True, slots=True)
class NeighbourInfluence:
    """What one neighbour adds to the cosine of user and item.

    Attributes:
        side: Whose neighbour it is.
        node: The neighbour; of an attribute's value, the type is that of values and the id is ``name=value``.
        relation: The relation that leads to it; empty for an encoder that has one relation for all.
        influence: The cosine, minus the cosine without it; by masks, the slope of the cosine
            (``training.masked_influence``).
        attention: How much of the attention it gets, 0 to 1; None where the encoder has none.
    """

    side: Literal["user", "item"]
    node: PathNode
    relation: str
    influence: float
    attention: float | None = None


@dataclass(frozen=True, slots=True)
class OwnEvents:
    """A user's own events, by item, the latest first.

    Attributes:
        item_rows: int32 ``[n]``, distinct.
        relations: Relation of the latest event with each.
        timestamps_ms: int64 ``[n]``, when it was.
    """

    item_rows: npt.NDArray[np.int32]
    relations: tuple[str, ...]
    timestamps_ms: npt.NDArray[np.int64]

    @classmethod
    def of(cls, scorer: Scorer, user: LiveUser, query: BoundQuery) -> "OwnEvents":
        """Return the positive events of a user that a query may look at."""
        history = scorer.history_at(user.history, query)
        _, first = np.unique(history.item_rows, return_index=True)
        first = np.sort(first)  # The history is newest first.
        rows, times = history.item_rows[first], history.timestamps_ms[first]
        recent = set(query.recent_rows.tolist())
        relation_of: dict[tuple[int, int], str] = {}
        for relation in scorer.state.rules.positive_relations:
            edges = scorer.view.edges(scorer.state.rules.edge_type(relation)).all_targets(query.user_row)
            for key in zip(edges.rows.tolist(), edges.timestamps_ms.tolist(), strict=True):
                relation_of.setdefault(key, relation)
        pairs = zip(rows.tolist(), times.tolist(), strict=True)
        relations = tuple("" if pair[0] in recent else relation_of.get(pair, "") for pair in pairs)
        return cls(rows, relations, times)


def score_of(scorer: Scorer, user: LiveUser, query: BoundQuery, row: int) -> float:
    """Return the score of one item for a user, what steers the query included; a baseline's score is its own alone."""
    serving = scorer.serving
    history = scorer.history_at(user.history, query)
    if serving.baseline is not None:
        return float(serving.baseline.scores([query], [history], scorer.view)[0][row])
    at_moment = serving.moments.at(query.moment, scorer.num_items)
    cosine = float(cosine_of(serving.table, user, np.array([row]))[0])
    as_unseen = cosine * serving.exponents.unseen.cosine + float(at_moment.unseen_total[row])
    is_seen = (history.item_rows == row).any()
    seen = scorer.seen(history, query) if is_seen or serving.related_terms else scorer.nothing_seen
    as_unseen += float(seen.related.of(np.array([row]))[0])
    score = as_unseen
    if is_seen:
        own = float(seen.total[np.searchsorted(seen.rows, row)])
        score = cosine * serving.exponents.seen.cosine + float(at_moment.seen_total[row]) + own
    disliked = scorer.disliked(user, query)
    if len(disliked) and (disliked.rows == row).any():
        habits = np.where(disliked.rows == row, score - as_unseen, 0.0).astype(np.float32)
        logs = log_weights(disliked, habits, serving.exponents.dislikes.item)
        score += float(logs[disliked.rows == row][0])
    of_row = np.array([row], np.int32)
    return score + sum(float(log) for boosts in query.added for _, [log] in boosts.named(of_row))


def event_influences(
    scorer: Scorer, user: LiveUser, query: Query, bound: BoundQuery, row: int, deadline: Deadline
) -> tuple[tuple[EventInfluence, ...], bool]:
    """Return what a user's events add to the score of an item, the largest first; and whether some are missing.

    Args:
        scorer: Scores the items.
        user: The user.
        query: The query.
        bound: The same, bound to the scorer's view.
        row: The explained item.
        deadline: Events that were not looked at by then are left out: the oldest.
    """
    own = OwnEvents.of(scorer, user, bound)
    worlds = Worlds(scorer, query, bound)
    if deadline.is_over():
        return (), bool(len(own.item_rows))
    score = score_of(scorer, *worlds.without([]), row)
    found: list[float] = []
    for each in own.item_rows.tolist():
        if deadline.is_over():
            break
        found.append(score - score_of(scorer, *worlds.without([each]), row))
    ids = scorer.item_ids(own.item_rows[: len(found)])
    influences = [
        EventInfluence(item_id, relation, timestamp_ms, influence)
        for item_id, relation, timestamp_ms, influence in zip(
            ids, own.relations, own.timestamps_ms.tolist(), found, strict=False
        )
    ]
    influences.sort(key=lambda each: -each.influence)
    return tuple(influences), len(found) < len(own.item_rows)


def neighbour_influences(
    scorer: Scorer, query: BoundQuery, row: int, deadline: Deadline
) -> tuple[tuple[NeighbourInfluence, ...], bool]:
    """Return what the neighbours of user and item add to their cosine, the largest first; and whether some are missing.

    Vectors are folded in from the neighbours of now, also where a model's training gave them. Dislikes are not looked
    at. Nothing without a model.

    Args:
        scorer: Scores the items.
        query: The query.
        row: The explained item.
        deadline: Neighbours that were not looked at by then are left out: the oldest.
    """
    sides = sides_of(scorer, query, row)
    if not sides:
        return (), False
    try:
        item, user = (side.vector() for side in sides)
        both = (np.dot(item, user), user, item)
        cosine, others = float(both[0]), both[1:]
        found: list[NeighbourInfluence] = []
        is_cut = False
        for side, other in zip(sides, others, strict=True):
            attention = side.attention()
            # The newest of an edge's neighbours is last.
            for edge in range(len(side.neighbourhood.target) - 1, -1, -1):
                if deadline.is_over():
                    is_cut = True
                    break
                influence = cosine - float(np.dot(side.vector(without=edge), other))
                node, relation = side.name(edge)
                share = None if attention is None else float(attention[edge])
                found.append(NeighbourInfluence(side.side, node, relation, influence, share))
    except BypassedError:  # An encoder that others wrote does not answer.
        return (), True
    found.sort(key=lambda each: -each.influence)
    return tuple(found), is_cut


def sides_of(scorer: Scorer, query: BoundQuery, row: int) -> tuple["Side", ...]:
    """Return the neighbours that an item, first, and a user are folded in from; nothing without a model.

    Args:
        scorer: Scores the items.
        query: The query.
        row: The item.
    """
    table = scorer.serving.table
    if table is None or scorer.serving.baseline is not None:
        return ()
    item_level, of_item = ItemFolder(table.model, scorer.view, scorer.state.rules).gather(np.array([row], np.int64))
    model_row = int(table.model_rows[row])
    if model_row >= 0:
        item_level = table.model.items.levels[0, model_row : model_row + 1]
    of_user = scorer.serving.users.neighbourhood(scorer.view, table, query)
    is_known = table.model.users.rows.of_id(scorer.view.nodes(USER), query.user_id, query.user_row) >= 0
    return Side("item", scorer, table, item_level, of_item), Side("user", scorer, table, *of_user, is_known=is_known)


class Side:
    """The neighbours of the user, or of the item.

    Args:
        side: Whose neighbours they are.
        scorer: Scores the items.
        table: The model's items.
        level_0: float32 ``[1, d]``, level 0 of the user or item.
        neighbourhood: The neighbours.
        is_known: Whether level 0 has what the training learned of this very user.

    Attributes:
        side: As above.
        node_type: Node type of the user or item.
        level_0: As above.
        neighbourhood: As above.
    """

    def __init__(
        self,
        side: Literal["user", "item"],
        scorer: Scorer,
        table: ItemTable,
        level_0: Array,
        neighbourhood: Neighbourhood,
        *,
        is_known: bool = True,
    ) -> None:
        self.side = side
        self._is_known = is_known
        self.neighbourhood = neighbourhood
        self._scorer = scorer
        self._model = table.model
        self.node_type = USER if side == "user" else table.model.item_type
        self.level_0 = level_0

    def vector(self, without: int | None = None) -> Array:
        """Return the vector, float32 ``[d]``, without one of the edges if it is given."""
        neighbourhood = self.neighbourhood
        if without is not None:
            neighbourhood = neighbourhood.where(np.arange(len(neighbourhood.target)) != without)
        if self.side == "user":
            return self._model.user_vector(self.level_0, neighbourhood, is_known=self._is_known)
        vector: Array = self._model.fold_in(self.node_type, self.level_0, neighbourhood).vectors[0]
        return vector

    def attention(self) -> Array | None:
        """Return the share of each edge, float32 ``[num_edges]``, in the last layer that weighs them by a softmax.

        It is 0 for an edge that the encoder does not look at, since it looks at the latest alone.
        """
        shares: list[Array] = []

        class Watched(ServingEdges):
            def softmax(self, values: Array) -> Array:
                return self.noted(np.arange(self.num_edges), super().softmax(values))

            def latest(self, count: int) -> ServingEdges:
                found = super().latest(count)
                if found is self:
                    return found
                late, softmax = np.flatnonzero(self.newer() < count), found.softmax
                found.softmax = lambda values: self.noted(late, softmax(values))  # type: ignore[method-assign]
                return found

            def noted(self, edges: npt.NDArray[np.int64], of_edges: Array) -> Array:
                of_all = np.zeros(self.num_edges, np.float32)
                of_all[edges] = of_edges.mean(axis=1)
                shares.append(of_all)
                return of_edges

        self._model.fold_in(self.node_type, self.level_0, self.neighbourhood, Watched)
        return shares[-1] if shares else None

    def name(self, edge: int) -> tuple[PathNode, str]:
        """Return the neighbour of an edge, and the relation that leads to it."""
        neighbourhood, schema = self.neighbourhood, self._model.schema
        node_type, code = schema.node_types[int(neighbourhood.source_kind[edge])], int(neighbourhood.source[edge])
        relation = "" if neighbourhood.relation is None else schema.relations[int(neighbourhood.relation[edge])][1]
        if schema.is_value_type(node_type):
            owner = next(name for name, value_type in schema.value_types.items() if value_type == node_type)
            return PathNode(node_type, self._model.inputs[owner].attribute_values[code]), relation
        return PathNode(node_type, self._scorer.view.nodes(node_type).ids.ids([code])[0]), relation


class Worlds:
    """A query and its user as if the user had never met some items: all their events with them are gone, of any type.

    What was seen in these events alone is not left out any more, and what was shown in them does not sink.

    Args:
        scorer: Scores the items.
        query: The query.
        bound: The same, bound to the scorer's view.
    """

    def __init__(self, scorer: Scorer, query: Query, bound: BoundQuery) -> None:
        self._scorer = scorer
        self._query = query
        self._bound = bound
        self._user_without = scorer.serving.users.without(scorer.view, scorer.serving.table, bound)

    def without(self, rows: Sequence[int]) -> tuple[LiveUser, BoundQuery]:
        """Return the user and the bound query without some items, given their rows."""
        removed = np.array(rows, np.int32)
        return self._user_without(removed), self._scorer.bind_without(self._query, self._bound, removed)
