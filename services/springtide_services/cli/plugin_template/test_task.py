"""The task does what every task must do, and what this one is for."""

import numpy as np
import pytest
import torch
from my_part import MyPart

from springtide.testing import check_task, state_of, training_graph_of


def test_it_does_what_every_task_must_do() -> None:
    """With its defaults and without."""
    check_task(MyPart)
    check_task(MyPart, tolerance=0.1)


def test_a_line_that_tells_nothing_costs_half_the_square_of_the_logarithm() -> None:
    """One item with one interaction: log(1 + 1) is wanted, and 0 is told."""
    task = MyPart()
    task.prepare(training_graph_of(state_of([("ann", "tent", 0)])), width=2)
    torch.nn.init.zeros_(task.line.bias)
    nodes = task.draw(3, np.random.default_rng(0))

    assert nodes.tolist() == [1, 1, 1], "the user is node 0"
    assert task(torch.zeros(3, 2)).item() == pytest.approx(np.log(2) ** 2 / 2)
