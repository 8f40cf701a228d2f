"""The task passes the checks of every task, and computes what it is meant to."""

import numpy as np
import pytest
import torch
from my_part import MyPart

from springtide.testing import check_task, state_of, training_graph_of


def test_it_passes_the_checks_of_its_kind() -> None:
    """With its default options and with others."""
    check_task(MyPart)
    check_task(MyPart, tolerance=0.1)


def test_a_prediction_of_zero_costs_half_the_square_of_the_logarithm() -> None:
    """One item with one interaction: the target is log(1 + 1), the prediction 0."""
    task = MyPart()
    task.prepare(training_graph_of(state_of([("ann", "tent", 0)])), width=2)
    torch.nn.init.zeros_(task.linear.bias)
    nodes = task.draw(3, np.random.default_rng(0))

    assert nodes.tolist() == [1, 1, 1], "the user is node 0"
    assert task(torch.zeros(3, 2)).item() == pytest.approx(np.log(2) ** 2 / 2)
