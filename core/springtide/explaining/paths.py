"""Paths in the live graph from a user to items: through people, shared attributes, relations, and the user's own past.

The strength of a path is ``n / √(a · b) · n / (n + 5)``: much like the cosine of two sets of ``a`` and ``b`` that share
``n``, shrunk where they share little. Through people, ``n`` had both items, and these have ``a`` and ``b`` edges.
Through an attribute, ``n`` of the user's ``a`` items have a value that ``b`` have in all. Through a relation to ``a``
people, ``n`` of them had the item, which has ``b`` edges. The user's own past has ``d / (d + 1)``, for ``d`` days.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY, Deadline
from springtide.explaining.shared_people import Counts, Holders
from springtide.graph.applying import USER
from springtide.graph.edges import EdgeType
from springtide.graph.view import GraphView
from springtide.interactions import History
from springtide.settings.interaction_rules import InteractionRules

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
PathKind = Literal["people", "attribute", "relation", "own"]

DEFAULT_LIMIT_S = 0.005
DEFAULT_MAX_PATHS = 5
_MAX_OWN = 256  # Latest items of the user that paths go through.
_MAX_LINKED = 1_000  # Latest nodes that a relation leads to.
_SHRINK = 5.0  # Two sets that share so many count half.
_HOLDERS_SHARE = 0.3  # Of the time, for who had the explained items.


@dataclass(frozen=True, slots=True)
class PathNode:
    """A node on a path: its type, and its id."""

    node_type: str
    node_id: str


@dataclass(frozen=True, slots=True)
class Path:
    """A way in the graph from the user to an item.

    Attributes:
        kind: What it goes through.
        nodes: From the first after the user to the item itself; people in between are counted, not named.
        strength: See the module, 0 to 1.
        share: Its strength over that of all paths to the item, 0 to 1.
        attribute: The attribute that both items have; empty unless ``attribute``.
        value: Its value.
        relation: The relation, such as ``follows``; empty unless ``relation``.
        num_people: People on the way, the user not counted.
        num_recent_people: How many of them had the item in the last 7 days before the moment.
        is_lower_bound: Whether there may be more people.
        num_own: Of ``attribute``, the user's items with the value; of ``own``, the days on which they had the item.
        user_ms: When the user last had the first node; None if never.
        latest_ms: When somebody on the way last had the item; None if nobody.

    Raises:
        ValueError: If a count is below 0, more people are recent than there are, or there is no node.
    """

    kind: PathKind
    nodes: tuple[PathNode, ...]
    strength: float
    share: float = 0.0
    attribute: str = ""
    value: str = ""
    relation: str = ""
    num_people: int = 0
    num_recent_people: int = 0
    is_lower_bound: bool = False
    num_own: int = 0
    user_ms: int | None = None
    latest_ms: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.num_recent_people <= self.num_people or self.num_own < 0 or not self.nodes:
            raise ValueError(f"wanted nodes, and 0 to all people recent, got {self!r}")

    @property
    def first_item(self) -> str:
        """Id of the first node."""
        return self.nodes[0].node_id


@dataclass(frozen=True, slots=True)
class FoundPaths:
    """The paths to some items.

    Attributes:
        of_items: For each item, its paths, the strongest first.
        is_cut: Whether the time was over, or the user's items were too many, before all were found.
    """

    of_items: tuple[tuple[Path, ...], ...]
    is_cut: bool


@dataclass(frozen=True, slots=True)
class _Own:
    """The user's items, newest first: rows int32 ``[n]``, when they last had each int64 ``[n]``; is any left out?"""

    rows: Int32s
    last_ms: Int64s
    is_cut: bool


def find_paths(
    view: GraphView,
    rules: InteractionRules,
    user_row: int,
    history: History,
    item_rows: Sequence[int],
    moment_ms: int,
    deadline: Deadline,
    max_paths: int = DEFAULT_MAX_PATHS,
) -> FoundPaths:
    """Find the paths that lead from a user to some items.

    Attributes of nodes are the latest, everything else is as of the moment.

    Args:
        view: The graph.
        rules: Which edges are positive interactions: those alone are what somebody "had".
        user_row: The user, who is not counted among the people; -1 for nobody.
        history: What the user had.
        item_rows: The items, distinct.
        moment_ms: Nothing later counts.
        deadline: The search ends by then; all items share the time.
        max_paths: Most paths to return of each item.
    """
    history = history.before(moment_ms + 1)
    own = _own_items(history)
    found: list[list[Path]] = [[] for _ in item_rows]
    search = _Search(view, rules, user_row, own, item_rows, moment_ms, found)
    search.own_past(history)
    search.attributes()
    views = [view.edges(rules.edge_type(relation)) for relation in rules.positive_relations]
    until = Deadline.after(deadline.remaining_s() * _HOLDERS_SHARE)
    holders = Holders(views, view.num_nodes(USER), user_row, item_rows, moment_ms, until)
    is_cut = own.is_cut or not holders.is_complete.all()
    is_cut |= search.relations(holders, deadline)
    counts = holders.shared_with(own.rows, deadline)
    search.people(holders, counts)
    is_cut |= not bool(counts.is_complete.all())
    return FoundPaths(tuple(_strongest(paths, max_paths) for paths in found), bool(is_cut))


