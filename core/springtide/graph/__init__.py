"""The live graph of typed nodes and timestamped edges."""

from springtide.graph.categories import CategoryColumn
from springtide.graph.edges import EdgeType, EdgeView, Neighbours
from springtide.graph.live import LiveGraph
from springtide.graph.nodes import NodeTable
from springtide.graph.view import GraphView

__all__ = ["CategoryColumn", "EdgeType", "EdgeView", "GraphView", "LiveGraph", "Neighbours", "NodeTable"]
