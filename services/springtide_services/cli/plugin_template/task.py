"""A task: to tell from an item's vector how often it was chosen."""

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
    """Tell the logarithm of an item's interactions from its vector, by a line and the Huber loss.

    Args:
        tolerance: Distance from which an error counts in proportion, and not by its square.
    """

    def __init__(self, tolerance: PositiveFloat = 1.0) -> None:
        super().__init__()
        self.tolerance = tolerance

    def prepare(self, graph: TaskGraph, width: int) -> None:
        """Count each item's interactions, and make the line for vectors of a width."""
        counts = np.bincount(graph.interactions.item_rows, minlength=graph.num_items)
        self.wanted = torch.from_numpy(np.log1p(counts).astype(np.float32))  # [num_items]
        self.first_item = graph.item_start
        self.line = nn.Linear(width, 1)

    def draw(self, count: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Draw items, and return their nodes, int64 ``[count]``."""
        self.drawn = generator.integers(0, len(self.wanted), count)
        return self.first_item + self.drawn

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the mean loss of the items drawn last, whose vectors are float32 ``[count, d]``."""
        told = self.line(vectors).squeeze(-1)  # [count]
        return F.huber_loss(told, self.wanted[self.drawn].to(told.device), delta=self.tolerance)


@hookimpl
def register_tasks(register: Callable[[str, TaskFactory], None]) -> None:
    """Register the task."""
    register("my_part", MyPart)
