"""The built-in context weights, with numbers worked by hand."""

import dataclasses
import datetime as dt
import itertools
import math
import sys
import threading
import zoneinfo

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY, MS_PER_HOUR
from springtide.errors import SettingsError
from springtide.interactions import Circumstances
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import load_plugins
from springtide.plugins.wall_clock import TIME_ZONE
from springtide.settings.model import PartSettings
from springtide.testing import history_of, observed_of
from springtide_plugins.context_weights.binned_counts import BinnedCounts
from springtide_plugins.context_weights.calendar import Calendar
from springtide_plugins.context_weights.counts import DecayedCounts, log_lift
from springtide_plugins.context_weights.popularity import Popularity
from springtide_plugins.context_weights.repeat import Repeat
from springtide_plugins.context_weights.trend import Trend

NOW_MS = 1_700_000_000_000
ROWS = np.array([0, 1, 0], np.int32)


def ms(text: str, zone: str = "UTC") -> int:
    moment = dt.datetime.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo(zone))
    return int(moment.timestamp() * 1_000)


def lifts_at(weight, timestamp_ms: int, num_items: int = 2) -> dict[str, list[float]]:
    lifts = weight.item_log_lifts(Moment(timestamp_ms), num_items)
    assert lifts is not None
    return {factor.name: row.tolist() for factor, row in zip(weight.factors, lifts, strict=True)}


def test_decayed_counts_halve_with_each_half_life():
    counts = DecayedCounts(half_life_ms=10.0)
    counts.add(ROWS, np.array([0, 10, 20], np.int64), np.array([8.0, 4.0, 1.0], np.float32))
    # At 20, the newest: 8 / 4 + 1 of row 0, 4 / 2 of row 1.
    assert counts.newest_ms == 20
    assert counts.at_newest(3).tolist() == pytest.approx([3.0, 2.0, 0.0])


def test_decayed_counts_hold_over_decades_without_overflow():
    day = DecayedCounts(half_life_ms=float(MS_PER_DAY))
    for year in range(60):
        day.add(np.array([year % 2], np.int32), np.array([year * 365 * MS_PER_DAY]), np.ones(1, np.float32))
    assert day.at_newest(2).tolist() == pytest.approx([0.0, 1.0])


def test_decayed_counts_take_events_that_come_decades_late():
    counts = DecayedCounts(half_life_ms=float(MS_PER_DAY))
    for time_ms in (60 * 365 * MS_PER_DAY, 0, 60 * 365 * MS_PER_DAY - MS_PER_DAY):
        counts.add(np.array([0], np.int32), np.array([time_ms]), np.ones(1, np.float32))
    assert counts.at_newest(1).tolist() == pytest.approx([1.5])


def test_decayed_counts_without_decay_are_plain_counts():
    counts = DecayedCounts(half_life_ms=math.inf)
    counts.add(ROWS, np.array([0, 10**12, 10**13]), np.ones(3, np.float32))
    assert counts.at_newest(2).tolist() == [2.0, 1.0]


def test_decayed_counts_that_are_empty_give_zeros():
    assert DecayedCounts(10.0).at_newest(2).tolist() == [0.0, 0.0]


def test_decayed_counts_can_be_read_while_they_are_moved_on():
    counts, is_over = DecayedCounts(half_life_ms=1.0), threading.Event()
    counts.add(np.zeros(1, np.int32), np.zeros(1, np.int64), np.ones(1, np.float32))
    seen: set[float] = set()

    def read() -> None:
        while not is_over.is_set():
            seen.add(float(counts.at_newest(1)[0]))

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 3_000):  # Each lies so many half-lives ahead that the landmark moves.
        counts.add(np.zeros(1, np.int32), np.array([number * 600]), np.ones(1, np.float32))
    is_over.set()
    reader.join()
    sys.setswitchinterval(interval_s)
    assert seen == {1.0}


def test_binned_counts_smooth_across_the_end_of_the_cycle():
    counts = BinnedCounts(4)
    weights = np.array([1.0, 10.0, 100.0], np.float32)
    counts.add(np.array([0, 0, 1], np.int32), np.array([0, 3, 1]), np.zeros(3, np.int64), weights)
    kernel = np.array([0.5, 0.25, 0.0, 0.25])  # The bin itself, the next, the one before.
    assert counts.smoothed(0, kernel, 3)[0].tolist() == [0.5 * 1 + 0.25 * 10, 0.25 * 100, 0.0]
    assert counts.totals(2)[0].tolist() == [11.0, 100.0]


