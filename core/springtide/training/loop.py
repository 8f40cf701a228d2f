"""The training loop."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from springtide.errors import TrainingError
from springtide.plugins.contracts import Loss, LossInputs, NegativeSampler, Task
from springtide.settings.model import TrainingSettings
from springtide.training.dislikes import DislikeSampler, dislike_loss
from springtide.training.graph import TrainingGraph
from springtide.training.network import Network
from springtide.training.pair_cosines import cosines_of_pairs, restricted, unit_vectors
from springtide.training.passed_over import PassedOverSampler, passed_over_loss
from springtide.training.sampling import PositiveSampler, RatingSampler

_NUM_DISLIKES = 8  # Drawn of each user in a step; far fewer than a user's positives, as dislikes are.
_NUM_PASSED = 8  # Pairs drawn of each user in a step.
# A step costs what it draws. Where histories are short or items few, drawing the same ones again and again teaches
# nothing more (record 0014): so many interactions as a user has on average, half as many items as there are, and a
# quarter of the users.
_MIN_USERS = 256
_USER_SHARE = 0.25
_MIN_EDGES = 16
_MIN_NEGATIVES = 256
_NEGATIVE_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training is.

    Attributes:
        stage: Name of the stage.
        done: Steps of the stage that are done.
        total: Steps of the stage.
        loss: Loss of the last step; None if the stage has none.
    """

    stage: str
    done: int
    total: int
    loss: float | None = None


OnProgress = Callable[[Progress], None]
Schedule = Callable[[int, int], float]
"""Returns the learning rate of a step as a share of the highest, given the step and the number of steps."""


