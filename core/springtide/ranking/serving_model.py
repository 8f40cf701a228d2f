"""A model made ready to serve: its vectors, and what it takes to fold in a node that it does not know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F
from torch_geometric.nn import SumAggregation

from springtide.config import PartSettings
from springtide.errors import ModelError
from springtide.graph.applying import ITEM, USER
from springtide.models import ModelArtifact
from springtide.plugins.contracts import Encoder
from springtide.plugins.edges import Edges
from springtide.plugins.loading import Plugins
from springtide.ranking.weights import Exponents
from springtide.training.artifact import exponents_of
from springtide.training.graph import Attributes


@dataclass(frozen=True, slots=True)
class Side:
    """What the model holds of the nodes of one type, users or items.

    Attributes:
        row_of: Model row of each id.
        levels: float32 ``[num_layers, num_nodes, d]``, levels 0 to ``num_layers - 1``.
        vectors: float32 ``[num_nodes, d]``, unit vectors.
        degree: float32 ``[num_nodes]``, sum of edge weights at training.
        num_interactions: int64 ``[num_nodes]``, interactions at training.
        values: float32 ``[num_values, d]``, what was learned of each attribute value.
        attribute_values: The attribute values, in the order of ``values``.
    """

    row_of: Mapping[str, int]
    levels: Tensor
    vectors: Tensor
    degree: Tensor
    num_interactions: npt.NDArray[np.int64]
    values: Tensor
    attribute_values: Sequence[str]

    def of_attributes(self, attributes: Attributes) -> Tensor:
        """Return level 0 of nodes without an id part, float32 ``[num_nodes, d]``; see ``training.network.Inputs``."""
        if len(self.values) == 0:
            return torch.zeros(attributes.num_nodes, self.vectors.shape[1])
        return attributes.edges(len(self.values)).aggregate(self.values, SumAggregation())


@dataclass(frozen=True, slots=True)
class Folded:
    """Nodes folded in: float32 levels ``[num_layers, n, d]``, unit vectors ``[n, d]``, degrees ``[n]``."""

    levels: Tensor
    vectors: Tensor
    degree: Tensor


@dataclass(frozen=True, slots=True)
class ServingModel:
    """A model in memory, on the CPU.

    Attributes:
        version: Of the registry.
        exponents: How much each term of the ranking counts.
        encoder: Folds nodes in.
        users: The user side.
        items: The item side.
        edge_half_life_days: How fast edges faded in training; None for never.
        newest_ms: Time of the newest interaction that it was trained on.
    """

    version: str
    exponents: Exponents
    encoder: Encoder
    users: Side
    items: Side
    edge_half_life_days: float | None
    newest_ms: int

    @classmethod
    def from_artifact(cls, artifact: ModelArtifact, plugins: Plugins) -> "ServingModel":
        """Make a model ready.

        Raises:
            UnknownPartError: If it was made with a part that no plugin offers here.
            ModelError: If tensors are missing or do not fit.
        """
        manifest = artifact.manifest
        try:
            model = manifest.settings["model"]
            aggregator = plugins.make("aggregator", PartSettings(**model["aggregator"]))
            encoder: Encoder = plugins.make(
                "encoder",
                PartSettings(**model["encoder"]),
                width=model["width"],
                num_layers=model["num_layers"],
                aggregator=aggregator,
            )
            weights = {
                name.removeprefix("encoder."): tensor
                for name, tensor in artifact.tensors.items()
                if name.startswith("encoder.")
            }
            encoder.load_state_dict(weights)
            exponents = exponents_of(manifest)
            edge_half_life_days = manifest.settings["training"]["edge_half_life_days"]
            newest_ms = int(manifest.graph_cut["newest_ms"])
            sizes = [len(artifact.user_ids), len(artifact.item_ids)]
            levels = torch.split(artifact.tensors["levels"], sizes, dim=1)
            vectors = torch.split(artifact.tensors["vectors"], sizes)
            degrees = torch.split(artifact.tensors["degree"], sizes)
            counts = torch.split(artifact.tensors["num_interactions"], sizes)
            values = [artifact.tensors[f"inputs.values.{kind}"] for kind in (USER, ITEM)]
        except (KeyError, RuntimeError, TypeError) as error:
            raise ModelError(f"model {manifest.version}: does not fit its own manifest: {error}") from error
        users, items = (
            Side(
                {node_id: row for row, node_id in enumerate(ids) if node_id},
                levels[side].contiguous(),
                vectors[side].contiguous(),
                degrees[side],
                counts[side].numpy(),
                values[side],
                artifact.attribute_values.get(kind, []),
            )
            for side, (kind, ids) in enumerate(((USER, artifact.user_ids), (ITEM, artifact.item_ids)))
        )
        return cls(manifest.version, exponents, encoder.eval(), users, items, edge_half_life_days, newest_ms)

    @torch.no_grad()
    def fold_in(
        self, level_0: Tensor, target: Tensor, weight: Tensor, neighbour_levels: Tensor, neighbour_degree: Tensor
    ) -> Folded:
        """Give nodes the vectors that the encoder gives them over the neighbours they have now.

        Args:
            level_0: float32 ``[n, d]``, the nodes' inputs.
            target: int64 ``[num_edges]``, ascending, the node of each edge.
            weight: float32 ``[num_edges]``, weights as in training (``training.graph.pair_weight``).
            neighbour_levels: float32 ``[num_layers, num_edges, d]``, the levels of the node at the other end.
            neighbour_degree: float32 ``[num_edges]``, its degree.
        """
        degree = torch.zeros(len(level_0)).index_add_(0, target, weight)
        edges = Edges(
            source=torch.arange(len(target)),
            target=target,
            weight=weight,
            age_days=torch.zeros(len(target)),
            source_degree=torch.maximum(neighbour_degree, weight),
            target_degree=degree,
        )
        levels = [level_0]
        for depth in range(self.encoder.num_layers):
            levels.append(self.encoder.layer(depth, neighbour_levels[depth], levels[-1], edges))
        vectors = F.normalize(self.encoder.readout(levels), dim=-1)
        return Folded(torch.stack(levels[:-1]), vectors, degree)
