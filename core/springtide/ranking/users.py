"""The users: their histories and vectors as of their latest event, cached until they change."""

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.errors import BypassedError
from springtide.graph.applying import USER
from springtide.graph.edges import EdgeType
from springtide.graph.nodes import NodeTable
from springtide.graph.view import GraphView
from springtide.interactions import NO_HISTORY, History
from springtide.model.exponents import DislikeExponents
from springtide.ranking.binding import BoundQuery
from springtide.ranking.dislikes import direction, moved_away, standing
from springtide.ranking.item_table import ItemTable
from springtide.ranking.neighbourhood import Neighbourhood, NeighbourhoodGatherer, RecentItems, Values
from springtide.ranking.never_met import targets_without
from springtide.ranking.query import Personalization
from springtide.ranking.serving_model import ServingModel
from springtide.settings.interaction_rules import InteractionRules

Array = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]
_Gathered = tuple[Neighbourhood, Array]  # A user's neighbours, and their level 0.
_NO_ROWS: Rows = np.empty(0, np.int32)
Attributes = tuple[tuple[tuple[str, str], ...], tuple[tuple[str, float], ...]]

MAX_BYTES = 256 * 2**20  # About 100,000 users with 40 interactions and a vector of 64 numbers each.
_USER_BYTES = 2_300  # The objects of one cached user without their array data, about (measured by tracemalloc).
_INTERACTION_BYTES = 32  # Row, time and weight take 16; `History.distinct` keeps a row and a position, at most 12; and
# what was seen a row.
_FEW_SEEN = 64  # Items that a user has seen in neither way that counts: with more, they are not kept.


@dataclass(frozen=True, slots=True)
class LiveUser:
    """A user at a moment.

    Attributes:
        history: The user's positive interactions, recent items of the request included.
        vector: float32 ``[d]``, no longer than 1, moved away from what the user dislikes; None if there is no model.
        personalization: Where the vector comes from.
        dislikes: The user's negative interactions that later positive ones have not taken back.
        liking: The vector before it was moved away; None if there was none.
        is_mean: Whether ``liking`` is the mean user's: nothing is known of what this user likes.
    """

    history: History
    vector: Array | None
    personalization: Personalization
    dislikes: History = NO_HISTORY
    liking: Array | None = None
    is_mean: bool = False

    @property
    def is_person(self) -> bool:
        """Whether anything is known of the user, so that the vector is their own."""
        return self.personalization in ("learned", "folded_in")


@dataclass(slots=True)
class _CachedUser:
    """A user in the cache. They are valid as long as the graph has the same edges and attributes for them."""

    user_id: str  # A row may be given to another user.
    user: LiveUser
    edges_version: object
    attributes_version: object
    attributes: Attributes
    view_version: int = -1  # Of the graph that was looked at last.
    seen: tuple[int, frozenset[str], Rows] | None = None  # That version, relations, and what was seen in them.

    @property
    def num_bytes(self) -> int:
        vector = self.user.vector
        num_interactions = len(self.user.history.item_rows) + len(self.user.dislikes.item_rows)
        return _USER_BYTES + _INTERACTION_BYTES * num_interactions + (0 if vector is None else 2 * vector.nbytes)


