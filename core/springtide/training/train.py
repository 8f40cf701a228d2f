"""Retraining from scratch, and fine-tuning the latest model: from a live state to a model."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from springtide.checkpoint import Checkpoint
from springtide.errors import TrainingError
from springtide.graph.compacting import compacted
from springtide.interactions import NO_EVENTS, Observed
from springtide.model.artifact import exponent_errors_of, exponents_of, is_relational, known_nodes, make_encoder
from springtide.model.births import births_of
from springtide.model.exponents import DislikeExponents, fallback_exponents
from springtide.model.fitted_weights import Fitted, fit_weights, with_fitted
from springtide.model.manifest import VectorTrainingMode
from springtide.model.registry import ModelArtifact
from springtide.plugins.contracts import ContextWeight, Task
from springtide.plugins.loading import Plugins
from springtide.ranking.weights import make_context_weights, make_grouped_weights
from springtide.settings.model import ModelSettings, Settings, TrainingSettings
from springtide.state import LiveState
from springtide.training.artifact import (
    TrainingRecord,
    copied,
    fits_settings,
    ids_with_edges,
    ids_with_interactions,
    load_network,
    make_artifact,
    parts_of,
)
from springtide.training.curves import LossCurves
from springtide.training.dislikes import disliked_events, shown_events
from springtide.training.exponents.dislikes import with_dislikes
from springtide.training.exponents.fit import ExponentFit, FittedPrior, fit_exponents
from springtide.training.exponents.logit import ExponentSettings
from springtide.training.exponents.slices import split_for_exponents
from springtide.training.graph import Nodes, TrainingGraph, slice_of
from springtide.training.loop import (
    Objective,
    OnProgress,
    Progress,
    Stage,
    WeightedTask,
    fit,
    frozen_warmup_then_cosine,
)
from springtide.training.network import Inputs, Network
from springtide.training.sampling import chances_by_age, replay_chances, replay_user_chances

_MIN_EXPONENT_EVENTS = 50  # Fewer interactions say nothing about a dozen exponents.

__all__ = ["OnProgress", "Progress", "train"]


def train(
    state: LiveState,
    settings: Settings,
    plugins: Plugins,
    *,
    mode: VectorTrainingMode,
    base: ModelArtifact | None = None,
    checkpoint: Checkpoint | None = None,
    request_id: str = "",
    on_progress: OnProgress | None = None,
    on_candidate: Callable[[ModelArtifact], None] | None = None,
) -> ModelArtifact:
    """Train a model on the interactions of a state.

    A retraining starts from random parameters. It leaves out the latest slice of interactions at first, so that the
    exponents are fitted on interactions that the vectors have not seen; then it trains on all of them. A fine-tuning
    starts from ``base``: it updates the exponents by the interactions since, then trains on these and on replayed
    older ones. It is longer than our other functions, so that the stages can be read in their order.

    Args:
        state: The live graph, and the position in the stream that it stands at.
        settings: Parts, sizes, steps and rates.
        plugins: Plugins that offer the parts.
        mode: ``retrain`` or ``fine_tune``.
        base: The model to fine-tune; ignored by a retraining.
        checkpoint: The checkpoint that the state was restored from, for the manifest.
        request_id: Id of the training request that is answered, for the manifest.
        on_progress: Called after each step.
        on_candidate: Called with the model as it was before it trained on the latest slice, with the exponents fitted
            there; its ``newest_ms`` is the time of the last interaction before the slice. Only this model can be
            evaluated on the slice, since the one that is returned has seen all interactions.

    Returns:
        The model, without a version: publishing gives it one.

    Raises:
        TrainingError: If there are too few interactions, ``base`` cannot be fine-tuned with these settings, or a loss
            is not finite.
    """
    settings = plugins.resolved(settings)
    rates, losses = settings.training, LossCurves()

    def report(progress: Progress) -> None:
        losses.note(progress)
        if on_progress is not None:
            on_progress(progress)

    if rates.num_threads is not None:
        torch.set_num_threads(rates.num_threads)
    torch.manual_seed(rates.seed)
    view = compacted(state.graph).view()  # What no longer lives would take as much time and memory as what does.
    interactions = state.positive_interactions(view)
    if len(interactions) < rates.min_interactions:
        raise TrainingError(
            f"wanted at least {rates.min_interactions} positive interactions (training.min_interactions), "
            f"got {len(interactions)}"
        )
    if mode == "retrain":
        base = None
    elif base is None or not fits_settings(base, settings):
        raise TrainingError("wanted a model of the same parts and width to fine-tune from: retrain first")

    # Nodes, network and objective, on the graph without the latest slice.
    tasks = {key: plugins.make("task", task, width=settings.model.width) for key, task in settings.model.tasks.items()}
    nodes = Nodes.of(
        view,
        settings.graph.item_type,
        is_relational=is_relational(settings.model, plugins),
        labels=[label for task in tasks.values() for label in task.labels],
        known=None if base is None else known_nodes(base),
        without=[state.rules.edge_type(relation) for relation in state.rules.shown_relations],
        reads_texts=settings.model.texts == "hashed",
    )
    encoder = make_encoder(settings.model, nodes.schema, plugins)
    network = Network(Inputs(nodes, settings.model.width, settings.model.id_dropout), encoder).to(rates.device)
    split = split_for_exponents(interactions, rates.exponent_slice, base)
    split_ms = int(interactions.timestamps_ms[split]) if split < len(interactions) else None
    rated = [state.rules.edge_type(rule.name) for rule in state.rules.rules if rule.type_name in rates.rating_types]
    disliked = disliked_events(view, state.rules)
    shown = shown_events(view, state.rules) if rates.passed_over_weight else NO_EVENTS
    half_life_days = rates.edge_half_life_days
    earlier = TrainingGraph.build(
        nodes,
        slice_of(interactions, 0, split),
        half_life_days,
        before_ms=split_ms,
        rated=rated,
        disliked=disliked,
        shown=shown,
    ).to(rates.device)
    for task in tasks.values():
        task.prepare(earlier, settings.model.width)
        task.to(rates.device)
    objective = _make_objective(tasks, settings.model, plugins)

    # Parameters that have not learned from the latest slice.
    node_ids = {name: view.nodes(name).ids.all_ids()[: nodes.counts[name]] for name in nodes.attributes}
    births = births_of(view, {name: nodes.counts[name] for name in nodes.attributes})
    if base is None:
        stage = Stage("learn", rates.steps, _chances(earlier, rates))
        fit(stage, network, objective, earlier, rates, report)
    else:
        load_network(network, tasks, base, view)

    # Exponents, fitted on the latest slice.
    report(Progress("exponents", 0, 1))
    of_weights = make_context_weights(settings.ranking, plugins)
    sizes = (earlier.num_users, earlier.num_items)
    fitted = fit_weights(of_weights, slice_of(interactions, 0, split), *sizes)
    found = _fit_exponents(network, earlier, interactions, disliked, split, base, fitted, settings, plugins)
    report(Progress("exponents", 1, 1, found.loss if found else None))
    is_enough = found is not None and found.num_events >= _MIN_EXPONENT_EVENTS
    fallback = fallback_exponents(of_weights) if base is None else exponents_of(base.manifest)
    offsets = state.position.next_offsets if state.position else {}
    record = TrainingRecord(
        mode,
        settings,
        parts_of(settings, plugins),
        exponents=found.exponents if found and is_enough else fallback,
        errors=found.errors if found and is_enough else None,
        metrics={"exponent_loss": found.loss, "exponent_events": found.num_events} if found else {},
        checkpoint=checkpoint.name if checkpoint else "",
        next_offsets={str(key): value for key, value in offsets.items()},
        request_id=request_id,
    )
    if on_candidate is not None:
        known_ids = ids_with_interactions(earlier, node_ids)
        on_candidate(copied(make_artifact(network, tasks, earlier, known_ids, births, record, fitted)))

    # All interactions, the latest slice too.
    whole = TrainingGraph.build(nodes, interactions, half_life_days, rated=rated, disliked=disliked, shown=shown).to(
        rates.device
    )
    stage = _last_stage(whole, split, rates, is_fine_tuning=base is not None)
    fit(stage, network, objective, whole, rates, report)
    if split < len(interactions):
        fitted = fit_weights(of_weights, interactions, *sizes)
    artifact = make_artifact(network, tasks, whole, ids_with_edges(whole, node_ids), births, record, fitted)
    return replace(artifact, curves=losses.curves())


def _make_objective(tasks: Mapping[str, Task], model: ModelSettings, plugins: Plugins) -> Objective:
    """Make the loss and the negative sampler of the settings; the tasks are made already, by their keys there."""
    return Objective(
        plugins.make("loss", model.loss, num_layers=model.num_layers),
        plugins.make("negative sampler", model.negatives),
        [WeightedTask(tasks[key], task.weight, task.batch) for key, task in model.tasks.items()],
    )


def _chances(graph: TrainingGraph, rates: TrainingSettings) -> npt.NDArray[np.float64]:
    """Return how likely each positive interaction is drawn: by its weight, its age, and whether a dislike followed."""
    chances = chances_by_age(graph.interactions, rates.positive_half_life_days)
    trust = graph.dislikes.trust(graph.interactions)
    return chances if trust is None else chances * trust


def _last_stage(graph: TrainingGraph, split: int, rates: TrainingSettings, *, is_fine_tuning: bool) -> Stage:
    """Return the stage that trains on all interactions; a fine-tuning replays those before the split."""
    interactions = graph.interactions
    chances = _chances(graph, rates)
    user_chances = None
    if is_fine_tuning:
        chances *= replay_chances(len(interactions), split, rates.replay_ratio)
        is_new = graph.dislikes.latest_ms > int(interactions.timestamps_ms[split - 1])
        users = np.concatenate([interactions.user_rows, graph.dislikes.user_rows[is_new]])  # Dislikes are news, too.
        user_chances = replay_user_chances(users, split, graph.num_users, rates.replay_ratio)
    return Stage("learn the latest", rates.fine_tune_steps, chances, user_chances, frozen_warmup_then_cosine)


def _fit_exponents(
    network: Network,
    earlier: TrainingGraph,
    interactions: Observed,
    disliked: Observed,
    split: int,
    base: ModelArtifact | None,
    fitted: Fitted,
    settings: Settings,
    plugins: Plugins,
) -> ExponentFit | None:
    """Fit the exponents on the interactions from ``split`` on, with vectors of the graph before; None if too few."""
    if len(interactions) - split < _MIN_EXPONENT_EVENTS:
        return None
    # A refit may have learned from some of these interactions: fit_exponents trusts the prior half as much for that.
    errors = None if base is None else exponent_errors_of(base.manifest)
    prior = None if base is None or errors is None else FittedPrior(exponents_of(base.manifest), errors)
    with torch.no_grad():
        vectors = network.vectors(network.levels(earlier.edges)).cpu().numpy()
    of_users, of_items = vectors[: earlier.num_users], vectors[earlier.item_start :][: earlier.num_items]

    def make_weights() -> dict[str, ContextWeight]:
        items = earlier.view.nodes(earlier.item_type)
        weights = make_grouped_weights(settings.ranking, plugins, items, earlier.num_items)
        return with_fitted(weights, fitted, np.arange(earlier.num_items, dtype=np.int32))

    found = fit_exponents(
        interactions,
        split,
        of_users,
        of_items,
        make_weights,
        ExponentSettings(is_live=settings.training.live_exponents),
        settings.training.seed,
        prior,
    )
    if found is None:
        return None
    before = DislikeExponents() if base is None else exponents_of(base.manifest).dislikes
    exponents = with_dislikes(
        replace(found.exponents, dislikes=before),
        *(interactions, split, disliked, (of_users, of_items), make_weights, settings.training.seed),
    )
    return replace(found, exponents=exponents)
