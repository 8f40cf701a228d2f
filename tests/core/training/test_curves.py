"""The losses of a training, kept in few points."""

import pytest

from springtide.training.curves import MAX_POINTS, LossCurves
from springtide.training.loop import Progress


def test_each_stage_has_a_curve_of_its_own() -> None:
    losses = LossCurves()
    for progress in (
        Progress("learn", 1, 2, 0.5),
        Progress("learn", 2, 2, 0.25),
        Progress("exponents", 0, 1),
        Progress("exponents", 1, 1, 3.0),
        Progress("learn the latest", 1, 1_000, 0.125),
    ):
        losses.note(progress)
    first, second = losses.curves()

    assert (first.name, first.step, first.steps, first.values) == ("loss of learn", "step", (1.0, 2.0), (0.5, 0.25))
    assert (second.name, second.values) == ("loss of learn the latest", (0.125,))


def test_many_steps_become_means_of_neighbours() -> None:
    losses = LossCurves()
    for step in range(1, 4 * MAX_POINTS + 1):
        losses.note(Progress("learn", step, 4 * MAX_POINTS, float(step)))
    [curve] = losses.curves()

    assert len(curve.values) == MAX_POINTS
    assert (curve.steps[0], curve.values[0]) == (4.0, 2.5)
    assert curve.steps[-1] == 4 * MAX_POINTS
    assert curve.values[-1] == pytest.approx(4 * MAX_POINTS - 1.5)
