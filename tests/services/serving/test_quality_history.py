"""Live quality over time: points of a minute that are joined when there are many, and no question is lost."""

import math

import numpy as np
import pytest

from springtide_services.serving.quality_history import QualityHistory

MINUTE_MS = 60_000


def add(history: QualityHistory, version: str, ranks: list[int], now_ms: int, is_new: bool = False) -> None:
    history.add(version, np.array(ranks, np.int64), np.full(len(ranks), is_new), now_ms)


def test_questions_of_a_minute_are_one_point() -> None:
    history = QualityHistory()
    add(history, "1", [1, 3], 1_000)
    add(history, "1", [21], 1_000 + MINUTE_MS - 1, is_new=True)
    add(history, "1", [20], 1_000 + MINUTE_MS)
    first, second = history.points()()

    assert (first.start_ms, first.end_ms, first.version) == (1_000, 1_000 + MINUTE_MS - 1, "1")
    assert first.all.num_questions == 3
    assert first.all.ndcg == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert first.all.hit_rate == pytest.approx(2 / 3)
    assert first.all.mrr == pytest.approx((1 + 1 / 3 + 1 / 21) / 3)
    assert (first.unseen.num_questions, first.unseen.hit_rate) == (1, 0.0)
    assert (second.start_ms, second.all.ndcg) == (1_000 + MINUTE_MS, pytest.approx(1 / math.log2(21)))
    assert (second.unseen.num_questions, second.unseen.mrr) == (0, 0.0)


def test_another_version_begins_a_point_of_its_own() -> None:
    history = QualityHistory()
    for version in ("1", "2", "1"):
        add(history, version, [1], 1_000)

    assert [(point.version, point.all.num_questions) for point in history.points()()] == [("1", 1), ("2", 1), ("1", 1)]


def test_a_clock_that_is_set_back_begins_a_point() -> None:
    history = QualityHistory()
    add(history, "1", [1], 10 * MINUTE_MS)
    add(history, "1", [1], 3 * MINUTE_MS)

    assert [point.start_ms for point in history.points()()] == [10 * MINUTE_MS, 3 * MINUTE_MS]


def test_neighbours_are_joined_when_there_are_too_many_points() -> None:
    history = QualityHistory(max_points=10)
    for minute in range(1_000):
        add(history, "1", [1, 30], minute * MINUTE_MS, is_new=minute % 2 == 0)
        assert len(history.points()()) <= 10
    points = history.points()()

    assert sum(point.all.num_questions for point in points) == 2_000
    assert sum(point.unseen.num_questions for point in points) == 1_000
    assert all(point.all.hit_rate == 0.5 for point in points)
    assert [point.start_ms for point in points] == sorted(point.start_ms for point in points)
    assert points[0].start_ms == 0
    assert points[-1].end_ms == 999 * MINUTE_MS
    spans = [point.end_ms - point.start_ms for point in points[:-1]]
    assert max(spans) < 2.5 * min(spans), "of about the same length"


def test_points_of_two_versions_are_never_joined_and_the_oldest_go_instead() -> None:
    history = QualityHistory(max_points=10)
    for number in range(50):
        add(history, str(number % 2), [1], number * MINUTE_MS)
    points = history.points()()

    assert len(points) <= 10
    assert all(point.all.num_questions == 1 for point in points)
    assert points[-1].start_ms == 49 * MINUTE_MS


def test_points_that_were_taken_do_not_change_when_others_are_added_or_joined() -> None:
    history = QualityHistory(max_points=4)
    for minute in range(4):
        add(history, "1", [1], minute * MINUTE_MS)
    taken = history.points()
    add(history, "1", [1, 1], 3 * MINUTE_MS)
    for minute in range(4, 9):
        add(history, "1", [1], minute * MINUTE_MS)

    assert [(point.start_ms, point.all.num_questions) for point in taken()] == [(m * MINUTE_MS, 1) for m in range(4)]
