"""Items borrow from their kind: a new Christmas item is known as one; clocks are those on the user's wall."""

import math
import tracemalloc

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY, MS_PER_HOUR
from springtide.plugins.contracts import Circumstances, ItemGroups, Moment, Observed
from springtide.testing import check_context_weight
from springtide_plugins.context_weights.calendar import Calendar
from springtide_plugins.context_weights.counts import log_lift
from springtide_plugins.context_weights.trend import Trend

NEW_YEAR_MS = 1_704_067_200_000  # 2024-01-01 00:00 UTC, a Monday.
DECEMBER_MS, JULY_MS = NEW_YEAR_MS + 354 * MS_PER_DAY, NEW_YEAR_MS + 192 * MS_PER_DAY


def groups_of(*levels: list[int]) -> ItemGroups:
    codes = tuple(np.array(level, np.int32) for level in levels)
    return ItemGroups(
        tuple(f"level {place}" for place in range(len(levels))), codes, tuple(int(max(level)) + 1 for level in levels)
    )


def observed_of(items, times, zones: Circumstances | None = None) -> Observed:
    count = len(items)
    known = {} if zones is None else {"time_zone": zones}
    rows, ones = np.array(items, np.int32), np.ones(count, np.float32)
    return Observed(np.zeros(count, np.int32), rows, np.array(times, np.int64), ones, known)


def test_lift_is_shrunk_to_that_of_the_kind():
    observed, expected = np.array([8.0, 4.0, 0.0, 3.0]), np.array([4.0, 2.0, 0.0, 6.0])
    lifts = np.exp(log_lift(observed, expected, 2.0, groups_of([0, 0, 0, -1])))
    # The group: (12 + 2 · 1) / (6 + 2) = 1.75. Items: (8 + 3.5) / 6, (4 + 3.5) / 4, 3.5 / 2, and (3 + 2) / 8 alone.
    assert lifts.tolist() == pytest.approx([11.5 / 6, 7.5 / 4, 1.75, 5 / 8], rel=1e-5)


def test_fine_groups_are_shrunk_to_the_coarse_ones_above():
    observed, expected = np.array([6.0, 2.0]), np.array([2.0, 2.0])
    lifts = np.exp(log_lift(observed, expected, 1.0, groups_of([0, 0], [0, 1])))
    above = (8 + 1) / (4 + 1)
    types = [(6 + above) / 3, (2 + above) / 3]
    assert lifts.tolist() == pytest.approx([(6 + types[0]) / 3, (2 + types[1]) / 3], rel=1e-5)


def test_items_that_no_group_knows_are_drawn_to_as_usual():
    observed, expected = np.array([4.0, 0.0, 0.0]), np.array([1.0, 0.0, 0.0])
    assert log_lift(observed, expected, 1.0, groups_of([0]))[1:].tolist() == [0.0, 0.0], "beyond what was grouped"
    assert log_lift(observed, expected, 1.0)[0] == pytest.approx(math.log(5 / 2))


def test_compiled_lift_is_that_of_its_definition():
    generator = np.random.default_rng(5)
    for num_items, num_grouped, gaps in ((500, 500, 0.0), (500, 500, 0.3), (500, 320, 0.1), (40, 60, 0.0)):
        observed, expected = generator.poisson(2.0, num_items).astype(float), generator.gamma(0.3, 4.0, num_items)
        expected[generator.random(num_items) < 0.2] = 0.0
        levels = [generator.integers(0, size, num_grouped) for size in (3, 11, 60)]
        levels = [np.where(generator.random(num_grouped) < gaps, -1, codes) for codes in levels]
        groups = groups_of(*(codes.tolist() for codes in levels), [-1] * num_grouped)
        lift = np.ones(num_items)
        for codes, size in zip(levels, groups.sizes, strict=False):
            members = [np.flatnonzero(codes[:num_items] == group) for group in range(size)]
            num_known = sum(map(len, members))
            of_group = []
            for rows in members:
                spread = expected[rows] + 2.0 / num_known
                above = (spread * lift[rows]).sum() / spread.sum() if len(rows) else 1.0
                of_group.append((observed[rows].sum() + 2.0 * above) / (expected[rows].sum() + 2.0))
            for rows, of_rows in zip(members, of_group, strict=True):
                lift[rows] = of_rows
        wanted = np.log((observed + 2.0 * lift) / (expected + 2.0))
        np.testing.assert_allclose(log_lift(observed, expected, 2.0, groups), wanted, rtol=0, atol=5e-7)


def test_lift_takes_two_numbers_of_memory_for_each_item_whatever_the_levels():
    num_items = 50_000
    codes = [np.arange(num_items) % size for size in (5, 50, 500)]
    groups, ones = groups_of(*(of_level.tolist() for of_level in codes)), np.ones(num_items)
    log_lift(ones, ones, 1.0, groups)
    tracemalloc.start()
    try:
        log_lift(ones, ones, 1.0, groups)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 13 * num_items, "the lift, float32, and that of its group, float64"


def test_lift_of_a_group_that_is_not_there_is_refused():
    groups = ItemGroups(("type",), (np.array([0, 2], np.int32),), (2,))
    with pytest.raises(ValueError, match="wanted groups below 2, got 2"):
        log_lift(np.ones(2), np.ones(2), 1.0, groups)


