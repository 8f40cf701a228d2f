"""Learning a task on its own: from a live state to what its nodes and graphs without a label are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from springtide.errors import SettingsError, TrainingError
from springtide.model.artifact import is_relational, make_encoder
from springtide.plugins.contracts import Task
from springtide.plugins.loading import Plugins
from springtide.settings.model import PartSettings, Settings
from springtide.state import LiveState
from springtide.training.graph import Nodes, TrainingGraph
from springtide.training.labelled_task import GraphTask, LabelledTask
from springtide.training.loop import warmup_then_cosine
from springtide.training.network import Inputs, Network

Int64s = npt.NDArray[np.int64]
Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class TaskTraining:
    """How a task is learned on its own.

    Attributes:
        steps: Steps of Adam.
        batch: Examples of a step.
        learning_rate: At its highest.
        held_out: Share of the labelled examples that the score is measured on.
        seed: Decides what is held out, how the network begins and what is drawn.
    """

    steps: int = 200
    batch: int = 256
    learning_rate: float = 0.02
    held_out: float = 0.2
    seed: int = 0


_DEFAULT = TaskTraining()


@dataclass(frozen=True, slots=True)
class Predictions(Generic[Key, Value]):
    """What a task that was learned on its own says of the examples without a label.

    Attributes:
        labels: What each is: of nodes by id, of graphs by position.
        score: On what was held out: accuracy for classes, R² for numbers; NaN if nothing was.
        losses: Of each step.
    """

    labels: Mapping[Key, Value]
    score: float
    losses: Sequence[float]


def fit_task(
    graph: TrainingGraph,
    network: Network,
    task: Task,
    *,
    steps: int = 200,
    batch: int = 256,
    learning_rate: float = 0.02,
    seed: int = 0,
) -> list[float]:
    """Train a network and a task on nothing but the task.

    Args:
        graph: What it is trained on.
        network: Trained in place.
        task: Prepared; trained in place.
        steps: Steps of Adam.
        batch: Examples of a step.
        learning_rate: At its highest.
        seed: Of what is drawn.

    Returns:
        The loss of each step.

    Raises:
        TrainingError: If the loss is not finite.
    """
    generator = np.random.default_rng(seed)
    torch_generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam([*network.parameters(), *task.parameters()], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_then_cosine(step, steps))
    device, fanout, losses = graph.edges.source.device, network.encoder.fanout, []
    network.train()
    task.train()
    for _ in range(steps):
        nodes = torch.from_numpy(task.draw(batch, generator)).to(device)
        if fanout is None:
            levels = network.levels(graph.edges)
            place = nodes
        else:
            distinct, place = torch.unique(nodes, return_inverse=True)
            levels = network.sampled_levels(graph.edges, distinct, fanout, torch_generator)
        loss = task(network.encoder.readout(levels)[place])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if not np.isfinite(losses[-1]):
            raise TrainingError(f"the loss of step {len(losses)} of {steps} is {losses[-1]}: wanted a finite number")
    network.eval()
    task.eval()
    return losses


def learn(
    graph: TrainingGraph, network: Network, task: LabelledTask, training: TaskTraining
) -> Predictions[int, str | float]:
    """Train a network and a prepared task, measure it on what it holds out, and predict what has no label.

    Returns:
        Labels of examples by their numbers.

    Raises:
        TrainingError: If the loss is not finite.
    """
    task.hold_out(training.held_out, np.random.default_rng(training.seed))
    losses = fit_task(
        graph,
        network,
        task,
        steps=training.steps,
        batch=training.batch,
        learning_rate=training.learning_rate,
        seed=training.seed,
    )
    with torch.no_grad():
        vectors = network.encoder.readout(network.levels(graph.edges))  # [num_nodes, d]
        score = task.score(vectors[task.nodes_of(task.held_out)], task.held_out) if len(task.held_out) else float("nan")
        labels = task.predict(vectors[task.nodes_of(task.unknown)], task.unknown) if len(task.unknown) else []
    return Predictions(dict(zip(task.unknown.tolist(), labels, strict=True)), score, losses)


def classify_nodes(
    state: LiveState,
    settings: Settings,
    plugins: Plugins,
    attribute: str,
    *,
    node_type: str = "item",
    training: TaskTraining = _DEFAULT,
) -> Predictions[str, str]:
    """Predict a category attribute of the nodes that lack it, such as the department of a product.

    Args:
        state: The graph.
        settings: Of the model: its encoder, width and so on.
        plugins: Where the parts come from.
        attribute: What to predict; it is no input then.
        node_type: Of which nodes.
        training: How it is learned.

    Raises:
        TrainingError: If the nodes have not two values of the attribute to tell apart, or the loss is not finite.
    """
    wanted = PartSettings(name="node_classification", options={"node_type": node_type, "attribute": attribute})
    found = _learn_on(state, settings, plugins, wanted, training)
    return Predictions(_by_id(state, node_type, found.labels, str), found.score, found.losses)


def regress_nodes(
    state: LiveState,
    settings: Settings,
    plugins: Plugins,
    attribute: str,
    *,
    node_type: str = "item",
    training: TaskTraining = _DEFAULT,
) -> Predictions[str, float]:
    """Predict a number attribute of the nodes that lack it; see ``classify_nodes``."""
    wanted = PartSettings(name="node_regression", options={"node_type": node_type, "attribute": attribute})
    found = _learn_on(state, settings, plugins, wanted, training)
    return Predictions(_by_id(state, node_type, found.labels, float), found.score, found.losses)


def classify_graphs(
    state: LiveState,
    settings: Settings,
    plugins: Plugins,
    graphs: Sequence[Sequence[str]],
    labels: Sequence[str | None],
    *,
    options: Mapping[str, Any] | None = None,
    training: TaskTraining = _DEFAULT,
) -> Predictions[int, str]:
    """Predict what kind of graph a set of items is, such as a basket: what kind of trip.

    Args:
        state: The graph that the items are part of.
        settings: Of the model.
        plugins: Where the parts come from.
        graphs: Item ids of each; those that are not known are left out.
        labels: Kind of each; None for those to predict.
        options: Of the task ``graph_classification``, such as its ``pooling``.
        training: How it is learned.

    Raises:
        TrainingError: If a graph has no known item, there are not two kinds to tell apart, or the loss is not finite.
    """
    item_ids = state.graph.nodes(settings.graph.item_type).ids
    rows = [item_ids.rows(list(of_graph)).astype(np.int64) for of_graph in graphs]
    wanted = PartSettings(name="graph_classification", options=dict(options or {}))
    given = ([of_graph[of_graph >= 0] for of_graph in rows], labels)
    found = _learn_on(state, settings, plugins, wanted, training, given)
    return Predictions({place: str(label) for place, label in found.labels.items()}, found.score, found.losses)


def _learn_on(
    state: LiveState,
    settings: Settings,
    plugins: Plugins,
    wanted: PartSettings,
    training: TaskTraining,
    graphs: tuple[Sequence[Int64s], Sequence[str | None]] | None = None,
) -> Predictions[int, str | float]:
    model, view, device = settings.model, state.graph.view(), settings.training.device
    task = plugins.make("task", wanted, width=model.width)
    kind = LabelledTask if graphs is None else GraphTask
    if not isinstance(task, kind):
        raise SettingsError(f"task {wanted.name!r}: wanted a {kind.__name__}, got a {type(task).__name__}")
    nodes = Nodes.of(
        view, settings.graph.item_type, is_relational=is_relational(model, plugins), labels=list(task.labels)
    )
    graph = TrainingGraph.build(nodes, state.positive_interactions(view), settings.training.edge_half_life_days)
    if isinstance(task, GraphTask) and graphs is not None:
        task.take(*graphs)
    torch.manual_seed(training.seed)
    network = Network(Inputs(nodes, model.width, model.id_dropout), make_encoder(model, nodes.schema, plugins))
    task.prepare(graph, model.width)
    return learn(graph.to(device), network.to(device), task.to(device), training)


def _by_id(
    state: LiveState, node_type: str, labels: Mapping[int, str | float], as_value: Callable[[str | float], Value]
) -> dict[str, Value]:
    """Return labels by node ids instead of rows, without nodes that were forgotten."""
    ids = state.graph.nodes(node_type).ids
    return {ids.id(row): as_value(label) for row, label in labels.items() if ids.id(row)}
