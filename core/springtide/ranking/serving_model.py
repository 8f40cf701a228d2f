"""A model ready to serve: its vectors, and all that is needed to fold in a node that it does not know."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.errors import ModelError, SettingsError
from springtide.graph.applying import USER
from springtide.graph.nodes import NodeTable
from springtide.graph.view import GraphView
from springtide.interactions import History
from springtide.model.artifact import exponents_of, known_nodes
from springtide.model.attributes import Attributes, NumberScale
from springtide.model.births import ModelRows
from springtide.model.exponents import Exponents
from springtide.model.fitted_weights import Fitted, fitted_in
from springtide.model.registry import ModelArtifact
from springtide.model.schema import ModelSchema
from springtide.model.vector_scale import VectorEntries, VectorScale
from springtide.plugins.contracts import Schema
from springtide.plugins.contracts.serving import ServingEncoder
from springtide.plugins.loading import Plugins
from springtide.plugins.serving_edges import ServingEdges, segment_sums
from springtide.ranking.neighbourhood import Neighbourhood
from springtide.settings.model import ModelSettings

Array = npt.NDArray[np.float32]

# Least squares to vectors of trainings, on two sets: .38 to .43 for what is known, .26 to .46 for the mean.
_SHARE = np.float32(0.4)
# Events at which what they say counts half; least squares give the events alone .12 at 1, .41 at 20.
_HALF_EVENTS = 1.5
_MEAN_USERS = 50_000  # Of more, as many are enough for the mean: a swap then reads few pages.


@dataclass(frozen=True, slots=True)
class NodeTypeArrays:
    """What the model has of the nodes of one type: parts of the model's arrays, which may be pages of its file.

    Attributes:
        rows: Model row of each node; none for attribute values, whose codes are their rows.
        levels: float32 ``[num_layers, num_nodes, d]``, levels 0 to ``num_layers - 1``; see ``levels_at``.
        vectors: float32 ``[num_nodes, d]``, unit vectors.
        degree: float32 ``[num_nodes]``, sum of edge weights at training.
    """

    rows: ModelRows
    levels: Array
    vectors: Array
    degree: Array

    def levels_at(self, model_rows: npt.NDArray[np.integer[Any]]) -> Array:
        """Return the levels of some rows, float32 ``[num_layers, n, d]``."""
        num_layers, _, width = self.levels.shape
        found = np.empty((num_layers, len(model_rows), width), np.float32)
        for level, out in zip(self.levels, found, strict=True):  # Each is in one piece; all together would be copied.
            np.take(level, model_rows, axis=0, out=out, mode="clip")
        return found


@dataclass(frozen=True, slots=True)
class InputsWithoutIds:
    """Computes level 0 of nodes of one type from their attributes alone, without an id; see ``network.Inputs``.

    Attributes:
        attribute_values: The attribute values that the model knows, in the order of ``values``.
        code_of: Position of each attribute value.
        values: float32 ``[num_values, d]``, embeddings of the attribute values.
        scale: Scale of the numbers.
        numbers: float32 ``[2 · num_numbers, d]``, projection of the scaled numbers.
        vector_scale: Scale of the vectors.
        vectors: float32 ``[vector_scale.num_inputs, d]``, projection of the scaled vectors.
    """

    attribute_values: Sequence[str]
    code_of: Mapping[str, int]
    values: Array
    scale: NumberScale
    numbers: Array
    vector_scale: VectorScale
    vectors: Array

    def of_rows(self, nodes: NodeTable, rows: npt.NDArray[np.int64]) -> tuple[Array, Attributes]:
        """Return level 0 of some nodes, float32 ``[n, d]``, and their known values by position in ``rows``.

        Args:
            nodes: The nodes.
            rows: int64 ``[n]``.
        """
        attributes = Attributes.at(nodes, rows, self.attribute_values)
        level = self._level_0(attributes, self.scale.read_at(nodes, rows), self.vector_scale.entries_at(nodes, rows))
        return level, self._known(attributes)

    def of_row(self, nodes: NodeTable, row: int) -> tuple[Array, Attributes]:
        """Return level 0 of one node, float32 ``[1, d]``, and its known values; zeros and none for row -1."""
        values = [f"{name}={value}" for name, value in nodes.category_values(row)] if row >= 0 else []
        codes = np.array([self.code_of[value] for value in values if value in self.code_of], np.int64)
        attributes = Attributes(self.attribute_values, np.zeros(len(codes), np.int64), codes, 1)
        numbers = nodes.number_values(row) if row >= 0 and self.scale.names else {}
        raw = np.array([[numbers.get(name, np.nan) for name in self.scale.names]], np.float32)
        vectors = self.vector_scale.entries_at(nodes, np.array([row])) if row >= 0 and len(self.vectors) else ()
        return self._level_0(attributes, raw, vectors), attributes

    def _level_0(self, attributes: Attributes, numbers: Array, vectors: Sequence[VectorEntries]) -> Array:
        level = np.zeros((attributes.num_nodes, self.values.shape[1]), np.float32)
        if len(self.values) and len(attributes.codes):
            codes, rows, weight = attributes.links(len(self.values))
            pointers = np.searchsorted(rows, np.arange(attributes.num_nodes + 1))
            level += segment_sums(self.values[codes], weight, pointers)
        if len(self.numbers):
            level += self.scale.apply(numbers) @ self.numbers
        for entries in vectors:
            level[entries.rows] += entries.inputs @ self.vectors[entries.columns]
        return level

    def _known(self, attributes: Attributes) -> Attributes:
        is_known = attributes.codes < len(self.values)
        rows, codes = attributes.node_rows[is_known], attributes.codes[is_known]
        return Attributes(self.attribute_values, rows, codes, attributes.num_nodes)


@dataclass(frozen=True, slots=True)
class Folded:
    """Nodes folded in: float32 levels ``[num_layers, n, d]``, unit vectors ``[n, d]``, degrees ``[n]``."""

    levels: Array
    vectors: Array
    degree: Array


@dataclass(frozen=True, slots=True)
class ServingModel:
    """A model in memory, on the CPU.

    Attributes:
        version: Registry version.
        exponents: How much each term of a score counts.
        encoder: Folds nodes in.
        schema: The node types that the model knows, and the relations if the encoder is relational.
        item_type: What it recommends: ``item``, or ``user`` in a graph of users alone.
        sides: Arrays by node type.
        inputs: Inputs by node type, without the types of attribute values.
        num_interactions: int64 ``[num_users]``, interactions of each user at training.
        edge_half_life_days: How fast edges faded in training; None for never.
        newest_ms: Time of the newest interaction in the training.
        time_sums: int64 ``[num_users]``, sum of the times of each user's interactions at training; None in a model of
            an older version.
        fitted: What context weights have learned in the training, by name.
        mean_user: float32 ``[d]``, the mean of the users' vectors, for users of whom nothing is known; None where no
            user has one.
        leaves_out_ids: Whether the training left out ids (``model.id_dropout``), so that attributes and neighbours have
            learned to do alone.
    """

    version: str
    exponents: Exponents
    encoder: ServingEncoder
    schema: Schema
    item_type: str
    sides: Mapping[str, NodeTypeArrays]
    inputs: Mapping[str, InputsWithoutIds]
    num_interactions: npt.NDArray[np.int64]
    edge_half_life_days: float | None
    newest_ms: int
    time_sums: npt.NDArray[np.int64] | None = None
    fitted: Fitted = field(default_factory=dict)
    mean_user: Array | None = None
    leaves_out_ids: bool = False

    @property
    def parts_with_torch(self) -> Sequence[str]:
        """Parts because of which torch is loaded, each in words; see ``ServingEncoder``."""
        return self.encoder.parts_with_torch

    @property
    def users(self) -> NodeTypeArrays:
        """Arrays of the users."""
        return self.sides[USER]

    @property
    def items(self) -> NodeTypeArrays:
        """Arrays of the items."""
        return self.sides[self.item_type]

    @classmethod
    def from_artifact(cls, artifact: ModelArtifact, plugins: Plugins) -> "ServingModel":
        """Make a model ready.

        Raises:
            UnknownPartError: If the model has a part that no plugin offers here.
            ModelError: If tensors are missing or do not fit.
        """
        manifest, arrays = artifact.manifest, artifact.tensors
        try:
            known = known_nodes(artifact)
            weights = {
                name.removeprefix("encoder."): array for name, array in arrays.items() if name.startswith("encoder.")
            }
            model = ModelSettings.model_validate(manifest.settings["model"])
            encoder = plugins.make_serving_encoder(model, known.schema, weights)
            _try(encoder, known.schema)
            exponents = exponents_of(manifest)
            inputs = _inputs_of(artifact, known)
            sides = _sides_of(artifact, known, inputs)
            num_interactions = arrays["num_interactions"]
            time_sums = arrays.get("time_sums")
            item_type = manifest.settings["graph"]["item_type"]
            edge_half_life_days = manifest.settings["training"]["edge_half_life_days"]
            newest_ms = int(manifest.graph_cut["newest_ms"])
        except (KeyError, RuntimeError, TypeError, ValueError, SettingsError) as error:
            raise ModelError(f"model {manifest.version}: does not fit its own manifest: {error}") from error
        return cls(
            manifest.version,
            exponents,
            encoder,
            known.schema,
            item_type,
            sides,
            inputs,
            num_interactions,
            edge_half_life_days,
            newest_ms,
            time_sums,
            fitted_in(arrays),
            _mean_of(sides[USER].vectors),
            model.id_dropout > 0,
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
    ) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
        """Return what the model has of live nodes that it knows; see ``neighbourhood.LevelsOf``.

        Args:
            view: The graph.
            node_type: Type of the nodes.
            rows: int64 ``[n]``, live rows; codes if they are attribute values.
        """
        side = self.sides[node_type]
        model_rows = rows if self.schema.is_value_type(node_type) else side.rows.of(view.nodes(node_type), rows)
        is_known = model_rows >= 0
        known = model_rows[is_known]
        return side.levels_at(known), side.degree[known], is_known

    @np.errstate(all="ignore")  # A model may hold numbers that are not finite: a vector of such is left out later.
    def fold_in(
        self,
        node_type: str,
        level_0: Array,
        neighbourhood: Neighbourhood,
        make_edges: Callable[..., ServingEdges] = ServingEdges,
    ) -> Folded:
        """Compute the vectors of nodes by the encoder, from the neighbours that they have now.

        Args:
            node_type: Type of the nodes.
            level_0: float32 ``[n, d]``, the nodes' inputs.
            neighbourhood: Their neighbours.
            make_edges: Makes the edges that the encoder sees.
        """
        target, weight = neighbourhood.target, neighbourhood.weight
        degree = np.bincount(target, weight, minlength=len(level_0)).astype(np.float32)
        target_type = None
        if neighbourhood.relation is not None:
            target_type = np.full(len(level_0), self.schema.node_types.index(node_type))
        edges = make_edges(
            source=None,
            target=target,
            weight=weight,
            age_days=neighbourhood.age_days,
            source_degree=np.maximum(neighbourhood.degree, weight),
            target_degree=degree,
            relation=neighbourhood.relation,
            source_type=neighbourhood.source_type,
            target_type=target_type,
        )
        levels = [level_0]
        for depth in range(self.encoder.num_layers):
            levels.append(self.encoder.layer(depth, neighbourhood.levels[depth], levels[-1], edges))
        return Folded(np.stack(levels[:-1]), _normalized(self.encoder.readout(levels)), degree)

    def user_vector(self, level_0: Array, neighbourhood: Neighbourhood, *, is_known: bool) -> Array:
        """Return the vector of one user, float32 ``[d]``, no longer than 1, from the neighbours that they have now.

        A user whom the training did not know lacks the embedding of an id, beside which those of attributes were
        learned: attributes outweigh a few events, and what all users have in common may be missing. So the vector is
        a guess of the one that a training would give: shares of what attributes and events say, what events alone say
        (the more, the more they are), and the mean user. With few events it lies nearer to the mean user, by the
        credibility ``n / (n + k)`` of ``n`` events (Bühlmann 1967).

        Args:
            level_0: float32 ``[1, d]``, the user's inputs.
            neighbourhood: The neighbours.
            is_known: Whether the inputs have what the training learned of this very user.
        """
        vector: Array = self.fold_in(USER, level_0, neighbourhood).vectors[0]
        num_events = int((neighbourhood.source_kind == self.schema.node_types.index(self.item_type)).sum())
        if is_known or self.mean_user is None or self.leaves_out_ids or not num_events:
            return vector
        by_events = vector
        if level_0.any():
            by_events = self.fold_in(USER, np.zeros_like(level_0), neighbourhood).vectors[0]
        credibility = np.float32(num_events / (num_events + _HALF_EVENTS))
        guess: Array = _SHARE * (vector + credibility * by_events + self.mean_user)
        guess = credibility * guess + (1 - credibility) * self.mean_user
        return guess / max(np.float32(1.0), np.linalg.norm(guess))


def _mean_of(vectors: Array) -> Array | None:
    """Return the mean of vectors, float32 ``[d]``; those of length 0 and numbers that are not finite do not count.

    None if it would be 0, or there are none.
    """
    some = vectors[:: 1 + len(vectors) // _MEAN_USERS]
    some = some[some.any(axis=1) & np.isfinite(some).all(axis=1)]
    mean: Array = (some.sum(axis=0, dtype=np.float64) / max(1, len(some))).astype(np.float32)
    return mean if mean.any() else None


def _normalized(vectors: Array) -> Array:
    """Return vectors of length 1; those of length 0 stay so."""
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    normalized: Array = vectors / np.maximum(lengths, np.float32(1e-12))[:, None]
    return normalized


def _try(encoder: ServingEncoder, schema: Schema) -> None:
    """Fold in a node with one neighbour, so that weights that do not fit are found now.

    Raises:
        KeyError: If weights are missing.
        ValueError: If they do not fit.
    """
    row, one, zeros = np.zeros(1, np.int64), np.ones(1, np.float32), np.zeros((1, encoder.width), np.float32)
    types = (row, row, row) if schema.relations else (None, None, None)
    levels = [zeros]
    with np.errstate(all="ignore"):
        for depth in range(encoder.num_layers):
            edges = ServingEdges(None, row, one, one, one, one, *types)
            levels.append(encoder.layer(depth, zeros, levels[-1], edges))
        vectors = encoder.readout(levels)
    if vectors.shape != zeros.shape:
        raise ValueError(f"wanted vectors of width {encoder.width}, got those of shape {list(vectors.shape)}")


def _inputs_of(artifact: ModelArtifact, known: ModelSchema) -> dict[str, InputsWithoutIds]:
    """Return the inputs by node type, without the types of attribute values."""
    return {
        name: InputsWithoutIds(
            artifact.attribute_values[name],
            {value: code for code, value in enumerate(artifact.attribute_values[name])},
            artifact.tensors[f"inputs.values.{index}"],
            known.scales[name],
            artifact.tensors[f"inputs.numbers.{index}"],
            known.vectors.get(name, VectorScale()),
            # Models of earlier releases have none.
            artifact.tensors.get(f"inputs.vectors.{index}", np.zeros((0, 0), np.float32)),
        )
        for index, name in enumerate(known.schema.event_types)
    }


def _sides_of(
    artifact: ModelArtifact, known: ModelSchema, inputs: Mapping[str, InputsWithoutIds]
) -> dict[str, NodeTypeArrays]:
    """Return the arrays by node type: the artifact has those of all types in one."""
    num_values = {value_type: len(inputs[name].values) for name, value_type in known.schema.value_types.items()}
    sizes = [
        num_values[name] if name in num_values else len(artifact.node_ids[name]) for name in known.schema.node_types
    ]
    levels, vectors, degree = (artifact.tensors[name] for name in ("levels", "vectors", "degree"))
    if not sum(sizes) == levels.shape[1] == len(vectors) == len(degree):
        found = f"{levels.shape[1]} levels, {len(vectors)} vectors and {len(degree)} degrees"
        raise ValueError(f"wanted those of {sum(sizes)} nodes, got {found}")
    sides, start = {}, 0
    for name, size in zip(known.schema.node_types, sizes, strict=True):
        rows = slice(start, start + size)
        rows_of = ModelRows(artifact.node_ids.get(name, ()), name, artifact.tensors)
        sides[name] = NodeTypeArrays(rows_of, levels[:, rows], vectors[rows], degree[rows])
        start += size
    return sides
