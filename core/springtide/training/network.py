"""The network that is trained: inputs (learned ids, attributes, numbers, vectors), and an encoder above them."""

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import SumAggregation

from springtide.graph.nodes import NodeTable
from springtide.model.attributes import Attributes, NumberScale
from springtide.plugins.contracts import Encoder
from springtide.plugins.edges import Edges
from springtide.training.graph import Nodes

_FEW_COLUMNS = 64  # Of numbers: as many are an array in any case.
_SPARSE_SHARE = 8  # A sparse matrix takes 12 bytes an entry where an array takes 4, and its product is slower, too.
_INITIAL_SCALE = 0.1  # Ids and attribute values begin small beside the unit vectors that come of them.


class Inputs(nn.Module):
    """Level 0 of every node: the sum of what its id, its attribute values, its numbers and its vectors have learned.

    Of the attribute values it is the mean of their embeddings; numbers and vectors are projected.

    A node that was not there at training has no embedding of its id, only those of its attributes. A training step may
    leave out the ids of some nodes, so that the attributes learn to do without (Volkovs et al. 2017, "DropoutNet").

    Args:
        nodes: The nodes. An attribute value that is a node itself has the embedding of the value as its level 0.
        width: Width ``d``.
        id_dropout: Share of nodes whose id is left out in a training step.
    """

    def __init__(self, nodes: Nodes, width: int, id_dropout: float = 0.0) -> None:
        super().__init__()
        self.node_types = nodes.schema.node_types
        self.id_dropout = id_dropout
        base = nodes.schema.event_types
        self._index = {name: index for index, name in enumerate(base)}
        self._index_of_values = {of: self._index[name] for name, of in nodes.schema.value_types.items()}
        attributes, scales = [nodes.attributes[name] for name in base], [nodes.scales[name] for name in base]
        # Lists, not dictionaries: a producer may choose a name for a node type that no parameter can have.
        self.ids = nn.ParameterList(_initial(nodes.counts[name], width) for name in base)
        self.values = nn.ParameterList(_initial(len(each.vocabulary), width) for each in attributes)
        self.numbers = nn.ParameterList(_initial(2 * len(scale.names), width) for scale in scales)
        vectors = [nodes.vectors[name] for name in base]
        self.vectors = nn.ParameterList(_initial(scale.num_inputs, width) for scale in vectors)
        self._value_edges = [_value_edges(each) for each in attributes]
        self._numbers = [
            _number_inputs(scale, nodes.view.nodes(name), nodes.counts[name])
            for name, scale in zip(base, scales, strict=True)
        ]
        self._vectors = [
            [
                (entries.columns, torch.from_numpy(entries.rows), torch.from_numpy(entries.inputs))
                for entries in scale.entries(nodes.view.nodes(name), nodes.counts[name])
            ]
            for name, scale in zip(base, vectors, strict=True)
        ]
        self._sum = SumAggregation()

    def forward(self) -> Tensor:
        """Return float32 ``[num_nodes, d]``."""
        return torch.cat([self._level(node_type) for node_type in self.node_types])

    def index_of(self, node_type: str) -> int:
        """Return the index of a node type in ``ids``, ``values``, ``numbers`` and ``vectors``."""
        return self._index[node_type]

    def _level(self, node_type: str) -> Tensor:
        if node_type in self._index_of_values:
            values: Tensor = self.values[self._index_of_values[node_type]]
            return values
        index = self._index[node_type]
        level: Tensor = self.ids[index]
        if self.training and self.id_dropout:
            level = level * (torch.rand(len(level), 1, device=level.device) >= self.id_dropout)
        if len(self.values[index]):
            self._value_edges[index] = self._value_edges[index].to(level.device)
            level = level + self._value_edges[index].aggregate(self.values[index], self._sum)
        if len(self.numbers[index]):
            self._numbers[index] = self._numbers[index].to(level.device)
            level = level + self._numbers[index] @ self.numbers[index]
        if self._vectors[index]:
            device = level.device
            self._vectors[index] = [(at, rows.to(device), of.to(device)) for at, rows, of in self._vectors[index]]
            for columns, rows, inputs in self._vectors[index]:
                level = level.index_add(0, rows, inputs @ self.vectors[index][columns])
        return level


