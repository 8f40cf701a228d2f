"""The loss passes the checks of every loss, and computes what it is meant to."""

import math

import pytest
from my_part import MyPart

from springtide.testing import check_loss, loss_inputs_of


def test_it_passes_the_checks_of_its_kind() -> None:
    """With its default options and with others."""
    check_loss(MyPart)
    check_loss(MyPart, sharpness=20.0)


def test_equal_cosines_cost_the_logarithm_of_two() -> None:
    """A sampled item that the user has seen costs nothing."""
    inputs = loss_inputs_of(positive=[0.5], negative=[[0.5, 0.9]], is_seen=[[False, True]])

    assert MyPart()(inputs).item() == pytest.approx(math.log(2))
