"""From a trained network to a model artifact, and back."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from springtide.clock import wall_ms
from springtide.config import ModelSettings, Settings
from springtide.models import ModelArtifact, ModelManifest
from springtide.plugins.contracts import Encoder, Schema, Task
from springtide.plugins.loading import Plugins
from springtide.ranking.weights import Exponents, Terms
from springtide.training.attributes import NumberScale
from springtide.training.graph import Known, Nodes, TrainingGraph
from springtide.training.network import Network

_OWN = "own:"  # Before the names of exponents that hold for items the user had.
_COSINE = "cosine"
_PARTS = {"encoder": "encoder", "aggregator": "aggregator", "loss": "loss", "negative sampler": "negatives"}


def make_encoder(model: ModelSettings, schema: Schema, plugins: Plugins) -> Encoder:
    """Make the encoder of the settings, with its aggregator.

    Raises:
        UnknownPartError: If no plugin offers one of them.
        SettingsError: If they do not take their options, or not each other.
    """
    aggregator = plugins.make("aggregator", plugins.aggregator_of(model), width=model.width)
    encoder: Encoder = plugins.make(
        "encoder",
        model.encoder,
        width=model.width,
        num_layers=model.num_layers,
        aggregator=aggregator,
        schema=schema,
    )
    return encoder


def is_relational(model: ModelSettings, plugins: Plugins) -> bool:
    """Return whether the encoder of the settings wants all node and edge types."""
    return make_encoder(model, Schema(), plugins).is_relational


def make_artifact(
    network: Network,
    graph: TrainingGraph,
    tasks: Mapping[str, Task],
    ids: Mapping[str, list[str]],
    exponents: Exponents,
    errors: Exponents | None,
    mode: Literal["retrain", "fine_tune"],
    graph_cut: Mapping[str, Any],
    metrics: Mapping[str, float],
    settings: Settings,
    plugins: Plugins,
    request_id: str,
) -> ModelArtifact:
    """Return the model: weights, the levels that a live fold-in needs, vectors, ids and manifest.

    Tensors: ``encoder.*`` and ``inputs.*`` are the network's, ``tasks.*`` the tasks'; ``levels`` float32
    ``[num_layers, num_nodes, d]``, what neighbours hold below the last layer; ``vectors`` float32 ``[num_nodes, d]``;
    ``degree`` float32 ``[num_nodes]``. Nodes come type by type, in the order of the schema. ``num_interactions`` int64
    ``[num_users]`` is that by which a server knows whether a user has done something since.
    """
    with torch.no_grad():
        levels = network.levels(graph.edges)
        vectors = network.vectors(levels)
    num_interactions = np.bincount(graph.interactions.user_rows, minlength=graph.num_users)
    tensors: dict[str, Tensor] = {
        **network.state_dict(),
        **{f"tasks.{key}.{name}": tensor for key, task in tasks.items() for name, tensor in task.state_dict().items()},
        "levels": torch.stack(levels[:-1]),
        "vectors": vectors,
        "degree": graph.edges.target_degree,
        "num_interactions": torch.from_numpy(num_interactions),
    }
    manifest = ModelManifest(
        version="",
        created_ms=wall_ms(),
        training=mode,
        parts=parts_of(settings, plugins),
        settings=settings.model_dump(mode="json", include={"model", "training", "ranking", "interactions", "graph"}),
        graph_cut=graph_cut,
        metrics=metrics,
        exponents=exponents_to_manifest(exponents),
        exponent_errors={} if errors is None else exponents_to_manifest(errors),
        temperature=exponents.temperature,
        schema=_schema_to_manifest(graph.nodes),
        request_id=request_id,
    )
    values = {name: list(of.vocabulary) for name, of in graph.nodes.attributes.items()}
    return ModelArtifact(manifest, tensors, ids, values)


def parts_of(settings: Settings, plugins: Plugins) -> dict[str, dict[str, Any]]:
    """Return, for each kind of part, its name, origin and options."""
    return {
        kind: {"name": part.name, "origin": plugins.part(kind, part.name).origin, "options": dict(part.options)}
        for kind, part in ((kind, getattr(settings.model, key)) for kind, key in _PARTS.items())
    }


def fits_settings(artifact: ModelArtifact, settings: Settings) -> bool:
    """Return whether a training with these settings, which are resolved, could go on from the model."""
    before, now = artifact.manifest.settings, settings.model_dump(mode="json")
    of_model = ("width", "num_layers", "encoder", "aggregator")
    return all(before.get("model", {}).get(key) == now["model"][key] for key in of_model) and (
        before.get("graph", {}).get("item_type") == now["graph"]["item_type"]
        and _labels_of(before["model"].get("tasks", {})) == _labels_of(now["model"]["tasks"])
    )


def known_nodes(artifact: ModelArtifact) -> Known:
    """Return what a model knows of nodes, to go on from it."""
    schema = artifact.manifest.schema
    scales = {
        name: NumberScale(tuple(of["names"]), np.array(of["mean"], np.float32), np.array(of["deviation"], np.float32))
        for name, of in schema["numbers"].items()
    }
    relations = tuple((source, name, target) for source, name, target in schema["relations"])
    return Known(Schema(tuple(schema["node_types"]), relations), artifact.attribute_values, scales)


def load_network(
    network: Network, tasks: Mapping[str, Task], artifact: ModelArtifact, ids: Mapping[str, list[str]]
) -> None:
    """Give a network and tasks what the model learned; nodes and values that it did not know stay as they are."""
    inputs, tensors = network.inputs, artifact.tensors
    device = next(inputs.parameters()).device
    with torch.no_grad():
        network.encoder.load_state_dict(_under("encoder.", tensors))
        for name, known_ids in artifact.node_ids.items():
            place = inputs.place(name)
            row_of = {node_id: row for row, node_id in enumerate(known_ids)}
            pairs = [(row, row_of[node_id]) for row, node_id in enumerate(ids[name]) if node_id and node_id in row_of]
            here, there = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
            inputs.ids[place][here] = tensors[f"inputs.ids.{place}"][there].to(device)
            values = tensors[f"inputs.values.{place}"]
            inputs.values[place][: len(values)] = values.to(device)
            inputs.numbers[place].copy_(tensors[f"inputs.numbers.{place}"])
        for key, task in tasks.items():
            known, own = _under(f"tasks.{key}.", tensors), task.state_dict()
            if {name: of.shape for name, of in known.items()} == {name: of.shape for name, of in own.items()}:
                task.load_state_dict(known)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _labels_of(tasks: Mapping[str, Any]) -> list[Any]:
    """Return what decides which attributes are inputs and which are labels."""
    return sorted((key, task["name"], sorted(task["options"].items())) for key, task in tasks.items())


def _schema_to_manifest(nodes: Nodes) -> dict[str, Any]:
    numbers = {
        name: {"names": list(of.names), "mean": of.mean.tolist(), "deviation": of.deviation.tolist()}
        for name, of in nodes.scales.items()
    }
    return {
        "node_types": list(nodes.schema.node_types),
        "relations": [list(relation) for relation in nodes.schema.relations],
        "numbers": numbers,
    }


def exponents_of(manifest: ModelManifest) -> Exponents:
    """Return the exponents that a manifest holds."""
    return _exponents_from(manifest.exponents)


def exponent_errors_of(manifest: ModelManifest) -> Exponents | None:
    """Return the standard errors of a manifest's exponents; None where the exponents were not learned."""
    return _exponents_from(manifest.exponent_errors) if manifest.exponent_errors else None


def _exponents_from(written: Mapping[str, Mapping[str, float]]) -> Exponents:
    new: dict[str, dict[str, float]] = {}
    own: dict[str, dict[str, float]] = {}
    for weight, factors in written.items():
        for factor, exponent in factors.items():
            (own if factor.startswith(_OWN) else new).setdefault(weight, {})[factor.removeprefix(_OWN)] = exponent
    of_new, of_own = new.pop(_COSINE), own.pop(_COSINE)
    return Exponents(Terms(of_new[_COSINE], new), Terms(of_own[_COSINE], own))


def exponents_to_manifest(exponents: Exponents) -> dict[str, dict[str, float]]:
    """Return exponents as a manifest holds them; see ``exponents_of``."""
    written: dict[str, dict[str, float]] = {}
    for prefix, terms in (("", exponents.new), (_OWN, exponents.own)):
        for weight, factors in {_COSINE: {_COSINE: terms.cosine}, **terms.factors}.items():
            written.setdefault(weight, {}).update({f"{prefix}{factor}": value for factor, value in factors.items()})
    return written
