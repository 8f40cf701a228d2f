"""Item weights by moment are kept within bounds: of memory, of age, and of the time that a refresh takes."""

import itertools
from collections.abc import Hashable

import numpy as np
import numpy.typing as npt
import pytest

from springtide.model.exponents import Exponents, TermExponents
from springtide.plugins.contracts import ContextWeight, Moment
from springtide.ranking.moment_cache import MAX_BYTES, MomentCache

NUM_ITEMS = 1_000
MOMENT_BYTES = 4_096 + 4 * 4 * NUM_ITEMS  # One weight: two rows of it, and two totals, of 4 bytes an item.
EXPONENTS = Exponents(unseen=TermExponents(1.0, {"counting": {"lift": 2.0}}), seen=TermExponents(1.0))


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class Counting(ContextWeight):
    """Each call gives a higher lift, takes its time, and is noted; each place is a bucket of its own."""

    def __init__(self, clock: Clock, takes_s: float = 0.0) -> None:
        self.clock, self.takes_s = clock, takes_s
        self.made: list[str] = []

    def bucket(self, moment: Moment) -> str:
        return moment.place

    def item_log_lifts(self, moment: Moment, num_items: int) -> npt.NDArray[np.float32]:
        self.made.append(moment.place)
        self.clock.now_s += self.takes_s
        return np.full((1, num_items), len(self.made), np.float32)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def at(place: int | str) -> Moment:
    return Moment(0, place=str(place))


def test_moments_of_one_bucket_are_made_once(clock: Clock) -> None:
    weight = Counting(clock)
    cache = MomentCache({"counting": weight}, EXPONENTS, clock_s=clock)

    weights = [cache.at(at("north"), NUM_ITEMS) for _ in range(3)]

    assert weight.made == ["north"]
    assert weights[2].unseen_total.tolist() == [2.0] * NUM_ITEMS  # A log lift of 1, twice.


