"""The graph as it was at one moment, for readers."""

from collections.abc import Mapping
from dataclasses import dataclass

from springtide.graph.edges import EdgeType, EdgeView, empty_columns
from springtide.graph.nodes import NodeTable

_NO_EDGES = EdgeView(empty_columns(), 0)


@dataclass(frozen=True, slots=True, eq=False)
class GraphView:
    """The graph's edges as they were when the view was taken; safe while the writer goes on.

    Lengths are fixed; attributes are the latest of now.

    Attributes:
        version: Grows with each change of the graph.
        newest_ms: The newest event time of an edge so far, or None before the first edge.
    """

    version: int
    newest_ms: int | None
    _edges: Mapping[EdgeType, EdgeView]
    _nodes: Mapping[str, NodeTable]
    _num_nodes: Mapping[str, int]

    @property
    def node_types(self) -> tuple[str, ...]:
        """The node types, in order of arrival."""
        return tuple(self._nodes)

    @property
    def edge_types(self) -> tuple[EdgeType, ...]:
        """The edge types, in order of arrival."""
        return tuple(self._edges)

    @property
    def num_edges(self) -> int:
        """Number of edges of all types."""
        return sum(map(len, self._edges.values()))

    def num_nodes(self, node_type: str) -> int:
        """Return how many rows the node type had, those of forgotten nodes included; 0 for an unknown type."""
        return self._num_nodes.get(node_type, 0)

    def nodes(self, node_type: str) -> NodeTable:
        """Return the nodes of a type, an empty table if it is unknown."""
        table = self._nodes.get(node_type)
        return NodeTable(node_type) if table is None else table

    def edges(self, edge_type: EdgeType) -> EdgeView:
        """Return the edges of a type, none if it is unknown."""
        return self._edges.get(edge_type, _NO_EDGES)
