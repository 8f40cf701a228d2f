"""Windows of time in the plots, by hand."""

import numpy as np

from springtide_services.evaluation.plots import windows


def test_windows_are_days_or_weeks() -> None:
    day = 86_400_000
    times = np.array([0, day // 2, 3 * day + day // 2])
    assert windows(times, np.array([1.0, 0.0, 0.25])) == [(0, 0.5), (3 * day, 0.25)]
    assert windows(times * 7, np.array([1.0, 0.0, 0.25])) == [(0, 0.5), (21 * day, 0.25)]


def test_last_window_that_has_hardly_begun_belongs_to_the_one_before() -> None:
    day = 86_400_000
    times = np.array([0, day, day + 1, 2 * day + day // 4])
    assert windows(times, np.array([1.0, 0.0, 0.5, 1.0])) == [(0, 1.0), (day, 0.5)]
