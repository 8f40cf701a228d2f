"""Exporting a view to PyG and networkx."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch_geometric.data import Data, HeteroData

from springtide.errors import InvalidRequestError
from springtide.graph.edges import Neighbours
from springtide.graph.view import GraphView

if TYPE_CHECKING:
    import networkx as nx

NodeRow = tuple[str, int]  # (node type, row)


def to_pyg(view: GraphView) -> HeteroData:
    """Return the graph as PyG's ``HeteroData``; all tensors are copies.

    Each node type has ``num_nodes``, ``category_<name>`` (int64 ``[num_nodes]``, code of the first value, -1 for none)
    and ``number_<name>`` (float32 ``[num_nodes]``, NaN for none). Each edge type has
    ``edge_index`` (int64 ``[2, num_edges]``), ``time`` (int64 ``[num_edges]``, milliseconds), ``weight`` (float32
    ``[num_edges]``) and, if its edges have values, ``edge_attr`` (float32 ``[num_edges, 1]``).
    """
    data = HeteroData()
    for node_type in view.node_types:
        table, count = view.nodes(node_type), view.num_nodes(node_type)
        data[node_type].num_nodes = count
        for name, column in table.categories.items():
            data[node_type][f"category_{name}"] = torch.from_numpy(column.first_codes()[:count].astype(np.int64))
        for name, numbers in table.numbers.items():
            data[node_type][f"number_{name}"] = torch.from_numpy(numbers[:count].astype(np.float32))
    for edge_type in view.edge_types:
        edges = view.edges(edge_type)
        data[edge_type].edge_index = torch.from_numpy(np.stack([edges.source, edges.target]).astype(np.int64))
        data[edge_type].time = torch.from_numpy(edges.timestamps_ms.copy())
        data[edge_type].weight = torch.from_numpy(edges.weights.copy())
        if edges.features is not None:
            data[edge_type].edge_attr = torch.from_numpy(edges.features[:, :1].copy())
    return data


def to_pyg_homogeneous(view: GraphView) -> Data:
    """Return the graph as PyG's ``Data``, with the nodes type by type, in the order of ``view.node_types``.

    It has ``edge_index`` (int64 ``[2, num_edges]``), ``time``, ``weight``, ``num_nodes``, ``node_type`` (int64
    ``[num_nodes]``, index in ``node_types``) and ``edge_type`` (int64 ``[num_edges]``, index in ``edge_types``).
    """
    counts = [view.num_nodes(node_type) for node_type in view.node_types]
    starts = dict(zip(view.node_types, np.cumsum([0, *counts]).tolist(), strict=False))
    parts = [(edge_type, view.edges(edge_type)) for edge_type in view.edge_types]
    lengths = torch.tensor([len(edges) for _, edges in parts], dtype=torch.int64)
    return Data(
        edge_index=torch.from_numpy(
            np.stack(
                [
                    _joined([edges.source.astype(np.int64) + starts[source] for (source, _, _), edges in parts]),
                    _joined([edges.target.astype(np.int64) + starts[target] for (_, _, target), edges in parts]),
                ]
            )
        ),
        time=torch.from_numpy(_joined([edges.timestamps_ms for _, edges in parts])),
        weight=torch.from_numpy(np.concatenate([edges.weights for _, edges in parts] or [np.empty(0, np.float32)])),
        node_type=torch.repeat_interleave(torch.tensor(counts, dtype=torch.int64)),
        edge_type=torch.repeat_interleave(lengths),
        node_types=list(view.node_types),
        edge_types=list(view.edge_types),
        num_nodes=sum(counts),
    )


def to_networkx(
    view: GraphView, node_type: str, node_id: str, hops: int = 1, max_neighbours: int = 50
) -> "nx.MultiDiGraph":
    """Return the neighbourhood of a node.

    Nodes are ``(type, id)``; edges have the attributes ``relation``, ``timestamp_ms`` and ``weight``.

    Args:
        view: The graph.
        node_type: Type of the node in the middle.
        node_id: Its id.
        hops: Number of steps from that node, along edges in either direction.
        max_neighbours: Most edges of each type and direction to follow from a node, the newest first.

    Raises:
        InvalidRequestError: If the node is not in the graph.
    """
    import networkx as nx  # Slow to import.

    row = view.nodes(node_type).ids.row(node_id)
    if not 0 <= row < view.num_nodes(node_type):
        raise InvalidRequestError("node_id", f"no {node_type} {node_id!r} in the graph")
    neighbourhood = nx.MultiDiGraph()
    neighbourhood.add_node((node_type, node_id))
    done: set[NodeRow] = set()  # Nodes whose edges were added: from the other end, these edges are skipped.
    frontier = {(node_type, row)}
    for _ in range(hops):
        met: set[NodeRow] = set()
        for node in sorted(frontier):
            for source, relation, target, timestamp_ms, weight in _edges_around(view, node, max_neighbours):
                other = target if source == node else source
                if other not in done:
                    neighbourhood.add_edge(
                        *(_key(view, source), _key(view, target)),
                        relation=relation,
                        timestamp_ms=timestamp_ms,
                        weight=weight,
                    )
                    met.add(other)
            done.add(node)
        frontier = met - done
    return neighbourhood


def _edges_around(
    view: GraphView, node: NodeRow, max_neighbours: int
) -> Iterator[tuple[NodeRow, str, NodeRow, int, float]]:
    node_type, row = node
    for edge_type in view.edge_types:
        source_type, relation, target_type = edge_type
        edges = view.edges(edge_type)
        if source_type == node_type:
            for other, timestamp_ms, weight in _listed(edges.all_targets(row, max_neighbours)):
                yield node, relation, (target_type, other), timestamp_ms, weight
        if target_type == node_type:
            for other, timestamp_ms, weight in _listed(edges.all_sources(row, max_neighbours)):
                if (source_type, other) != node:  # A loop was already yielded as an outgoing edge.
                    yield (source_type, other), relation, node, timestamp_ms, weight


def _listed(found: Neighbours) -> Iterator[tuple[int, int, float]]:
    return zip(found.rows.tolist(), found.timestamps_ms.tolist(), found.weights.tolist(), strict=True)


def _key(view: GraphView, node: NodeRow) -> tuple[str, str]:
    node_type, row = node
    return node_type, view.nodes(node_type).ids.id(row)


def _joined(parts: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    return np.concatenate([np.empty(0, np.int64), *parts])