def test_binned_counts_halve_with_each_half_life_in_any_order():
    in_order, late_first = BinnedCounts(2, half_life_ms=100.0), BinnedCounts(2, half_life_ms=100.0)
    rows, bins, one = np.array([0], np.int32), np.array([1]), np.ones(1, np.float32)
    for counts, times in ((in_order, (0, 100, 10_000)), (late_first, (10_000, 100, 0))):
        for time in times:
            counts.add(rows, bins, np.array([time]), one)
    assert in_order.bin(1, 1)[0] == pytest.approx(1.0 + 2.0**-99 + 2.0**-100)
    assert late_first.bin(1, 1)[0] == pytest.approx(in_order.bin(1, 1)[0])
    twice = BinnedCounts(2, half_life_ms=100.0)
    twice.add(np.array([0, 0], np.int32), np.array([0, 1]), np.array([0, 200]), np.ones(2, np.float32))
    assert twice.totals(1)[0].tolist() == [1.25]


def events_of_years(count: int = 4_000) -> tuple[np.ndarray, ...]:
    """Return rows, bins, times and weights of events over three years."""
    generator = np.random.default_rng(2)
    return (
        generator.integers(0, 50, count).astype(np.int32),
        generator.integers(0, 4, count),
        NOW_MS - generator.integers(0, 3 * 365 * MS_PER_DAY, count),
        generator.uniform(0.01, 3.0, count).astype(np.float32),
    )


