"""What nodes and interactions are described by: attributes of each node type, circumstances, and frequent values."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from springtide.graph.circumstances import CircumstanceTable
from springtide.graph.view import GraphView

MAX_VALUES = 50

_LATEST = 100_000  # Edges of each type that are looked at for circumstances: what is frequent is frequent there.


@dataclass(frozen=True, slots=True)
class AttributeSummary:
    """An attribute of nodes, or a circumstance of interactions.

    Attributes:
        node_type: The node type; empty for a circumstance.
        name: Its name.
        kind: ``category``, ``number``, ``text`` or ``vector``.
        num_nodes: How many nodes have it; 0 if unknown.
        values: Of a category: the most frequent values, at most 50, the most frequent first.
    """

    node_type: str
    name: str
    kind: str
    num_nodes: int
    values: Sequence[str] = ()


def attributes_of_nodes(view: GraphView) -> list[AttributeSummary]:
    """Return the attributes of each node type, by type and name."""
    found = []
    for node_type in sorted(view.node_types):
        nodes = view.nodes(node_type)
        categories = nodes.categories
        for name, kind in sorted(nodes.kinds.items()):
            column = categories.get(name)
            values = () if column is None else tuple(column.most_used(MAX_VALUES))
            found.append(AttributeSummary(node_type, name, kind, nodes.num_with(name), values))
    return found


def circumstances_of_edges(view: GraphView, circumstances: CircumstanceTable) -> list[AttributeSummary]:
    """Return the circumstances that are kept with interactions; what is frequent is counted among the latest ones."""
    found = []
    for column, key in enumerate(list(circumstances.keys), start=1):
        values = circumstances.values(key)
        counts = np.zeros(len(values), np.int64)
        for edge_type in view.edge_types:
            features = next(view.edges(edge_type).feature_parts(_LATEST), None)
            if features is not None and column < features.shape[1]:
                codes = features[:, column]
                codes = codes[~np.isnan(codes)].astype(np.int64)
                counts += np.bincount(codes[codes < len(values)], minlength=len(values))
        order = [code for code in np.argsort(-counts, kind="stable")[:MAX_VALUES].tolist() if values[code]]
        found.append(AttributeSummary("", key, "category", 0, tuple(values[code] for code in order)))
    return found
