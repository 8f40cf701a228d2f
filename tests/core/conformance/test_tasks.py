"""Each check of tasks finds the fault that it is there for, and says what it wanted and what came."""

import numpy as np
import pytest
import torch
from torch import nn

from springtide.errors import TrainingError
from springtide.plugins.contracts import Task


class Parity(Task):
    """A sound task: which of two labels an item has."""

    labels = (("item", "side"),)

    def prepare(self, graph, width):
        codes, values = graph.categories("item", "side")
        self.rows = np.flatnonzero(codes >= 0)
        if len(self.rows) == 0:
            raise TrainingError("wanted items with a side")
        self.codes, self.start = torch.from_numpy(codes[self.rows]), graph.item_start
        self.head = nn.Linear(width, len(values))

    def draw(self, count, generator):
        self.drawn = generator.integers(0, len(self.rows), count)
        return self.rows[self.drawn] + self.start

    def forward(self, vectors):
        return nn.functional.cross_entropy(self.head(vectors), self.codes[self.drawn])


class OneName(Parity):
    labels = ("side",)

    def prepare(self, graph, width):
        pass


class RowsOfElsewhere(Parity):
    def draw(self, count, generator):
        return super().draw(count, generator) + 1_000


class IdleTask(Parity):
    def prepare(self, graph, width):
        super().prepare(graph, width)
        self.never_used = nn.Parameter(torch.ones(1))


class Stubborn(Parity):
    def forward(self, vectors):
        return nn.functional.cross_entropy(self.head(vectors), 1 - self.codes[self.drawn].flip(0))


class ForgetfulTask(Parity):
    def prepare(self, graph, width):
        super().prepare(graph, width)
        self.not_kept = torch.rand(1)

    def forward(self, vectors):
        return super().forward(vectors) + self.not_kept.sum()


class Careless(Parity):
    def prepare(self, graph, width):
        pass


@pytest.mark.parametrize(
    ("factory", "check", "wanted"),
    [
        (OneName, "labels are node types and attributes", "pairs of (node type, attribute)"),
        (RowsOfElsewhere, "a batch holds nodes of the graph", "nodes from 0 to 47"),
        (IdleTask, "gradients reach the vectors and every parameter", "a gradient at parameter 'never_used'"),
        (Stubborn, "the loss falls in training", "a loss that falls below "),
        (ForgetfulTask, "saving and loading does not change the loss", "the same loss after saving and loading"),
        (Careless, "a graph without its labels is refused", "a TrainingError where no node has a label"),
    ],
)
def test_faulty_task_is_found(factory, check, wanted, failures_of):
    failures = failures_of("task", factory, only=check)
    assert wanted in failures[check][0]


def test_sound_task_passes(failures_of):
    assert failures_of("task", Parity) == {}
