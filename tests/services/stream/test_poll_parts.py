"""Polls in parts."""

import pytest

from springtide.events import RawEvent
from springtide_services.stream.poll_parts import parts_of


def records(num: int, num_bytes: int) -> list[RawEvent]:
    return [RawEvent(bytes(num_bytes), offset=offset) for offset in range(num)]


@pytest.mark.parametrize("num", [1, 63, 64, 5_000])
def test_single_events_stay_together(num: int) -> None:
    polled = records(num, 80)
    assert list(parts_of(polled, is_live=True)) == [polled]


@pytest.mark.parametrize(("num", "num_bytes", "at_once"), [(5_000, 20_000, 20), (27, 20_000, 20), (3, 1_000_000, 1)])
def test_packed_events_come_in_parts_in_order(num: int, num_bytes: int, at_once: int) -> None:
    polled = records(num, num_bytes)
    parts = list(parts_of(polled, is_live=True))
    assert [record for part in parts for record in part] == polled
    assert max(map(len, parts)) == at_once


def test_a_stream_that_is_caught_up_with_comes_all_at_once() -> None:
    polled = records(5_000, 20_000)
    assert list(parts_of(polled, is_live=False)) == [polled]


def test_an_empty_poll_has_no_parts() -> None:
    assert list(parts_of([], is_live=True)) == []


def test_records_without_a_value_have_no_size() -> None:
    polled = [RawEvent(None)] * 100
    assert list(parts_of(polled, is_live=True)) == [polled]
