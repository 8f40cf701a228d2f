"""A plugin with a part of each kind that a training calls; the file in FAULTY_WAYS says which hook fails, and how."""

import os
import resource
import time
from pathlib import Path

import numpy as np
import torch
from torch_geometric.nn import SumAggregation

from springtide.plugins.contracts import Baseline, ContextWeight, Factor, Loss, NegativeSampler, RelatedItems, Task
from springtide.plugins.hookspecs import hookimpl
from springtide_plugins.encoders.lightgcn import LightGCN


def misbehave(hook):
    """Raise, block or run out of memory in a hook; return whether it is to answer nonsense."""
    path = Path(os.environ["FAULTY_WAYS"])
    told, _, way = (path.read_text() if path.exists() else "").partition(": ")
    if told != hook:
        return False
    if way == "raises":
        raise RuntimeError(f"no such wind in {hook}")
    if way == "blocks":
        time.sleep(600)  # What is wanted is a call that does not return.
    if way == "eats memory":
        resource.setrlimit(resource.RLIMIT_AS, (2**34, 2**34))
        torch.ones(2**33)
    return way == "answers nonsense"


class FaultyEncoder(LightGCN):
    """As LightGCN."""

    def layer(self, depth, sources, targets, edges):
        level = super().layer(depth, sources, targets, edges)
        return level * float("nan") if misbehave("encoder layer") else level

    def readout(self, levels):
        vectors = super().readout(levels)
        return vectors * float("nan") if misbehave("encoder readout") else vectors


class FaultyAggregation(SumAggregation):
    """A sum."""

    def forward(self, *arguments, **others):
        found = super().forward(*arguments, **others)
        return found * float("nan") if misbehave("aggregator forward") else found


class FaultyLoss(Loss):
    """A hinge."""

    def forward(self, inputs):
        gaps = inputs.negative[inputs.user] - inputs.positive.unsqueeze(-1)
        loss = (inputs.weight.unsqueeze(-1) * (0.1 + gaps).clamp(min=0)).mean()
        return loss * float("nan") if misbehave("loss forward") else loss


class FaultySampler(NegativeSampler):
    """Draws uniformly."""

    is_selective = True

    def prepare(self, counts):
        misbehave("negative sampler prepare")
        self.log_q = torch.full((len(counts),), -float(np.log(len(counts))))

    def draw(self, positives, count, generator):
        drawn = generator.integers(len(self.log_q), size=count)
        return drawn + 10**6 if misbehave("negative sampler draw") else drawn

    def select(self, cosine, is_seen, count):
        return torch.full((1, 1), 10**6) if misbehave("negative sampler select") else None


class FaultyTask(Task):
    """Keeps items apart."""

    def prepare(self, graph, width):
        misbehave("task prepare")
        self.items = np.arange(graph.item_start, graph.item_start + graph.num_items)

    def draw(self, count, generator):
        items = generator.choice(self.items, min(count, len(self.items)), replace=False)
        return items + 10**6 if misbehave("task draw") else items

    def forward(self, vectors):
        loss = (vectors @ vectors.T - torch.eye(len(vectors))).square().mean()
        return loss * float("nan") if misbehave("task forward") else loss


class FaultyWeight(ContextWeight):
    """Says nothing."""

    factors = (Factor("lift", fallback_exponent=1.0),)

    def observe(self, observed):
        misbehave("context weight observe")

    def item_log_lifts(self, moment, num_items):
        shape = (3, 3) if misbehave("context weight item_log_lifts") else (1, num_items)
        return np.zeros(shape, np.float32)

    def history_log_lifts(self, history, moment):
        shape = (3, 3) if misbehave("context weight history_log_lifts") else (1, len(history.distinct()[0]))
        return np.zeros(shape, np.float32)

    def fit(self, interactions, num_users, num_items):
        return None if misbehave("context weight fit") else {"count": np.array(num_items)}

    def related(self, history, moment):
        count = 3 if misbehave("context weight related") else 1
        return RelatedItems(np.zeros(1, np.int32), np.zeros((1, count), np.float32))


class FaultyBaseline(Baseline):
    """Ranks by counts."""

    def fit(self, interactions, num_users, num_items):
        misbehave("baseline fit")
        self.counts = np.bincount(interactions.item_rows, minlength=num_items).astype(np.float32)

    def scores(self, user_rows, histories, now_ms):
        scores = np.tile(self.counts, (len(user_rows), 1))
        return scores[:, :1] if misbehave("baseline scores") else scores

    def state(self):
        return {"counts": self.counts}

    def restore(self, state):
        self.counts = state["counts"]


@hookimpl
def register_encoders(register):
    register("faulty", FaultyEncoder)


@hookimpl
def register_aggregators(register):
    register("faulty", FaultyAggregation)


@hookimpl
def register_losses(register):
    register("faulty", FaultyLoss)


@hookimpl
def register_negative_samplers(register):
    register("faulty", FaultySampler)


@hookimpl
def register_tasks(register):
    register("faulty", FaultyTask)


@hookimpl
def register_context_weights(register):
    register("faulty", FaultyWeight)


@hookimpl
def register_baselines(register):
    register("faulty", FaultyBaseline)
