"""Live quality by segment: what each event belongs to, and what the latest ones add up to."""

import numpy as np

from springtide.testing import quick_settings, state_of
from springtide_services.serving.quality_segments import OF_ITEM, OF_TYPE, OF_USER, SegmentWindow

SETTINGS = quick_settings(ranking={"context_weights": {}})


def shares(window: SegmentWindow) -> dict[tuple[str, str], tuple[int, float]]:
    """Return the number of questions and the hit rate of each segment."""
    found = window.segments()
    return {(each.split, each.segment): (each.all.num_questions, each.all.hit_rate) for each in found}


def test_events_belong_to_what_their_user_and_item_had_before() -> None:
    events = [("ann", f"i{number}", number) for number in range(6)] + [("bob", "i0", 9)]
    events += [(f"u{number}", "i1", 10) for number in range(9)]
    state = state_of(events, SETTINGS)
    view = state.graph.view()
    users = view.nodes("user").ids.rows(["ann", "bob", "u3", "new"])
    items = view.nodes("item").ids.rows(["i1", "i0", "i5", "new"])
    window = SegmentWindow(10, ["purchase"])
    segments = window.segments_of(state, view, users, items)
    window.add(np.array([1, 30, 2, 30]), np.array([True, False, False, True]), segments, ["purchase"] * 4)

    assert shares(window) == {
        (OF_USER, "none"): (1, 0.0),
        (OF_USER, "1 to 5"): (2, 0.5),
        (OF_USER, "6 to 20"): (1, 1.0),
        (OF_ITEM, "none"): (1, 0.0),
        (OF_ITEM, "1 to 9"): (2, 0.5),
        (OF_ITEM, "10 to 99"): (1, 1.0),
        (OF_TYPE, "purchase"): (4, 0.5),
    }
    of_type = next(each for each in window.segments() if each.split == OF_TYPE)
    assert (of_type.unseen.num_questions, of_type.unseen.hit_rate) == (2, 0.5)


def test_types_of_events_are_told_apart() -> None:
    window = SegmentWindow(10, ["purchase", "view"])
    window.add(np.array([1, 1, 50]), np.zeros(3, bool), np.zeros((2, 3), np.int32), ["view", "purchase", "view"])

    assert shares(window)[OF_TYPE, "view"] == (2, 0.5)
    assert shares(window)[OF_TYPE, "purchase"] == (1, 1.0)


def test_only_the_latest_events_count() -> None:
    window = SegmentWindow(4, ["purchase"])
    for rank in (1, 1, 1, 50, 50, 50):
        window.add(np.array([rank]), np.zeros(1, bool), np.zeros((2, 1), np.int32), ["purchase"])
    assert shares(window)[OF_TYPE, "purchase"] == (4, 0.25)
    window.add(np.arange(1, 31), np.zeros(30, bool), np.zeros((2, 30), np.int32), ["purchase"] * 30)
    assert shares(window)[OF_TYPE, "purchase"] == (4, 0.0), "of 30 at once, the last four"


def test_before_the_first_event_there_is_no_segment() -> None:
    assert SegmentWindow(4, ["purchase"]).segments() == []
