"""A model ready to serve: its vectors, and all that is needed to fold in a node that it does not know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from springtide.errors import ModelError, SettingsError
from springtide.graph.applying import USER
from springtide.graph.nodes import NodeTable
from springtide.graph.view import GraphView
from springtide.interactions import History
from springtide.model.artifact import exponents_of, known_nodes, make_encoder
from springtide.model.attributes import Attributes, NumberScale
from springtide.model.births import ModelRows
from springtide.model.exponents import Exponents
from springtide.model.registry import ModelArtifact
from springtide.model.schema import ModelSchema
from springtide.plugins.contracts import Encoder, Schema
from springtide.plugins.edges import Edges
from springtide.plugins.loading import Plugins
from springtide.ranking.neighbourhood import Neighbourhood
from springtide.settings.model import ModelSettings


@dataclass(frozen=True, slots=True)
class NodeTypeTensors:
    """What the model has of the nodes of one type.

    Attributes:
        rows: Model row of each node; none for attribute values, whose codes are their rows.
        levels: float32 ``[num_layers, num_nodes, d]``, levels 0 to ``num_layers - 1``.
        vectors: float32 ``[num_nodes, d]``, unit vectors.
        degree: float32 ``[num_nodes]``, sum of edge weights at training.
    """

    rows: ModelRows
    levels: Tensor
    vectors: Tensor
    degree: Tensor

    @property
    def row_of(self) -> Mapping[str, int]:
        """Model row of each id, whichever life of the node it has learned from."""
        return self.rows.by_id


@dataclass(frozen=True, slots=True)
class InputsWithoutIds:
    """Computes level 0 of nodes of one type from their attributes alone, without an id; see ``network.Inputs``.

    Attributes:
        attribute_values: The attribute values that the model knows, in the order of ``values``.
        code_of: Position of each attribute value.
        values: float32 ``[num_values, d]``, embeddings of the attribute values.
        scale: Scale of the numbers.
        numbers: float32 ``[2 · num_numbers, d]``, projection of the scaled numbers.
    """

    attribute_values: Sequence[str]
    code_of: Mapping[str, int]
    values: Tensor
    scale: NumberScale
    numbers: Tensor

    def of_table(self, nodes: NodeTable, num_nodes: int) -> tuple[Tensor, Attributes]:
        """Return level 0 of the first ``num_nodes`` of a table, float32 ``[num_nodes, d]``, and their known values."""
        attributes = Attributes.of(nodes, num_nodes, self.attribute_values)
        return self._level_0(attributes, self.scale.read(nodes, num_nodes)), self._known(attributes)

    def of_row(self, nodes: NodeTable, row: int) -> tuple[Tensor, Attributes]:
        """Return level 0 of one node, float32 ``[1, d]``, and its known values; zeros and none for row -1."""
        values = [f"{name}={value}" for name, value in nodes.category_values(row)] if row >= 0 else []
        codes = np.array([self.code_of[value] for value in values if value in self.code_of], np.int64)
        attributes = Attributes(self.attribute_values, np.zeros(len(codes), np.int64), codes, 1)
        numbers = nodes.number_values(row) if row >= 0 and self.scale.names else {}
        raw = np.array([[numbers.get(name, np.nan) for name in self.scale.names]], np.float32)
        return self._level_0(attributes, raw), attributes

    def _level_0(self, attributes: Attributes, numbers: npt.NDArray[np.float32]) -> Tensor:
        level = torch.zeros(attributes.num_nodes, self.values.shape[1])
        if len(self.values):
            codes, node_rows, weight = map(torch.from_numpy, attributes.links(len(self.values)))
            level = level.index_add(0, node_rows, weight.unsqueeze(-1) * self.values[codes])
        if len(self.numbers):
            level = level + torch.from_numpy(self.scale.apply(numbers)) @ self.numbers
        return level

    def _known(self, attributes: Attributes) -> Attributes:
        is_known = attributes.codes < len(self.values)
        rows, codes = attributes.node_rows[is_known], attributes.codes[is_known]
        return Attributes(self.attribute_values, rows, codes, attributes.num_nodes)


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
        version: Registry version.
        exponents: How much each term of a score counts.
        encoder: Folds nodes in.
        schema: The node types that the model knows, and the relations if the encoder is relational.
        item_type: What it recommends: ``item``, or ``user`` in a graph of users alone.
        sides: Tensors by node type.
        inputs: Inputs by node type, without the types of attribute values.
        num_interactions: int64 ``[num_users]``, interactions of each user at training.
        edge_half_life_days: How fast edges faded in training; None for never.
        newest_ms: Time of the newest interaction in the training.
        time_sums: int64 ``[num_users]``, sum of the times of each user's interactions at training; None in a model of
            an older version.
    """

    version: str
    exponents: Exponents
    encoder: Encoder
    schema: Schema
    item_type: str
    sides: Mapping[str, NodeTypeTensors]
    inputs: Mapping[str, InputsWithoutIds]
    num_interactions: npt.NDArray[np.int64]
    edge_half_life_days: float | None
    newest_ms: int
    time_sums: npt.NDArray[np.int64] | None = None

    @property
    def users(self) -> NodeTypeTensors:
        """Tensors of the users."""
        return self.sides[USER]

    @property
    def items(self) -> NodeTypeTensors:
        """Tensors of the items."""
        return self.sides[self.item_type]

    @classmethod
    def from_artifact(cls, artifact: ModelArtifact, plugins: Plugins) -> "ServingModel":
        """Make a model ready.

        Raises:
            UnknownPartError: If the model has a part that no plugin offers here.
            ModelError: If tensors are missing or do not fit.
        """
        manifest, tensors = artifact.manifest, artifact.tensors
        try:
            known = known_nodes(artifact)
            encoder = make_encoder(ModelSettings.model_validate(manifest.settings["model"]), known.schema, plugins)
            weights = {
                name.removeprefix("encoder."): torch.from_numpy(array)
                for name, array in tensors.items()
                if name.startswith("encoder.")
            }
            encoder.load_state_dict(weights)
            exponents = exponents_of(manifest)
            inputs = _inputs_of(artifact, known)
            sides = _sides_of(artifact, known, inputs)
            num_interactions = tensors["num_interactions"]
            time_sums = tensors.get("time_sums")
            item_type = manifest.settings["graph"]["item_type"]
            edge_half_life_days = manifest.settings["training"]["edge_half_life_days"]
            newest_ms = int(manifest.graph_cut["newest_ms"])
        except (KeyError, RuntimeError, TypeError, ValueError, SettingsError) as error:
            raise ModelError(f"model {manifest.version}: does not fit its own manifest: {error}") from error
        return cls(
            manifest.version,
            exponents,
            encoder.eval(),
            known.schema,
            item_type,
            sides,
            inputs,
            num_interactions,
            edge_half_life_days,
            newest_ms,
            time_sums,
        )

    def is_as_trained(self, model_row: int, history: History) -> bool:
        """Return whether a user's history is as it was at training: no interaction was added, and none removed."""
        count = len(history.item_rows)
        if count != self.num_interactions[model_row]:
            return False
        if self.time_sums is not None:
            return int(history.timestamps_ms.sum()) == int(self.time_sums[model_row])
        return bool(count == 0 or history.timestamps_ms[0] <= self.newest_ms)

    def levels_of(
        self, view: GraphView, node_type: str, rows: npt.NDArray[np.int64]
    ) -> tuple[Tensor, Tensor, npt.NDArray[np.bool_]]:
        """Return what the model has of live nodes that it knows; see ``neighbourhood.LevelsOf``.

        Args:
            view: The graph.
            node_type: Type of the nodes.
            rows: int64 ``[n]``, live rows; codes if they are attribute values.
        """
        side = self.sides[node_type]
        model_rows = rows if self.schema.is_value_type(node_type) else side.rows.of(view.nodes(node_type), rows)
        is_known = model_rows >= 0
        known = torch.from_numpy(model_rows[is_known])
        return side.levels[:, known], side.degree[known], is_known

    @torch.no_grad()
    def fold_in(self, node_type: str, level_0: Tensor, neighbourhood: Neighbourhood) -> Folded:
        """Compute the vectors of nodes by the encoder, from the neighbours that they have now.

        Args:
            node_type: Type of the nodes.
            level_0: float32 ``[n, d]``, the nodes' inputs.
            neighbourhood: Their neighbours.
        """
        degree = torch.zeros(len(level_0)).index_add_(0, neighbourhood.target, neighbourhood.weight)
        node_code = self.schema.node_types.index(node_type)
        edges = Edges(
            source=torch.arange(len(neighbourhood.target)),
            target=neighbourhood.target,
            weight=neighbourhood.weight,
            age_days=neighbourhood.age_days,
            source_degree=torch.maximum(neighbourhood.degree, neighbourhood.weight),
            target_degree=degree,
            relation=neighbourhood.relation,
            source_type=neighbourhood.source_type,
            target_type=None if neighbourhood.relation is None else torch.full((len(level_0),), node_code),
        )
        levels = [level_0]
        for depth in range(self.encoder.num_layers):
            levels.append(self.encoder.layer(depth, neighbourhood.levels[depth], levels[-1], edges))
        vectors = F.normalize(self.encoder.readout(levels), dim=-1)
        return Folded(torch.stack(levels[:-1]), vectors, degree)