class Users:
    """Finds users' histories and vectors over one table of items, and caches them until they change.

    The least recently used leave the cache first. Any thread may call any method.

    Args:
        rules: Which edges are positive interactions, and which negative ones.
        max_history: Latest interactions of a user that are looked at, for each relation.
        model: The model that gives the vectors; None for histories alone.
        max_bytes: Size of the cache, in bytes.
    """

    def __init__(
        self, rules: InteractionRules, max_history: int, model: ServingModel | None, max_bytes: int = MAX_BYTES
    ) -> None:
        self._edge_type = rules.edge_type
        self._positive_types = [rules.edge_type(relation) for relation in rules.positive_relations]
        self._negative_types = [rules.edge_type(relation) for relation in rules.negative_relations]
        self._dislike_exponents = DislikeExponents() if model is None else model.exponents.dislikes
        self._max_history = max_history
        self._gatherer: NeighbourhoodGatherer | None = None
        if model is not None:
            names = [value.partition("=")[0] for value in model.inputs[USER].attribute_values]
            self._gatherer = NeighbourhoodGatherer(
                USER, model.schema, rules, names, max_history, model.edge_half_life_days
            )
        self._max_bytes = max_bytes
        self._cached_users: OrderedDict[int, _CachedUser] = OrderedDict()  # By row, the most recently used last.
        self._num_bytes = 0
        self._ids_lineage = ""
        self._lock = threading.Lock()  # Guards the cache; never held while a user is made.

    def __len__(self) -> int:
        """Return how many users are cached."""
        return len(self._cached_users)

    @property
    def num_bytes(self) -> int:
        """Approximate size of the cached users, in bytes."""
        return self._num_bytes

    def find(self, view: GraphView, table: ItemTable | None, query: BoundQuery) -> LiveUser:
        """Return the user of a query as the graph knows them now.

        Args:
            view: The graph, to which the query was bound.
            table: The items, or None without a model.
            query: Gives the user, the recent items and the moment.
        """
        row = query.user_row
        if len(query.recent_rows) or row < 0:
            return self._make(view, table, query)
        nodes = view.nodes(USER)
        known = self._cached_users.get(row)
        if (
            known is not None
            and known.view_version == view.version  # Nothing has happened in the graph since.
            and known.user_id == query.user_id
            and known.attributes_version == nodes.attributes_version
        ):
            with self._lock:
                if row in self._cached_users:
                    self._cached_users.move_to_end(row)
            return known.user
        edges = [view.edges(edge_type) for edge_type in (*self._positive_types, *self._negative_types)]
        edges_version = (*(of_relation.version_of(row) for of_relation in edges), nodes.lifetimes.born_ms(row))
        attributes_version = nodes.attributes_version  # Before the attributes: a change in between is seen later.
        cached = self._find_cached(query, edges_version, attributes_version, nodes)
        if cached is not None:
            cached.view_version = view.version
            return cached.user
        attributes = self._attributes(nodes, row)
        user = self._make(view, table, query)
        # The version may include an event that the view does not show yet: then the user is not cached.
        has_any = len(user.history.item_rows) or len(user.dislikes.item_rows)
        if has_any and all(of_relation.has_all_targets(row) for of_relation in edges):
            with self._lock:
                if nodes.ids.row(query.user_id) == row:  # Else the user was forgotten meanwhile.
                    versions = edges_version, attributes_version
                    self._cache(row, _CachedUser(query.user_id, user, *versions, attributes, view.version))
        return user

    def seen_rows(self, view: GraphView, user_id: str, row: int, relations: frozenset[str]) -> Rows:
        """Return the items that a user has seen in some relations, int32 ``[n]``, ascending.

        Args:
            view: The graph.
            user_id: The user.
            row: Their row, -1 if the view does not know them.
            relations: The relations.
        """
        if row < 0:
            return NO_HISTORY.item_rows
        cached = self._cached_users.get(row)
        if cached is not None and cached.user_id != user_id:
            cached = None
        if cached is not None and cached.seen is not None and cached.seen[:2] == (view.version, relations):
            return cached.seen[2]
        edge_types = [edge_type for edge_type in view.edge_types if edge_type[1] in relations]
        seen = [view.edges(each).all_targets(row).rows for each in edge_types if each == self._edge_type(each[1])]
        seen = [rows for rows in seen if len(rows)]
        if not seen:
            return NO_HISTORY.item_rows
        rows = np.unique(np.concatenate(seen) if len(seen) > 1 else seen[0])
        if cached is not None:
            user = cached.user
            if len(rows) <= len(user.history.item_rows) + len(user.dislikes.item_rows) + _FEW_SEEN:
                cached.seen = view.version, relations, rows
        return rows

    def without(self, view: GraphView, table: ItemTable | None, query: BoundQuery) -> Callable[[Rows], LiveUser]:
        """Return what makes the user of a query as if they had never met some items, int32 ``[n]``; none are cached.

        What the model learned of the user in its training stays: only what is folded in live changes.

        Args:
            view: The graph, to which the query was bound.
            table: The items, or None without a model.
            query: Gives the user, the recent items and the moment.
        """
        gathered = None if table is None else self._gather(view, table, query)
        is_whole = self._gatherer is None or self._gatherer.has_all(view, query.user_row)

        def made(removed: Rows) -> LiveUser:
            left = gathered
            if table is not None and gathered is not None and len(removed):
                if is_whole:
                    left = gathered[0].without_items(removed, table.model.schema, table.model.item_type), gathered[1]
                else:  # Earlier edges come in the place of those that are gone.
                    left = self._gather(view, table, query, removed)
            return self._make(view, table, query, removed, left)

        return made

    def neighbourhood(self, view: GraphView, table: ItemTable, query: BoundQuery) -> tuple[Array, Neighbourhood]:
        """Return level 0 of a query's user, float32 ``[1, d]``, and the neighbours that they are folded in from."""
        gathered, level_0 = self._gather(view, table, query)
        return level_0, gathered

    def vectors(self) -> tuple[list[str], npt.NDArray[np.int32], Array]:
        """Return the ids of the cached users who have a vector of their own, their rows, and it, float32 ``[n, d]``.

        Whoever has had an event since was not asked for since.
        """
        with self._lock:
            found = [
                (cached.user_id, row, cached.user.vector)
                for row, cached in self._cached_users.items()
                if cached.user.vector is not None and cached.user.is_person
            ]
        ids, rows, vectors = zip(*found, strict=True) if found else ((), (), ())
        return list(ids), np.array(rows, np.int32), np.array(vectors, np.float32)

    def drop_forgotten(self, view: GraphView) -> None:
        """Drop forgotten users from the cache. To be called every second or so by a background thread."""
        nodes = view.nodes(USER)
        ids_lineage = nodes.ids_lineage
        if ids_lineage == self._ids_lineage:
            return
        with self._lock:
            cached_ids = {row: cached.user_id for row, cached in self._cached_users.items()}
        ids_now = dict(zip(cached_ids, nodes.ids.ids(list(cached_ids)), strict=True))
        with self._lock:
            for row, user_id in ids_now.items():
                if row in self._cached_users and self._cached_users[row].user_id != user_id:
                    self._drop(row)
        self._ids_lineage = ids_lineage

    def _find_cached(
        self, query: BoundQuery, edges_version: object, attributes_version: object, nodes: NodeTable
    ) -> _CachedUser | None:
        """Return a user from the cache; None if they are not there or have changed."""
        row = query.user_row
        with self._lock:
            cached = self._cached_users.get(row)
            if cached is None or cached.user_id != query.user_id or cached.edges_version != edges_version:
                return None
            if cached.attributes_version != attributes_version:  # Somebody's attributes have changed.
                if cached.attributes != self._attributes(nodes, row):
                    return None
                cached.attributes_version = attributes_version
            self._cached_users.move_to_end(row)
            return cached

    def _cache(self, row: int, cached: _CachedUser) -> None:
        if row in self._cached_users:
            self._drop(row)
        self._cached_users[row] = cached
        self._num_bytes += cached.num_bytes
        while self._num_bytes > self._max_bytes:
            self._drop(next(iter(self._cached_users)))

    def _drop(self, row: int) -> None:
        self._num_bytes -= self._cached_users.pop(row).num_bytes

    def _attributes(self, nodes: NodeTable, row: int) -> Attributes:
        """Return the attributes that a user's vector depends on; none without a model."""
        if self._gatherer is None:
            return (), ()
        return tuple(nodes.category_values(row)), tuple(nodes.number_values(row).items())

    def _make(
        self,
        view: GraphView,
        table: ItemTable | None,
        query: BoundQuery,
        removed: Rows = _NO_ROWS,
        gathered: _Gathered | None = None,
    ) -> LiveUser:
        row, recent_rows, now_ms = query.user_row, query.recent_rows, query.moment.timestamp_ms
        liked = self._interactions(view, row, self._positive_types, removed)
        disliked_ones = _joined(self._interactions(view, row, self._negative_types, removed))
        if len(removed):
            recent_rows = recent_rows[~np.isin(recent_rows, removed)]
        history = _joined([_touched(recent_rows, now_ms), *liked] if len(recent_rows) else liked)
        dislikes = standing(disliked_ones, liked)
        vector, personalization = self._liking(view, table, query, history, gathered)
        is_mean = vector is None
        if vector is None and table is not None:
            # Exponents are learned beside vectors that hold what all users like: without one, popularity would count
            # for less than it should.
            vector = table.model.mean_user
        if table is None or not len(dislikes.item_rows):
            return LiveUser(history, vector, personalization, dislikes, vector, is_mean)
        newest_ms = view.newest_ms if view.newest_ms is not None else now_ms
        known = dislikes.where(table.has_rows(view, dislikes.item_rows))
        disliked = direction(known, table.vectors, newest_ms)
        if disliked is None:
            return LiveUser(history, vector, personalization, dislikes, vector, is_mean)
        moved = moved_away(vector, disliked, self._dislike_exponents.like)
        return LiveUser(history, moved, "folded_in" if is_mean else personalization, dislikes, vector, is_mean)

    def _liking(
        self,
        view: GraphView,
        table: ItemTable | None,
        query: BoundQuery,
        history: History,
        gathered: _Gathered | None,
    ) -> tuple[Array | None, Personalization]:
        """Return the user's vector by what they like, and where it comes from; None if nothing is known.

        Given what was gathered, without removed items, the vector is folded in even if the user is as they were in the
        training.
        """
        row = query.user_row
        if table is None:
            return None, "fallback"
        model, side = table.model, table.model.users
        model_row = side.rows.of_id(view.nodes(USER), query.user_id, row)
        if gathered is None and model_row >= 0 and model.is_as_trained(model_row, history):
            return _known(side.vectors[model_row], "learned")
        is_ranked = table.has_rows(view, history.item_rows)
        if model_row < 0 and not is_ranked.any() and not self._has_attributes(view, row):
            return None, "context_only"
        neighbourhood, level_0 = gathered or self._gather(view, table, query)
        if not len(neighbourhood.target) and not level_0.any():
            return None, "context_only"
        try:
            vector = model.user_vector(level_0, neighbourhood, is_known=model_row >= 0)
        except BypassedError:  # An encoder that others wrote: the training's vector, or none, takes its place.
            return (None, "context_only") if model_row < 0 else _known(side.vectors[model_row], "learned")
        return _known(vector, "learned" if model_row >= 0 else "folded_in")

    def _gather(self, view: GraphView, table: ItemTable, query: BoundQuery, removed: Rows = _NO_ROWS) -> _Gathered:
        """Return the neighbours that a user is folded in from, without removed items, and their level 0."""
        row, model, recent_rows = query.user_row, table.model, query.recent_rows
        if len(removed):
            recent_rows = recent_rows[~np.isin(recent_rows, removed)]
        level_0, attributes = model.inputs[USER].of_row(view.nodes(USER), row)
        model_row = model.users.rows.of_id(view.nodes(USER), query.user_id, row)
        if model_row >= 0:
            level_0 = model.users.levels[0, model_row : model_row + 1]
        assert self._gatherer is not None, "wanted a model, since there is a table"
        neighbourhood = self._gatherer.gather(
            view,
            np.array([row], np.int32),
            functools.partial(table.levels_of, view),
            Values(attributes.node_rows, attributes.codes),
            RecentItems(recent_rows, query.moment.timestamp_ms),
            removed,
        )
        return neighbourhood, level_0

    def _interactions(self, view: GraphView, row: int, edge_types: Sequence[EdgeType], removed: Rows) -> list[History]:
        """Return the latest interactions of a user without removed items, those of each edge type by themselves."""
        if row < 0:
            return []
        limit = self._max_history
        found = [targets_without(view.edges(edge_type), row, limit, removed) for edge_type in edge_types]
        return [History(edges.rows, edges.timestamps_ms, edges.weights) for edges in found]

    def _has_attributes(self, view: GraphView, row: int) -> bool:
        return row >= 0 and bool(view.nodes(USER).category_values(row))


def _known(vector: Array, personalization: Personalization) -> tuple[Array | None, Personalization]:
    """Return a vector and where it comes from; a vector of 0, or with a NaN, says nothing of the user."""
    is_known = bool(vector.any() and np.isfinite(vector).all())
    return (vector, personalization) if is_known else (None, "context_only")


def _touched(recent_rows: npt.NDArray[np.int32], now_ms: int) -> History:
    """Return the recent items of a request as a history of weight 1 each."""
    count = len(recent_rows)
    return History(recent_rows, np.full(count, now_ms, np.int64), np.ones(count, np.float32))


def _joined(histories: Sequence[History]) -> History:
    """Return several histories of one user as one, newest first."""
    histories = [history for history in histories if len(history.item_rows)]
    if len(histories) <= 1:
        return histories[0] if histories else NO_HISTORY
    times = np.concatenate([history.timestamps_ms for history in histories])
    rows = np.concatenate([history.item_rows for history in histories])
    weights = np.concatenate([history.weights for history in histories])
    order = np.argsort(-times, kind="stable")
    return History(rows[order], times[order], weights[order])
