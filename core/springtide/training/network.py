"""What is trained: inputs (learned ids, attributes, numbers) under an encoder."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import SumAggregation

from springtide.model.schema import is_value_type
from springtide.plugins.contracts import Encoder
from springtide.plugins.edges import Edges
from springtide.training.graph import Nodes

_INITIAL_SCALE = 0.1  # Of ids and attribute values: small against the unit vectors they become.


class Inputs(nn.Module):
    """Level 0 of every node: what was learned of its id, of its attribute values (their mean), and of its numbers.

    A node that was not there at training has no id part: its attributes speak for it. So that they learn to, a
    training step may leave out the ids of some nodes (Volkovs et al. 2017, "DropoutNet").

    Args:
        nodes: The nodes. An attribute value that is a node itself has as its level 0 what was learned of the value.
        width: Width ``d``.
        id_dropout: Share of nodes whose id part a training step leaves out.
    """

    def __init__(self, nodes: Nodes, width: int, id_dropout: float = 0.0) -> None:
        super().__init__()
        self.node_types = nodes.schema.node_types
        self.id_dropout = id_dropout
        base = [name for name in self.node_types if not is_value_type(name)]
        self._place = {name: place for place, name in enumerate(base)}
        attributes, scales = [nodes.attributes[name] for name in base], [nodes.scales[name] for name in base]
        # Lists, not dictionaries by type: a producer may name a node type what no parameter can be named.
        self.ids = nn.ParameterList(_initial(nodes.counts[name], width) for name in base)
        self.values = nn.ParameterList(_initial(len(of.vocabulary), width) for of in attributes)
        self.numbers = nn.ParameterList(_initial(2 * len(scale.names), width) for scale in scales)
        self._value_edges = [of.edges(len(of.vocabulary)) for of in attributes]
        self._numbers = [
            scale.apply(scale.read(nodes.view.nodes(name), nodes.counts[name]))
            for name, scale in zip(base, scales, strict=True)
        ]
        self._sum = SumAggregation()

    def forward(self) -> Tensor:
        """Return float32 ``[num_nodes, d]``."""
        return torch.cat([self._level(node_type) for node_type in self.node_types])

    def place(self, node_type: str) -> int:
        """Return the position of a node type in ``ids``, ``values`` and ``numbers``."""
        return self._place[node_type]

    def _level(self, node_type: str) -> Tensor:
        if is_value_type(node_type):
            values: Tensor = self.values[self._place[node_type.removesuffix(" value")]]
            return values
        place = self._place[node_type]
        level: Tensor = self.ids[place]
        if self.training and self.id_dropout:
            level = level * (torch.rand(len(level), 1, device=level.device) >= self.id_dropout)
        if len(self.values[place]):
            self._value_edges[place] = self._value_edges[place].to(level.device)
            level = level + self._value_edges[place].aggregate(self.values[place], self._sum)
        if len(self.numbers[place]):
            self._numbers[place] = self._numbers[place].to(level.device)
            level = level + self._numbers[place] @ self.numbers[place]
        return level


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

    def levels(self, edges: Edges, noise: float = 0.0) -> list[Tensor]:
        """Return levels 0 to ``num_layers`` of all nodes, each float32 ``[num_nodes, d]``.

        Args:
            edges: Between all nodes.
            noise: Length of the random step added to each node's level after each layer; see ``Loss.noise``.
        """
        levels = [self.inputs()]
        for depth in range(self.encoder.num_layers):
            levels.append(_noisy(self.encoder.layer(depth, levels[-1], levels[-1], edges), noise))
        return levels

    def sampled_levels(
        self,
        edges: Edges,
        nodes: Tensor,
        fanout: int,
        generator: torch.Generator,
        noise: float = 0.0,
        half_life_days: float | None = None,
    ) -> list[Tensor]:
        """Return levels 0 to ``num_layers`` of some nodes over sampled neighbourhoods, each float32 ``[n, d]``.

        Hamilton et al. 2017 (GraphSAGE), algorithm 2: from the wanted nodes outward, each layer draws the neighbours
        that it needs, so that a step costs the same however large the graph is.

        Args:
            edges: Between all nodes.
            nodes: int64 ``[n]``, the wanted nodes, each once.
            fanout: Neighbours drawn for each node in each layer.
            generator: The source of chance.
            noise: As in ``levels``.
            half_life_days: How fast an edge's chance to be drawn falls with its age; see ``Edges.sample``.
        """
        blocks, wanted = [], nodes
        for _ in range(self.encoder.num_layers):
            block, wanted = edges.block(wanted, fanout, generator, half_life_days)
            blocks.append(block)
        level = self.inputs()[wanted]
        levels = [level[: len(nodes)]]
        for depth, block in enumerate(reversed(blocks)):
            level = _noisy(self.encoder.layer(depth, level, level[: block.num_targets], block), noise)
            levels.append(level[: len(nodes)])
        return levels

    def vectors(self, levels: Sequence[Tensor]) -> Tensor:
        """Return the unit vectors, float32 ``[num_nodes, d]``."""
        return F.normalize(self.encoder.readout(levels), dim=-1)


def _initial(count: int, width: int) -> nn.Parameter:
    return nn.Parameter(_INITIAL_SCALE * torch.randn(count, width))


def _noisy(level: Tensor, noise: float) -> Tensor:
    if not noise:
        return level
    return level + noise * level.sign() * F.normalize(torch.rand_like(level), dim=-1)
