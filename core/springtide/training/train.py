"""Retraining from scratch and fine-tuning on the latest: from a state to a model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from springtide.checkpoint import Checkpoint
from springtide.clock import MS_PER_DAY
from springtide.errors import TrainingError
from springtide.graph.applying import USER
from springtide.graph.edges import EdgeType
from springtide.graph.pair_weights import fade
from springtide.interactions import Observed
from springtide.model.artifact import exponent_errors_of, exponents_of, is_relational, known_nodes, make_encoder
from springtide.model.exponents import FALLBACK_EXPONENTS, Exponents
from springtide.model.registry import ModelArtifact
from springtide.plugins.loading import Plugins
from springtide.ranking.weights import make_grouped_weights
from springtide.settings.model import Settings, TrainingSettings
from springtide.state import LiveState
from springtide.training.artifact import fits_settings, load_network, make_artifact
from springtide.training.exponents.fit import ExponentFit, FittedPrior, fit_exponents
from springtide.training.exponents.logit import ExponentSettings
from springtide.training.exponents.slices import known_events
from springtide.training.graph import Nodes, TrainingGraph, slice_of
from springtide.training.loop import Objective, OnProgress, Progress, fit
from springtide.training.network import Inputs, Network

Mode = Literal["retrain", "fine_tune"]
_MIN_EXPONENT_EVENTS = 50  # Fewer say nothing about a dozen exponents.
_WANTED_EXPONENT_EVENTS = 1_000  # About a hundred for each exponent: with fewer, chance decides some of them.
_WIDEST_SLICE = 0.25  # The vectors need the rest.

__all__ = ["Mode", "OnProgress", "Progress", "train"]


def train(
    state: LiveState,
    settings: Settings,
    plugins: Plugins,
    *,
    mode: Mode,
    base: ModelArtifact | None = None,
    checkpoint: Checkpoint | None = None,
    request_id: str = "",
    on_progress: OnProgress | None = None,
    on_candidate: Callable[[ModelArtifact], None] | None = None,
) -> ModelArtifact:
    """Make a model of what the state holds.

    A retraining starts from random numbers and leaves out the latest slice at first, so that the exponents are
    learned on interactions that the vectors have not seen; then it goes on with everything. A fine-tuning starts from
    ``base``: it amends the exponents by what came since, then goes on with that and with replayed history.

    Args:
        state: The graph, and the position it stands at.
        settings: Parts, steps and rates.
        plugins: Where the parts come from.
        mode: From scratch, or from ``base``.
        base: The model to go on from; needed to fine-tune.
        checkpoint: The checkpoint that the state was restored from, for the manifest.
        request_id: The training request that is answered, for the manifest.
        on_progress: Told after each step.
        on_candidate: Given the model as it was before it learned the latest slice: with the exponents that were found
            there, and ``newest_ms`` of its graph cut at the last interaction before. It is what can be judged on the
            slice, for the model that is returned has seen all there is.

    Returns:
        The model; its version is given when it is published.

    Raises:
        TrainingError: If there are too few interactions, nothing that fits to fine-tune from, or a loss is not finite.
    """
    settings = plugins.resolved(settings)
    rates = settings.training
    tell = on_progress or (lambda progress: None)
    if rates.num_threads is not None:
        torch.set_num_threads(rates.num_threads)
    torch.manual_seed(rates.seed)
    view = state.graph.view()
    interactions = state.positive_interactions(view)
    if len(interactions) < rates.min_interactions:
        raise TrainingError(f"wanted at least {rates.min_interactions} positive interactions, got {len(interactions)}")
    if mode == "retrain":
        base = None
    elif base is None or not fits_settings(base, settings):
        raise TrainingError("wanted a model of the same parts and width to fine-tune from: retrain first")

    tasks = {key: plugins.make("task", task, width=settings.model.width) for key, task in settings.model.tasks.items()}
    nodes = Nodes.of(
        view,
        settings.graph.item_type,
        is_relational=is_relational(settings.model, plugins),
        labels=[label for task in tasks.values() for label in task.labels],
        known=None if base is None else known_nodes(base),
    )
    encoder = make_encoder(settings.model, nodes.schema, plugins)
    network = Network(Inputs(nodes, settings.model.width, settings.model.id_dropout), encoder).to(rates.device)
    split = _split(interactions, rates, base)
    rated = [state.rules.edge_type(rule.name) for rule in state.rules.rules if rule.type_name in rates.rating_types]
    before = _graph(nodes, slice_of(interactions, 0, split), rates, rated, _time_of(interactions, split))
    for task in tasks.values():
        task.prepare(before, settings.model.width)
        task.to(rates.device)
    objective = Objective(
        plugins.make("loss", settings.model.loss, num_layers=settings.model.num_layers),
        plugins.make("negative sampler", settings.model.negatives),
        [(task, settings.model.tasks[key].weight, settings.model.tasks[key].batch) for key, task in tasks.items()],
    )
    ids = {name: view.nodes(name).ids.all_ids()[: nodes.counts[name]] for name in nodes.attributes}
    if base is None:
        fit("learn", network, objective, before, rates, rates.steps, _by_age(before.interactions, rates), tell)
    else:
        load_network(network, tasks, base, ids)

    tell(Progress("exponents", 0, 1))
    exponent_fit = _fit_exponents(network, before, interactions, split, base, settings, plugins)
    tell(Progress("exponents", 1, 1, exponent_fit.loss if exponent_fit else None))
    exponents = _chosen_exponents(exponent_fit, base)
    errors = exponent_fit.errors if exponent_fit is not None and exponents is exponent_fit.exponents else None
    metrics = {"exponent_loss": exponent_fit.loss, "exponent_events": exponent_fit.num_events} if exponent_fit else {}

    def artifact_of(graph: TrainingGraph, ids: Mapping[str, list[str]]) -> ModelArtifact:
        cut = _graph_cut(state, graph.interactions, checkpoint)
        return make_artifact(
            network, graph, tasks, ids, exponents, errors, mode, cut, metrics, settings, plugins, request_id
        )

    if on_candidate is not None:
        on_candidate(_copied(artifact_of(before, _known_ids(before, ids))))

    whole = _graph(nodes, interactions, rates, rated, None)
    chances, visits = _by_age(interactions, rates), None
    if base is not None:
        chances *= _replay(len(interactions), split, rates.replay_ratio)
        visits = _visits(interactions.user_rows, split, whole.num_users, rates.replay_ratio)
    fit(
        "learn the latest", network, objective, whole, rates, rates.fine_tune_steps, chances, tell, visits, goes_on=True
    )
    return artifact_of(whole, ids)


def _graph_cut(state: LiveState, interactions: Observed, checkpoint: Checkpoint | None) -> dict[str, Any]:
    offsets = state.position.next_offsets if state.position else {}
    return {
        "checkpoint": checkpoint.name if checkpoint else "",
        "next_offsets": {str(key): value for key, value in offsets.items()},
        "num_interactions": len(interactions),
        "newest_ms": int(interactions.timestamps_ms[-1]),
    }


def _known_ids(graph: TrainingGraph, ids: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Leave out the ids of users and items that no interaction has touched yet: their vectors have learned nothing."""
    known = {name: list(of_type) for name, of_type in ids.items()}
    sides = {graph.nodes.item_type: graph.interactions.item_rows, USER: graph.interactions.user_rows}
    if graph.nodes.item_type == USER:
        sides = {USER: np.concatenate([graph.interactions.user_rows, graph.interactions.item_rows])}
    for name, rows in sides.items():
        is_touched = np.bincount(rows, minlength=len(known[name])) > 0
        known[name] = [node_id if touched else "" for node_id, touched in zip(known[name], is_touched, strict=True)]
    return known


