"""A task: to predict an item's number of interactions from its vector."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from pydantic import PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from springtide.plugins.contracts import Task, TaskFactory, TaskGraph
from springtide.plugins.hookspecs import hookimpl


class MyPart(Task):
    """Predict the logarithm of an item's number of interactions: a linear layer with the Huber loss.

    Args:
        tolerance: Error above which the loss is linear, and not quadratic.
    """

    def __init__(self, tolerance: PositiveFloat = 1.0) -> None:
        super().__init__()
        self.tolerance = tolerance

    def prepare(self, graph: TaskGraph, width: int) -> None:
        """Count each item's interactions, and make the linear layer for vectors of the width."""
        counts = np.bincount(graph.interactions.item_rows, minlength=graph.num_items)
        self.targets = torch.from_numpy(np.log1p(counts).astype(np.float32))  # [num_items]
        self.first_item = graph.item_start
        self.linear = nn.Linear(width, 1)

    def draw(self, count: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Draw items, and return their node numbers, int64 ``[count]``."""
        self.drawn = generator.integers(0, len(self.targets), count)
        return self.first_item + self.drawn

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the mean loss of the items drawn last; ``vectors`` are theirs, float32 ``[count, d]``."""
        predicted = self.linear(vectors).squeeze(-1)  # [count]
        return F.huber_loss(predicted, self.targets[self.drawn].to(predicted.device), delta=self.tolerance)


@hookimpl
def register_tasks(register: Callable[[str, TaskFactory], None]) -> None:
    """Register the task."""
    register("my_part", MyPart)
