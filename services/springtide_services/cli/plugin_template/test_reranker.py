"""The reranker passes the checks of every reranker, and orders as it is meant to."""

import pytest
from my_part import MyPart

from springtide.testing import check_reranker, shortlist_of


def test_it_passes_the_checks_of_its_kind() -> None:
    """With its default options and with others."""
    check_reranker(MyPart)
    check_reranker(MyPart, attribute="price", share=1.0)


@pytest.mark.parametrize(("share", "order"), [(0.0, [0, 1, 2]), (0.5, [0, 2, 1]), (1.0, [2, 0, 1])])
def test_what_has_a_margin_moves_up(share: float, order: list[int]) -> None:
    """Scores of 3, 2 and 1 are 1, .5 and 0; margins of .2, none and .4 are 0, 0 and 1."""
    shortlist = shortlist_of(["a", "b", "c"], [3.0, 2.0, 1.0], numbers={"margin": [0.2, float("nan"), 0.4]})

    assert MyPart(share=share).order(shortlist, count=3).tolist() == order
