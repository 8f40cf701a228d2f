"""From a trained network to a model artifact, and back."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from springtide.clock import wall_ms
from springtide.errors import TrainingError
from springtide.graph.applying import USER
from springtide.graph.view import GraphView
from springtide.model.artifact import exponents_to_manifest
from springtide.model.births import ModelRows, births_to_tensors
from springtide.model.exponents import Exponents
from springtide.model.fitted_weights import Fitted, fitted_to_tensors
from springtide.model.manifest import ModelManifest, VectorTrainingMode
from springtide.model.registry import ModelArtifact
from springtide.model.schema import schema_to_manifest
from springtide.plugins.contracts import Task
from springtide.plugins.loading import Plugins
from springtide.settings.model import Settings
from springtide.training.graph import Nodes, TrainingGraph
from springtide.training.network import Network

_PARTS = {"encoder": "encoder", "aggregator": "aggregator", "loss": "loss", "negative sampler": "negatives"}


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """What the manifest of a model says about its training.

    Attributes:
        mode: Whether the model was retrained or fine-tuned.
        settings: Settings of the training, resolved.
        parts: For each kind of part, its name, origin and options; see ``parts_of``.
        exponents: Exponents of the ranking.
        errors: Standard errors of the exponents; None if these were not learned in this training.
        metrics: Results of the training, by name.
        checkpoint: Name of the checkpoint that the state was restored from; empty if none.
        next_offsets: Next offset of each Kafka partition at the training, by partition.
        request_id: Id of the training request that is answered; empty if none.
    """

    mode: VectorTrainingMode
    settings: Settings
    parts: Mapping[str, Mapping[str, Any]]
    exponents: Exponents
    errors: Exponents | None
    metrics: Mapping[str, float]
    checkpoint: str
    next_offsets: Mapping[str, int]
    request_id: str


def make_artifact(
    network: Network,
    tasks: Mapping[str, Task],
    graph: TrainingGraph,
    node_ids: Mapping[str, list[str]],
    births: Mapping[str, npt.NDArray[np.int64]],
    record: TrainingRecord,
    fitted: Fitted,
) -> ModelArtifact:
    """Return the model: weights, the levels that a live fold-in needs, vectors, ids and manifest.

    Tensors: ``encoder.*`` and ``inputs.*`` are the network's, ``tasks.*`` the tasks'; ``levels`` float32
    ``[num_layers, num_nodes, d]``, the levels below the last; ``vectors`` float32 ``[num_nodes, d]``; ``degree``
    float32 ``[num_nodes]``. Nodes come type by type, in the order of the schema. ``num_interactions`` and
    ``time_sums``, int64 ``[num_users]`` each, the number of a user's interactions and the sum of their times, tell a
    server whose interactions are others now than at the training. ``births.*`` say which life of a node that was
    deleted once the model has learned from.

    Args:
        network: The trained network.
        tasks: The trained tasks, by name.
        graph: The graph whose vectors the model holds.
        node_ids: Id of each row by node type; empty where the model shall not know the node.
        births: Which deletion each row's node follows, by node type; see ``model.births``.
        record: What the manifest says about the training.
        fitted: What context weights have learned, by name: ``weights.NAME.*``.

    Raises:
        TrainingError: If most vectors are not finite: a loss may be finite, and what it led to not.
    """
    with torch.no_grad():
        levels = network.levels(graph.edges)
        vectors = network.vectors(levels)
        num_bad = int((~torch.isfinite(vectors).all(dim=1)).sum())
    if 2 * num_bad > len(vectors):
        raise TrainingError(f"{num_bad:,} of {len(vectors):,} vectors are not finite numbers: nothing is published")
    num_interactions = np.bincount(graph.interactions.user_rows, minlength=graph.num_users)
    time_sums = np.zeros(graph.num_users, np.int64)
    np.add.at(time_sums, graph.interactions.user_rows, graph.interactions.timestamps_ms)
    tensors: dict[str, npt.NDArray[Any]] = {
        **_arrays(network),
        **{f"tasks.{key}.{name}": array for key, task in tasks.items() for name, array in _arrays(task).items()},
        "levels": torch.stack(levels[:-1]).cpu().numpy(),
        "vectors": vectors.cpu().numpy(),
        "degree": graph.edges.target_degree.cpu().numpy(),
        "num_interactions": num_interactions,
        "time_sums": time_sums,
        **births_to_tensors(births),
        **fitted_to_tensors(fitted),
    }
    sections = {"model", "training", "ranking", "interactions", "graph"}
    manifest = ModelManifest(
        version="",
        created_ms=wall_ms(),
        training=record.mode,
        parts=record.parts,
        settings=record.settings.model_dump(mode="json", include=sections),
        graph_cut={
            "checkpoint": record.checkpoint,
            "next_offsets": dict(record.next_offsets),
            "num_interactions": len(graph.interactions),
            "newest_ms": int(graph.interactions.timestamps_ms[-1]),
        },
        metrics=record.metrics,
        exponents=exponents_to_manifest(record.exponents),
        exponent_errors={} if record.errors is None else exponents_to_manifest(record.errors),
        temperature=record.exponents.temperature,
        schema=_schema_to_manifest(graph.nodes),
        request_id=record.request_id,
    )
    values = {name: list(attributes.vocabulary) for name, attributes in graph.nodes.attributes.items()}
    return ModelArtifact(manifest, tensors, node_ids, values)


def ids_with_interactions(graph: TrainingGraph, node_ids: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return the ids, but empty for users and items without an interaction: their vectors have learned nothing yet."""
    known = {name: list(ids) for name, ids in node_ids.items()}
    rows_of = {graph.item_type: graph.interactions.item_rows, USER: graph.interactions.user_rows}
    if graph.item_type == USER:
        rows_of = {USER: np.concatenate([graph.interactions.user_rows, graph.interactions.item_rows])}
    for name, rows in rows_of.items():
        has_any = np.bincount(rows, minlength=len(known[name])) > 0
        known[name] = [node_id if is_known else "" for node_id, is_known in zip(known[name], has_any, strict=True)]
    return known


