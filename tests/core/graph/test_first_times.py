"""When nodes were first heard of: by the earliest of their events, whatever the order in which these came."""

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from springtide.checkpoint import CheckpointStore, files
from springtide.events.model import EventBatch, NodeDelete, NodeUpsert
from springtide.graph.lifetimes import Lifetimes
from springtide.graph.tombstones import NEVER_MS
from springtide.state import LiveState
from springtide.testing import interactions_of, quick_settings, state_of

EVENTS = st.lists(st.tuples(st.integers(0, 9), st.integers(-20, 20)), min_size=1, max_size=40)


@settings(max_examples=100, deadline=None)
@given(EVENTS, st.integers(1, 40))
def test_the_first_time_is_that_of_the_earliest_event(events: list[tuple[int, int]], at_once: int) -> None:
    lifetimes, first, newest = Lifetimes(), {}, {}
    for row, time in events:
        first[row] = min(time, first.get(row, time))
        newest[row] = max(time, newest.get(row, time))
    for start in range(0, len(events), at_once):
        rows, times = zip(*events[start : start + at_once], strict=True)
        lifetimes.note(np.array(rows, np.int32), np.array(times, np.int64))
    assert lifetimes.all_first_ms(10).tolist() == [first.get(row, NEVER_MS) for row in range(10)]
    assert lifetimes.all_newest_ms(10).tolist() == [newest.get(row, NEVER_MS) for row in range(10)]


def test_an_upsert_counts_and_a_node_that_comes_again_is_a_new_one() -> None:
    state = state_of(upserts=[NodeUpsert("item", "tea", timestamp_ms=50)])
    state.apply(EventBatch(interactions_of([("ann", "tea", 70), ("ann", "jam", 60)])))
    assert first_ms(state, "tea") == 50
    assert first_ms(state, "jam") == 60
    state.apply(EventBatch(interactions_of([]), deletes=(NodeDelete("item", "tea", 80),)))
    state.apply(EventBatch(interactions_of([("ann", "tea", 90)])))
    assert first_ms(state, "tea") == 90


def test_a_deletion_that_comes_late_makes_a_node_no_older_than_itself() -> None:
    state = state_of([("ann", "tea", 50), ("ann", "tea", 90)])
    state.apply(EventBatch(interactions_of([]), deletes=(NodeDelete("item", "tea", 80),)))
    assert first_ms(state, "tea") == 80


def test_first_times_are_in_the_checkpoint(tmp_path) -> None:
    state, store = state_of([("ann", "tea", 50), ("ann", "tea", 90)]), CheckpointStore(str(tmp_path))
    again = LiveState(quick_settings(), {})
    store.restore(store.write(state.snapshot()), again)
    assert first_ms(again, "tea") == 50


def test_first_times_come_from_the_edges_where_a_checkpoint_has_none(tmp_path, monkeypatch) -> None:
    upserts = [NodeUpsert("item", "jam", timestamp_ms=60)]
    state = state_of([("ann", "tea", 50), ("ann", "tea", 90)], upserts=upserts)
    store = CheckpointStore(str(tmp_path))
    whole = files.lifetime_arrays
    monkeypatch.setattr(
        files, "lifetime_arrays", lambda lifetimes: whole(dataclasses.replace(lifetimes, first_ms=None))
    )
    checkpoint = store.write(state.snapshot())
    again = LiveState(quick_settings(), {})
    store.restore(checkpoint, again)
    assert first_ms(again, "tea") == 50
    assert first_ms(again, "jam") == 60


def first_ms(state, item: str) -> int:
    items = state.graph.nodes("item")
    row = items.ids.row(item)
    return int(items.lifetimes.all_first_ms(row + 1)[row])