class Network(nn.Module):
    """Inputs and an encoder.

    Args:
        inputs: Computes level 0.
        encoder: Computes the levels above and the vectors.
    """

    def __init__(self, inputs: Inputs, encoder: Encoder) -> None:
        super().__init__()
        self.inputs = inputs
        self.encoder = encoder

    def levels(self, edges: Edges, noise: float = 0.0) -> list[Tensor]:
        """Return levels 0 to ``num_layers`` of all nodes, each float32 ``[num_nodes, d]``.

        Args:
            edges: Edges between all nodes.
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

        Hamilton et al. 2017 (GraphSAGE), algorithm 2: each layer draws neighbours of the nodes that the layer above
        needs, so that the cost of a step does not grow with the graph.

        Args:
            edges: Edges between all nodes.
            nodes: int64 ``[n]``, the nodes, each once.
            fanout: Neighbours drawn for each node in each layer.
            generator: Source of randomness.
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

    def levels_of(
        self,
        edges: Edges,
        groups: Sequence[npt.NDArray[np.int64]],
        generator: torch.Generator,
        noise: float = 0.0,
        half_life_days: float | None = None,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return levels in which groups of nodes can be looked up: as the encoder's ``fanout`` says, sampled or whole.

        Args:
            edges: Edges between all nodes.
            groups: Groups of nodes, int64 each; a node may be in several, and several times in one.
            generator: Source of randomness, used if the encoder has a fanout.
            noise: As in ``levels``.
            half_life_days: As in ``sampled_levels``.

        Returns:
            Levels 0 to ``num_layers``, each float32 ``[n, d]``; and for each group the rows of its nodes there, int64.
        """
        device = edges.source.device
        if self.encoder.fanout is None:
            return self.levels(edges, noise), [torch.from_numpy(group).to(device) for group in groups]
        distinct, inverse = np.unique(np.concatenate(groups), return_inverse=True)
        nodes = torch.from_numpy(distinct).to(device)
        levels = self.sampled_levels(edges, nodes, self.encoder.fanout, generator, noise, half_life_days)
        ends = np.cumsum([len(group) for group in groups])[:-1]
        return levels, [torch.from_numpy(rows).to(device) for rows in np.split(inverse, ends)]

    def vectors(self, levels: Sequence[Tensor]) -> Tensor:
        """Return the unit vectors, float32 ``[num_nodes, d]``."""
        return F.normalize(self.encoder.readout(levels), dim=-1)


def _initial(count: int, width: int) -> nn.Parameter:
    return nn.Parameter(_INITIAL_SCALE * torch.randn(count, width))


def _value_edges(attributes: Attributes) -> Edges:
    """Return the edges from all attribute values to the nodes that have them."""
    codes, node_rows, weight = map(torch.from_numpy, attributes.links(len(attributes.vocabulary)))
    return Edges(
        source=codes,
        target=node_rows,
        weight=weight,
        age_days=torch.zeros_like(weight),
        source_degree=torch.ones(len(attributes.vocabulary)),
        target_degree=torch.ones(attributes.num_nodes),
    )


def _noisy(level: Tensor, noise: float) -> Tensor:
    if not noise:
        return level
    return level + noise * level.sign() * F.normalize(torch.rand_like(level), dim=-1)


def _number_inputs(scale: NumberScale, nodes: NodeTable, num_nodes: int) -> Tensor:
    """Return the scaled numbers of nodes, float32 ``[num_nodes, 2 · num_numbers]``; sparse if most nodes have few."""
    num_columns = 2 * len(scale.names)
    if num_columns > _FEW_COLUMNS:  # Else a gigabyte, in each step, if a thousand attributes are of one node each.
        rows, columns, values = scale.entries(nodes, num_nodes)
        if len(values) * _SPARSE_SHARE < num_nodes * num_columns:
            index = torch.from_numpy(np.stack([rows, columns]))
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state")  # For years now.
                return torch.sparse_coo_tensor(
                    index, torch.from_numpy(values), (num_nodes, num_columns), check_invariants=True
                ).to_sparse_csr()
    return torch.from_numpy(scale.apply(scale.read(nodes, num_nodes)))