def _copied(artifact: ModelArtifact) -> ModelArtifact:
    """Return an artifact that a training which goes on does not change."""
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in artifact.tensors.items()}
    return replace(artifact, tensors=tensors)


def _split(interactions: Observed, rates: TrainingSettings, base: ModelArtifact | None) -> int:
    """Return how many interactions, from the oldest, the vectors may see before the exponents are learned.

    Where many come anew, few of the latest interactions are of users and items that the vectors know: the slice is
    widened then.
    """
    if base is None:
        share = rates.exponent_slice
        while True:
            split = max(1, int(len(interactions) * (1.0 - share)))
            if share >= _WIDEST_SLICE or len(known_events(interactions, split)) >= _WANTED_EXPONENT_EVENTS:
                return split
            share = min(1.5 * share, _WIDEST_SLICE)
    newest_ms = base.manifest.graph_cut["newest_ms"]
    return max(1, int(np.searchsorted(interactions.timestamps_ms, newest_ms, side="right")))


def _graph(
    nodes: Nodes, interactions: Observed, rates: TrainingSettings, rated: Sequence[EdgeType], before_ms: int | None
) -> TrainingGraph:
    graph = TrainingGraph.build(nodes, interactions, rates.edge_half_life_days, before_ms=before_ms, rated=rated)
    return graph.to(rates.device)