class _Search:
    """One search, which adds to ``found``."""

    def __init__(
        self,
        view: GraphView,
        rules: InteractionRules,
        user_row: int,
        own: _Own,
        item_rows: Sequence[int],
        moment_ms: int,
        found: list[list[Path]],
    ) -> None:
        self._view = view
        self._rules = rules
        self._user_row = user_row
        self._own = own
        self._item_rows = item_rows
        self._before_ms = moment_ms + 1
        self._found = found
        self._items = view.nodes(rules.item_type)
        self._ids: dict[tuple[str, int], PathNode] = {}

    def own_past(self, history: History) -> None:
        for item, row in enumerate(self._item_rows):
            times = history.timestamps_ms[history.item_rows == row]
            if len(times):
                days = len(np.unique(times // MS_PER_DAY))
                strength, last_ms = days / (days + 1), int(times.max())
                self._found[item].append(Path("own", (self._item(row),), strength, num_own=days, user_ms=last_ms))

    def attributes(self) -> None:
        """Find the attribute values of the explained items that the user's items have."""
        rows = self._own.rows.astype(np.int64)
        for name, column in dict(self._items.categories).items():
            positions, codes = column.pairs_at(rows)
            if not len(positions):
                continue
            for item, row in enumerate(self._item_rows):
                for value in column.values(row):
                    code = column.vocabulary.row(value)
                    having = positions[(codes == code) & (self._own.rows[positions] != row)]
                    if code < 0 or not len(having):
                        continue
                    latest = int(having.min())  # The user's items are newest first.
                    strength = _cosine(len(having), len(rows), max(column.num_nodes_with(code), len(having)))
                    nodes = (self._item(int(rows[latest])), self._item(row))
                    user_ms = int(self._own.last_ms[latest])
                    self._found[item].append(
                        Path("attribute", nodes, strength, 0.0, name, value, num_own=len(having), user_ms=user_ms)
                    )

    def people(self, holders: Holders, counts: Counts) -> None:
        """Find the paths through the people who had one of the user's items."""
        for position, item in np.argwhere(counts.num_shared).tolist():
            own_row, row = int(self._own.rows[position]), self._item_rows[item]
            if row == own_row:
                continue
            nodes = (self._item(own_row), self._item(row))
            user_ms = int(self._own.last_ms[position])
            path = _through_people("people", nodes, holders, counts, (position, item))
            self._found[item].append(replace(path, user_ms=user_ms))

    def relations(self, holders: Holders, deadline: Deadline) -> bool:
        """Find the paths through edges that are no interactions; return whether they were cut."""
        item_type = self._rules.item_type
        interactions = {self._rules.edge_type(relation) for relation in self._rules.relations}
        others = [edge_type for edge_type in self._view.edge_types if edge_type not in interactions]
        for edge_type in others:
            if deadline.is_over():
                return True
            source_type, _, target_type = edge_type
            if (source_type, target_type) == (USER, USER):
                self._followed(edge_type, holders)
            if source_type == item_type == target_type:
                self._linked_items(edge_type)
            elif source_type == USER and target_type not in (USER, item_type):
                self._linked_nodes(edge_type, [each for each in others if target_type in (each[0], each[2])])
        return False

    def _followed(self, edge_type: EdgeType, holders: Holders) -> None:
        """Find the paths through people whom a relation leads to."""
        people, _ = self._targets(edge_type, self._user_row)
        if not len(people):
            return
        counts = holders.among(people[people != self._user_row])
        for item in np.flatnonzero(counts.num_shared[0]).tolist():
            nodes = (self._item(self._item_rows[item]),)
            path = _through_people("relation", nodes, holders, counts, (0, item))
            self._found[item].append(replace(path, relation=edge_type[1]))

    def _linked_items(self, edge_type: EdgeType) -> None:
        """Find the user's items that an edge joins with an explained one, in either direction."""
        for item, row in enumerate(self._item_rows):
            linked = np.union1d(self._targets(edge_type, row)[0], self._sources(edge_type, row)[0])
            for position in np.flatnonzero(np.isin(self._own.rows, linked)).tolist():
                own_row = int(self._own.rows[position])
                if own_row != row:
                    self._add_linked(item, edge_type[1], self._item(own_row), position, len(linked))

    def _linked_nodes(self, edge_type: EdgeType, others: Iterable[EdgeType]) -> None:
        """Find what the user has a relation to, and an explained item too, such as its artist."""
        nodes, times = self._targets(edge_type, self._user_row)
        if not len(nodes):
            return
        node_type, item_type = edge_type[2], self._rules.item_type
        for item, row in enumerate(self._item_rows):
            for other in others:
                if other == (item_type, other[1], node_type):
                    linked = self._targets(other, row)[0]
                elif other == (node_type, other[1], item_type):
                    linked = self._sources(other, row)[0]
                else:
                    continue
                for position in np.flatnonzero(np.isin(nodes, linked)).tolist():
                    node = self._node(node_type, int(nodes[position]))
                    strength = _cosine(1, 1, len(linked))
                    self._found[item].append(
                        Path(
                            "relation",
                            (node, self._item(row)),
                            strength,
                            relation=edge_type[1],
                            user_ms=int(times[position]),
                        )
                    )

    def _add_linked(self, item: int, relation: str, node: PathNode, position: int, num_linked: int) -> None:
        nodes = (node, self._item(self._item_rows[item]))
        user_ms = int(self._own.last_ms[position])
        self._found[item].append(Path("relation", nodes, _cosine(1, 1, num_linked), relation=relation, user_ms=user_ms))

    def _targets(self, edge_type: EdgeType, row: int) -> tuple[Int32s, Int64s]:
        found = self._view.edges(edge_type).recent_targets([row], _MAX_LINKED, self._before_ms)
        is_there = found.rows[0] >= 0
        rows, first = np.unique(found.rows[0][is_there], return_index=True)
        return rows, found.timestamps_ms[0][is_there][first]  # The first of each is its latest.

    def _sources(self, edge_type: EdgeType, row: int) -> tuple[Int32s, Int64s]:
        found = self._view.edges(edge_type).recent_sources([row], _MAX_LINKED, self._before_ms)
        is_there = found.rows[0] >= 0
        rows, first = np.unique(found.rows[0][is_there], return_index=True)
        return rows, found.timestamps_ms[0][is_there][first]

    def _item(self, row: int) -> PathNode:
        return self._node(self._rules.item_type, row)

    def _node(self, node_type: str, row: int) -> PathNode:
        key = (node_type, row)
        if key not in self._ids:
            self._ids[key] = PathNode(node_type, self._view.nodes(node_type).ids.ids([row])[0])
        return self._ids[key]


def _through_people(
    kind: PathKind, nodes: tuple[PathNode, ...], holders: Holders, counts: Counts, at: tuple[int, int]
) -> Path:
    """Return a path with the counts at a position."""
    num_people = int(counts.num_shared[at])
    return Path(
        kind,
        nodes,
        _cosine(num_people, max(num_people, int(counts.sizes[at[0]])), max(num_people, int(holders.sizes[at[1]]))),
        num_people=num_people,
        num_recent_people=int(counts.num_recent[at]),
        is_lower_bound=not counts.is_complete[at],
        latest_ms=int(counts.last_ms[at]),
    )


def _own_items(history: History) -> _Own:
    rows, first = np.unique(history.item_rows, return_index=True)
    order = np.argsort(first)  # The history is newest first.
    first = first[order][:_MAX_OWN]
    return _Own(history.item_rows[first], history.timestamps_ms[first], len(rows) > _MAX_OWN)


def _cosine(num_shared: int, num_one: int, num_other: int) -> float:
    """Return the strength for sets of two sizes that share some, each at least 1."""
    return num_shared / math.sqrt(num_one * num_other) * num_shared / (num_shared + _SHRINK)


def _strongest(paths: Sequence[Path], max_paths: int) -> tuple[Path, ...]:
    total = sum(path.strength for path in paths)
    ordered = sorted(paths, key=lambda path: (-path.strength, path.kind, path.nodes[0].node_id, path.value))
    return tuple(replace(path, share=path.strength / total) for path in ordered[:max_paths])
