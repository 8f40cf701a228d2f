"""Intervals over the blocks of a walk forward, by hand."""

import numpy as np
import pytest

from springtide.evaluation.measures.significance import blocks_interval, compare_blocks


def test_interval_is_that_of_t_over_the_blocks() -> None:
    interval = blocks_interval(np.array([0.1, 0.2, 0.3, 0.4]))

    assert interval is not None
    assert interval.mean == pytest.approx(0.25)
    assert interval.high == pytest.approx(0.25 + 3.18245 * 0.1290994 / 2, abs=1e-5)  # t of 3; s / √4.
    assert blocks_interval(np.array([0.1])) is None


def test_difference_is_paired_by_block() -> None:
    theirs = np.array([0.1, 0.5, 0.2, 0.9])  # They vary far more than the difference does.

    compared = compare_blocks(theirs + np.array([0.01, 0.02, 0.01, 0.02]), theirs, 40)

    assert compared is not None
    assert compared.is_better
    assert (compared.difference, compared.num_queries) == (pytest.approx(0.015), 40)
    assert compared.p_value == pytest.approx(0.0138, abs=1e-3)  # t = .015 / (.0057735 / 2) = 5.196.
    with pytest.raises(ValueError, match="same blocks for both models, got 4 and 3"):
        compare_blocks(theirs, theirs[:3], 40)
