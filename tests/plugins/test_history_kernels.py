"""What histories add up to, by compiled loops, beside plain Python."""

from collections import defaultdict

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import Observed
from springtide.testing import history_of
from springtide_plugins.baselines.histories import known_items, seen_matrix
from springtide_plugins.baselines.history_kernels import add_up, mean_baskets, newest_first
from springtide_plugins.baselines.neighbours import TIFUKNN

NUM_USERS, NUM_ITEMS = 9, 5_000  # Over 64 × 64 items, so that their bits have words of several words.


def random_events(seed: int) -> Observed:
    """Return events of which many share their time; the last users and items have none."""
    rng = np.random.default_rng(seed)
    num = 600
    items = rng.choice(rng.integers(0, NUM_ITEMS - 1, 40), num)
    times = np.sort(rng.integers(0, 30, num)) * MS_PER_DAY
    return Observed(
        rng.integers(0, NUM_USERS - 1, num).astype(np.int32), items.astype(np.int32), times, np.ones(num, np.float32)
    )


def plain_mean_basket(events: list[tuple[int, int]], half_life_days: float) -> dict[int, float]:
    """Return the share of each item for (item, time) of one user."""
    baskets = defaultdict(set)
    for item, time in events:
        baskets[time].add(item)
    newest = max(baskets, default=0)
    weights = {time: 2.0 ** (-(newest - time) / MS_PER_DAY / half_life_days) for time in baskets}
    shares: defaultdict[int, float] = defaultdict(float)
    for time, items in baskets.items():
        for item in items:
            shares[item] += weights[time] / sum(weights.values())
    return shares


@pytest.mark.parametrize("seed", range(5))
def test_mean_baskets_are_those_of_a_plain_sum(seed: int):
    observed = random_events(seed)
    baseline = TIFUKNN(half_life_days=7.0)
    baseline.fit(observed, NUM_USERS, NUM_ITEMS)
    events: list[list[tuple[int, int]]] = [[] for _ in range(NUM_USERS)]
    for user, item, time in zip(observed.user_rows, observed.item_rows, observed.timestamps_ms, strict=True):
        events[user].append((int(item), int(time)))
    for user in range(NUM_USERS):
        wanted = plain_mean_basket(events[user], 7.0)
        entries = slice(baseline.baskets.indptr[user], baseline.baskets.indptr[user + 1])
        assert baseline.baskets.indices[entries].tolist() == sorted(wanted)
        np.testing.assert_allclose(baseline.baskets.data[entries], [wanted[item] for item in sorted(wanted)], rtol=1e-6)
        # The same of a history that is asked about, without the items that came after the fit.
        later = [(NUM_ITEMS + 3, 90 * MS_PER_DAY), *sorted(events[user], key=lambda event: -event[1])]
        items, shares = baseline._mean_basket(history_of(later))
        assert items.tolist() == sorted(wanted)
        np.testing.assert_array_equal(shares, baseline.baskets.data[entries])


def test_what_users_have_seen_is_each_pair_once():
    observed = random_events(7)
    seen = seen_matrix(observed, NUM_USERS, NUM_ITEMS)
    wanted = np.zeros((NUM_USERS, NUM_ITEMS), np.float32)
    wanted[observed.user_rows, observed.item_rows] = 1.0
    np.testing.assert_array_equal(seen.toarray(), wanted)
    assert seen.nnz == int(wanted.sum())


def test_weights_of_an_item_add_up_ascending_by_item():
    bounds, items = np.array([0, 3, 3, 5]), np.array([4_999, 2, 4_999, 70, 0], np.int32)
    starts, indices, values = np.empty(4, np.int64), np.empty(5, np.int32), np.empty(5, np.float32)
    assert add_up(bounds, items, np.array([1.0, 2.0, 0.5, 3.0, 4.0]), NUM_ITEMS, starts, indices, values) == 4
    assert starts.tolist() == [0, 2, 2, 4]
    assert indices[:4].tolist() == [2, 4_999, 0, 70]
    assert values[:4].tolist() == [2.0, 1.5, 4.0, 3.0]


def test_events_are_sorted_by_user_the_newest_first():
    bounds = np.empty(4, np.int64)
    assert newest_first(np.array([2, 0, 2, 2], np.int32), 3, bounds).tolist() == [1, 3, 2, 0]
    assert bounds.tolist() == [0, 1, 1, 4]
    with pytest.raises(ValueError, match="wanted users from 0 to 2, got 3"):
        newest_first(np.array([0, 3], np.int32), 3, bounds)


def test_what_is_not_there_is_refused():
    starts, indices, values = np.empty(2, np.int64), np.empty(2, np.int32), np.empty(2, np.float32)
    items = np.array([0, 5], np.int32)
    with pytest.raises(ValueError, match="wanted items from 0 to 4, got 5"):
        mean_baskets(np.array([0, 2]), items, np.zeros(2, np.int64), 1.0, 5, starts, indices, values)
    with pytest.raises(ValueError, match="bounds within 2 events"):
        add_up(np.array([0, 3]), items, None, 6, starts, indices, values)
    with pytest.raises(ValueError, match="bounds that ascend"):
        add_up(np.array([2, 1]), items, None, 6, starts, indices, values)
    with pytest.raises(ValueError, match="columns of 2 events"):
        add_up(np.array([0, 2]), items, None, 6, starts, indices[:1], values)


def test_a_history_without_items_of_the_fit_is_empty():
    items, item_of, times = known_items(history_of([(7, 3), (8, 2)]), 5)
    assert (items.tolist(), item_of.tolist(), times.tolist()) == ([], [], [])
    items, item_of, times = known_items(history_of([(7, 3), (1, 2), (1, 1)]), 5)
    assert (items.tolist(), item_of.tolist(), times.tolist()) == ([1], [0, 0], [2, 1])
