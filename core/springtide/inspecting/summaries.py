"""Nodes in short: what they are called, how many interactions they have, and when the latest was."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.errors import InvalidRequestError
from springtide.graph.applying import USER
from springtide.graph.edges import EdgeType
from springtide.graph.latest_edges import latest_edges
from springtide.graph.nodes import NodeTable
from springtide.graph.view import GraphView

Int64s = npt.NDArray[np.int64]

USUAL_NAMES = ("title", "name")
"""Attributes that name nodes where no setting says which one does."""

_MOST_COUNTED = 10_000  # Edges of one node and type: up to here dead ones are told from others, one by one.


@dataclass(frozen=True, slots=True)
class NodeSummary:
    """A node, in short.

    Attributes:
        node_type: Its type.
        node_id: Its id.
        name: What it is called; its id if it has no name.
        num_interactions: How many interactions it has in the graph.
        latest_ms: Event time of the latest one; None without one.
    """

    node_type: str
    node_id: str
    name: str
    num_interactions: int
    latest_ms: int | None


@dataclass(frozen=True, slots=True)
class Inspected:
    """A view of the graph, and what is needed to speak of its nodes.

    Attributes:
        view: The graph.
        item_type: Node type of the items.
        named_by: Attribute that names nodes, where they have it; empty for ``USUAL_NAMES`` alone.
    """

    view: GraphView
    item_type: str
    named_by: str = ""

    def table(self, node_type: str) -> NodeTable:
        """Return the nodes of a type.

        Raises:
            InvalidRequestError: If there is no such type.
        """
        if node_type not in self.view.node_types:
            choices = ", ".join(sorted(self.view.node_types)) or "none yet"
            raise InvalidRequestError("type", f"no node type {node_type!r} (choices: {choices})")
        return self.view.nodes(node_type)

    def name_attribute(self, node_type: str) -> str:
        """Return the attribute that names the nodes of a type: a text or a category; empty if there is none."""
        nodes = self.view.nodes(node_type)
        for name in (self.named_by, *USUAL_NAMES):
            if name and nodes.settled_kind(name) in ("text", "category"):
                return name
        return ""

    def names(self, node_type: str, rows: Sequence[int]) -> list[str]:
        """Return what nodes are called, empty where one has no name."""
        name, nodes = self.name_attribute(node_type), self.view.nodes(node_type)
        if not name:
            return [""] * len(rows)
        if nodes.kind(name) == "text":
            return nodes.texts_at(name, rows)
        column = nodes.categories_among((name,)).get(name)
        return ["" if column is None else next(iter(column.values(row)), "") for row in rows]

    def sides(self, node_type: str) -> list[tuple[EdgeType, bool]]:
        """Return the edge types of a node type, and whether it is their source; both ends of one may be of it."""
        found = []
        for edge_type in self.view.edge_types:
            found += [(edge_type, True)] if edge_type[0] == node_type else []
            found += [(edge_type, False)] if edge_type[2] == node_type else []
        return found

    def interactions(self, node_type: str) -> list[tuple[EdgeType, bool]]:
        """Return those of ``sides`` that are interactions of users with items; of another node type, all."""
        sides = self.sides(node_type)
        if node_type not in (USER, self.item_type):
            return sides
        return [side for side in sides if (side[0][0], side[0][2]) == (USER, self.item_type)]

    def degrees(self, node_type: str, rows: Int64s) -> Int64s:
        """Return about how many interactions nodes have, int64 ``[n]``: just deleted ones and newer ones may count.

        Args:
            node_type: Their type.
            rows: int64 ``[n]``.
        """
        degrees = np.zeros(len(rows), np.int64)
        for edge_type, is_source in self.interactions(node_type):
            degrees += self.view.edges(edge_type).degrees(rows, is_source=is_source)
        return degrees

    def num_edges(self, edge_type: EdgeType, row: int, *, is_source: bool) -> int:
        """Return how many edges of a type a node has; of more than 10,000, just deleted ones may count."""
        edges = self.view.edges(edge_type)
        degree = int(edges.degrees(np.array([row], np.int64), is_source=is_source)[0])
        if not degree or degree > _MOST_COUNTED or not edges.raw[2]:  # None is dead.
            return degree
        return len(latest_edges(edges, row, degree, is_source=is_source)[0])

    def summaries(self, node_type: str, rows: Sequence[int]) -> dict[int, NodeSummary]:
        """Return nodes in short by row, in the order of distinct rows; one that lives no more is left out."""
        nodes, sides = self.view.nodes(node_type), self.interactions(node_type)
        found = {}
        latest_ms = np.full(len(rows), np.iinfo(np.int64).min)
        for edge_type, is_source in sides:
            edges = self.view.edges(edge_type)
            latest = (edges.recent_targets if is_source else edges.recent_sources)(rows, 1)
            newer = np.where(latest.rows[:, 0] >= 0, latest.timestamps_ms[:, 0], latest_ms)
            np.maximum(latest_ms, newer, out=latest_ms)
        named = zip(rows, nodes.ids.ids(rows), self.names(node_type, rows), latest_ms.tolist(), strict=True)
        for row, node_id, name, at_ms in named:
            if node_id:
                count = sum(self.num_edges(edge_type, row, is_source=is_source) for edge_type, is_source in sides)
                found[row] = NodeSummary(node_type, node_id, name or node_id, count, at_ms if count else None)
        return found
