"""Small graphs that checks run on."""

from collections.abc import Sequence

import torch
from torch import Tensor

from springtide.plugins.contracts import Edges, Encoder, Schema

WIDTH = 16
NUM_LAYERS = 2

SCHEMA = Schema(
    ("user", "item", "item value"),
    (
        ("user", "purchase", "item"),
        ("item", "rev_purchase", "user"),
        ("user", "view", "item"),
        ("item", "rev_view", "user"),
        ("item value", "category", "item"),
        ("item", "rev_category", "item value"),
    ),
    {"item": "item value"},
)
NODE_TYPES = (0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 0)
"""Type of each node of the sample graph: an isolated user, five users, five items, three attribute values, and another
isolated user. Code that expects every node to have edges fails at the first node or at the last."""

NUM_NODES = len(NODE_TYPES)
ISOLATED = (0, NUM_NODES - 1)
CONNECTED = (1, 6, 11, 3)
"""Nodes with several edges, of each type."""

_NUM_PAIRS = 11  # Pairs of each relation, of 25 or 15 possible ones: every node has some, and none has all.


def edges_of(
    source: Tensor,
    target: Tensor,
    weight: Tensor,
    age_days: Tensor,
    node_types: Sequence[int] = NODE_TYPES,
    relation: Tensor | None = None,
) -> Edges:
    """Return edges over one list of nodes, sorted as ``Edges`` wants them, with relations or without."""
    order = torch.argsort(age_days, descending=True, stable=True)
    order = order[torch.argsort(target[order], stable=True)]
    types = None if relation is None else torch.tensor(node_types, dtype=torch.long)
    none = torch.zeros(len(node_types))
    return Edges(
        source[order],
        target[order],
        weight[order],
        age_days[order],
        none.index_add(0, source, weight),
        none.index_add(0, target, weight),
        None if relation is None else relation[order],
        types,
        types,
    )


def sample_edges(is_relational: bool) -> Edges:
    """Return random edges of distinct ages, each in both directions, with all relations of the schema or without."""
    generator = torch.Generator().manual_seed(3)
    firsts, seconds, relation = [], [], []
    for code, (first_type, second_type) in enumerate(((0, 1), (0, 1), (2, 1))):
        first, second = _nodes_of(first_type), _nodes_of(second_type)
        pairs = torch.randperm(len(first) * len(second), generator=generator)[:_NUM_PAIRS]
        firsts.append(first[pairs // len(second)])
        seconds.append(second[pairs % len(second)])
        relation.append(torch.full_like(pairs, 2 * code))
    ends = torch.stack([torch.cat(firsts), torch.cat(seconds)])  # [2, num_pairs]
    codes = torch.cat(relation)
    if not is_relational:
        ends = torch.unique(ends, dim=1)  # One edge for each pair.
        codes = torch.zeros(ends.shape[1], dtype=torch.long)
    num_pairs = ends.shape[1]
    weight = torch.rand(num_pairs, generator=generator) + 0.5
    age_days = torch.randperm(num_pairs, generator=generator).float() * 2.5
    return edges_of(
        torch.cat([ends[0], ends[1]]),
        torch.cat([ends[1], ends[0]]),
        weight.repeat(2),
        age_days.repeat(2),
        relation=torch.cat([codes, codes + 1]) if is_relational else None,
    )


def no_edges(is_relational: bool, node_types: Sequence[int] = NODE_TYPES) -> Edges:
    """Return no edges, over the nodes of given types."""
    no_rows, nothing = torch.zeros(0, dtype=torch.long), torch.zeros(0)
    return edges_of(no_rows, no_rows, nothing, nothing, node_types, no_rows if is_relational else None)


def permuted(edges: Edges, position_of: Tensor) -> Edges:
    """Return the edges over the same nodes in another order, in which node ``n`` is at ``position_of[n]``."""
    types: Sequence[int] = NODE_TYPES
    if edges.target_type is not None:
        in_order = torch.empty_like(edges.target_type)
        in_order[position_of] = edges.target_type
        types = in_order.tolist()
    return edges_of(
        position_of[edges.source], position_of[edges.target], edges.weight, edges.age_days, types, edges.relation
    )


def duplicated(edges: Edges) -> Edges:
    """Return every edge twice."""
    return edges_of(
        edges.source.repeat(2),
        edges.target.repeat(2),
        edges.weight.repeat(2),
        edges.age_days.repeat(2),
        relation=None if edges.relation is None else edges.relation.repeat(2),
    )


def fold_in_edges(edges: Edges, nodes: Sequence[int]) -> tuple[Edges, Tensor]:
    """Return the edges to some nodes, as a live fold-in has them, and the node at the source of each, int64."""
    by_node = [(edges.target == node).nonzero().flatten() for node in nodes]
    chosen = torch.cat(by_node)
    counts = torch.tensor([len(positions) for positions in by_node])
    return Edges(
        torch.arange(len(chosen)),
        torch.repeat_interleave(torch.arange(len(nodes)), counts),
        edges.weight[chosen],
        edges.age_days[chosen],
        edges.source_degree[edges.source[chosen]],
        edges.target_degree[list(nodes)],
        None if edges.relation is None else edges.relation[chosen],
        None if edges.source_type is None else edges.source_type[edges.source[chosen]],
        None if edges.target_type is None else edges.target_type[list(nodes)],
    ), edges.source[chosen]


def sample_inputs(num_nodes: int = NUM_NODES) -> Tensor:
    """Return float32 ``[num_nodes, d]``, random."""
    return torch.randn(num_nodes, WIDTH, generator=torch.Generator().manual_seed(2))


def levels_of(encoder: Encoder, inputs: Tensor, edges: Edges) -> list[Tensor]:
    """Return levels 0 to ``num_layers`` of all nodes, each float32 ``[num_nodes, d]``."""
    levels = [inputs]
    for depth in range(encoder.num_layers):
        levels.append(encoder.layer(depth, levels[-1], levels[-1], edges))
    return levels


def vectors_of(encoder: Encoder, inputs: Tensor, edges: Edges) -> Tensor:
    """Return the vectors of all nodes, float32 ``[num_nodes, d]``."""
    return encoder.readout(levels_of(encoder, inputs, edges))


def _nodes_of(node_type: int) -> Tensor:
    return torch.tensor([node for node, code in enumerate(NODE_TYPES) if code == node_type and node not in ISOLATED])
