"""Windows of ranks: what they add up to, and when a version has dropped."""

import math

import numpy as np
import pytest

from springtide_services.serving.quality_drop import Drop, Quality, QualityWindows


def add(windows: QualityWindows, version: str, ranks: list[int], is_new: bool = False) -> Drop | None:
    return windows.add(version, np.array(ranks, np.int64), np.full(len(ranks), is_new))


def test_quality_is_that_of_the_ranks() -> None:
    quality = Quality.of(np.array([1, 3, 20, 21], np.int64))
    assert quality.num_questions == 4
    assert quality.ndcg == pytest.approx((1 + 1 / 2 + 1 / math.log2(21) + 0) / 4)
    assert quality.hit_rate == 3 / 4
    assert quality.mrr == pytest.approx((1 + 1 / 3 + 1 / 20 + 1 / 21) / 4)


def test_quality_of_no_questions_is_zero() -> None:
    assert Quality.of(np.empty(0, np.int64)) == Quality(0, 0.0, 0.0, 0.0)


def test_a_window_forgets_what_is_older() -> None:
    windows = QualityWindows(4, None)
    add(windows, "1", [1, 1, 1, 100, 100, 100])
    assert windows.recent("1").all.hit_rate == 1 / 4
    assert windows.recent("1").all.num_questions == 4


def test_items_new_to_the_user_are_told_apart() -> None:
    windows = QualityWindows(10, None)
    add(windows, "1", [1, 1, 1])
    add(windows, "1", [1, 100], is_new=True)
    found = windows.recent("1")
    assert (found.all.num_questions, found.unseen.num_questions, found.unseen.hit_rate) == (5, 2, 0.5)


def test_each_version_has_a_window_of_its_own_and_the_latest_comes_first() -> None:
    windows = QualityWindows(10, None)
    add(windows, "1", [1, 1])
    add(windows, "2", [100])
    add(windows, "1", [100])
    found = [(of.version, of.all.num_questions, round(of.all.hit_rate, 2)) for of in windows.versions()]
    assert found == [("1", 3, 0.67), ("2", 1, 0.0)]
    assert windows.recent("2").all.num_questions == 4


def test_windows_are_kept_of_the_latest_versions() -> None:
    windows = QualityWindows(10, None)
    for number in range(8):
        add(windows, str(number), [1])
    assert [of.version for of in windows.versions()] == ["7", "6", "5", "4", "3"]


def test_a_version_that_loses_more_than_it_may_has_dropped_once() -> None:
    windows = QualityWindows(10, 0.2)
    assert add(windows, "1", [1] * 10) is None
    assert add(windows, "1", [100] * 9) is None, "the last window overlaps the first"
    drop = add(windows, "1", [100])
    assert drop == Drop("1", 1.0, 0.0, 10)
    assert drop.reason == "live quality of 1 fell: NDCG@20 0.0000 over the last 10 events, 1.0000 over the first"
    assert add(windows, "1", [100] * 30) is None, "once"
    assert add(windows, "2", [1] * 10) is None
    assert add(windows, "2", [100] * 10) == Drop("2", 1.0, 0.0, 10)


def test_a_loss_within_the_bound_is_no_drop() -> None:
    windows = QualityWindows(10_000, 0.4)
    add(windows, "1", [1] * 10_000)
    # NDCG of rank 3 is 0.5, so that the mean goes down to 0.65, then to 0.55.
    assert add(windows, "1", ([1] * 3 + [3] * 7) * 1_000) is None
    assert add(windows, "1", ([1] + [3] * 9) * 1_000) is not None


def test_a_loss_that_chance_explains_is_no_drop() -> None:
    windows = QualityWindows(10, 0.2)
    # Of ten, three hits against one: a third left, and less than two standard errors apart.
    add(windows, "1", [1] * 3 + [100] * 7)
    assert add(windows, "1", [1] + [100] * 9) is None
    many = QualityWindows(100, 0.2)
    add(many, "1", ([1] * 3 + [100] * 7) * 10)
    assert add(many, "1", ([1] + [100] * 9) * 10) is not None


def test_the_fallback_and_a_bound_that_is_off_never_drop() -> None:
    windows = QualityWindows(10, 0.2)
    assert add(windows, "", [1] * 10 + [100] * 20) is None
    assert add(QualityWindows(10, None), "1", [1] * 10 + [100] * 20) is None