def warmup_then_cosine(step: int, num_steps: int) -> float:
    """Return the share of the learning rate: up in a straight line for a tenth of the steps, then down by a cosine."""
    warm_up = max(1, num_steps // 10)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm_up) / max(1, num_steps - warm_up)))


def frozen_warmup_then_cosine(step: int, num_steps: int) -> float:
    """Return the share of the learning rate for a trained network: 0 for a fifth of the steps, then 1/2 to 0.

    Adam divides each gradient by a running estimate of its size. In the first steps this estimate is missing, so every
    parameter would move by a full step, even without a gradient to speak of, and that blurs what the network has
    learned. So the estimates are made first, with a learning rate of 0. Then the rate falls from a half by a cosine.
    """
    num_frozen = num_steps // 5
    if step < num_frozen:
        return 0.0
    return 0.25 * (1.0 + math.cos(math.pi * (step - num_frozen) / max(1, num_steps - num_frozen)))


@dataclass(frozen=True, slots=True)
class Stage:
    """One run of the loop within a training.

    Attributes:
        name: Name, for the progress.
        min_steps: Number of steps; more are made if ``min_passes`` over the users need more.
        interaction_chances: float64 ``[num_interactions]``, how likely each is drawn among those of its user.
        user_chances: float64 ``[num_users]``, probability that a pass includes each user; None to include all.
        schedule: Learning rate of each step.
    """

    name: str
    min_steps: int
    interaction_chances: npt.NDArray[np.float64]
    user_chances: npt.NDArray[np.float64] | None = None
    schedule: Schedule = warmup_then_cosine


@dataclass(frozen=True, slots=True)
class WeightedTask:
    """A task of the objective.

    Attributes:
        task: The task, prepared.
        weight: What its loss is multiplied by.
        batch: Number of examples in each step.
    """

    task: Task
    weight: float
    batch: int


@dataclass(frozen=True, slots=True)
class Objective:
    """What a training minimises: a loss over positive and negative items, and the losses of tasks.

    Attributes:
        loss: The main loss.
        negatives: Draws the negative items.
        tasks: Tasks beside the main loss.
    """

    loss: Loss
    negatives: NegativeSampler
    tasks: Sequence[WeightedTask] = ()

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of the loss and the tasks, which are trained with the network."""
        yield from self.loss.parameters()
        for weighted in self.tasks:
            yield from weighted.task.parameters()


def users_per_step(settings: TrainingSettings, num_active: int) -> int:
    """Return how many users are drawn for a step.

    Args:
        settings: Most of them.
        num_active: Number of users who can be drawn.
    """
    return min(settings.batch_users, max(_MIN_USERS, math.ceil(_USER_SHARE * num_active)))


def draws_per_step(settings: TrainingSettings, edges_per_active_user: float, num_items: int) -> tuple[int, int]:
    """Return how many interactions are drawn for each user of a step, and how many negative items.

    Args:
        settings: Most of both.
        edges_per_active_user: Mean number of interactions of a user.
        num_items: Number of items.
    """
    edges = max(_MIN_EDGES, math.ceil(edges_per_active_user))
    negatives = max(_MIN_NEGATIVES, math.ceil(_NEGATIVE_SHARE * num_items))
    return min(settings.edges_per_user, edges), min(settings.num_negatives, negatives)


def fit(
    stage: Stage,
    network: Network,
    objective: Objective,
    graph: TrainingGraph,
    settings: TrainingSettings,
    on_progress: OnProgress,
) -> None:
    """Train a network on a graph, in place.

    It is longer than our other functions, so that a training step can be read from top to bottom.

    Args:
        stage: What is drawn, how long and at which learning rates.
        network: The network.
        objective: What is minimised; its parameters are trained too.
        graph: The graph, on the device of the network.
        settings: Sizes of a step, learning rate, device and seed.
        on_progress: Called after each step.

    Raises:
        TrainingError: If the loss is not finite.
    """
    device, loss_function, negatives = torch.device(settings.device), objective.loss, objective.negatives
    generator = np.random.default_rng(settings.seed)
    neighbour_generator = torch.Generator().manual_seed(settings.seed)
    positives = PositiveSampler(graph, stage.interaction_chances, stage.user_chances)
    likes = np.bincount(graph.interactions.user_rows, graph.interactions.weights, minlength=graph.num_users)
    dislikes, dislike_generator = (
        DislikeSampler(graph.dislikes, likes.astype(np.float64)),
        np.random.default_rng(settings.seed),
    )
    passed_over, passed_generator = (
        PassedOverSampler(graph.passed_over, graph.num_users),
        np.random.default_rng(settings.seed),
    )
    item_counts = np.bincount(graph.interactions.item_rows, minlength=graph.num_items)
    log_counts = np.log(item_counts + 1.0).astype(np.float32)  # [num_items]
    ratings = RatingSampler(graph.ratings if loss_function.needs_ratings else None, graph.num_users)
    negatives.prepare(item_counts.astype(np.float64))
    log_q = negatives.log_q.to(device)  # [num_items]
    batch_users = users_per_step(settings, len(positives.active_users))
    num_steps = max(stage.min_steps, math.ceil(settings.min_passes * positives.users_per_pass / batch_users))
    parameters = [*network.parameters(), *objective.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: stage.schedule(step, num_steps))
    user_batches = positives.batches(batch_users, generator)
    edges_per_user, num_negatives = draws_per_step(settings, positives.edges_per_active_user, graph.num_items)
    network.train()
    for step in range(num_steps):
        # Draw users, some of their interactions, ratings and dislikes, items to compare all with, and examples.
        users = next(user_batches)
        drawn = positives.draw(users, edges_per_user, generator)  # [num_users, edges_per_user]
        items = graph.interactions.item_rows[drawn].astype(np.int64)
        sampled = negatives.draw(items, num_negatives, generator)  # [num_sampled]
        raters, rated = ratings.draw(users, settings.edges_per_user, generator)  # [num_ratings] each
        dislikers, disliked, dislike_weights = dislikes.draw(
            users, _NUM_DISLIKES, dislike_generator
        )  # [num_dislikes] each
        choosers, chosen, passed = passed_over.draw(users, _NUM_PASSED, passed_generator)  # [num_passed] each
        examples = [weighted.task.draw(weighted.batch, generator) for weighted in objective.tasks]

        # Encode all these nodes at once.
        item_rows = (items.ravel(), sampled, graph.ratings.item_rows[rated], disliked, chosen, passed)
        item_nodes = [graph.item_start + of_group for of_group in item_rows]
        levels, rows = network.levels_of(
            graph.edges,
            [users, *item_nodes, *examples],
            neighbour_generator,
            loss_function.noise,
            settings.sampling_half_life_days,
        )
        raw, drawn_rows = restricted(network.encoder.readout(levels), rows)  # [num_drawn, d]
        vectors = unit_vectors(raw)
        # index_select, since indexing by brackets takes twice its time on the way back.
        user_vectors, item_vectors, sampled_vectors, rated_vectors = (
            vectors.index_select(0, of) for of in drawn_rows[:4]
        )
        disliked_vectors = vectors.detach().index_select(0, drawn_rows[4])

        # Compare users with sampled items; a selective sampler chooses some of these for each user.
        cosines = user_vectors @ sampled_vectors.T  # [num_users, num_sampled]
        is_seen = torch.from_numpy(positives.is_seen(users, sampled)).to(device)
        sampled_log_q = log_q[torch.from_numpy(sampled).to(device)]
        selected = negatives.select(cosines.detach(), is_seen, num_negatives)
        if selected is None:
            negative, is_negative_seen, negative_log_q = cosines, is_seen, sampled_log_q
        else:
            negative, is_negative_seen = cosines.gather(1, selected), is_seen.gather(1, selected)
            negative_log_q = sampled_log_q[selected]

        user = torch.arange(len(users), device=device).repeat_interleave(edges_per_user)  # [num_edges]
        item = torch.from_numpy(items.ravel()).to(device)
        loss_levels = levels if loss_function.needs_levels else ()
        inputs = LossInputs(
            positive=cosines_of_pairs(user_vectors, vectors, drawn_rows[1].view(drawn.shape)).flatten(),
            user=user,
            weight=torch.ones(len(user), device=device),
            negative=negative,
            is_seen=is_negative_seen,
            positive_log_q=log_q[item],
            negative_log_q=negative_log_q,
            strength=torch.from_numpy(graph.strengths[drawn.ravel()]).to(device),
            item=item,
            user_vectors=user_vectors,
            item_vectors=item_vectors,
            user_levels=[level[rows[0]] for level in loss_levels],
            item_levels=[level[rows[1]] for level in loss_levels],
            rated=(rated_vectors * user_vectors[torch.from_numpy(raters).to(device)]).sum(-1),
            rating=torch.from_numpy(graph.ratings.ratings[rated]).to(device),
            is_rated=torch.from_numpy(ratings.is_rated(users, items).ravel()).to(device),
        )
        loss = loss_function(inputs)
        if len(dislikers):
            disliked_cosines = (disliked_vectors * user_vectors[torch.from_numpy(dislikers).to(device)]).sum(-1)
            num_wanted = len(users) * _NUM_DISLIKES
            loss = loss + dislike_loss(disliked_cosines, torch.from_numpy(dislike_weights).to(device), num_wanted)
        if len(choosers):
            chooser_vectors = user_vectors[torch.from_numpy(choosers).to(device)]
            chosen_cosines, passed_cosines = (
                (vectors.index_select(0, of) * chooser_vectors).sum(-1) for of in drawn_rows[5:7]
            )
            log_odds = torch.from_numpy(log_counts[chosen] - log_counts[passed]).to(device)
            of_passed = passed_over_loss(chosen_cosines, passed_cosines, log_odds, len(users) * _NUM_PASSED)
            loss = loss + settings.passed_over_weight * of_passed
        for weighted, nodes in zip(objective.tasks, drawn_rows[7:], strict=True):
            loss = loss + weighted.weight * weighted.task(raw[nodes])

        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingError(f"the loss of step {step + 1} of {num_steps} is {value}: wanted a finite number")
        on_progress(Progress(stage.name, step + 1, num_steps, value))
    network.eval()
