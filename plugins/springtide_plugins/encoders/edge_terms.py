"""The part of a message that comes from the edge: its type, strength and age."""

import torch
from torch import Tensor, nn

from springtide.plugins.contracts import Edges, Schema
from springtide.plugins.edges import NUM_EDGE_FEATURES


class EdgeTerm(nn.Module):
    """A learned vector for each edge, from its type, strength and age, to be added to the nodes' parts of a message.

    This is the edge's part of a matrix times ``[source ‖ features ‖ type]``. The product with a concatenation is the
    sum of the products with its parts, and an embedded type times a matrix is again an embedded type. So nothing is
    concatenated for each edge, and the nodes' part is multiplied once for each node. It is 0 at first, so that learning
    begins with the nodes alone.

    Args:
        width: Width ``d``.
        schema: Schema, whose relations are the types of edges.
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
