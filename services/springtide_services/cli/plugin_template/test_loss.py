"""The loss does what every loss must do, and what this one is for."""

import math

import pytest
from my_part import MyPart

from springtide.testing import check_loss, loss_inputs_of


def test_it_does_what_every_loss_must_do() -> None:
    """With its defaults and without."""
    check_loss(MyPart)
    check_loss(MyPart, sharpness=20.0)


def test_equal_cosines_cost_the_logarithm_of_two() -> None:
    """And the user's own item among the sampled ones costs nothing."""
    inputs = loss_inputs_of(positive=[0.5], negative=[[0.5, 0.9]], is_seen=[[False, True]])

    assert MyPart()(inputs).item() == pytest.approx(math.log(2))
