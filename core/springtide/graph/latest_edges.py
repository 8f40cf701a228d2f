"""The latest edges of one node, with all their columns."""

import numpy as np

from springtide.graph import kernels
from springtide.graph.edges import EdgeArrays, EdgeView


def latest_edges(edges: EdgeView, row: int, limit: int, *, is_source: bool) -> EdgeArrays:
    """Return the columns of one node's edges, the newest first; copies of ``[count]``.

    It walks the node's chain, and no further than it must: a node with a million edges is no more work than others.

    Args:
        edges: The edges.
        row: The node; an unknown one has no edges.
        limit: Most edges to return, at least 1.
        is_source: Whether it is their source, or their target.
    """
    columns, length, generation = edges.raw
    chain = columns.by_source if is_source else columns.by_target
    degree = int(chain.degree[row]) if 0 <= row < len(chain.degree) else 0
    at = np.empty(min(limit, degree), np.int32)
    if degree:  # It also counts dead edges, and later ones.
        count = kernels.collect_edges(row, length, chain.head, chain.prev, columns.dead_since, generation, at)
        at = at[:count]
    weights = np.repeat(columns.weights, len(at)) if columns.has_one_weight else columns.weights[at]
    features = None if columns.features is None else columns.features[at]
    return columns.source[at], columns.target[at], columns.timestamps_ms[at], weights, features
