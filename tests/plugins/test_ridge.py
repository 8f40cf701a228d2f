"""The inverse that item-item weights are taken from."""

import numpy as np
import pytest

from springtide.errors import TrainingError
from springtide_plugins.ridge import upper_inverse


def test_upper_half_is_that_of_the_inverse_with_the_penalty():
    seen = np.random.default_rng(0).random((30, 6)).round().astype(np.float32)
    gram = seen.T @ seen
    expected = np.linalg.inv(gram + 2.0 * np.eye(6))
    np.testing.assert_allclose(
        np.triu(upper_inverse(gram.copy(), 2.0, "ease")), np.triu(expected), rtol=1e-4, atol=1e-5
    )


def test_penalty_that_leaves_nothing_to_invert_is_refused():
    gram = np.full((2, 2), -5.0, np.float32)
    with pytest.raises(TrainingError, match=r"wanted a greater l2 of 'ease', got 1\.0: its matrix cannot be inverted"):
        upper_inverse(gram, 1.0, "ease")
