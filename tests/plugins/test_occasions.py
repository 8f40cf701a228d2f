"""Occasions lift their items in the days around them, and at no other time."""

import datetime as dt
import math

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY, MS_PER_HOUR
from springtide.errors import SettingsError
from springtide.plugins.contracts import Circumstances, ItemGroups, Moment, Observed
from springtide.plugins.loading import load_plugins
from springtide.settings.model import PartSettings
from springtide.testing import check_context_weight
from springtide_plugins.context_weights.calendar import Calendar
from springtide_plugins.context_weights.occasions import Occasions


def ms(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp() * 1_000)


def events(*of_items: tuple[int, str, int], zones: Circumstances | None = None) -> Observed:
    """Interactions: item, time, how many."""
    items = [item for item, _, count in of_items for _ in range(count)]
    times = [ms(text) for _, text, count in of_items for _ in range(count)]
    rows = np.array(items, np.int32)
    known = {} if zones is None else {"time_zone": zones}
    return Observed(np.zeros_like(rows), rows, np.array(times, np.int64), np.ones(len(rows), np.float32), known)


def lifts_at(weight: Occasions, text: str, num_items: int = 2, zone: str = "") -> list[float] | None:
    lifts = weight.item_log_lifts(Moment(ms(text), attributes={"time_zone": zone} if zone else {}), num_items)
    return None if lifts is None else lifts[0].tolist()


TURKEYS = events((0, "2022-11-23T12:00", 40), (1, "2022-07-10T12:00", 40), (1, "2022-11-23T12:00", 2))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"country": "US"},
        {"country": "DE", "subdivision": "BY", "days_before": 31, "days_after": 7},
        {"dates": ("Sale=11-20",), "days_before": 0, "days_after": 0},
    ],
)
def test_occasions_keep_their_contract(options):
    check_context_weight(lambda: Occasions(**options))


def test_lift_on_the_day_is_the_share_of_the_day_over_that_of_any_time():
    weight = Occasions(dates=("Christmas=12-25",), days_before=0, days_after=0, prior=1.0, half_life_days=None)
    weight.observe(events((0, "2022-12-25T12:00", 4), (1, "2022-07-10T12:00", 4)))
    # Of four on the day, two of each item were to be expected; four and none came.
    assert lifts_at(weight, "2024-12-25T09:00") == pytest.approx([math.log(5 / 3), math.log(1 / 3)], rel=1e-5)
    assert lifts_at(weight, "2024-12-26T00:00") is None


def test_parts_borrow_from_those_beside_them():
    weight = Occasions(dates=("Christmas=12-25",), days_before=1, days_after=0, prior=1.0, half_life_days=None)
    weight.observe(events((0, "2022-12-25T12:00", 4), (1, "2022-12-24T12:00", 4)))
    # The day and its eve count 1 and 1/2, brought to 2/3 and 1/3: 8/3 and 4/3, over a sum of squares of 5/9 that is
    # 4.8 and 2.4 events, where 3.6 of each were to be expected.
    assert lifts_at(weight, "2023-12-25T12:00") == pytest.approx([math.log(5.8 / 4.6), math.log(3.4 / 4.6)], rel=1e-5)


def test_holiday_that_moves_lifts_its_items_around_it_and_not_in_july():
    weight = Occasions(country="US")
    weight.observe(TURKEYS)  # In 2022 Thanksgiving was on 24 November, in 2023 on the 23rd.
    for day in ("2023-11-22", "2023-11-23"):
        turkeys, others = lifts_at(weight, f"{day}T12:00")
        assert turkeys > 0.3 > -0.3 > others, day
    assert lifts_at(weight, "2023-07-20T12:00") is None, "no holiday is near"
    assert lifts_at(weight, "2023-07-03T12:00") == [0.0, 0.0], "nothing is known of Independence Day"