@pytest.mark.parametrize("half_life_days", [1.0, 28.0, 90.0, 1_095.0, math.inf])
def test_counts_are_the_same_to_the_last_bit_in_any_order_and_without_what_was_taken_back(half_life_days: float):
    rows, bins, times, weights = events_of_years()
    is_taken = rows % 7 == 3
    generator = np.random.default_rng(3)
    found = []
    for number in range(4):
        decayed = DecayedCounts(half_life_days * MS_PER_DAY)
        binned = BinnedCounts(4, half_life_days * MS_PER_DAY)
        for part in np.array_split(generator.permutation(len(rows)), 1 + 5 * number):
            kept = part if number % 2 else part[~is_taken[part]]
            newest_ms = int(times[part].max())
            decayed.add(rows[kept], times[kept], weights[kept], newest_ms)
            binned.add(rows[kept], bins[kept], times[kept], weights[kept], newest_ms)
        if number % 2:
            taken = generator.permutation(np.flatnonzero(is_taken))
            decayed.add(rows[taken], times[taken], -weights[taken])
            binned.add(rows[taken], bins[taken], times[taken], -weights[taken])
        found.append([decayed.at_newest(50), binned.totals(50)[0], *(binned.bin(index, 50) for index in range(4))])
        states = [decayed.state(), binned.state()]
        decayed.restore(states[0])
        binned.restore(states[1])
        found.append([decayed.at_newest(50), binned.totals(50)[0], *(binned.bin(index, 50) for index in range(4))])
    for each in found[1:]:
        for column, expected in zip(each, found[0], strict=True):
            assert column.tobytes() == expected.tobytes()
    assert not found[0][0][3::7].any(), "no trace of the rows whose events were taken back"
    ages_days = (times.max() - times) / MS_PER_DAY
    expected = np.bincount(rows[~is_taken], (weights * 2.0 ** (-ages_days / half_life_days))[~is_taken], 50)
    for column in found[0][:2]:
        np.testing.assert_allclose(column, expected, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("half_life_days", [1.0, 28.0, 1_095.0, math.inf])
def test_counts_of_events_one_by_one_are_those_of_all_at_once_to_the_last_bit(half_life_days: float):
    rows, bins, times, weights = events_of_years()
    states = []
    for num_parts in (1, 1_000, len(rows)):
        decayed, binned = DecayedCounts(half_life_days * MS_PER_DAY), BinnedCounts(4, half_life_days * MS_PER_DAY)
        for part in np.array_split(np.arange(len(rows)), num_parts):
            decayed.add(rows[part], times[part], weights[part], int(times.max()))
            binned.add(rows[part], bins[part], times[part], weights[part], int(times.max()))
        states.append(decayed.state() | {f"binned/{name}": column for name, column in binned.state().items()})
    for state in states[1:]:
        assert {name: column.tobytes() for name, column in state.items()} == {
            name: column.tobytes() for name, column in states[0].items()
        }


def test_binned_counts_hold_more_than_a_cell_of_four_bytes_does():
    counts = BinnedCounts(2)
    rows, bins, times = np.array([3, 3], np.int32), np.array([1, 1]), np.zeros(2, np.int64)
    for sign in (1, 1, 1, -1):
        counts.add(rows, bins, times, sign * np.array([1e5, 7.0], np.float32))
    assert counts.bin(1, 5).tolist() == [0.0, 0.0, 0.0, 2 * 100_007.0, 0.0]
    assert counts.totals(4)[0][3] == 2 * 100_007.0
    again = BinnedCounts(2)
    again.restore(counts.state())
    assert again.bin(1, 5).tolist() == counts.bin(1, 5).tolist()


def test_binned_counts_can_be_read_while_sums_move_from_one_column_to_the_other():
    counts, is_over, seen = BinnedCounts(2), threading.Event(), [0.0]
    rows, bins, times = np.zeros(1, np.int32), np.ones(1, np.int64), np.zeros(1, np.int64)

    def read() -> None:
        while not is_over.is_set():
            seen.append(float(counts.bin(1, 1)[0]))

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(2_000):
        counts.add(rows, bins, times, np.array([1e5], np.float32))  # Too large for four bytes from the second one on.
    is_over.set()
    reader.join()
    sys.setswitchinterval(interval_s)
    assert all(later >= earlier and later % 1e5 == 0 for earlier, later in itertools.pairwise(seen))


def test_states_of_before_there_were_epochs_are_read():
    """Sums grew from a landmark: here it lies two half-lives before the newest event, so they count a quarter."""
    decayed, binned, popularity = DecayedCounts(100.0), BinnedCounts(2, 100.0), Popularity(prior=1.0)
    decayed.restore({"counts": np.array([8.0, 0.0, 2.0]), "clock": np.array([1_000, 1_200, 1])})
    binned.restore({"counts": np.array([[4.0, 0.0], [1.0, 8.0]], np.float32), "clock": np.array([1_000, 1_200])})
    popularity.restore({"counts": np.array([2.0, 0.0])})
    assert decayed.at_newest(4).tolist() == pytest.approx([2.0, 0.0, 0.5, 0.0], abs=1e-3)
    assert binned.bin(1, 2).tolist() == pytest.approx([0.25, 2.0], abs=1e-3)
    assert binned.totals(2)[0].tolist() == pytest.approx([1.25, 2.0], abs=1e-3)
    assert lifts_at(popularity, 0)["share"] == pytest.approx(np.log([1.0, 1 / 3]), abs=1e-6)
    decayed.add(np.array([1], np.int32), np.array([1_300]), np.ones(1, np.float32))
    assert decayed.at_newest(3).tolist() == pytest.approx([1.0, 1.0, 0.25], abs=1e-3)


def test_log_lift_is_drawn_to_neutral_by_the_prior():
    lift = log_lift(np.array([8.0, 0.0]), np.array([3.0, 0.0]), prior=2.0)
    assert lift.tolist() == pytest.approx([math.log(10 / 5), 0.0])


def test_popularity_is_the_count_over_that_of_the_average_item_that_was_chosen():
    weight = Popularity(prior=1.0)
    assert weight.item_log_lifts(Moment(0), 3) is None
    weight.observe(observed_of([(0, 0, 0), (1, 0, 1), (0, 1, 2)]))
    # With the prior: 3, 2 and 1, over a mean of 2.5 of the two that were chosen.
    assert lifts_at(weight, 0, 3)["share"] == pytest.approx(np.log([3 / 2.5, 2 / 2.5, 1 / 2.5]), abs=1e-6)


def test_popularity_does_not_depend_on_the_moment():
    assert Popularity().bucket(Moment(0)) == Popularity().bucket(Moment(NOW_MS))


def test_trend_is_the_recent_share_over_the_usual_share():
    weight = Trend(half_lives_days=[1.0], prior=2.0)
    # Item 0: four events two days ago, each worth a quarter now; item 1: one now. Recent 1 and 1, usual 4 and 1 of 5.
    weight.observe(observed_of([(0, 0, NOW_MS - 2 * MS_PER_DAY)] * 4 + [(0, 1, NOW_MS)]))
    expected = [math.log((1 + 2) / (2 * 4 / 5 + 2)), math.log((1 + 2) / (2 * 1 / 5 + 2))]
    assert lifts_at(weight, NOW_MS)["1d"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("days", [-1, 1])
def test_trend_fades_away_from_the_newest_event_on_either_side(days):
    weight = Trend(half_lives_days=[1.0])
    weight.observe(observed_of([(0, 0, NOW_MS - 2 * MS_PER_DAY)] * 4 + [(0, 1, NOW_MS)]))
    now, away = (np.array(lifts_at(weight, NOW_MS + shift * MS_PER_DAY)["1d"]) for shift in (0, days))
    assert away.tolist() == pytest.approx((now / 2).tolist(), rel=1e-5)


def test_short_trend_is_drawn_to_the_longer_one_where_little_was_seen_lately():
    weight = Trend(half_lives_days=[1.0, 30.0], prior=2.0)
    # Both items rose to the same height; in the last days item 0 still sells by the hundred, item 1 not at all.
    old, lately = [(0, item, 0) for item in (0, 1, 2, 2, 2, 2)] * 100, NOW_MS - 20 * MS_PER_DAY
    rise = [(0, item, lately) for item in (0, 1)] * 200
    weight.observe(observed_of([*old, *rise, *[(0, 0, NOW_MS)] * 200, *[(0, 2, NOW_MS)] * 200, (0, 3, 0)]))
    lifts = lifts_at(weight, NOW_MS, 4)
    assert lifts["1d"][1] < lifts["30d"][1] - 2.0, "two hundred that did not sell: a day is enough to tell"
    assert lifts["1d"][3] == pytest.approx(lifts["30d"][3], abs=0.2), "little to see in a day of what seldom sells"
    assert lifts["30d"][0] > 0.3


def test_what_a_short_trend_adds_fades_before_the_longer_one():
    weight = Trend(half_lives_days=[1.0, 30.0])
    weight.observe(observed_of([*[(0, 0, 0), (0, 1, 0)] * 50, *[(0, 0, NOW_MS)] * 20]))
    (short, long), (short_later, long_later) = (
        (lifts["1d"][0], lifts["30d"][0]) for lifts in (lifts_at(weight, NOW_MS + d * MS_PER_DAY) for d in (0, 15))
    )
    assert long_later == pytest.approx(long / np.sqrt(2.0), rel=1e-3)
    assert short_later == pytest.approx(long_later + (short - long) * 2.0**-15, rel=1e-3)


def test_order_of_half_lives_does_not_matter():
    events = observed_of([*[(0, 0, 0), (0, 1, 0)] * 50, *[(0, 0, NOW_MS)] * 20])
    one, other = Trend(half_lives_days=[1.0, 30.0]), Trend(half_lives_days=[30.0, 1.0])
    for weight in (one, other):
        weight.observe(events)
    assert lifts_at(one, NOW_MS) == lifts_at(other, NOW_MS)


def test_calendar_counts_by_the_clock_on_the_wall():
    weight = Calendar(time_zone="Europe/Lisbon", hour_width=0.1, prior=1.0, half_life_days=None)
    # Nine in the morning in Lisbon, in winter (UTC) and in summer (UTC+1): one hour of the day.
    weight.observe(
        observed_of(
            [
                (0, 0, ms("2023-01-10T09:30", "Europe/Lisbon")),
                (0, 0, ms("2023-07-10T09:30", "Europe/Lisbon")),
                (0, 1, ms("2023-01-10T15:30", "Europe/Lisbon")),
                (0, 1, ms("2023-07-10T15:30", "Europe/Lisbon")),
            ]
        )
    )
    for day in ("2023-02-20", "2023-08-20"):
        hour = lifts_at(weight, ms(f"{day}T09:10", "Europe/Lisbon"))["hour"]
        # Item 0: two now, where one was to be expected; item 1: none.
        assert hour == pytest.approx([math.log(3 / 2), math.log(1 / 2)], rel=1e-4)


def test_calendar_changes_its_offset_within_one_day():
    # On 26 March 2023 clocks in Lisbon went from 00:59 to 02:00, which is 01:00 UTC.
    weight = Calendar(time_zone="Europe/Lisbon")
    before, after = (weight.bucket(Moment(ms(f"2023-03-26T0{hour}:30"))) for hour in (0, 1))
    assert after - before == 2


def test_calendar_learns_the_same_from_events_one_by_one_as_from_all_at_once():
    generator = np.random.default_rng(5)
    times = ms("2015-01-01") + generator.integers(0, 9 * 365 * MS_PER_DAY, 500)
    times[:2] = ms("2020-12-31T23:59:59"), ms("2023-03-26T01:00")  # A 366th day, and a change of the offset.
    events = [(0, int(row), int(time)) for row, time in zip(generator.integers(0, 5, 500), times, strict=True)]
    zones = generator.integers(-1, 3, 500).astype(np.int32)
    names = ["Asia/Kathmandu", "Europe/Lisbon", "Mars/Olympus"]
    at_once, one_by_one = Calendar("America/New_York"), Calendar("America/New_York")
    at_once.observe(dataclasses.replace(observed_of(events), circumstances={TIME_ZONE: Circumstances(zones, names)}))
    for event, zone in zip(events, zones, strict=True):
        of_event = {TIME_ZONE: Circumstances(np.array([zone]), names)}
        one_by_one.observe(dataclasses.replace(observed_of([event]), circumstances=of_event))
    found, expected = one_by_one.state(), at_once.state()
    assert {name: column.tobytes() for name, column in found.items()} == {
        name: column.tobytes() for name, column in expected.items()
    }


def test_calendar_puts_the_leap_day_into_the_last_part_of_the_year():
    weight = Calendar(year_width_days=0.1, prior=1.0, near_days=0.001, half_life_days=None)
    # 31 December 2024 is the 366th day; it joins the part of the year that 27 to 31 December 2023 are in.
    weight.observe(observed_of([(0, 0, ms("2024-12-31T12:00")), (0, 1, ms("2024-06-15T12:00"))]))
    year = lifts_at(weight, ms("2023-12-27T12:00"))["year"]
    assert year == pytest.approx([math.log(2 / 1.5), math.log(1 / 1.5)], rel=1e-4)


def test_calendar_is_smooth_across_new_year():
    weight = Calendar(near_days=0.001, half_life_days=None)
    weight.observe(observed_of([(0, 0, ms("2022-12-30T12:00"))] * 20 + [(0, 1, ms("2022-07-01T12:00"))] * 20))
    first, second = lifts_at(weight, ms("2024-01-03T12:00"))["year"]
    assert first > 0.2 > -0.2 > second


def test_calendar_is_smooth_across_midnight():
    weight = Calendar()
    weight.observe(observed_of([(0, 0, ms("2023-01-10T23:30"))] * 20 + [(0, 1, ms("2023-01-10T12:30"))] * 20))
    first, second = lifts_at(weight, ms("2023-02-10T00:30"))["hour"]
    assert first > 0.2 > -0.2 > second


def test_calendar_knows_the_weekday():
    weight = Calendar(prior=1.0, half_life_days=None)
    # 14 January 2023 was a Saturday.
    weight.observe(observed_of([(0, 0, ms("2023-01-14T12:00")), (0, 1, ms("2023-01-16T12:00"))]))
    weekday = lifts_at(weight, ms("2023-09-09T12:00"))["weekday"]  # A Saturday.
    assert weekday == pytest.approx([math.log(2 / 1.5), math.log(1 / 1.5)], rel=1e-5)


def test_calendar_shares_the_year_out_between_near_and_far():
    weight = Calendar(near_days=7.0)
    weight.observe(observed_of([(0, 0, ms("2023-01-10T12:00"))] * 5 + [(0, 1, ms("2022-07-10T12:00"))] * 5))
    newest = lifts_at(weight, ms("2023-01-10T12:00"))
    week_later = lifts_at(weight, ms("2023-01-17T12:00"))
    assert newest["year"] == [0.0, 0.0]
    assert newest["year_near"][0] > 0.05
    assert week_later["year"] == pytest.approx(week_later["year_near"], rel=1e-4)


def test_repeat_tells_whether_how_often_and_how_lately():
    weight = Repeat(half_lives_days=[10.0])
    history = history_of([(7, NOW_MS - 10 * MS_PER_DAY), (7, NOW_MS), (3, NOW_MS - 20 * MS_PER_DAY)])
    lifts = weight.history_log_lifts(history, Moment(NOW_MS))
    assert [factor.name for factor in weight.factors] == ["had", "count", "recent_10d"]
    # Items 3 and 7, ascending; recent ones over the floor of 0.05: a quarter, and one and a half.
    expected = [[1.0, 1.0], [0.0, math.log(2)], [math.log1p(0.25 / 0.05), math.log1p(1.5 / 0.05)]]
    np.testing.assert_allclose(lifts, expected, rtol=1e-5)


def test_repeat_fades_towards_a_moment_in_the_future():
    weight, history = Repeat(half_lives_days=[10.0]), history_of([(7, NOW_MS)])
    lifts = weight.history_log_lifts(history, Moment(NOW_MS + 10 * MS_PER_DAY))
    assert lifts[2].tolist() == pytest.approx([math.log1p(0.5 / 0.05)])


def test_repeat_takes_what_lies_after_the_moment_as_of_now():
    weight, history = Repeat(half_lives_days=[10.0]), history_of([(7, NOW_MS)])
    lifts = weight.history_log_lifts(history, Moment(NOW_MS - MS_PER_HOUR))
    assert lifts[2].tolist() == pytest.approx([math.log1p(1 / 0.05)])


def test_repeat_may_count_against_an_item():
    assert all(factor.is_signed for factor in Repeat().factors)
    assert not any(factor.is_signed for weight in (Trend(), Popularity(), Calendar()) for factor in weight.factors)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("popularity", {"prior": 0}, "'popularity': prior: wanted a number, above 0, got 0"),
        (
            "trend",
            {"half_lives_days": []},
            "half_lives_days: wanted a list of numbers, at least 1 of them, each above 0",
        ),
        ("trend", {"half_lives_days": [7, -1]}, "wanted a list of numbers, at least 1 of them, each above 0, got"),
        ("trend", {"prior": -1}, "'trend': prior: wanted a number, above 0, got -1"),
        ("repeat", {"half_lives_days": [0]}, "each above 0, got"),
        ("calendar", {"prior": 0, "hour_width": 0}, "prior: wanted .*; hour_width: wanted a number, above 0, got 0"),
        ("calendar", {"time_zone": "Lisboa"}, "'calendar': no time zone named 'Lisboa'"),
        ("calendar", {"time_zone": "../etc/passwd"}, "'calendar': no time zone named"),
    ],
)
def test_bad_option_is_refused(name, options, message):
    with pytest.raises(SettingsError, match=message):
        load_plugins().make("context weight", PartSettings(name=name, options=options))


