"""What the user touched within the last minutes, with numbers worked by hand."""

import functools
import math
from collections.abc import Sequence

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY
from springtide.errors import SettingsError
from springtide.plugins.contracts import History, Moment, Observed
from springtide.plugins.loading import load_plugins
from springtide.settings.model import PartSettings
from springtide.testing import check_context_weight, history_of, observed_of
from springtide.training.exponents.fit import ExponentFit, fit_exponents
from springtide.training.exponents.logit import ExponentSettings
from springtide_plugins.context_weights.repeat import Repeat
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


def browsing(odds: float) -> Observed:
    """Return what users did in 60 evenings, 40 of 200 in each: four choices of 30 items, two minutes apart.

    Items that the user touched earlier in the evening, so less than ten minutes ago, have ``odds`` times the odds of
    all others, which are alike.
    """
    generator, events = np.random.default_rng(5), []
    for evening in range(60):
        for user in generator.choice(200, 40, replace=False):
            start_ms, touched = NOW_MS + evening * MS_PER_DAY + int(generator.integers(0, 120)) * MINUTE_MS, []
            for step in range(4):
                chances = np.ones(30)
                chances[touched] = odds
                item = int(generator.choice(30, p=chances / chances.sum()))
                touched.append(item)
                events.append((int(user), item, start_ms + step * 2 * MINUTE_MS))
    return observed_of(sorted(events, key=lambda event: event[2]))


def fit_of(events: Observed, names: Sequence[str]) -> ExponentFit:
    """Fit the exponents of weights on the last third; the vectors say the same of all items."""
    made = {"session": functools.partial(Session, window_minutes=10.0), "repeat": Repeat}
    vectors = np.tile(np.float32([1.0, 0.0]), (200, 1))
    found = fit_exponents(
        events,
        len(events) * 2 // 3,
        vectors,
        vectors[:30],
        lambda: {name: made[name]() for name in names},
        ExponentSettings(num_samples=60),
        seed=0,
    )
    assert found is not None
    return found


def test_exponent_of_the_session_is_learned_where_it_holds():
    events = browsing(odds=20.0)
    with_session, without = fit_of(events, ["repeat", "session"]), fit_of(events, ["repeat"])
    of_session = with_session.exponents.seen.factors["session"]
    # What was touched once, which is log 2 strong, has e to the power of this as odds; that of the events is 20.
    odds = math.exp(of_session["touched"] + of_session["strength"] * math.log(2))
    assert 10.0 < odds < 30.0
    assert with_session.loss < without.loss - 0.1


def test_exponent_of_the_session_is_0_where_nothing_comes_of_it():
    of_session = fit_of(browsing(odds=1.0), ["repeat", "session"]).exponents.seen.factors["session"]
    assert of_session == {"touched": pytest.approx(0.0, abs=0.05), "strength": pytest.approx(0.0, abs=0.05)}


def test_contract_is_kept():
    check_context_weight(Session)


def test_window_of_no_length_is_refused():
    with pytest.raises(SettingsError, match="'session': window_minutes: wanted a number, above 0, got 0"):
        load_plugins().make("context weight", PartSettings(name="session", options={"window_minutes": 0}))