def ids_with_edges(graph: TrainingGraph, node_ids: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return the ids, but empty for users and items without an edge: all that a model has of them is chance.

    A server knows such a node by its attributes alone, if it has any.
    """
    known = {name: list(ids) for name, ids in node_ids.items()}
    degree = graph.edges.target_degree.cpu().numpy()
    for name in dict.fromkeys((USER, graph.item_type)):
        of_type = degree[graph.starts[name] :][: len(known[name])]
        known[name] = [node_id if is_known else "" for node_id, is_known in zip(known[name], of_type > 0, strict=True)]
    return known


def copied(artifact: ModelArtifact) -> ModelArtifact:
    """Return an artifact with its own tensors, which a training that goes on does not change."""
    tensors = {name: tensor.copy() for name, tensor in artifact.tensors.items()}
    return dataclasses.replace(artifact, tensors=tensors)


def parts_of(settings: Settings, plugins: Plugins) -> dict[str, dict[str, Any]]:
    """Return, for each kind of part, its name, origin and options."""
    return {
        kind: {"name": part.name, "origin": plugins.part(kind, part.name).origin, "options": dict(part.options)}
        for kind, part in ((kind, getattr(settings.model, key)) for kind, key in _PARTS.items())
    }


def fits_settings(artifact: ModelArtifact, settings: Settings) -> bool:
    """Return whether the model can be fine-tuned with these settings, which are resolved."""
    before, now = artifact.manifest.settings, settings.model_dump(mode="json")
    keys = ("width", "num_layers", "encoder", "aggregator")
    return all(before.get("model", {}).get(key) == now["model"][key] for key in keys) and (
        before.get("model", {}).get("texts", "none") == now["model"]["texts"]  # Models of earlier releases read none.
        and before.get("graph", {}).get("item_type") == now["graph"]["item_type"]
        and _labels_of(before["model"].get("tasks", {})) == _labels_of(now["model"]["tasks"])
    )


def load_network(network: Network, tasks: Mapping[str, Task], artifact: ModelArtifact, view: GraphView) -> None:
    """Set the parameters of a network and tasks to those of a model, in place.

    Nodes and attribute values that the model does not know keep theirs, and so do tasks of other shapes. A node that
    was deleted since, and came again, is one that the model does not know.

    Args:
        network: The network, of the same parts and width as the model.
        tasks: The tasks, by name.
        artifact: The model.
        view: The graph whose nodes the network has.
    """
    inputs, tensors = network.inputs, {name: torch.from_numpy(array) for name, array in artifact.tensors.items()}
    device = next(inputs.parameters()).device
    with torch.no_grad():
        network.encoder.load_state_dict(_under("encoder.", tensors))
        for name, known_ids in artifact.node_ids.items():
            index = inputs.index_of(name)
            live_rows = np.arange(len(inputs.ids[index]))
            model_rows = ModelRows(known_ids, name, artifact.tensors).of(view.nodes(name), live_rows)
            rows = torch.from_numpy(np.flatnonzero(model_rows >= 0))
            known = tensors[f"inputs.ids.{index}"][torch.from_numpy(model_rows[model_rows >= 0])]
            inputs.ids[index][rows.to(device)] = known.to(device)
            values = tensors[f"inputs.values.{index}"]
            inputs.values[index][: len(values)] = values.to(device)
            inputs.numbers[index].copy_(tensors[f"inputs.numbers.{index}"])
            if f"inputs.vectors.{index}" in tensors:  # Models of earlier releases have none.
                inputs.vectors[index].copy_(tensors[f"inputs.vectors.{index}"])
        for key, task in tasks.items():
            saved, state = _under(f"tasks.{key}.", tensors), task.state_dict()
            if {name: each.shape for name, each in saved.items()} == {name: each.shape for name, each in state.items()}:
                task.load_state_dict(saved)


def _arrays(module: nn.Module) -> dict[str, npt.NDArray[Any]]:
    """Return the state of a module as arrays, which share its memory if it is on the CPU."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in module.state_dict().items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _labels_of(tasks: Mapping[str, Any]) -> list[Any]:
    """Return tasks as name and options, which decide which attributes are labels and therefore no inputs."""
    return sorted((key, task["name"], sorted(task["options"].items())) for key, task in tasks.items())


def _schema_to_manifest(nodes: Nodes) -> dict[str, Any]:
    numbers = {
        name: {"names": list(scale.names), "mean": scale.mean.tolist(), "deviation": scale.deviation.tolist()}
        for name, scale in nodes.scales.items()
    }
    vectors = {name: scale.to_manifest() for name, scale in nodes.vectors.items() if scale.means}
    return {**schema_to_manifest(nodes.schema), "numbers": numbers, **({"vectors": vectors} if vectors else {})}
