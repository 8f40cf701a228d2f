"""What goes with a basket: by what people had about the same time, with numbers worked out by hand."""

import math

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY, MS_PER_HOUR
from springtide.ranking.together import log_lifts
from springtide.testing import START_MS, state_of

NOW_MS = START_MS + 100 * MS_PER_DAY


def lifts(events: list[tuple[str, str, int]], basket: list[str], before_ms: int = NOW_MS) -> dict[str, float]:
    state = state_of(events)
    view = state.graph.view()
    ids = view.nodes("item").ids
    rows, logs = log_lifts(view, state.rules, ids.rows(basket), before_ms, view.num_nodes("item"))
    assert (np.diff(rows) > 0).all()
    return dict(zip(ids.ids(rows), logs.tolist(), strict=True))


def test_an_item_that_people_had_in_the_same_hours_is_likelier_and_one_of_another_day_is_not() -> None:
    together = [
        (f"p{number}", item, START_MS + number * MS_PER_DAY + hours * MS_PER_HOUR)
        for number in range(3)
        for item, hours in (("a", 0), ("b", 2))
    ]
    apart = [("p3", "a", START_MS), ("p3", "c", START_MS + 10 * MS_PER_DAY)]
    found = lifts(together + apart, ["a"])
    # Of 4 people with a, 3 had b then: 3 / (4 + 20). By popularity alone it is 3 / 8, with a weight of 20 / (4 + 20).
    assert found["b"] == pytest.approx(math.log(1 + (3 / 24) / (3 / 8) / (20 / 24)), rel=1e-5)
    assert "c" not in found


def test_each_item_of_a_basket_counts() -> None:
    events = [("p0", "a", START_MS), ("p0", "x", START_MS), ("p1", "b", START_MS), ("p1", "x", START_MS)]
    one, both = lifts(events, ["a"])["x"], lifts(events, ["a", "b"])["x"]
    assert one == pytest.approx(math.log(1 + (1 / 21) / (2 / 4) / (20 / 21)), rel=1e-5)
    assert both == pytest.approx(one, rel=1e-5), "each of them says as much as the other"


def test_what_comes_later_than_the_moment_does_not_count() -> None:
    events = [("p0", "a", START_MS), ("p0", "b", START_MS + MS_PER_HOUR)]
    assert "b" in lifts(events, ["a"])
    assert "b" not in lifts(events, ["a"], before_ms=START_MS + MS_PER_HOUR)
    assert lifts(events, ["a"], before_ms=START_MS) == {}


def test_nothing_goes_with_a_basket_of_which_nothing_is_known() -> None:
    assert lifts([("p0", "a", START_MS)], ["unknown"]) == {}
    assert lifts([("p0", "a", START_MS)], []) == {}