def test_hundreds_of_moments_are_kept(clock: Clock) -> None:
    weight = Counting(clock)
    # A hundredth of the bytes at a hundredth of 100,000 items: 5,368,709 over 20,096 is 267.
    cache = MomentCache({"counting": weight}, EXPONENTS, max_bytes=MAX_BYTES // 100, clock_s=clock)

    for place in itertools.chain(range(267), range(267)):
        cache.at(at(place), NUM_ITEMS)
    assert len(weight.made) == 267, "wanted the second round from what was kept"
    cache.at(at(267), NUM_ITEMS)
    assert len(cache) == 267


@pytest.mark.parametrize(("max_bytes", "num_kept"), [(10 * MOMENT_BYTES, 10), (10 * MOMENT_BYTES - 1, 9), (1, 4)])
def test_as_many_moments_are_kept_as_fit_and_four_at_least(max_bytes: int, num_kept: int, clock: Clock) -> None:
    cache = MomentCache({"counting": Counting(clock)}, EXPONENTS, max_bytes=max_bytes, clock_s=clock)

    for place in range(50):
        cache.at(at(place), NUM_ITEMS)

    assert len(cache) == num_kept


def test_what_was_asked_for_longest_ago_goes_first(clock: Clock) -> None:
    weight = Counting(clock)
    cache = MomentCache({"counting": weight}, EXPONENTS, max_bytes=5 * MOMENT_BYTES, clock_s=clock)
    for place in (0, 1, 2, 3, 4, 0, 5):  # 0 is asked for again, so 1 has to go.
        cache.at(at(place), NUM_ITEMS)
    weight.made.clear()

    for place in (0, 2, 3, 4, 5):
        cache.at(at(place), NUM_ITEMS)
    assert weight.made == []
    cache.at(at(1), NUM_ITEMS)
    assert weight.made == ["1"]


def test_room_is_made_when_more_items_make_moments_larger(clock: Clock) -> None:
    cache = MomentCache({"counting": Counting(clock)}, EXPONENTS, max_bytes=10 * MOMENT_BYTES, clock_s=clock)
    for place in range(10):
        cache.at(at(place), NUM_ITEMS)

    cache.refresh(2 * NUM_ITEMS)

    assert len(cache) == 5  # Of 36,096 bytes each; 200,960 are there.
    assert len(cache.at(at(9), 2 * NUM_ITEMS).unseen_total) == 2 * NUM_ITEMS


def test_more_items_than_are_kept_are_made_at_once(clock: Clock) -> None:
    cache = MomentCache({"counting": Counting(clock)}, EXPONENTS, clock_s=clock)
    cache.at(at("north"), NUM_ITEMS)

    assert len(cache.at(at("north"), NUM_ITEMS + 1).unseen_total) == NUM_ITEMS + 1


def test_refresh_ends_in_time_and_takes_first_what_was_asked_for_last(clock: Clock) -> None:
    weight = Counting(clock, takes_s=0.25)
    cache = MomentCache({"counting": weight}, EXPONENTS, refresh_s=1.0, clock_s=clock)
    for place in range(10):
        cache.at(at(place), NUM_ITEMS)
    weight.made.clear()
    clock.now_s += 7.5

    started_s = clock.now_s
    cache.refresh(NUM_ITEMS)

    assert weight.made == ["9", "8", "7", "6"]
    assert clock.now_s - started_s == 1.0


def test_without_refreshes_weights_are_given_out_until_they_are_stale(clock: Clock) -> None:
    weight = Counting(clock)
    cache = MomentCache({"counting": weight}, EXPONENTS, stale_s=15.0, clock_s=clock)
    cache.at(at("north"), NUM_ITEMS)

    clock.now_s += 15.0
    assert cache.at(at("north"), NUM_ITEMS).unseen_total[0] == 2.0
    clock.now_s += 0.1
    assert cache.at(at("north"), NUM_ITEMS).unseen_total[0] == 4.0  # A log lift of 2 now, twice.


def test_what_a_late_refresh_has_not_come_to_yet_makes_no_request_wait_until_twice_as_long(clock: Clock) -> None:
    weight = Counting(clock)
    cache = MomentCache({"counting": weight}, EXPONENTS, refresh_s=0.0, stale_s=15.0, clock_s=clock)
    cache.at(at("north"), NUM_ITEMS)

    clock.now_s += 30.0
    cache.refresh(NUM_ITEMS)
    assert cache.at(at("north"), NUM_ITEMS).unseen_total[0] == 2.0
    clock.now_s += 0.1
    assert cache.at(at("north"), NUM_ITEMS).unseen_total[0] == 4.0


def test_weights_that_take_long_are_computed_again_less_often(clock: Clock) -> None:
    weight = Counting(clock, takes_s=0.1)
    cache = MomentCache({"counting": weight}, EXPONENTS, clock_s=clock)
    cache.at(at("north"), NUM_ITEMS)
    weight.made.clear()

    started_s = clock.now_s
    while clock.now_s - started_s < 60:
        clock.now_s += 1.0
        cache.at(at("north"), NUM_ITEMS)
        cache.refresh(NUM_ITEMS)

    assert 10 <= len(weight.made) <= 12  # A fiftieth of the time: every 5 seconds.


def test_what_is_refreshed_is_new_to_the_next_request(clock: Clock) -> None:
    weight = Counting(clock)
    cache = MomentCache({"counting": weight}, EXPONENTS, stale_s=15.0, clock_s=clock)
    cache.at(at("north"), NUM_ITEMS)

    for _ in range(3):
        clock.now_s += 14.0
        cache.refresh(NUM_ITEMS)

    assert cache.at(at("north"), NUM_ITEMS).unseen_total[0] == 8.0
    assert len(weight.made) == 4


def test_what_nobody_asks_for_is_forgotten_by_the_refresh(clock: Clock) -> None:
    weight = Counting(clock)
    cache = MomentCache({"counting": weight}, EXPONENTS, clock_s=clock)
    cache.at(at("north"), NUM_ITEMS)
    clock.now_s += 40.0
    cache.at(at("south"), NUM_ITEMS)
    clock.now_s += 40.0

    cache.refresh(NUM_ITEMS)

    assert len(cache) == 1
    assert weight.made == ["north", "south", "south"]


def test_what_was_asked_for_in_passing_is_shared_and_forgotten_by_the_next_refresh(clock: Clock) -> None:
    weight = Counting(clock)
    cache = MomentCache({"counting": weight}, EXPONENTS, clock_s=clock)
    cache.at(at("lasting"), NUM_ITEMS)
    for place in ("passing", "passing", "lasting"):
        cache.at(at(place), NUM_ITEMS, keep_in_cache=False)
    assert weight.made == ["lasting", "passing"]
    cache.refresh(NUM_ITEMS)
    assert weight.made == ["lasting", "passing", "lasting"]
    assert len(cache) == 1


def test_asking_in_passing_does_not_keep_a_moment_from_being_idle(clock: Clock) -> None:
    weight = Counting(clock)
    cache = MomentCache({"counting": weight}, EXPONENTS, clock_s=clock)
    cache.at(at("north"), NUM_ITEMS)
    clock.now_s += 61
    cache.at(at("north"), NUM_ITEMS, keep_in_cache=False)
    cache.refresh(NUM_ITEMS)
    assert len(cache) == 0


class Hourly(Counting):
    """Has a bucket for each hour and place."""

    def bucket(self, moment: Moment) -> Hashable:
        return moment.timestamp_ms // 3_600_000, moment.place


@pytest.mark.parametrize("place", ["", "north"])
def test_who_asks_for_now_never_waits_for_the_next_hour(place: str, clock: Clock) -> None:
    weight = Hourly(clock)
    cache = MomentCache({"counting": weight}, EXPONENTS, clock_s=clock)
    start_s = clock.now_s
    cache.refresh(NUM_ITEMS, int(clock.now_s * 1_000))
    cache.at(Moment(int(clock.now_s * 1_000), place), NUM_ITEMS)
    num_made_for_requests = 0
    while clock.now_s < start_s + 4 * 3_600:
        clock.now_s += 10.0
        num_made = len(weight.made)
        cache.at(Moment(int(clock.now_s * 1_000), place), NUM_ITEMS)
        num_made_for_requests += len(weight.made) - num_made
        cache.refresh(NUM_ITEMS, int(clock.now_s * 1_000))

    assert num_made_for_requests == 0
    assert len(cache) <= 4


def test_now_stays_in_the_cache_though_nobody_asks(clock: Clock) -> None:
    weight = Hourly(clock)
    cache = MomentCache({"counting": weight}, EXPONENTS, clock_s=clock)
    for _ in range(100):
        clock.now_s += 61.0
        cache.refresh(NUM_ITEMS, int(clock.now_s * 1_000))
    weight.made.clear()

    cache.at(Moment(int(clock.now_s * 1_000)), NUM_ITEMS)

    assert weight.made == []
    assert len(cache) <= 2


class ByHour(ContextWeight):
    """Counts how often it is asked for the bucket."""

    bucket_ms = 3_600_000

    def __init__(self) -> None:
        self.num_asked = 0

    def bucket(self, moment: Moment) -> Hashable:
        self.num_asked += 1
        return moment.timestamp_ms // 3_600_000


class ByMinute(ByHour):
    """Inherits a span that is not true of its own buckets."""

    def bucket(self, moment: Moment) -> Hashable:
        self.num_asked += 1
        return moment.timestamp_ms // 60_000


def test_moments_of_one_span_are_asked_for_their_bucket_once() -> None:
    weight = ByHour()
    cache = MomentCache({"hour": weight, "habit": ContextWeight()}, EXPONENTS)
    for minute in range(90):
        cache.at(Moment(minute * 60_000), NUM_ITEMS)
    assert (len(cache), weight.num_asked) == (2, 2)
    cache.at(Moment(0, "north"), NUM_ITEMS)
    assert weight.num_asked == 3


def test_a_bucket_of_its_own_is_asked_for_each_moment() -> None:
    cache = MomentCache({"minute": ByMinute()}, EXPONENTS)
    for minute in range(90):
        cache.at(Moment(minute * 60_000), NUM_ITEMS)
    assert len(cache) == 90
