"""A frozen view of the graph, for readers."""

from collections.abc import Mapping
from dataclasses import dataclass

from springtide.graph.edges import EdgeType, EdgeView, empty_columns
from springtide.graph.nodes import NodeTable
from springtide.settings.model import AttributeKind

_NO_EDGES = EdgeView(empty_columns(), 0)


@dataclass(frozen=True, slots=True, eq=False)
class GraphView:
    """The edges of the graph when the view was taken; safe to read while the writer continues.

    The numbers of nodes and edges are fixed. Attributes of nodes are always the latest.

    Attributes:
        version: Version of the graph; it grows with each change.
        newest_ms: Newest event time of an edge so far; None before the first edge.
        attribute_kinds: Kinds of attributes that are fixed, by node type.
    """

    version: int
    newest_ms: int | None
    _edges: Mapping[EdgeType, EdgeView]
    _nodes: Mapping[str, NodeTable]
    _num_nodes: Mapping[str, int]
    attribute_kinds: Mapping[str, Mapping[str, AttributeKind]]

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

    def shows(self, nodes: Mapping[str, NodeTable], num_nodes: Mapping[str, int]) -> bool:
        """Return whether the view is of these tables of nodes, each with so many rows."""
        return self._nodes is nodes and self._num_nodes == num_nodes

    def num_nodes(self, node_type: str) -> int:
        """Return the number of rows of a node type, including forgotten nodes; 0 for an unknown type."""
        return self._num_nodes.get(node_type, 0)

    def nodes(self, node_type: str) -> NodeTable:
        """Return the nodes of a type; an empty table for an unknown type."""
        table = self._nodes.get(node_type)
        return NodeTable(node_type, self.attribute_kinds.get(node_type, {})) if table is None else table

    def edges(self, edge_type: EdgeType) -> EdgeView:
        """Return the edges of a type; no edges for an unknown type."""
        return self._edges.get(edge_type, _NO_EDGES)
