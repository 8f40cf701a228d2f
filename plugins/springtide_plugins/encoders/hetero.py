"""Relational graph convolution: a matrix for each type of edge."""

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch_geometric.nn import Aggregation
from torch_geometric.nn.inits import glorot

from springtide.plugins.contracts import Edges, Encoder, Schema
from springtide_plugins.encoders.dense import dense


class RGCN(Encoder):
    """The message under each type of edge times its own matrix, added to the node's own level times another.

    Schlichtkrull et al. 2018, "Modeling Relational Data with Graph Convolutional Networks", eq. 2, over all types of
    nodes and edges: categories, brands and stores too. ``mean`` is the paper's aggregator (``1 / c`` by the number of
    neighbours under a type). A ReLU lies between the layers; the last has none, so that components of vectors may be
    negative. PyG's ``RGCNConv`` with ``mean`` gives the same where all weights are equal.

    Args:
        width: Width of every level.
        num_layers: Number of layers.
        aggregator: Combines the levels of neighbours under one type of edge.
        schema: Schema with the types of nodes and edges.
        num_bases: Number of shared matrices that the matrices of the types are linear combinations of (eq. 3), for
            graphs with many types; None for an independent matrix for each type.
        has_typed_self: Whether a node's own level is multiplied by a matrix of its node type, or by one for all types.
        fanout: Neighbours drawn for each node in each layer of a training step; None for all of them.
    """

    is_relational = True
    default_aggregator = "mean"

    def __init__(
        self,
        width: int,
        num_layers: int,
        aggregator: Aggregation,
        schema: Schema,
        num_bases: PositiveInt | None = None,
        has_typed_self: bool = False,
        fanout: PositiveInt | None = 20,
    ) -> None:
        super().__init__(width, num_layers, aggregator)
        self.fanout = fanout
        make_self = (lambda: _Typed(width, len(schema.node_types))) if has_typed_self else (lambda: _Untyped(width))
        self.matrices = nn.ModuleList(
            _RelationMatrices(width, len(schema.relations), num_bases) for _ in range(num_layers)
        )
        self.of_self = nn.ModuleList(make_self() for _ in range(num_layers))

    def layer(self, depth: int, sources: Tensor, targets: Tensor, edges: Edges) -> Tensor:
        """Apply one layer; see the contract for shapes."""
        if edges.relation is None or edges.target_type is None:
            raise ValueError("wanted edges and nodes that have types, got those of one type")
        matrices = self.matrices[depth]()
        updated: Tensor = self.of_self[depth](targets, edges.target_type)
        # A sampled batch or a fold-in has edges of few types: matrices of the others are not needed.
        for relation in torch.bincount(edges.relation).nonzero().flatten().tolist():
            combined = edges.of_relation(relation).aggregate(sources, self.aggregators[depth])
            updated = updated + combined @ matrices[relation]
        return updated if depth == self.num_layers - 1 else updated.relu()


class _RelationMatrices(nn.Module):
    """A matrix for each type of edge, independent or a linear combination of shared ones."""

    def __init__(self, width: int, num_relations: int, num_bases: int | None) -> None:
        super().__init__()
        num_matrices = num_relations if num_bases is None else num_bases
        self.matrices = nn.Parameter(torch.empty(num_matrices, width, width))
        self.shares = None if num_bases is None else nn.Parameter(torch.empty(num_relations, num_bases))
        glorot(self.matrices)
        glorot(self.shares)

    def forward(self) -> Tensor:
        """Return float32 ``[num_relations, d, d]``."""
        if self.shares is None:
            return self.matrices
        return torch.einsum("rb,bij->rij", self.shares, self.matrices)


class _Untyped(nn.Module):
    """One matrix and bias for all nodes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.transform = dense(width, width)

    def forward(self, targets: Tensor, _: Tensor) -> Tensor:
        """Return float32 ``[num_targets, d]``."""
        transformed: Tensor = self.transform(targets)
        return transformed


class _Typed(nn.Module):
    """A matrix and bias for each node type."""

    def __init__(self, width: int, num_types: int) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(dense(width, width) for _ in range(num_types))

    def forward(self, targets: Tensor, target_type: Tensor) -> Tensor:
        """Return float32 ``[num_targets, d]``."""
        transformed = torch.zeros_like(targets)
        for node_type in torch.bincount(target_type).nonzero().flatten().tolist():
            rows = (target_type == node_type).nonzero().flatten()
            transformed = transformed.index_copy(0, rows, self.transforms[node_type](targets[rows]))
        return transformed
