"""Counting calls: totals, buckets, and percentiles of the last minute."""

import time
from typing import Any

import grpc
import pytest

from springtide_services.metrics import calls
from springtide_services.metrics.calls import EDGES_S, WINDOW_S, CallCounts, MethodCounts

OK = grpc.StatusCode.OK.value[0]
PATH = "/a.Service/Ask"


class Clock:
    """Takes the place of the clock: what is measured is then known."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = 0
        monkeypatch.setattr(calls.time, "perf_counter_ns", lambda: self.now_ns)

    def call(self, counts: MethodCounts, took_s: float, code: int = OK) -> None:
        begun_ns = counts.begin()
        self.now_ns += round(1e9 * took_s)
        counts.end(code, begun_ns)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_calls_are_counted_by_their_status(clock: Clock) -> None:
    counts = MethodCounts(PATH, "unary")
    for code in (OK, OK, grpc.StatusCode.NOT_FOUND.value[0]):
        clock.call(counts, 0.5, code)
    counts.begin()
    counts.refuse(grpc.StatusCode.UNAUTHENTICATED.value[0])
    assert counts.num_ended == {"OK": 2, "NOT_FOUND": 1, "UNAUTHENTICATED": 1}
    assert (counts.num_started, counts.num_open, counts.total_s) == (5, 1, 1.5)


def test_a_time_is_in_the_bucket_whose_edge_it_does_not_pass(clock: Clock) -> None:
    counts = MethodCounts(PATH, "unary")
    for took_s in (EDGES_S[0], EDGES_S[3], EDGES_S[3] * 1.01, EDGES_S[-1], 20.0):
        clock.call(counts, took_s)
    upto = counts.times_in_buckets()
    assert upto == [1, 1, 1, 2, *[3] * (len(EDGES_S) - 5), 4, 5]


def test_percentiles_are_within_a_tenth(clock: Clock) -> None:
    counts = MethodCounts(PATH, "unary")
    for number in range(1, 101):
        clock.call(counts, number / 1_000)
    recent = counts.recent()
    assert recent.num == 100
    assert [recent.p50_ms, recent.p95_ms, recent.p99_ms] == pytest.approx([50, 95, 99], rel=0.1)


def test_what_is_older_than_a_minute_does_not_count(clock: Clock) -> None:
    counts = MethodCounts(PATH, "unary")
    clock.call(counts, 0.001)
    clock.now_ns += (WINDOW_S // 2) * 1_000_000_000
    clock.call(counts, 0.1)
    assert counts.recent().num == 2
    clock.now_ns += (WINDOW_S // 2 + 1) * 1_000_000_000
    recent = counts.recent()
    assert recent.num == 1
    assert recent.p50_ms == pytest.approx(100, rel=0.1)
    clock.now_ns += 10 * WINDOW_S * 1_000_000_000
    assert counts.recent() == calls.RecentTimes(0, 0.0, 0.0, 0.0)


def test_calls_of_paths_that_are_no_methods_are_not_kept() -> None:
    counted = CallCounts()
    known = counted.of(PATH, "unary")
    counted.refuse(PATH, grpc.StatusCode.PERMISSION_DENIED)
    for number in range(1_000):
        counted.refuse(f"/made.Up/{number}", grpc.StatusCode.PERMISSION_DENIED)
    assert list(counted.methods()) == [known]
    assert known.num_ended == {"PERMISSION_DENIED": 1}
    assert counted.of(PATH, "unary") is known


def test_counting_a_call_takes_less_than_three_microseconds() -> None:
    counts: Any = MethodCounts(PATH, "unary")
    taken = []
    for _ in range(10):
        started = time.thread_time_ns()
        for _ in range(1_000):
            counts.end(OK, counts.begin())
        taken.append((time.thread_time_ns() - started) / 1_000)
    assert sorted(taken)[2] < 3_000
