"""What an edge itself has to say in a message: its type, strength and age."""

import torch
from torch import Tensor, nn

from springtide.plugins.contracts import Edges, Schema
from springtide.plugins.edges import NUM_EDGE_FEATURES


class EdgeTerm(nn.Module):
    """A learned vector for each edge, of its type, strength and age: to be added to what its ends say.

    This is the edge's part of a matrix over ``[source ‖ features ‖ type]``: a product with stacked vectors is the sum
    of products with each, and an embedded type times a matrix is an embedded type. So nothing is stacked for each
    edge, and the nodes' part is multiplied once for each node. It is 0 at first: learning begins with the ends alone.

    Args:
        width: Width ``d``.
        schema: Its relations are the types.
    """

    def __init__(self, width: int, schema: Schema) -> None:
        super().__init__()
        self.of_features = nn.Parameter(torch.zeros(NUM_EDGE_FEATURES, width))
        self.of_relation = nn.Parameter(torch.zeros(len(schema.relations), width))

    def forward(self, edges: Edges) -> Tensor:
        """Return float32 ``[num_edges, d]``.

        Raises:
            ValueError: If the edges have no types.
        """
        if edges.relation is None:
            raise ValueError("wanted edges that have types, got edges of one type")
        return edges.features() @ self.of_features + self.of_relation.index_select(0, edges.relation)
