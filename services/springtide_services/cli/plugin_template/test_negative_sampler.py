"""The negative sampler passes the checks of every negative sampler, and computes what it is meant to."""

import numpy as np
import pytest
from my_part import MyPart

from springtide.testing import check_negative_sampler


def test_it_passes_the_checks_of_its_kind() -> None:
    """With its default options and with others."""
    check_negative_sampler(MyPart)
    check_negative_sampler(MyPart, uniform_share=1.0)


def test_probabilities_mix_uniform_and_popularity() -> None:
    """One of two items has all interactions: half of 1/2 and 1/2, plus half of 1 and 0."""
    sampler = MyPart(uniform_share=0.5)
    sampler.prepare(np.array([7.0, 0.0]))

    assert sampler.log_q.exp().tolist() == pytest.approx([0.75, 0.25])