def _time_of(interactions: Observed, position: int) -> int | None:
    """Return the time of an interaction; None past the last one."""
    return int(interactions.timestamps_ms[position]) if position < len(interactions) else None


def _by_age(interactions: Observed, rates: TrainingSettings) -> npt.NDArray[np.float64]:
    """Return float64 ``[num_interactions]``: how likely each is to be drawn, by its weight and its age."""
    ages_days = (interactions.timestamps_ms[-1] - interactions.timestamps_ms) / MS_PER_DAY
    return fade(interactions.weights, ages_days, rates.positive_half_life_days)


def _replay(num_interactions: int, split: int, ratio: float) -> npt.NDArray[np.float64]:
    """Return float64 ``[num_interactions]``: 1 for each new one; for the old ones, ``ratio`` for one new in all."""
    chances = np.ones(num_interactions)
    chances[:split] = ratio * (num_interactions - split) / split if split < num_interactions else 1.0
    return chances


def _visits(
    user_rows: npt.NDArray[np.int32], split: int, num_users: int, ratio: float
) -> npt.NDArray[np.float64] | None:
    """Return float64 ``[num_users]``, how likely each is to be looked at in a pass; None if nothing is new.

    Whoever did something new is; of the others, ``ratio`` for one of those: where many come and go, a pass over all of
    them would look at the past most of the time.
    """
    visits = np.zeros(num_users)
    visits[user_rows[split:]] = 1.0
    num_new = visits.sum()
    if not num_new:
        return None
    visits[visits == 0.0] = min(1.0, ratio * num_new / max(1.0, num_users - num_new))
    return visits


def _fit_exponents(
    network: Network,
    before: TrainingGraph,
    interactions: Observed,
    split: int,
    base: ModelArtifact | None,
    settings: Settings,
    plugins: Plugins,
) -> ExponentFit | None:
    if len(interactions) - split < _MIN_EXPONENT_EVENTS:
        return None
    # A refit has learned from a part of the same interactions. Its information is halved, so none counts twice.
    errors = None if base is None else exponent_errors_of(base.manifest)
    known = None if base is None or errors is None else FittedPrior(exponents_of(base.manifest), errors)
    with torch.no_grad():
        vectors = network.vectors(network.levels(before.edges)).cpu().numpy()
    return fit_exponents(
        interactions,
        split,
        vectors[: before.num_users],
        vectors[before.item_start :][: before.num_items],
        lambda: make_grouped_weights(
            settings.ranking, plugins, before.nodes.view.nodes(before.nodes.item_type), before.num_items
        ),
        ExponentSettings(is_live=settings.training.live_exponents),
        settings.training.seed,
        known,
    )


def _chosen_exponents(exponent_fit: ExponentFit | None, base: ModelArtifact | None) -> Exponents:
    if exponent_fit is not None and exponent_fit.num_events >= _MIN_EXPONENT_EVENTS:
        return exponent_fit.exponents
    return FALLBACK_EXPONENTS if base is None else exponents_of(base.manifest)
