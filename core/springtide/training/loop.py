"""The training loop."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from springtide.errors import TrainingError
from springtide.plugins.contracts import Loss, LossInputs, NegativeSampler, Task
from springtide.settings.model import TrainingSettings
from springtide.training.graph import TrainingGraph
from springtide.training.network import Network
from springtide.training.sampling import PositiveSampler, RatingSampler, is_seen


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


_NONE = np.zeros(0, np.int64)
_NO_MARKS = np.zeros(0, np.bool_)

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Objective:
    """What a training minimises.

    Attributes:
        loss: Of users, their items and the items that they did not choose.
        negatives: Draws the latter.
        tasks: Beside it, each with what its loss is multiplied by and with the number of examples of a step.
    """

    loss: Loss
    negatives: NegativeSampler
    tasks: Sequence[tuple[Task, float, int]] = ()

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield what is learned beside the network."""
        yield from self.loss.parameters()
        for task, _, _ in self.tasks:
            yield from task.parameters()


def fit(
    stage: str,
    network: Network,
    objective: Objective,
    graph: TrainingGraph,
    rates: TrainingSettings,
    wanted_steps: int,
    interaction_weights: npt.NDArray[np.float64],
    on_progress: OnProgress,
    visits: npt.NDArray[np.float64] | None = None,
    *,
    goes_on: bool = False,
) -> None:
    """Train a network on a graph. Each step looks at some users, some of their edges, and items that stand for all.

    Args:
        stage: Its name, for the progress.
        network: What is trained, in place.
        objective: What it is trained by.
        graph: What it is trained on, on the device of the network.
        rates: How many users, edges and negatives a step takes, and how far it goes.
        wanted_steps: How many steps; more if ``min_passes`` over the users take more.
        interaction_weights: float64 ``[num_interactions]``, how likely each is drawn among those of its user.
        on_progress: Told after each step.
        visits: float64 ``[num_users]``, how likely each user is to be looked at in a pass; None for certainly.
        goes_on: Whether the network has been trained before, and is to be changed with care.

    Raises:
        TrainingError: If the loss is not finite.
    """
    device, start = torch.device(rates.device), graph.item_start
    generator = np.random.default_rng(rates.seed)
    torch_generator = torch.Generator().manual_seed(rates.seed)
    loss_function, negatives = objective.loss, objective.negatives
    positives = PositiveSampler(graph, interaction_weights, visits)
    negatives.prepare(np.bincount(graph.interactions.item_rows, minlength=graph.num_items).astype(np.float64))
    log_q = negatives.log_q.to(device)
    ratings = RatingSampler(graph.ratings, graph.num_users) if loss_function.needs_ratings else None
    num_steps = max(wanted_steps, math.ceil(rates.min_passes * positives.users_per_pass / rates.batch_users))
    parameters = [*network.parameters(), *objective.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=rates.learning_rate, weight_decay=rates.weight_decay)
    shape = frozen_warmup_then_cosine if goes_on else warmup_then_cosine
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: shape(step, num_steps))
    fanout, noise = network.encoder.fanout, loss_function.noise
    batches = positives.batches(rates.batch_users, generator)
    network.train()
    for step in range(num_steps):
        users = next(batches)
        taken = positives.draw(users, rates.edges_per_user, generator)  # [num_users, edges_per_user]
        items = graph.interactions.item_rows[taken].astype(np.int64)
        sampled = negatives.draw(items, rates.num_negatives, generator)
        rated_by, rated = ratings.draw(users, rates.edges_per_user, generator) if ratings else (_NONE, _NONE)
        rated_items = graph.ratings.item_rows[rated]
        examples = [task.draw(batch, generator) for task, _, batch in objective.tasks]
        own = is_seen(positives, users, sampled, graph.num_items)
        if start == 0:  # A graph of users alone, where nobody is to be told to follow themselves.
            own |= torch.from_numpy(users[:, None] == sampled[None, :])

        wanted = [users, items.ravel() + start, sampled + start, rated_items + start, *examples]
        if fanout is None:
            levels = network.levels(graph.edges, noise)  # Of all nodes, which are found by their position.
            places = [torch.from_numpy(nodes).to(device) for nodes in wanted]
        else:
            distinct, inverse = np.unique(np.concatenate(wanted), return_inverse=True)
            nodes = torch.from_numpy(distinct).to(device)
            levels = network.sampled_levels(
                graph.edges, nodes, fanout, torch_generator, noise, rates.sampling_half_life_days
            )
            ends = np.cumsum([len(rows) for rows in wanted])[:-1]
            places = [torch.from_numpy(place).to(device) for place in np.split(inverse, ends)]
        raw = network.encoder.readout(levels)  # [n, d]
        vectors = F.normalize(raw, dim=-1)
        of_users, of_items, of_sampled, of_rated = (vectors[place] for place in places[:4])
        at_levels = levels if loss_function.needs_levels else ()

        user = torch.arange(len(users), device=device).repeat_interleave(rates.edges_per_user)
        negative, own = of_users @ of_sampled.T, own.to(device)  # [num_users, num_sampled]
        negative_log_q = log_q[torch.from_numpy(sampled).to(device)]
        selected = negatives.select(negative.detach(), own, rates.num_negatives)
        if selected is not None:
            negative, own = negative.gather(1, selected), own.gather(1, selected)
            negative_log_q = negative_log_q[selected]
        item = torch.from_numpy(items.ravel()).to(device)
        inputs = LossInputs(
            positive=(of_items.view(*taken.shape, -1) * of_users.unsqueeze(1)).sum(-1).flatten(),
            user=user,
            weight=torch.ones(len(user), device=device),
            negative=negative,
            is_seen=own,
            positive_log_q=log_q[item],
            negative_log_q=negative_log_q,
            strength=torch.from_numpy(graph.strengths[taken.ravel()]).to(device),
            item=item,
            user_vectors=of_users,
            item_vectors=of_items,
            user_levels=[level[places[0]] for level in at_levels],
            item_levels=[level[places[1]] for level in at_levels],
            rated=(of_rated * of_users[torch.from_numpy(rated_by).to(device)]).sum(-1),
            rating=torch.from_numpy(graph.ratings.ratings[rated]).to(device),
            is_rated=torch.from_numpy(ratings.is_rated(users, items).ravel() if ratings else _NO_MARKS).to(device),
        )
        loss = loss_function(inputs)
        for (task, weight, _), place in zip(objective.tasks, places[4:], strict=True):
            loss = loss + weight * task(raw[place])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingError(f"the loss of step {step + 1} of {num_steps} is {value}: wanted a finite number")
        on_progress(Progress(stage, step + 1, num_steps, value))
    network.eval()


def warmup_then_cosine(step: int, num_steps: int) -> float:
    """Return the share of the learning rate: up in a straight line for a tenth of the steps, then down by a cosine."""
    warm_up = max(1, num_steps // 10)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm_up) / max(1, num_steps - warm_up)))


def frozen_warmup_then_cosine(step: int, num_steps: int) -> float:
    """Return the share of the learning rate for a trained network: 0 for a fifth of the steps, then a half that falls.

    Adam divides each gradient by its size so far. Of the first few it knows none: every parameter takes a full step,
    those too that nothing pulls at, and what was learned is blurred. So the sizes are learned first, while nothing
    moves; then the rate falls from a half by a cosine.
    """
    listening = num_steps // 5
    if step < listening:
        return 0.0
    return 0.25 * (1.0 + math.cos(math.pi * (step - listening) / max(1, num_steps - listening)))
