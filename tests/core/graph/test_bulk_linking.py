"""Edges that are taken in at once have the same chains as edges that arrive one after another."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from springtide.graph.store import EdgeStore

ORDERS = {
    "in order": lambda random, count: np.arange(count),
    "some late": lambda random, count: np.arange(count) - 40 * random.integers(0, 2, count),
    "partition after partition": lambda random, count: np.arange(count) % (count // 4),
    "any": lambda random, count: random.integers(0, 50, count),
    "backwards": lambda random, count: np.arange(count)[::-1],
}


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(ORDERS)), st.integers(0, 2**32), st.integers(1, 5))
def test_chains_are_those_of_edges_that_arrived_one_after_another(order, seed, num_parts):
    random, count = np.random.default_rng(seed), 1_200
    source, target = random.integers(0, 7, count).astype(np.int32), random.integers(0, 30, count).astype(np.int32)
    times = ORDERS[order](random, count).astype(np.int64)
    appended, taken = EdgeStore(), EdgeStore()
    for start in range(0, count, 100):
        part = slice(start, start + 100)
        appended.append(source[part], target[part], times[part], np.ones(100, np.float32), None)
    columns = taken.open(count, 7, 30)
    columns.source[:count], columns.target[:count], columns.timestamps_ms[:count] = source, target, times
    with ThreadPoolExecutor(1) as of_sources, ThreadPoolExecutor(1) as of_targets:
        for stop in sorted({*random.integers(1, count, num_parts - 1).tolist(), count}):
            taken.take_in(stop, np.ones(1, np.float32), None, (of_sources, of_targets))
    assert taken.columns.has_one_weight
    ours, wanted = taken.view(), appended.view()
    for rows, ask in ((7, "recent_targets"), (30, "recent_sources")):
        for before_ms in (None, 600, 20):
            got, due = (getattr(view, ask)(np.arange(rows), count, before_ms) for view in (ours, wanted))
            np.testing.assert_array_equal(got.rows, due.rows)
            np.testing.assert_array_equal(got.timestamps_ms, due.timestamps_ms)
    assert [ours.version_of(row)[2] for row in range(7)] == [wanted.version_of(row)[2] for row in range(7)]
    late = np.array([3], np.int32), np.array([4], np.int32), np.array([5], np.int64), np.float32(1.0), None
    for store in (taken, appended):  # It goes on as the other one does.
        store.append(*late)
    got, due = (store.view().all_targets(3) for store in (taken, appended))
    np.testing.assert_array_equal(got.rows, due.rows)


@pytest.mark.parametrize("row", [-1, 1_024])
def test_row_that_no_node_has_is_refused(row):
    store = EdgeStore()
    columns = store.open(1, 7, 7)
    columns.source[0], columns.target[0], columns.timestamps_ms[0] = 0, row, 0
    with ThreadPoolExecutor(1) as side:
        of_source, of_target = store.take_in(1, np.ones(1, np.float32), None, (side, side))
    assert of_source.result() == 0
    with pytest.raises(ValueError, match="wanted rows in 0 to 1023"):
        of_target.result()


def test_fewer_edges_than_were_taken_in_are_refused():
    store = EdgeStore()
    store.open(4, 7, 7)
    with ThreadPoolExecutor(1) as side:
        store.take_in(4, np.ones(1, np.float32), None, (side, side))
        with pytest.raises(ValueError, match="wanted 4 edges or more, got 2"):
            store.take_in(2, np.ones(1, np.float32), None, (side, side))


@pytest.mark.parametrize(
    "parts", [([2.0], [2.0]), ([2.0], [2.0, 3.0]), ([2.0, 2.0], [2.0]), ([1.0, 2.0], [5.0]), ([1.0], [5.0])]
)
def test_edges_have_the_weights_of_their_parts_each_one_for_all_or_one_for_each(parts):
    store = EdgeStore()
    columns = store.open(4, 7, 7)
    columns.source[:4], columns.target[:4], columns.timestamps_ms[:4] = 1, 2, 0
    with ThreadPoolExecutor(1) as side:
        for stop, weights in zip((2, 4), parts, strict=True):
            store.take_in(stop, np.array(weights, np.float32), None, (side, side))
    wanted = [weight for weights in parts for weight in (weights if len(weights) == 2 else 2 * weights)]
    assert store.view().weights.tolist() == wanted
    assert store.columns.has_one_weight == (len(set(wanted)) == 1)