def test_decayed_counts_hold_more_than_four_bytes_do_and_are_restored_from_sums_of_eight():
    counts, rows = DecayedCounts(math.inf), np.array([2, 0], np.int32)
    for sign in (1, 1, 1, -1):
        counts.add(rows, np.zeros(2, np.int64), sign * np.array([1e4, 7.0], np.float32))
    assert counts.at_newest(4).tolist() == [14.0, 0.0, 20_000.0, 0.0]
    assert counts.total(4) == 20_014.0
    again, earlier = DecayedCounts(math.inf), DecayedCounts(math.inf)
    again.restore(counts.state())
    earlier.restore({"counts": np.array([[14.0, 0.0, 20_000.0]]) * 2**24, "clock": np.array([0, 1, 0])})
    for each in (again, earlier):
        each.add(rows, np.zeros(2, np.int64), np.array([-2e4, 1.0], np.float32))
        assert each.at_newest(3).tolist() == [15.0, 0.0, 0.0]
        each.forget(rows)
        assert not each.at_newest(3).any()


def test_decayed_counts_can_be_read_while_sums_move_from_one_column_to_the_other():
    counts, is_over, seen = DecayedCounts(math.inf), threading.Event(), [0.0]
    rows, times = np.zeros(50, np.int32), np.zeros(50, np.int64)

    def read() -> None:
        while not is_over.is_set():
            seen.append(float(counts.at_newest(1)[0]))

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(2_000):
        counts.add(rows, times, np.full(50, 100.0, np.float32))  # Every second one is too large for four bytes.
    is_over.set()
    reader.join()
    sys.setswitchinterval(interval_s)
    assert all(later >= earlier and later % 100 == 0 for earlier, later in itertools.pairwise(seen))
    assert counts.at_newest(1).tolist() == [2_000 * 50 * 100.0]
