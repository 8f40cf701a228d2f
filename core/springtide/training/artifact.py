"""From a trained network to a model artifact, and back."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from springtide.clock import wall_ms
from springtide.model.artifact import exponents_to_manifest
from springtide.model.exponents import Exponents
from springtide.model.registry import ModelArtifact, ModelManifest
from springtide.plugins.contracts import Task
from springtide.plugins.loading import Plugins
from springtide.settings.model import Settings
from springtide.training.graph import Nodes, TrainingGraph
from springtide.training.network import Network

_PARTS = {"encoder": "encoder", "aggregator": "aggregator", "loss": "loss", "negative sampler": "negatives"}


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
