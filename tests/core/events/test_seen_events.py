"""The window of event ids remembers what it says, and no more than it may."""

import random

import numpy as np
import pytest

from springtide.events.marks import EventMarks
from springtide.events.seen_events import SeenEvents

HOUR_S = 3_600


def marks(keys: list[int], times_s: list[int] | None = None, contents: list[int] | None = None) -> EventMarks:
    count = len(keys)
    return EventMarks(
        np.arange(count),
        np.array(keys, np.uint64),
        np.array(contents or [0] * count, np.uint32),
        np.array(times_s or [0] * count, np.uint32),
    )


def test_event_comes_for_the_first_time_once():
    seen = SeenEvents(100, HOUR_S)
    assert seen.add(marks([7, 8, 7])).tolist() == [True, True, False]
    assert seen.add(marks([8, 9])).tolist() == [False, True]
    assert (len(seen), seen.num_duplicates, seen.num_changed) == (3, 2, 0)


def test_duplicate_with_other_content_is_counted():
    seen = SeenEvents(100, HOUR_S)
    seen.add(marks([7, 8], contents=[1, 2]))
    seen.add(marks([7, 8], contents=[1, 3]))
    assert (seen.num_duplicates, seen.num_changed) == (2, 1)


def test_event_counts_again_when_it_is_published_after_the_window():
    seen = SeenEvents(100, HOUR_S)
    assert seen.add(marks([7, 7, 7], [10_000, 10_000 + HOUR_S, 10_001 + HOUR_S])).tolist() == [True, False, True]
    assert seen.add(marks([7], [10_000])).tolist() == [True]  # The other way round, too: records may be late.
    assert seen.add(marks([7], [10_000])).tolist() == [False]


@pytest.mark.parametrize("max_events", [1, 2, 3, 1_000, 1_024, 3_000])
def test_window_remembers_the_latest_events(max_events):
    generator = random.Random(max_events)
    seen = SeenEvents(max_events, 1e9)
    latest: dict[int, None] = {}  # In the order of arrival.
    # Half of the keys have the same upper half, and so the same first slot.
    choices = [
        (generator.choice((1, generator.randrange(1 << 32))) << 32) | low for low in range(1, 2 * max_events + 9)
    ]
    for _ in range(60):
        keys = generator.choices(choices, k=generator.randrange(1, max_events + 3))
        wanted = []
        for key in keys:
            wanted.append(key not in latest)
            latest.setdefault(key)
            if len(latest) > max_events:
                del latest[next(iter(latest))]
        assert seen.add(marks(keys)).tolist() == wanted
        assert len(seen) == len(latest)
        if generator.random() < 0.2:
            again = SeenEvents(max_events, 1e9)
            again.restore(seen.snapshot())
            seen = again


def test_window_takes_no_more_memory_than_its_bound():
    seen = SeenEvents(10_000, 1e9)
    for start in range(1, 100_000, 1_000):
        seen.add(marks(list(range(start, start + 1_000))))
    assert len(seen) == 10_000
    assert seen.num_bytes <= 40 * 10_000


def test_smaller_window_restores_the_latest_events():
    seen = SeenEvents(100, HOUR_S)
    seen.add(marks(list(range(1, 51))))
    smaller = SeenEvents(10, HOUR_S)
    smaller.restore(seen.snapshot())
    assert smaller.add(marks([41, 50])).tolist() == [False, False]
    assert smaller.add(marks([40])).tolist() == [True]


@pytest.mark.parametrize("max_events", [1, 3, 1_024, 1_500, 5_000])
def test_a_copy_made_later_is_what_was_remembered(max_events):
    """However many events come before each part of it, and whether the ring grows or its places are used anew."""
    generator = random.Random(max_events)
    seen, numbers = SeenEvents(max_events, 1e9), iter(range(1, 10**9))
    for _ in range(40):
        for _ in range(generator.randrange(4)):
            seen.add(marks([next(numbers) for _ in range(generator.randrange(1, 900))]))
        if not len(seen):
            continue
        wanted, late, parts = seen.snapshot(), seen.late_snapshot(), []
        for _ in range(generator.randrange(1, 6)):
            seen.add(marks([next(numbers) for _ in range(generator.randrange(1, 900))]))
            start = generator.randrange(late.first, late.stop)
            parts.append((start, late.part(start, generator.randrange(start, late.stop) + 1)))
        for start, part in (*parts, (late.first, late.part(late.first, late.stop))):
            at = slice(start - wanted.first, start - wanted.first + len(part.keys))
            np.testing.assert_array_equal(part.keys, wanted.keys[at])
            np.testing.assert_array_equal(part.published_s, wanted.published_s[at])


def test_a_late_copy_costs_nothing_until_its_places_are_used_anew():
    seen = SeenEvents(1_000_000, 1e9)
    seen.add(marks(list(range(1, 10_000))))
    late = seen.late_snapshot()
    seen.add(marks(list(range(10_000, 10_100))))
    assert late._kept == []
    assert np.shares_memory(late._ring[0], seen._keys)
