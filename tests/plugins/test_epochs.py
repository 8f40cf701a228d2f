"""Weights that grow and decay by half-lives."""

import math

import pytest

from springtide_plugins.context_weights.epochs import Epochs, grown


@pytest.mark.parametrize(("half_lives", "weight"), [(0.0, 1.0), (3.0, 8.0), (-1.0, 0.5), (-5_000.0, 0.0)])
def test_weight_doubles_and_halves(half_lives: float, weight: float) -> None:
    assert grown(half_lives) == weight


def test_an_epoch_long_after_the_present_as_in_a_damaged_state_counts_a_finite_number() -> None:
    epochs = Epochs(half_life_ms=86_400_000.0, half_lives=16, quanta=64)
    assert math.isfinite(epochs.factor(2**40, 0))