def _inputs_of(artifact: ModelArtifact, known: ModelSchema) -> dict[str, InputsWithoutIds]:
    """Return the inputs by node type, without the types of attribute values."""
    return {
        name: InputsWithoutIds(
            artifact.attribute_values[name],
            {value: code for code, value in enumerate(artifact.attribute_values[name])},
            torch.from_numpy(artifact.tensors[f"inputs.values.{index}"]),
            known.scales[name],
            torch.from_numpy(artifact.tensors[f"inputs.numbers.{index}"]),
        )
        for index, name in enumerate(known.schema.event_types)
    }


def _sides_of(
    artifact: ModelArtifact, known: ModelSchema, inputs: Mapping[str, InputsWithoutIds]
) -> dict[str, NodeTypeTensors]:
    """Return the tensors by node type: the artifact has those of all types in one."""
    num_values = {value_type: len(inputs[name].values) for name, value_type in known.schema.value_types.items()}
    sizes = [
        num_values[name] if name in num_values else len(artifact.node_ids[name]) for name in known.schema.node_types
    ]
    levels = torch.split(torch.from_numpy(artifact.tensors["levels"]), sizes, dim=1)
    vectors = torch.split(torch.from_numpy(artifact.tensors["vectors"]), sizes)
    degrees = torch.split(torch.from_numpy(artifact.tensors["degree"]), sizes)
    return {
        name: NodeTypeTensors(
            ModelRows(artifact.node_ids.get(name, ()), name, artifact.tensors),
            levels[index].contiguous(),
            vectors[index].contiguous(),
            degrees[index],
        )
        for index, name in enumerate(known.schema.node_types)
    }
