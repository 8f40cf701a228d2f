"""Bins of predicted probabilities, by hand."""

import numpy as np

from springtide.evaluation.measures.reliability import binned


def test_bins_by_hand() -> None:
    means = binned(np.array([0.4, 0.1, 0.2, 0.3]), np.array([1.0, 0.0, 0.5, 0.0]), 2)
    np.testing.assert_allclose(means, [[0.15, 0.35], [0.25, 0.5], [2, 2]])
