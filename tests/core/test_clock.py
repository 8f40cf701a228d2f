"""The clock that requests without a time are answered by: the wall clock, or the stream's own time."""

import pytest

from springtide.clock import LIVE_WITHIN_MS, MS_PER_DAY, AsOf, ClockName, StreamClock

NOW_MS = 1_800_000_000_000
LONG_AGO_MS = 900_000_000_000


def clock_of(name: ClockName, *events: tuple[int, int]) -> StreamClock:
    """Return a clock that has noted newest events, each with when it came."""
    clock = StreamClock(name)
    for newest_ms, came_ms in events:
        clock.note(newest_ms, came_ms)
    return clock


@pytest.mark.parametrize("name", ["auto", "wall", "stream"])
def test_before_the_first_event_it_is_the_wall_clock(name: ClockName) -> None:
    clock = clock_of(name)
    clock.note(None, NOW_MS)
    assert clock.read(NOW_MS) == AsOf(NOW_MS, "wall")


def test_past_events_are_answered_as_of_their_end_and_time_goes_on_from_there() -> None:
    clock = clock_of("auto", (LONG_AGO_MS, NOW_MS))
    assert clock.read(NOW_MS) == AsOf(LONG_AGO_MS, "stream")
    assert clock.read(NOW_MS + 90_000) == AsOf(LONG_AGO_MS + 90_000, "stream")


@pytest.mark.parametrize(
    ("name", "late_ms", "source"),
    [
        ("auto", LIVE_WITHIN_MS, "wall"),
        ("auto", LIVE_WITHIN_MS + 1, "stream"),
        ("stream", 1, "stream"),
        ("wall", 10 * LIVE_WITHIN_MS, "wall"),
    ],
)
def test_a_week_decides_and_a_setting_overrules_it(name: ClockName, late_ms: int, source: str) -> None:
    as_of = clock_of(name, (NOW_MS - late_ms, NOW_MS)).read(NOW_MS)
    assert (as_of.source, NOW_MS - as_of.timestamp_ms) == (source, late_ms if source == "stream" else 0)


def test_a_live_stream_that_falls_silent_stays_with_the_wall_clock() -> None:
    clock = clock_of("auto", (NOW_MS - 50, NOW_MS))
    assert clock.read(NOW_MS + 30 * MS_PER_DAY) == AsOf(NOW_MS + 30 * MS_PER_DAY, "wall")


def test_it_never_jumps_back() -> None:
    clock = clock_of("auto", (LONG_AGO_MS, NOW_MS))
    # A replay slower than time: the newest event is behind where the clock has gone on to.
    clock.note(LONG_AGO_MS + 1_000, NOW_MS + 60_000)
    assert clock.read(NOW_MS + 60_000).timestamp_ms == LONG_AGO_MS + 60_000
    # A day of events in a second: it goes along.
    clock.note(LONG_AGO_MS + MS_PER_DAY, NOW_MS + 61_000)
    assert clock.read(NOW_MS + 61_000).timestamp_ms == LONG_AGO_MS + MS_PER_DAY


def test_an_event_ahead_of_its_time_moves_it_no_further_than_to_now() -> None:
    for name in ("auto", "stream"):
        clock = clock_of(name, (LONG_AGO_MS, NOW_MS), (NOW_MS + 400 * MS_PER_DAY, NOW_MS))
        assert clock.read(NOW_MS).timestamp_ms == NOW_MS


def test_an_event_is_dated_as_a_request_of_its_time_would_have_been() -> None:
    late = [NOW_MS - 2 * MS_PER_DAY - 5, NOW_MS - 2 * MS_PER_DAY, NOW_MS + 1]
    # Two days late, answered by the wall clock: a request then was answered as of two days later, and never after now.
    assert clock_of("auto", (late[1], NOW_MS)).when_it_happened(late, NOW_MS) == [NOW_MS - 5, NOW_MS, NOW_MS + 1]
    assert clock_of("stream", (late[1], NOW_MS)).when_it_happened(late, NOW_MS) == late
    assert clock_of("auto", (LONG_AGO_MS, NOW_MS)).when_it_happened([LONG_AGO_MS], NOW_MS) == [LONG_AGO_MS]
    assert StreamClock().when_it_happened(late, NOW_MS) == late
