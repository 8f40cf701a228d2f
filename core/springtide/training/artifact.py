"""From a trained network to a model artifact, and back."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from springtide.clock import wall_ms
from springtide.config import Settings
from springtide.graph.applying import ITEM, USER
from springtide.models import ModelArtifact, ModelManifest
from springtide.plugins.loading import Plugins
from springtide.ranking.weights import Exponents, Terms
from springtide.training.graph import TrainingGraph
from springtide.training.network import Network

_OWN = "own:"  # Before the names of exponents that hold for items the user had.
_COSINE = "cosine"
_PART_KINDS = ("encoder", "aggregator", "loss")


def make_artifact(
    network: Network,
    graph: TrainingGraph,
    ids: Mapping[str, list[str]],
    exponents: Exponents,
    mode: Literal["retrain", "fine_tune"],
    graph_cut: Mapping[str, Any],
    metrics: Mapping[str, float],
    settings: Settings,
    plugins: Plugins,
    request_id: str,
) -> ModelArtifact:
    """Return the model: weights, the levels that a live fold-in needs, vectors, ids and manifest.

    Tensors: ``encoder.*`` and ``inputs.*`` are the network's; ``levels`` float32 ``[num_layers, num_nodes, d]``, what
    neighbours hold below the last layer; ``vectors`` float32 ``[num_nodes, d]``; ``degree`` float32 ``[num_nodes]``;
    ``num_interactions`` int64 ``[num_nodes]``, by which a server knows what has changed since. Users come first.
    """
    with torch.no_grad():
        levels = network.levels(graph.edges)
        vectors = network.vectors(levels)
    counts = [
        torch.bincount(torch.from_numpy(rows).long(), minlength=count)
        for rows, count in (
            (graph.interactions.user_rows, graph.num_users),
            (graph.interactions.item_rows, graph.num_items),
        )
    ]
    tensors: dict[str, Tensor] = {
        **network.state_dict(),
        "levels": torch.stack(levels[:-1]),
        "vectors": vectors,
        "degree": graph.edges.target_degree,
        "num_interactions": torch.cat(counts),
    }
    manifest = ModelManifest(
        version="",
        created_ms=wall_ms(),
        training=mode,
        parts=parts_of(settings, plugins),
        settings=settings.model_dump(mode="json", include={"model", "training", "ranking", "interactions"}),
        graph_cut=graph_cut,
        metrics=metrics,
        exponents=_to_manifest(exponents),
        temperature=exponents.temperature,
        request_id=request_id,
    )
    values = {kind: list(of.vocabulary) for kind, of in graph.attributes.items()}
    return ModelArtifact(manifest, tensors, ids[USER], ids[ITEM], values)


def parts_of(settings: Settings, plugins: Plugins) -> dict[str, dict[str, Any]]:
    """Return, for each kind of part, its name, origin and options."""
    return {
        kind: {"name": part.name, "origin": plugins.part(kind, part.name).origin, "options": dict(part.options)}
        for kind, part in ((kind, getattr(settings.model, kind)) for kind in _PART_KINDS)
    }


def fits_settings(artifact: ModelArtifact, settings: Settings) -> bool:
    """Return whether a training with these settings could go on from the model."""
    model = artifact.manifest.settings.get("model", {})
    now = settings.model_dump(mode="json")["model"]
    return all(model.get(key) == now[key] for key in ("width", "num_layers", "encoder", "aggregator"))


def load_network(network: Network, artifact: ModelArtifact, ids: Mapping[str, list[str]]) -> None:
    """Give a network what the model learned; nodes and attribute values that it did not know stay as they are."""
    with torch.no_grad():
        for name, parameter in network.encoder.named_parameters():
            parameter.copy_(artifact.tensors[f"encoder.{name}"])
        for kind, known_ids in ((USER, artifact.user_ids), (ITEM, artifact.item_ids)):
            row_of = {node_id: row for row, node_id in enumerate(known_ids)}
            pairs = [(row, row_of[node_id]) for row, node_id in enumerate(ids[kind]) if node_id and node_id in row_of]
            here, there = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
            network.inputs.ids[kind][here] = artifact.tensors[f"inputs.ids.{kind}"][there].to(
                network.inputs.ids[kind].device
            )
            values = artifact.tensors[f"inputs.values.{kind}"]
            network.inputs.values[kind][: len(values)] = values.to(network.inputs.values[kind].device)


def exponents_of(manifest: ModelManifest) -> Exponents:
    """Return the exponents that a manifest holds."""
    new: dict[str, dict[str, float]] = {}
    own: dict[str, dict[str, float]] = {}
    for weight, factors in manifest.exponents.items():
        for factor, exponent in factors.items():
            (own if factor.startswith(_OWN) else new).setdefault(weight, {})[factor.removeprefix(_OWN)] = exponent
    of_new, of_own = new.pop(_COSINE), own.pop(_COSINE)
    return Exponents(Terms(of_new[_COSINE], new), Terms(of_own[_COSINE], own))


def _to_manifest(exponents: Exponents) -> dict[str, dict[str, float]]:
    written: dict[str, dict[str, float]] = {}
    for prefix, terms in (("", exponents.new), (_OWN, exponents.own)):
        for weight, factors in {_COSINE: {_COSINE: terms.cosine}, **terms.factors}.items():
            written.setdefault(weight, {}).update({f"{prefix}{factor}": value for factor, value in factors.items()})
    return written
