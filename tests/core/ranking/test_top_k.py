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
