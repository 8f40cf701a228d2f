"""What is trained: inputs (learned ids and attributes) under an encoder."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import SumAggregation

from springtide.plugins.contracts import Encoder
from springtide.plugins.edges import Edges
from springtide.training.graph import Attributes

_INITIAL_SCALE = 0.1  # Of ids and attribute values: small against the unit vectors they become.


class Inputs(nn.Module):
    """Level 0 of every node: what was learned of its id, plus the mean of what was learned of its attribute values.

    A node that was not there at training has no id part: its attributes speak for it.

    Args:
        attributes: By node type, ``user`` and ``item``.
        width: Width ``d``.
    """

    def __init__(self, attributes: Mapping[str, Attributes], width: int) -> None:
        super().__init__()
        self.ids = nn.ParameterDict(
            {kind: nn.Parameter(_INITIAL_SCALE * torch.randn(of.num_nodes, width)) for kind, of in attributes.items()}
        )
        self.values = nn.ParameterDict(
            {
                kind: nn.Parameter(_INITIAL_SCALE * torch.randn(len(of.vocabulary), width))
                for kind, of in attributes.items()
            }
        )
        self._edges = {kind: of.edges(len(of.vocabulary)) for kind, of in attributes.items()}
        self._sum = SumAggregation()

    def forward(self) -> Tensor:
        """Return float32 ``[num_users + num_items, d]``."""
        return torch.cat([self._level(kind) for kind in ("user", "item")])

    def _level(self, kind: str) -> Tensor:
        ids: Tensor = self.ids[kind]
        if not len(self.values[kind]):
            return ids
        self._edges[kind] = self._edges[kind].to(ids.device)
        return ids + self._edges[kind].aggregate(self.values[kind], self._sum)


class Network(nn.Module):
    """Inputs and an encoder.

    Args:
        inputs: Makes level 0.
        encoder: Makes the levels above and the vectors.
    """

    def __init__(self, inputs: Inputs, encoder: Encoder) -> None:
        super().__init__()
        self.inputs = inputs
        self.encoder = encoder

    def levels(self, edges: Edges) -> list[Tensor]:
        """Return levels 0 to ``num_layers``, each float32 ``[num_nodes, d]``."""
        levels = [self.inputs()]
        for depth in range(self.encoder.num_layers):
            levels.append(self.encoder.layer(depth, levels[-1], levels[-1], edges))
        return levels

    def vectors(self, levels: Sequence[Tensor]) -> Tensor:
        """Return the unit vectors, float32 ``[num_nodes, d]``."""
        return F.normalize(self.encoder.readout(levels), dim=-1)
