"""Whether a model knows of an event of a moment ago."""

import numpy as np
import numpy.typing as npt

from springtide.evaluation.protocols.costs import live_share, per_second

Int64s = npt.NDArray[np.int64]


def test_answer_that_changes_with_the_event_is_live_and_another_is_not() -> None:
    def frozen(users: Int64s, items: Int64s | None) -> Int64s:
        return np.tile(np.arange(3), (len(users), 1))

    def live_for_even(users: Int64s, items: Int64s | None) -> Int64s:
        ranked = frozen(users, items)
        ranked[(users % 2 == 0) & (items is not None)] += 1
        return ranked

    users, items = np.arange(20), np.arange(5)
    assert live_share(frozen, users, items) == 0.0
    assert live_share(live_for_even, users, items) == 0.5


def test_rate_counts_answers() -> None:
    assert per_second(lambda: 10) > 10
