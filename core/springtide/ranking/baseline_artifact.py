"""From a fitted baseline to a version of the model registry."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from springtide.checkpoint import Checkpoint
from springtide.clock import wall_ms
from springtide.graph.applying import USER
from springtide.graph.view import GraphView
from springtide.interactions import Observed
from springtide.model.births import births_of, births_to_tensors
from springtide.model.manifest import ModelManifest
from springtide.model.registry import ModelArtifact
from springtide.plugins.contracts import Baseline
from springtide.plugins.loading import Plugins
from springtide.settings.model import Settings


def baseline_artifact(
    name: str,
    options: Mapping[str, Any],
    baseline: Baseline,
    view: GraphView,
    interactions: Observed,
    settings: Settings,
    plugins: Plugins,
    *,
    checkpoint: Checkpoint | None = None,
    metrics: Mapping[str, float] | None = None,
    request_id: str = "",
) -> ModelArtifact:
    """Return a baseline as an artifact of the registry: its state as tensors, and the ids of the fit's users and items.

    The manifest names the baseline under ``parts``. It has no exponents, since none count. ``ServingBaseline`` reads
    the artifact.

    Args:
        name: Name that a plugin registered it by.
        options: Its options.
        baseline: Fitted on all users and items of the view.
        view: The graph of the fit.
        interactions: Interactions of the fit, oldest first, at least one.
        settings: The graph and interaction settings go into the manifest.
        plugins: Give the origin of the baseline.
        checkpoint: The checkpoint that the graph was restored from, for the manifest.
        metrics: Measured values by name.
        request_id: Id of the training request, for the manifest.

    Raises:
        UnknownPartError: If no plugin offers it.
    """
    kinds = dict.fromkeys((USER, settings.graph.item_type))
    manifest = ModelManifest(
        version="",
        created_ms=wall_ms(),
        training="baseline",
        parts={
            "baseline": {
                "name": name,
                "origin": plugins.part("baseline", name).origin,
                "options": dict(options),
            }
        },
        settings=settings.model_dump(mode="json", include={"interactions", "graph"}),
        graph_cut={
            "checkpoint": checkpoint.name if checkpoint else "",
            "num_interactions": len(interactions),
            "newest_ms": int(interactions.timestamps_ms[-1]),
        },
        metrics=dict(metrics or {}),
        request_id=request_id,
    )
    tensors = {key: np.ascontiguousarray(array) for key, array in baseline.state().items()}
    tensors |= births_to_tensors(births_of(view, {kind: view.num_nodes(kind) for kind in kinds}))
    ids = {kind: view.nodes(kind).ids.all_ids()[: view.num_nodes(kind)] for kind in kinds}
    return ModelArtifact(manifest, tensors, ids)