def test_new_item_of_a_kind_for_the_occasion_is_known_as_one():
    weight = Occasions(country="US")
    weight.observe(TURKEYS)
    assert lifts_at(weight, "2023-11-22T12:00", 3)[2] == 0.0
    codes = np.array([0, 1, 0], np.int32)
    weight.regroup(ItemGroups(("category",), (codes,), (2,)))
    first, _, new = lifts_at(weight, "2023-11-22T12:00", 3)
    assert new == pytest.approx(first, abs=0.1)


def test_dates_of_single_years_are_one_occasion():
    dates = ("Diwali=2022-10-24", "Diwali=2023-11-12")
    weight = Occasions(dates=dates)
    assert weight.names == ("Diwali",)
    weight.observe(events((0, "2022-10-23T12:00", 20), (1, "2022-06-10T12:00", 20)))
    assert lifts_at(weight, "2023-11-11T12:00")[0] > 0.3
    assert lifts_at(weight, "2023-10-23T12:00") is None, "it moved"
    assert lifts_at(weight, "2024-10-31T12:00") is None, "nobody said when it is in 2024"


def test_day_is_that_of_the_users_zone():
    weight = Occasions(dates=("Christmas=12-25",), days_before=0, days_after=0, prior=1.0)
    # Noon in Auckland on the 25th is still the 24th in London.
    zones = Circumstances(np.array([0] * 4 + [1] * 4, np.int32), ["Pacific/Auckland", "Europe/London"])
    weight.observe(events((0, "2022-12-24T23:00", 4), (1, "2022-12-24T23:00", 4), zones=zones))
    assert lifts_at(weight, "2023-12-24T23:00", zone="Pacific/Auckland")[0] > 0.3
    assert lifts_at(weight, "2023-12-24T23:00") is None
    assert lifts_at(weight, "2023-12-24T23:00", zone="Mars/Olympus") is None


def test_new_year_is_felt_in_the_old_year():
    weight = Occasions(country="PT")
    weight.observe(events((0, "2022-12-31T20:00", 20), (1, "2022-06-20T12:00", 20)))
    assert lifts_at(weight, "2025-12-31T20:00")[0] > 0.3


def test_leap_day_comes_in_leap_years():
    weight = Occasions(dates=("Leap=02-29",), days_before=0, days_after=0)
    weight.observe(events((0, "2024-02-29T12:00", 1)))
    assert weight.bucket(Moment(ms("2028-02-29T12:00"))) != ()
    assert weight.bucket(Moment(ms("2027-02-28T12:00"))) == weight.bucket(Moment(ms("2027-03-01T12:00"))) == ()


def test_one_bucket_holds_a_part_of_the_time_around_an_occasion():
    weight = Occasions(dates=("Christmas=12-25",))
    buckets = [weight.bucket(Moment(ms(f"2023-12-{day}T12:00"))) for day in range(10, 30)]
    # 11 to 17 December, 18 to 21, 22 and 23, the eve, the day, the day after, two more; and none of these.
    assert [buckets.count(bucket) for bucket in dict.fromkeys(buckets)] == [2, 7, 4, 2, 1, 1, 1, 2]


@pytest.mark.parametrize("timestamp_ms", [-(10**18), 0, 10**18])
def test_times_that_no_calendar_has_are_near_nothing(timestamp_ms):
    weight = Occasions(country="US", days_before=0, days_after=0)
    rows, ones = np.zeros(1, np.int32), np.ones(1, np.float32)
    weight.observe(Observed(rows, rows, np.array([timestamp_ms]), ones))
    assert len(weight.bucket(Moment(timestamp_ms))) == (timestamp_ms == 0), "1970 began on New Year's Day"


def test_occasions_that_are_still_named_survive_a_change_of_settings():
    before = Occasions(dates=("Sale=05-10", "Christmas=12-25"))
    before.observe(events((0, "2022-12-24T12:00", 20), (1, "2022-05-10T12:00", 20)))
    after = Occasions(dates=("Christmas=12-25", "Fair=08-08"))
    after.restore(before.state())
    assert lifts_at(after, "2023-12-24T12:00") == lifts_at(before, "2023-12-24T12:00")
    assert lifts_at(after, "2023-08-08T12:00") == [0.0, 0.0]
    assert lifts_at(after, "2023-05-10T12:00") is None


