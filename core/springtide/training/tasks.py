"""Learning a task on its own, to predict the labels of nodes or graphs of a live state."""

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
        steps: Number of steps of Adam.
        batch: Examples in each step.
        learning_rate: Highest learning rate.
        held_out: Share of the labelled examples that are held out, and that the score is measured on.
        seed: Seed of the held-out examples, the first parameters and the batches.
    """

    steps: int = 200
    batch: int = 256
    learning_rate: float = 0.02
    held_out: float = 0.2
    seed: int = 0


_DEFAULT = TaskTraining()


@dataclass(frozen=True, slots=True)
class Predictions(Generic[Key, Value]):
    """Predictions of a task that was learned on its own.

    Attributes:
        labels: Predicted label of each example without one: of nodes by id, of graphs by position.
        score: Score on the held-out examples: accuracy for classes, R² for numbers; NaN if none were held out.
        losses: Loss of each step.
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
    """Train a network and a task, in place, on the loss of the task alone.

    Args:
        graph: The graph, on the device of the network.
        network: The network.
        task: The task, prepared.
        steps: Number of steps of Adam.
        batch: Examples in each step.
        learning_rate: Highest learning rate.
        seed: Seed of the batches and the sampled neighbourhoods.

    Returns:
        The loss of each step.

    Raises:
        TrainingError: If the loss is not finite.
    """
    generator = np.random.default_rng(seed)
    neighbour_generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam([*network.parameters(), *task.parameters()], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_then_cosine(step, steps))
    losses: list[float] = []
    network.train()
    task.train()
    for _ in range(steps):
        levels, (rows,) = network.levels_of(graph.edges, [task.draw(batch, generator)], neighbour_generator)
        loss = task(network.encoder.readout(levels)[rows])
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
    """Train a network and a prepared task, measure it on held-out examples, and predict the labels of the others.

    Returns:
        Predictions by the number of the example.

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
        state: The live graph.
        settings: Settings of the model: its encoder, width and so on.
        plugins: Plugins that offer the parts.
        attribute: The attribute to predict; it is no input.
        node_type: Type of the nodes.
        training: How the task is learned.

    Raises:
        TrainingError: If the nodes have fewer than two values of the attribute, or the loss is not finite.
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
    """Predict the class of sets of items, such as the kind of shopping trip of a basket.

    Args:
        state: The live graph that the items are part of.
        settings: Settings of the model.
        plugins: Plugins that offer the parts.
        graphs: Item ids of each set; unknown ids are left out.
        labels: Class of each set; None for those to predict.
        options: Options of the task ``graph_classification``, such as its ``pooling``.
        training: How the task is learned.

    Raises:
        TrainingError: If a set has no known item, there are fewer than two classes, or the loss is not finite.
    """
    item_ids = state.graph.nodes(settings.graph.item_type).ids
    rows = [item_ids.rows(list(ids)).astype(np.int64) for ids in graphs]
    wanted = PartSettings(name="graph_classification", options=dict(options or {}))
    known_rows = [item_rows[item_rows >= 0] for item_rows in rows]
    found = _learn_on(state, settings, plugins, wanted, training, (known_rows, labels))
    return Predictions({number: str(label) for number, label in found.labels.items()}, found.score, found.losses)


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
        task.set_graphs(*graphs)
    torch.manual_seed(training.seed)
    network = Network(Inputs(nodes, model.width, model.id_dropout), make_encoder(model, nodes.schema, plugins))
    task.prepare(graph, model.width)
    return learn(graph.to(device), network.to(device), task.to(device), training)


def _by_id(
    state: LiveState, node_type: str, labels: Mapping[int, str | float], as_value: Callable[[str | float], Value]
) -> dict[str, Value]:
    """Return labels by node id instead of row, without deleted nodes."""
    ids = state.graph.nodes(node_type).ids
    return {ids.id(row): as_value(label) for row, label in labels.items() if ids.id(row)}
