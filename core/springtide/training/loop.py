"""The training loop."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from springtide.config import TrainingSettings
from springtide.errors import TrainingError
from springtide.plugins.contracts import Loss, LossInputs
from springtide.training.graph import TrainingGraph
from springtide.training.network import Network
from springtide.training.sampling import NegativeSampler, PositiveSampler, is_own


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training is.

    Attributes:
        stage: What is being done.
        done: Steps done of this stage.
        total: Steps of this stage.
        loss: Of the last step; None where there is none.
    """

    stage: str
    done: int
    total: int
    loss: float | None = None


OnProgress = Callable[[Progress], None]


def fit(
    stage: str,
    network: Network,
    loss_function: Loss,
    graph: TrainingGraph,
    rates: TrainingSettings,
    wanted_steps: int,
    interaction_weights: npt.NDArray[np.float64],
    on_progress: OnProgress,
) -> None:
    """Train a network on a graph. Each step looks at some users, some of their edges, and items that stand for all.

    Args:
        stage: Its name, for the progress.
        network: What is trained, in place.
        loss_function: What it is trained by.
        graph: What it is trained on, on the device of the network.
        rates: How many users, edges and negatives a step takes, and how far it goes.
        wanted_steps: How many steps; more if ``min_passes`` over all users take more.
        interaction_weights: float64 ``[num_interactions]``, how likely each is drawn among those of its user.
        on_progress: Told after each step.

    Raises:
        TrainingError: If the loss is not finite.
    """
    device = torch.device(rates.device)
    generator = np.random.default_rng(rates.seed)
    torch_generator = torch.Generator().manual_seed(rates.seed)
    positives = PositiveSampler(graph, interaction_weights)
    negatives = NegativeSampler(np.bincount(graph.interactions.item_rows, minlength=graph.num_items).astype(float))
    log_q = negatives.log_q.to(device)
    num_steps = max(wanted_steps, math.ceil(rates.min_passes * len(positives.active_users) / rates.batch_users))
    parameters = [*network.parameters(), *loss_function.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=rates.learning_rate, weight_decay=rates.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_up_then_cool_down(step, num_steps))
    fanout = network.encoder.fanout
    batches = positives.batches(rates.batch_users, generator)
    network.train()
    for step in range(num_steps):
        users = next(batches)
        edges = graph.edges if fanout is None else graph.edges.sample(fanout, torch_generator)
        vectors = network.vectors(network.levels(edges))  # [num_nodes, d]
        taken = torch.from_numpy(positives.draw(users, rates.edges_per_user, generator)).to(device)  # [users, edges]
        drawn = negatives.draw(rates.num_negatives, generator)
        sampled = torch.from_numpy(drawn).to(device)
        of_users = vectors[torch.from_numpy(users).to(device)]  # [users, d]
        of_items = vectors[graph.num_users :]  # [num_items, d]
        inputs = LossInputs(
            positive=(of_items[taken] * of_users.unsqueeze(1)).sum(-1).flatten(),
            user=torch.arange(len(users), device=device).repeat_interleave(rates.edges_per_user),
            weight=torch.ones(taken.numel(), device=device),
            negative=of_users @ of_items[sampled].T,
            is_own=is_own(positives, users, drawn, graph.num_items).to(device),
            positive_log_q=log_q[taken.flatten()],
            negative_log_q=log_q[sampled],
        )
        loss = loss_function(inputs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingError(f"the loss of step {step + 1} of {num_steps} is {value}: wanted a finite number")
        on_progress(Progress(stage, step + 1, num_steps, value))
    network.eval()


def warm_up_then_cool_down(step: int, num_steps: int) -> float:
    """Return the share of the learning rate: up in a straight line for a tenth of the steps, then down by a cosine."""
    warm_up = max(1, num_steps // 10)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm_up) / max(1, num_steps - warm_up)))
