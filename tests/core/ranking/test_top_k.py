import numpy as np
import pytest

from springtide.ids import IdMap
from springtide.ranking.top_k import best_of

SCORES = {"a": 1.0, "b": 3.0, "c": 2.0, "d": 2.0, "e": 2.0, "f": 1.0, "g": -np.inf}


def best(order: str, count: int, forgotten: str = "") -> list[str]:
    ids = IdMap(order)
    for id_ in forgotten:
        ids.forget(ids.row(id_))
    scores = np.array([[SCORES[id_] for id_ in order]], np.float32)
    [(rows, names)] = best_of(scores, [count], ids)
    assert names == [order[row] for row in rows]
    return names


@pytest.mark.parametrize("order", ["abcdefg", "gfedcba", "ecafdbg"])
def test_items_of_equal_scores_come_in_the_order_of_their_ids_whatever_their_rows(order: str) -> None:
    assert best(order, 7) == list("bcdeaf")
    assert best(order, 6) == list("bcdeaf")
    assert best(order, 5) == list("bcdea"), "the cut lies between equal scores"
    assert best(order, 3) == list("bcd")
    assert best(order, 1) == ["b"]
    assert best(order, 0) == []


@pytest.mark.parametrize("order", ["abcdefg", "gfedcba", "ecafdbg"])
def test_forgotten_items_are_left_out_among_equals_too(order: str) -> None:
    assert best(order, 3, forgotten="c") == list("bde")
    assert best(order, 2, forgotten="bcd") == list("ea")
    assert best(order, 9, forgotten="abc") == list("def")


def brute_force(scores, count, ids):
    ranked = sorted((-score, ids.id(row), row) for row, score in enumerate(scores.tolist()) if np.isfinite(score))
    ranked = [(row, name) for _, name, row in ranked if name][:count]
    return [row for row, _ in ranked], [name for _, name in ranked]


@pytest.mark.parametrize("num_items", [1, 63, 200, 2_525, 20_000])
@pytest.mark.parametrize("num_levels", [2, 300, 10**9])
@pytest.mark.parametrize("share_out", [0.0, 0.5, 1.0])
def test_the_best_are_those_of_a_whole_sort(num_items, num_levels, share_out):
    random = np.random.default_rng(num_items)
    ids = IdMap(f"i{number:06d}" for number in random.permutation(num_items))
    for row in random.choice(num_items, num_items // 50, replace=False):
        ids.forget(int(row))
    for count in (1, 20, 1_000):
        scores = (random.integers(0, num_levels, num_items) / num_levels).astype(np.float32)
        scores[random.random(num_items) < share_out] = random.choice([-np.inf, np.nan, np.inf])
        [(rows, names)] = best_of(scores[None].copy(), [count], ids)
        assert (rows.tolist(), names) == brute_force(scores, count, ids)
