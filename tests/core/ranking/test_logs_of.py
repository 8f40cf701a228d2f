"""The logs of an answer's items, gathered from the weights of all items."""

from typing import Any

import numpy as np
import pytest

from springtide.ranking import kernels


@pytest.mark.parametrize("num_weights", [0, 1, 3])
@pytest.mark.parametrize("num_logs", [3, 5])
def test_logs_are_those_of_the_rows_and_0_for_further_weights(num_weights: int, num_logs: int) -> None:
    longer = np.random.default_rng(num_weights).normal(size=(num_weights, 50)).astype(np.float32)
    rows = np.array([7, 0, 39, 7], np.int32)
    for of_weights in (longer[:, :40], np.ascontiguousarray(longer[:, :40])):  # The former is part of a longer array.
        logs = kernels.logs_of(of_weights, rows, num_logs)
        assert (logs.dtype, logs.shape) == (np.float32, (4, num_logs))
        assert np.array_equal(logs[:, :num_weights], of_weights[:, rows].T)
        assert not logs[:, num_weights:].any()


def test_no_rows_have_no_logs() -> None:
    assert kernels.logs_of(np.ones((2, 5), np.float32), np.empty(0, np.int32), 2).shape == (0, 2)


@pytest.mark.parametrize(
    ("of_weights", "rows", "error"),
    [
        (np.ones((1, 5), np.float32), np.array([5], np.int32), ValueError),
        (np.ones((1, 5), np.float32), np.array([-1], np.int32), ValueError),
        (np.ones((3, 5), np.float32), np.array([0], np.int32), ValueError),
        (np.ones((5, 1), np.float32).T[:, ::2], np.array([0], np.int32), ValueError),
        (np.ones((1, 5)), np.array([0], np.int32), TypeError),
        (np.ones(5, np.float32), np.array([0], np.int32), TypeError),
        (np.ones((1, 5), np.float32), np.array([0]), TypeError),
    ],
)
def test_what_does_not_fit_is_refused(of_weights: Any, rows: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        kernels.logs_of(of_weights, rows, 2)