def test_number_of_occasions_is_bounded_and_those_of_the_settings_come_first():
    weight = Occasions(country="JP", dates=("Sale=05-10",))
    assert len(weight.names) == 16
    assert weight.names[0] == "Sale"


def test_a_million_items_fit_into_a_gibibyte_with_every_profile_and_the_widest_days():
    calendar, occasions = Calendar(), Occasions(country="JP", days_before=31, days_after=7)
    num_items, hours = 100, np.arange(0, 365 * 24, 5) * MS_PER_HOUR  # Every hour of the day comes.
    for start in range(0, len(hours), 73):
        times = np.repeat(ms("2022-01-01T00:00") + hours[start : start + 73], num_items)
        rows = np.tile(np.arange(num_items, dtype=np.int32), 73)
        for weight in (calendar, occasions):
            weight.observe(Observed(rows, rows, times, np.ones(len(rows), np.float32)))
    # An item: 24 hours, 7 days, 73 parts of the year; 16 occasions of 9 parts, and any time; 4 bytes each.
    num_bytes = [sum(array.nbytes for array in weight.state().values()) for weight in (calendar, occasions)]
    assert num_bytes[0] >= 4 * (24 + 7 + 73) * num_items
    assert num_bytes[1] >= 4 * (16 * 9 + 1) * num_items
    assert sum(num_bytes) / num_items * 1_000_000 < 2**30


def test_items_of_few_events_take_few_bytes_each():
    calendar, occasions = Calendar(), Occasions(country="JP", days_before=31, days_after=7)
    rows = np.arange(10_000, dtype=np.int32)
    for weight in (calendar, occasions):
        for start in ("2022-12-25T12:00", "2022-12-31T22:00", "2023-02-01T00:00"):
            for part in np.array_split(rows, 100):  # As items come, so that what is kept in reserve counts too.
                times = np.full(len(part), ms(start))
                weight.observe(Observed(part, part, times, np.ones(len(part), np.float32)))
    held = [sum(cells.nbytes for cells in weight._profiles._held[0].values()) for weight in (calendar, occasions)]
    assert held[0] <= 30 * len(rows)  # Three events of 6 bytes, and what it takes to find them.
    assert held[1] <= 80 * len(rows)  # Each is near a few occasions.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"country": "XX"}, r"'occasions': wanted the ISO code of a country \(such as BR, DE, .*, got 'XX'"),
        ({"country": "PT", "subdivision": "Bavaria"}, "no subdivision of PT named 'Bavaria' .choices: "),
        ({"subdivision": "BY"}, "wanted the country of subdivision 'BY'"),
        ({"dates": ["Christmas"]}, "wanted dates such as 'Black Friday=2024-11-29' or .*, got 'Christmas'"),
        ({"dates": ["Never=02-30"]}, "got 'Never=02-30'"),
        ({"dates": ["=12-25"]}, "got '=12-25'"),
        ({"dates": [f"Day {day}=05-{day}" for day in range(10, 27)]}, "wanted dates of 16 names, got 17"),
        ({"days_before": 32}, "days_before: wanted a whole number, at least 0, at most 31, got 32"),
        ({"time_zone": "Lisboa"}, "'occasions': no time zone named 'Lisboa'"),
    ],
)
def test_bad_option_is_refused(options, message):
    with pytest.raises(SettingsError, match=message):
        load_plugins().make("context weight", PartSettings(name="occasions", options=options))


def test_day_before_new_year_of_a_time_zone_is_a_whole_day():
    weight = Occasions(dates=("New Year=01-01",), time_zone="Asia/Tokyo")
    first = ms("2023-12-31T00:00") - 9 * 3_600_000
    hours = {weight.bucket(Moment(first + hour * MS_PER_DAY // 24)) for hour in range(24)}
    assert len(hours) == 1
    assert hours != {weight.bucket(Moment(first + MS_PER_DAY))}
