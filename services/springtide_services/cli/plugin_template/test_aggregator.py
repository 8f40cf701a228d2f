"""The aggregator passes the checks of every aggregator, and computes what it is meant to."""

import math

import pytest
import torch
from my_part import MyPart

from springtide.testing import check_aggregator


def test_it_passes_the_checks_of_its_kind() -> None:
    """With its default options and with others."""
    check_aggregator(MyPart)
    check_aggregator(MyPart, temperature=0.2)


@pytest.mark.parametrize(("temperature", "wanted"), [(1.0, math.log(2)), (0.01, math.log(3)), (1e4, math.log(3) / 2)])
def test_it_lies_between_the_mean_and_the_maximum(temperature: float, wanted: float) -> None:
    """Messages 0 and log 3: at 1 the mean of their exponentials is (1 + 3) / 2."""
    messages = torch.tensor([[0.0], [math.log(3)]])

    combined = MyPart(temperature)(messages, index=torch.tensor([0, 0]), dim_size=1)

    assert combined.item() == pytest.approx(wanted, abs=0.01)
