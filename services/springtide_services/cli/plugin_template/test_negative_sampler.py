"""The negative sampler does what every negative sampler must do, and what this one is for."""

import numpy as np
import pytest
from my_part import MyPart

from springtide.testing import check_negative_sampler


def test_it_does_what_every_negative_sampler_must_do() -> None:
    """With its defaults and without."""
    check_negative_sampler(MyPart)
    check_negative_sampler(MyPart, uniform_share=1.0)


def test_chances_lie_between_alike_and_popular() -> None:
    """Two items, of which one has all interactions: 1/2 and 1/2 by half, 1 and 0 by the other half."""
    sampler = MyPart(uniform_share=0.5)
    sampler.prepare(np.array([7.0, 0.0]))

    assert sampler.log_q.exp().tolist() == pytest.approx([0.75, 0.25])