@pytest.mark.parametrize("make", [Calendar, Trend])
def test_weights_that_are_grouped_keep_their_contract(make):
    def grouped():
        weight = make()
        weight.regroup(groups_of([0, 0, 1, 1, 0, 1, 0], [0, 1, 2, 2, 0, 3, 1]))
        return weight

    check_context_weight(grouped)


def test_new_item_of_a_christmas_type_is_known_as_one():
    # Item 0 is bought before Christmas, item 1 in July, item 2 all year; item 3 is new and of the type of item 0.
    days = np.arange(3 * 365)
    of_year = days % 365
    items, times = [], []
    for item, wanted in (
        (0, (of_year > 330) & (of_year < 360)),
        (1, (of_year > 180) & (of_year < 210)),
        (2, days >= 0),
    ):
        chosen = days[wanted]
        items += [item] * len(chosen) * 3
        times += (NEW_YEAR_MS + np.repeat(chosen, 3) * MS_PER_DAY).tolist()
    weight = Calendar()
    weight.observe(observed_of(items, times))
    weight.regroup(groups_of([0, 1, 1, 0, 1]))
    year = {
        name: weight.item_log_lifts(Moment(at), 5)[2] for name, at in (("december", DECEMBER_MS), ("july", JULY_MS))
    }
    assert year["december"][3] > 1.0 > -1.0 > year["july"][3]
    assert year["december"][3] == pytest.approx(year["december"][0], abs=0.3), "as its type"
    weight.regroup(ItemGroups())
    assert weight.item_log_lifts(Moment(DECEMBER_MS), 5)[2][3] == 0.0, "of no kind, it is as usual"


def test_new_item_of_a_rising_type_rises():
    weight = Trend(half_lives_days=(7.0,))
    old = [0, 1] * 50
    weight.observe(observed_of([*old, *[0] * 50], [*range(100), *[60 * MS_PER_DAY] * 50]))
    weight.regroup(groups_of([0, 1, 0]))
    (lifts,) = weight.item_log_lifts(Moment(60 * MS_PER_DAY), 3)
    assert lifts[2] == pytest.approx(lifts[0], abs=0.1)
    assert lifts[2] > 0.2 > lifts[1]


def test_hours_are_those_on_the_users_wall():
    # Item 0 is bought at 8 in the morning in Tokyo, item 1 at 8 in Lisbon, both on the first ten days of the year.
    zones = Circumstances(np.array([0] * 10 + [1] * 10, np.int32), ["Asia/Tokyo", "Europe/Lisbon"])
    mornings = NEW_YEAR_MS + 8 * MS_PER_HOUR + np.arange(10) * MS_PER_DAY
    weight = Calendar(time_zone="UTC")
    weight.observe(observed_of([0] * 10 + [1] * 10, [*(mornings - 9 * MS_PER_HOUR), *mornings], zones))
    weight.observe(observed_of([2] * 20, NEW_YEAR_MS + 20 * MS_PER_HOUR + np.arange(20) * MS_PER_DAY))

    def hours(at_utc: int, zone: str) -> list[float]:
        moment = Moment(NEW_YEAR_MS + at_utc * MS_PER_HOUR, attributes={"time_zone": zone} if zone else {})
        return weight.item_log_lifts(moment, 3)[0].tolist()

    assert min(hours(8, "")[:2]) > 0.3 > hours(8, "")[2], "both are for the morning, wherever they were bought"
    assert hours(23, "Asia/Tokyo") == pytest.approx(hours(8, "UTC"), abs=1e-5), "eight in the morning in Tokyo"
    assert hours(20, "")[2] > 0.3


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "x" * 5_000, "\x00", "Europe"])
def test_zone_that_there_is_not_is_the_default(zone):
    weight = Calendar(time_zone="Asia/Tokyo")
    zones = Circumstances(np.zeros(5, np.int32), [zone])
    weight.observe(observed_of([0] * 5, [NEW_YEAR_MS] * 5, zones))
    weight.observe(observed_of([1] * 5, [NEW_YEAR_MS] * 5))
    lifts = weight.item_log_lifts(Moment(NEW_YEAR_MS, attributes={"time_zone": zone}), 2)
    assert np.array_equal(lifts[:, 0], lifts[:, 1])
    assert np.array_equal(lifts, weight.item_log_lifts(Moment(NEW_YEAR_MS), 2))
    assert weight.bucket(Moment(NEW_YEAR_MS, attributes={"time_zone": zone})) == weight.bucket(Moment(NEW_YEAR_MS))


def test_night_before_a_month_ends_is_near_the_next_and_years_wrap():
    weight = Calendar()
    new_year = NEW_YEAR_MS + 366 * MS_PER_DAY  # 2025-01-01.
    weight.observe(observed_of([0] * 30, [new_year] * 30))
    weight.observe(observed_of([1] * 300, NEW_YEAR_MS + np.arange(300) * MS_PER_DAY))
    eve = weight.item_log_lifts(Moment(new_year - MS_PER_HOUR), 2)[2:].sum(0)
    morning = weight.item_log_lifts(Moment(new_year), 2)[2:].sum(0)
    assert eve[0] > 0.8
    assert eve[0] == pytest.approx(morning[0], abs=0.15)


def test_a_million_items_fit_into_a_gibibyte():
    weight = Calendar()
    num_items = 10_000
    weight.observe(observed_of(np.arange(num_items), [NEW_YEAR_MS] * num_items))
    num_bytes = sum(array.nbytes for array in weight.state().values())
    assert num_bytes / num_items * 1_000_000 < 2**30
