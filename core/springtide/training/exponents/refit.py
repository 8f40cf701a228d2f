"""Refitting the exponents between trainings: seasons and trends change faster than vectors age."""

import dataclasses

import numpy as np
import numpy.typing as npt

from springtide.clock import wall_ms
from springtide.errors import TrainingError
from springtide.graph.applying import USER
from springtide.graph.view import GraphView
from springtide.model.artifact import exponents_of, exponents_to_manifest
from springtide.model.births import ModelRows
from springtide.model.fitted_weights import fitted_in, live_rows, with_fitted
from springtide.model.registry import ModelArtifact
from springtide.plugins.contracts import ContextWeight
from springtide.plugins.loading import Plugins
from springtide.ranking.weights import make_grouped_weights
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.training.dislikes import disliked_events
from springtide.training.exponents.dislikes import with_dislikes
from springtide.training.exponents.fit import fit_exponents
from springtide.training.exponents.logit import ExponentSettings
from springtide.training.exponents.slices import known_events
from springtide.training.loop import OnProgress, Progress


def refit_exponents(
    state: LiveState,
    base: ModelArtifact,
    settings: Settings,
    plugins: Plugins,
    *,
    request_id: str = "",
    on_progress: OnProgress | None = None,
) -> ModelArtifact:
    """Return the model with exponents fitted on the interactions since its vectors were trained.

    Args:
        state: The live graph.
        base: The model; its vectors stay.
        settings: Context weights, and how exponents are fitted.
        plugins: Plugins that offer the context weights.
        request_id: Id of the training request that is answered, for the manifest.
        on_progress: Called before and after.

    Raises:
        TrainingError: If there are too few interactions since.
    """
    report = on_progress or (lambda progress: None)
    view = state.graph.view()
    interactions = state.positive_interactions(view)
    split = int(np.searchsorted(interactions.timestamps_ms, base.manifest.graph_cut["newest_ms"], side="right"))
    num_known = len(known_events(interactions, split)) if 0 < split < len(interactions) else 0
    wanted = settings.training.min_refit_events
    if num_known < wanted:
        raise TrainingError(
            f"wanted at least {wanted:,} interactions of known users and items since the vectors were trained, "
            f"got {num_known:,}"
        )
    report(Progress("exponents", 0, 1))
    item_type = settings.graph.item_type
    vectors = _vectors(base, view, USER), _vectors(base, view, item_type)

    items, num_items = view.nodes(item_type), view.num_nodes(item_type)
    model_rows = ModelRows(base.node_ids[item_type], item_type, base.tensors).of(items, np.arange(num_items))
    item_rows, fitted = live_rows(model_rows, len(base.node_ids[item_type])), fitted_in(base.tensors)

    def make_weights() -> dict[str, ContextWeight]:
        weights = make_grouped_weights(settings.ranking, plugins, items, num_items)
        return with_fitted(weights, fitted, item_rows)

    found = fit_exponents(
        interactions,
        split,
        *vectors,
        make_weights,
        ExponentSettings(is_live=settings.training.live_exponents),
        settings.training.seed,
    )
    assert found is not None, "there are known events"
    exponents = with_dislikes(
        dataclasses.replace(found.exponents, dislikes=exponents_of(base.manifest).dislikes),
        *(interactions, split, disliked_events(view, state.rules), vectors, make_weights, settings.training.seed),
    )
    report(Progress("exponents", 1, 1, found.loss))
    manifest = dataclasses.replace(
        base.manifest,
        version="",
        created_ms=wall_ms(),
        training="refit",
        exponents=exponents_to_manifest(exponents),
        exponent_errors=exponents_to_manifest(found.errors),
        temperature=found.exponents.temperature,
        metrics={"exponent_loss": found.loss, "exponent_events": found.num_events},
        request_id=request_id,
    )
    return dataclasses.replace(base, manifest=manifest)


def _vectors(base: ModelArtifact, view: GraphView, node_type: str) -> npt.NDArray[np.float32]:
    """Return the model's vectors by the live rows of a node type, float32 ``[num_nodes, d]``; 0 for other nodes."""
    known_ids = base.node_ids[node_type]
    # Users, then items, come first in the order of a model's nodes.
    start = 0 if node_type == USER else len(base.node_ids[USER])
    learned = base.tensors["vectors"][start : start + len(known_ids)]
    vectors = np.zeros((view.num_nodes(node_type), learned.shape[1]), np.float32)
    model_rows = ModelRows(known_ids, node_type, base.tensors).of(view.nodes(node_type), np.arange(len(vectors)))
    vectors[model_rows >= 0] = learned[model_rows[model_rows >= 0]]
    return vectors
