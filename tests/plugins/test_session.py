"""What the user touched within the last minutes, with numbers worked by hand."""

import math

import numpy as np
import pytest

from springtide.config import PartSettings
from springtide.errors import SettingsError
from springtide.plugins.contracts import History, Moment
from springtide.plugins.loading import load_plugins
from springtide.testing import check_context_weight, history_of
from springtide_plugins.context_weights.session import Session

NOW_MS = 1_700_000_000_000
MINUTE_MS = 60_000


def test_session_tells_what_was_touched_and_how_strongly():
    history = History(
        np.array([7, 3, 7, 5], np.int32),
        NOW_MS - np.array([1, 2, 9, 11], np.int64) * MINUTE_MS,
        np.array([0.25, 1.0, 0.5, 1.0], np.float32),
    )
    touched, strength = Session(window_minutes=10.0).history_log_lifts(history, Moment(NOW_MS))
    # Items 3, 5 and 7, ascending: 5 was eleven minutes ago; 7 twice, by 0.25 and 0.5.
    assert touched.tolist() == [1.0, 0.0, 1.0]
    assert strength.tolist() == pytest.approx([math.log(2), 0.0, math.log(1.75)])


@pytest.mark.parametrize(("age_ms", "is_touched"), [(0, True), (10 * MINUTE_MS - 1, True), (10 * MINUTE_MS, False)])
def test_session_ends_with_its_window(age_ms, is_touched):
    lifts = Session(window_minutes=10.0).history_log_lifts(history_of([(7, NOW_MS - age_ms)]), Moment(NOW_MS))
    assert (lifts is not None and lifts[0].tolist() == [1.0]) == is_touched


def test_session_takes_what_lies_after_the_moment_as_of_now():
    lifts = Session().history_log_lifts(history_of([(7, NOW_MS + MINUTE_MS)]), Moment(NOW_MS))
    assert lifts[0].tolist() == [1.0]


def test_session_may_count_against_an_item():
    assert all(factor.is_signed for factor in Session().factors)


def test_contract_is_kept():
    check_context_weight(Session)


def test_window_of_no_length_is_refused():
    with pytest.raises(SettingsError, match="'session': window_minutes: wanted a number, above 0, got 0"):
        load_plugins().make("context weight", PartSettings(name="session", options={"window_minutes": 0}))
