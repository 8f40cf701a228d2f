"""Small values refuse nonsense when they are made, and say what was wanted and what came."""

import math

import numpy as np
import pytest

from springtide.clock import Deadline
from springtide.interactions import Circumstances, History, ItemGroups, Observed

ROWS, TIMES, ONES = np.arange(3, dtype=np.int32), np.arange(3), np.ones(3, np.float32)


def test_deadline_is_a_moment_or_never():
    with pytest.raises(ValueError, match="at_s: wanted a number of seconds, got NaN"):
        Deadline(math.nan)
    assert not Deadline.after(math.inf).is_over()


def test_budget_of_a_deadline_is_not_negative():
    with pytest.raises(ValueError, match=r"budget_s: wanted 0 or more seconds, got -0\.5"):
        Deadline.after(-0.5)
    assert Deadline.after(0).is_over()


def test_columns_of_interactions_have_one_length():
    with pytest.raises(ValueError, match="one length, got user_rows 3, item_rows 2, timestamps_ms 3, weights 3"):
        Observed(ROWS, ROWS[:2], TIMES, ONES)
    with pytest.raises(ValueError, match=r"weights 3, circumstances\['weights'\] 1"):
        Observed(ROWS, ROWS, TIMES, ONES, {"weights": Circumstances(ROWS[:1], ("a",))})
    with pytest.raises(ValueError, match="got item_rows 3, timestamps_ms 3, weights 0"):
        History(ROWS, TIMES, ONES[:0])


def test_levels_of_item_groups_fit_together():
    with pytest.raises(ValueError, match="got names 2, codes 1, sizes 1"):
        ItemGroups(("department", "type"), (ROWS,), (3,))
    with pytest.raises(ValueError, match="got department 3, type 2"):
        ItemGroups(("department", "type"), (ROWS, ROWS[:2]), (3, 3))
