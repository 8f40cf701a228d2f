"""Checks that every task beside link prediction must pass."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from springtide.clock import MS_PER_DAY, MS_PER_HOUR
from springtide.conformance.checks import (
    Subject,
    checks_of,
    expect,
    expect_finite,
    expect_gradient,
    expect_parameter_gradients,
    expect_same,
    load_into,
)
from springtide.errors import TrainingError
from springtide.plugins.contracts import Task

if TYPE_CHECKING:
    from springtide.training.graph import TrainingGraph

_WIDTH, _SIZE, _BATCH = 8, 24, 32
_STEPS, _RATE = 80, 0.05
_SHARE_LEFT = 0.7  # Of the loss, after training on vectors that show the label.


def labels_are_node_types_and_attributes(subject: Subject) -> None:
    """They say which attributes are predicted, and are therefore no inputs."""
    labels = subject.make().labels
    is_pairs = all(len(label) == 2 and all(isinstance(name, str) for name in label) for label in labels)
    expect(is_pairs, "pairs of (node type, attribute)", labels)


def a_batch_holds_nodes_of_the_graph(subject: Subject) -> None:
    """Nodes are int64, and the same under the same seed."""
    graph = _planted_graph(subject)
    drawn = []
    for _ in range(2):
        task = _prepared(subject, graph)
        drawn.append(task.draw(_BATCH, np.random.default_rng(3)))
    nodes = drawn[0]
    expect(isinstance(nodes, np.ndarray) and nodes.dtype == np.int64, "int64 nodes", getattr(nodes, "dtype", nodes))
    expect(nodes.ndim == 1 and len(nodes) > 0, "a list of nodes", list(nodes.shape))
    expect(
        int(nodes.min()) >= 0 and int(nodes.max()) < graph.nodes.num_nodes,
        f"nodes from 0 to {graph.nodes.num_nodes - 1}",
        f"{nodes.min()} to {nodes.max()}",
    )
    expect(np.array_equal(drawn[0], drawn[1]), "the same nodes under the same seed", "others")


def gradients_reach_the_vectors_and_every_parameter(subject: Subject) -> None:
    """The loss is one finite float32 number; a parameter without a gradient is never learned."""
    task = _prepared(subject, _planted_graph(subject))
    nodes = task.draw(_BATCH, np.random.default_rng(0))
    vectors = torch.randn(len(nodes), _WIDTH, generator=torch.Generator().manual_seed(2)).requires_grad_()
    loss = task(vectors)
    expect(isinstance(loss, Tensor) and loss.shape == (), "a scalar tensor", getattr(loss, "shape", loss))
    expect(loss.dtype == torch.float32, "float32", loss.dtype)
    expect_finite(loss, "losses")
    loss.backward()
    expect_gradient(vectors.grad, "the vectors")
    expect_parameter_gradients(task)


def the_loss_falls_in_training(subject: Subject) -> None:
    """Even nodes have one label and odd nodes another, and the vectors show which."""
    graph = _planted_graph(subject)
    task = _prepared(subject, graph)
    generator, chance = np.random.default_rng(0), torch.Generator().manual_seed(0)
    parity = torch.arange(graph.nodes.num_nodes) % 2 * 2.0 - 1.0
    vectors = 0.3 * torch.randn(len(parity), _WIDTH, generator=chance)
    vectors[:, 0] += parity
    vectors.requires_grad_()
    optimizer = torch.optim.Adam([vectors, *task.parameters()], lr=_RATE)
    losses = []
    for _ in range(_STEPS):
        loss = task(vectors[torch.from_numpy(task.draw(_BATCH, generator))])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    before, after = float(np.mean(losses[:5])), float(np.mean(losses[-5:]))
    expect(after < _SHARE_LEFT * before, f"a loss that falls below {_SHARE_LEFT * before:.3f}", f"{after:.3f}")


def saving_and_loading_does_not_change_the_loss(subject: Subject) -> None:
    """It is stored in the model, as the tensors of ``state_dict``."""
    graph = _planted_graph(subject)
    task = _prepared(subject, graph)
    other: Task = subject.make(seed=1)
    other.prepare(graph, _WIDTH)
    load_into(other, task)
    losses = []
    for each in (task, other):
        nodes = each.eval().draw(_BATCH, np.random.default_rng(0))
        losses.append(each(torch.ones(len(nodes), _WIDTH)).detach())
    expect_same(losses[1], losses[0], "loss after saving and loading", 0.0)


def a_graph_without_its_labels_is_refused(subject: Subject) -> None:
    """It raises ``TrainingError``; a task without labels refuses nothing."""
    task: Task = subject.make()
    if not task.labels:
        return
    from springtide.toy_data import even_odd_state, training_graph_of

    try:
        task.prepare(training_graph_of(even_odd_state(_SIZE)), _WIDTH)
    except TrainingError:
        return
    expect(False, "a TrainingError where no node has a label", "none")


CHECKS = checks_of(
    labels_are_node_types_and_attributes,
    a_batch_holds_nodes_of_the_graph,
    gradients_reach_the_vectors_and_every_parameter,
    the_loss_falls_in_training,
    saving_and_loading_does_not_change_the_loss,
    a_graph_without_its_labels_is_refused,
)


def _planted_graph(subject: Subject) -> "TrainingGraph":
    """Return a graph whose labels say whether a node is even or odd, as categories or as the numbers 0 and 1.

    So do times, for tasks about them: even users are active on Tuesday mornings, odd ones on Saturday evenings.
    """
    try:
        _prepared(subject, graph := _graph(subject.make(), as_numbers=False))
    except TrainingError:
        _prepared(subject, graph := _graph(subject.make(), as_numbers=True))
    return graph


def _graph(task: Task, *, as_numbers: bool) -> "TrainingGraph":
    from springtide.events.model import NodeUpsert
    from springtide.toy_data import START_MS, even_odd_events, state_of, training_graph_of

    upserts = [NodeUpsert(kind, f"{kind[0]}{row}") for kind in ("user", "item") for row in range(_SIZE)]
    for node_type, attribute in task.labels:
        for row in range(_SIZE - 4):  # The last nodes have no label: it is to be predicted.
            name, label = f"{node_type[0]}{row}", ("even", "odd")[row % 2]
            if as_numbers:
                upserts.append(NodeUpsert(node_type, name, numbers={attribute: float(row % 2)}))
            else:
                upserts.append(NodeUpsert(node_type, name, categories={attribute: (label,)}))
    tuesday_ms = START_MS - START_MS % MS_PER_DAY
    moments_ms = (tuesday_ms + 8 * MS_PER_HOUR, tuesday_ms + 4 * MS_PER_DAY + 20 * MS_PER_HOUR)
    events = [
        (user, item, moments_ms[int(user[1:]) % 2] + week * 7 * MS_PER_DAY)
        for week, (user, item, _) in enumerate(even_odd_events(_SIZE))
    ]
    return training_graph_of(state_of(events, upserts=upserts))


def _prepared(subject: Subject, graph: "TrainingGraph") -> Task:
    task: Task = subject.make()
    task.prepare(graph, _WIDTH)
    return task
