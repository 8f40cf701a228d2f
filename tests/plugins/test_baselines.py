"""The built-in baselines of `register_baselines`, with numbers worked by hand."""

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY
from springtide.config import PartSettings
from springtide.errors import SettingsError
from springtide.plugins.loading import load_plugins
from springtide.testing import history_of, observed_of

PLUGINS = load_plugins()
NOW_DAY = 100

# (user, item, day): item 0 has users 0, 1 and 2, long ago; item 1 has 0 and 1, lately; item 2 has user 2, twice, now.
EVENTS = [(0, 0, 10), (1, 0, 10), (2, 0, 10), (0, 1, 80), (0, 1, 96), (1, 1, 98), (2, 2, 100), (2, 2, 100)]


def day(number):
    return int(number * MS_PER_DAY)


def make(name, **options):
    return PLUGINS.make("baseline", PartSettings(name=name, options=options))


def fitted(name, events=EVENTS, num_users=3, num_items=4, **options):
    baseline = make(name, **options)
    baseline.fit(observed_of([(user, item, day(when)) for user, item, when in events]), num_users, num_items)
    return baseline


def scores_of(baseline, *histories, user_rows=None, now=NOW_DAY):
    """Return the scores of users with histories of (item, day)."""
    rows = np.full(len(histories), -1) if user_rows is None else np.array(user_rows)
    return baseline.scores(
        rows, [history_of([(item, day(when)) for item, when in history]) for history in histories], day(now)
    )


def order_of(scores):
    return np.argsort(-scores, kind="stable").tolist()


def test_popularity_counts_distinct_users():
    assert scores_of(fitted("popularity"), [], [(3, 99)]).tolist() == [[3, 2, 1, 0]] * 2


def test_recent_popularity_counts_the_interactions_of_the_window():
    scores = scores_of(fitted("recent_popularity", days=28), [])
    assert scores.astype(int).tolist() == [[0, 3, 2, 0]]


def test_recent_popularity_ranks_what_is_not_recent_by_users():
    assert order_of(scores_of(fitted("recent_popularity", days=1), [])[0]) == [2, 0, 1, 3]


def test_recent_popularity_is_as_of_now():
    baseline = fitted("recent_popularity", days=28)
    # On day 109 the interaction of day 80 has left the window; on day 125 those of days 96 and 80.
    assert scores_of(baseline, [], now=109).astype(int).tolist() == [[0, 2, 2, 0]]
    assert scores_of(baseline, [], now=125).astype(int).tolist() == [[0, 1, 2, 0]]
    assert scores_of(baseline, [], now=100).astype(int).tolist() == [[0, 3, 2, 0]]


def test_week_popularity_looks_back_seven_days():
    # The interaction of day 96 counts until day 103.
    assert scores_of(fitted("week_popularity"), [], now=102).astype(int).tolist() == [[0, 2, 2, 0]]
    assert scores_of(fitted("week_popularity"), [], now=103).astype(int).tolist() == [[0, 1, 2, 0]]


def test_decayed_popularity_halves_with_every_half_life():
    events = [(0, 0, 80), (1, 0, 90), (0, 1, 100)]
    assert scores_of(fitted("decayed_popularity", events, half_life_days=10), []).tolist() == [[0.75, 1, 0, 0]]


def test_own_counts_come_first_and_ties_go_by_popularity():
    baseline = fitted("own_counts")
    scores = scores_of(baseline, [(3, 50), (2, 40), (2, 30)], [(1, 50), (2, 40)], [])
    assert scores[0].tolist() == pytest.approx([3 / 4, 2 / 4, 2 + 1 / 4, 1])
    assert [order_of(row) for row in scores] == [[2, 3, 0, 1], [1, 2, 0, 3], [0, 1, 2, 3]]


def test_own_counts_are_those_of_the_history_not_of_the_fit():
    assert order_of(scores_of(fitted("own_counts"), [(3, 100)], user_rows=[0])[0]) == [3, 0, 1, 2]


def test_decayed_own_counts_prefer_what_was_lately():
    baseline = fitted("decayed_own_counts", half_life_days=10, days=28)
    # Item 0 twice, two half-lives ago: 1/4 each; item 3 once, now: 1. The rest by recent popularity, 3 and 2 of 3 + 1.
    scores = scores_of(baseline, [(0, 80), (0, 80), (3, 100)])[0]
    assert scores[[0, 3]].tolist() == pytest.approx([1.5, 2.0])
    assert order_of(scores) == [3, 0, 1, 2]


def test_decayed_own_counts_rank_the_ancient_above_what_others_had():
    assert order_of(scores_of(fitted("decayed_own_counts"), [(3, -20_000)])[0]) == [3, 1, 2, 0]


def test_edge_bank_ranks_what_the_user_had_by_popularity_however_often_it_was():
    assert order_of(scores_of(fitted("edge_bank"), [(2, 99), (2, 98), (1, 5)])[0]) == [1, 2, 0, 3]


def test_edge_bank_of_a_window_forgets_what_lies_before_it():
    baseline = fitted("edge_bank", window_days=10)
    scores = scores_of(baseline, [(3, 91), (2, 90)], [(3, 99)])
    assert [order_of(row) for row in scores] == [[3, 0, 1, 2], [3, 0, 1, 2]]


def test_moving_average_weighs_shares_by_step():
    # Week 14 (days 98 to 104): item 1 and item 3 have a half each. The step before, week 2: item 3 alone.
    baseline = fitted("moving_average", step_days=7, newest_share=0.4)
    scores = scores_of(baseline, [(1, 99), (3, 98), (3, 20)])[0]
    assert scores[[1, 3]].tolist() == pytest.approx([1 + 0.4 / 2, 1 + 0.4 / 2 + 0.4 * 0.6])
    assert order_of(scores) == [3, 1, 0, 2]


@pytest.mark.parametrize("name", ["own_counts", "decayed_own_counts", "edge_bank", "moving_average"])
def test_items_that_came_after_the_fit_are_passed_over(name):
    baseline = fitted(name)
    with_later = scores_of(baseline, [(7, 100), (4, 100), (2, 100)])
    assert with_later.tolist() == scores_of(baseline, [(2, 100)]).tolist()


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("recent_popularity", {"days": 0}, "days: wanted a number, above 0, got 0"),
        ("moving_average", {"newest_share": 2.0}, "newest_share: wanted a number, above 0, at most 1, got 2.0"),
        ("popularity", {"days": 3}, "no option named 'days'"),
    ],
)
def test_option_out_of_range_is_refused(name, options, said):
    with pytest.raises(SettingsError, match=said):
        make(name, **options)
