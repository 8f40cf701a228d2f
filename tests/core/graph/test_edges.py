import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from springtide.graph import LiveGraph
from springtide.graph.columns import capacity_for
from springtide.graph.edges import EdgeView
from springtide.graph.store import EdgeStore

BUYS = ("user", "buys", "item")


def graph_of(num_users: int = 10, num_items: int = 10, **bounds) -> LiveGraph:
    graph = LiveGraph(**bounds)
    graph.nodes("user").ids.intern([f"u{number}" for number in range(num_users)])
    graph.nodes("item").ids.intern([f"i{number}" for number in range(num_items)])
    return graph


def test_recent_targets_come_newest_first_by_event_time():
    graph = graph_of()
    graph.append(BUYS, [0, 0, 1, 0], [1, 2, 3, 4], [30, 10, 5, 20], [1.0, 2.0, 3.0, 4.0])
    found = graph.view().edges(BUYS).recent_targets([0, 1, 2, -1, 99], 2)
    assert found.rows.tolist() == [[1, 4], [3, -1], [-1, -1], [-1, -1], [-1, -1]]
    assert found.timestamps_ms[0].tolist() == [30, 20]
    assert found.weights[0].tolist() == [1.0, 4.0]
    assert (found.rows.dtype, found.timestamps_ms.dtype, found.weights.dtype) == (np.int32, np.int64, np.float32)


def test_of_equal_times_the_later_arrival_is_newer():
    graph = graph_of()
    graph.append(BUYS, [0, 0, 0], [1, 2, 3], [7, 7, 7], 1.0)
    graph.append(BUYS, [0], [4], [7], 1.0)
    assert graph.view().edges(BUYS).all_targets(0).rows.tolist() == [4, 3, 2, 1]


def test_before_is_exclusive_and_may_differ_by_row():
    graph = graph_of()
    graph.append(BUYS, [0, 0, 1], [1, 2, 3], [10, 20, 30], 1.0)
    edges = graph.view().edges(BUYS)
    assert edges.recent_targets([0, 0], 5, before_ms=20).rows.tolist()[0] == [1, -1, -1, -1, -1]
    assert edges.recent_targets([0, 0, 1], 1, before_ms=np.array([21, 10, 31])).rows.tolist() == [[2], [-1], [3]]
    with pytest.raises(ValueError, match="wanted one time, or 3, got 2"):
        edges.recent_targets([0, 0, 1], 1, before_ms=np.array([1, 2]))


def test_recent_sources_and_limits():
    graph = graph_of()
    graph.append(BUYS, [0, 1, 2], [5, 5, 5], [1, 2, 3], 1.0)
    edges = graph.view().edges(BUYS)
    assert edges.recent_sources([5], 2).rows.tolist() == [[2, 1]]
    assert edges.all_sources(5, limit=2).rows.tolist() == [2, 1]
    assert len(edges.all_targets(0, limit=0)) == 0
    assert len(edges.all_targets(99)) == 0


def test_has_tells_for_each_pair_and_broadcasts():
    graph = graph_of()
    graph.append(BUYS, [0, 0, 1], [1, 2, 3], [1, 2, 3], 1.0)
    edges = graph.view().edges(BUYS)
    assert edges.has([0, 1, 1, 9, -1], [2, 3, 1, 9, 1]).tolist() == [True, True, False, False, False]
    assert edges.has(0, [1, 2, 3]).tolist() == [True, True, False]


def test_unknown_edge_type_is_empty():
    edges = LiveGraph().view().edges(BUYS)
    assert len(edges) == 0
    assert edges.features is None
    assert edges.recent_targets([0], 2).rows.tolist() == [[-1, -1]]
    assert edges.has([0], [0]).tolist() == [False]


def test_features_may_come_late_and_are_nan_where_missing():
    graph = graph_of()
    graph.append(BUYS, [0], [1], [1], 1.0)
    before = graph.view().edges(BUYS)
    graph.append(BUYS, [0], [2], [2], 1.0, features=[[5.0]])
    graph.append(BUYS, [0], [3], [3], 1.0)
    assert before.features is None
    np.testing.assert_array_equal(graph.view().edges(BUYS).features, [[np.nan], [5.0], [np.nan]])


def test_features_may_grow_wider_and_views_stay_as_they_were():
    graph = graph_of()
    graph.append(BUYS, [0], [1], [1], 1.0, features=[[5.0]])
    before = graph.view().edges(BUYS)
    graph.append(BUYS, [0], [2], [2], 1.0, features=[[1.0, 2.0]])
    graph.append(BUYS, [0], [3], [3], 1.0, features=[[7.0]])
    assert before.features.tolist() == [[5.0]]
    np.testing.assert_array_equal(graph.view().edges(BUYS).features, [[5.0, np.nan], [1.0, 2.0], [7.0, np.nan]])


def test_bad_columns_are_refused_and_change_nothing():
    graph = graph_of()
    with pytest.raises(ValueError, match="columns of one length, got sources 2, targets 1, times 1"):
        graph.append(BUYS, [0, 1], [1], [1], 1.0)
    with pytest.raises(ValueError, match="user: wanted rows in 0 to 9, got 10 to 10"):
        graph.append(BUYS, [10], [1], [1], 1.0)
    with pytest.raises(ValueError, match="item: wanted rows in 0 to 9, got -1 to -1"):
        graph.append(BUYS, [0], [-1], [1], 1.0)
    assert graph.num_edges == 0
    graph.append(BUYS, [], [], [], [])
    assert graph.version == 0


def test_bounds_below_one_are_refused():
    with pytest.raises(ValueError, match="max_edges: wanted at least 1"):
        LiveGraph(max_edges=0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.integers(1, 5), st.integers(1, 300))
def test_chains_are_sorted_whatever_the_order_of_arrival(seed, count, num_users, batch_size):
    """Long enough that late events walk far and are merged together."""
    rng = np.random.default_rng(seed)
    graph = graph_of(num_users, 3)
    users, items = rng.integers(0, num_users, count), rng.integers(0, 3, count)
    times = rng.integers(0, 50, count) + np.arange(count) // 4 * rng.choice([-1, 0, 1])
    for at in range(0, count, batch_size):
        graph.append(BUYS, users[at : at + batch_size], items[at : at + batch_size], times[at : at + batch_size], 1.0)
    edges = graph.view().edges(BUYS)
    for user in range(num_users):
        own = np.flatnonzero(users == user)
        newest_first = own[np.lexsort((-own, -times[own]))]
        found = edges.all_targets(user)
        assert found.timestamps_ms.tolist() == times[newest_first].tolist()
        assert found.rows.tolist() == items[newest_first].tolist()


def test_old_view_stays_as_it_was_while_the_graph_grows():
    graph = graph_of()
    graph.append(BUYS, [0, 0], [1, 2], [10, 20], 1.0)
    view = graph.view()
    graph.append(BUYS, [0] * 5_000, [3] * 5_000, np.arange(5_000), 1.0)  # Before, between and after; grows the arrays.
    graph.forget("item", "i1")
    edges = view.edges(BUYS)
    assert (view.num_edges, len(edges), view.newest_ms) == (2, 2, 20)
    assert edges.all_targets(0).rows.tolist() == [2, 1]
    assert edges.has([0, 0], [1, 3]).tolist() == [True, False]


def test_version_grows_with_each_change_and_one_change_is_one():
    graph = graph_of()
    versions = [graph.version]
    graph.append(BUYS, [0], [1], [1], 1.0)
    versions.append(graph.version)
    with graph.one_change():
        graph.append(BUYS, [0], [1], [1], 1.0)
        assert graph.view().num_edges == 1
        graph.append(BUYS, [0], [1], [1], 1.0)
    versions.append(graph.version)
    assert versions == [0, 1, 2]
    assert graph.view().num_edges == 3


def test_edge_budget_drops_the_oldest_of_all_types():
    graph = graph_of(max_edges=8)
    graph.append(BUYS, [0] * 6, range(6), [10, 11, 12, 13, 14, 15], 1.0)
    graph.append(("item", "like", "item"), [0] * 3, [1, 2, 3], [1, 20, 21], 1.0)
    assert graph.num_edges == 9  # Within the slack of an eighth.
    graph.append(BUYS, [1], [1], [16], 1.0)
    view = graph.view()
    assert view.num_edges == 8
    assert view.edges(BUYS).timestamps_ms.tolist() == [11, 12, 13, 14, 15, 16]
    assert view.edges(("item", "like", "item")).timestamps_ms.tolist() == [20, 21]
    assert graph.evict() == 0


def test_edges_apart_have_a_bound_of_their_own_and_push_out_no_others():
    shown = ("user", "impression", "item")
    graph = graph_of(max_edges=8, apart=[shown], max_apart=4)
    graph.append(BUYS, [0] * 8, range(8), range(8), 1.0)
    graph.append(shown, [0] * 9, [1] * 9, range(100, 109), 1.0)
    view = graph.view()
    assert view.edges(BUYS).timestamps_ms.tolist() == list(range(8))
    assert view.edges(shown).timestamps_ms.tolist() == [105, 106, 107, 108]
    graph.append(BUYS, [1, 1], [1, 1], [16, 17], 1.0)
    assert graph.view().edges(BUYS).timestamps_ms.tolist() == [2, 3, 4, 5, 6, 7, 16, 17]
    assert len(graph.view().edges(shown)) == 4


def test_age_is_measured_against_the_newest_event():
    graph = graph_of(max_age_ms=80)
    graph.append(BUYS, [0, 0], [1, 2], [0, 50], 1.0)
    graph.append(BUYS, [0], [3], [90], 1.0)  # 0 is too old by now, within the slack.
    assert graph.num_edges == 3
    assert graph.evict() == 1
    graph.append(BUYS, [0], [4], [9], 1.0)  # Too late to be taken.
    assert graph.num_edges == 2
    graph.append(BUYS, [0], [4], [140], 1.0)
    assert graph.view().edges(BUYS).timestamps_ms.tolist() == [50, 90, 140]
    graph.append(BUYS, [0], [4], [200], 1.0)
    assert graph.view().edges(BUYS).timestamps_ms.tolist() == [140, 200]


def test_evicting_costs_o1_an_edge():
    graph = graph_of(max_edges=1_000)
    changes = 0
    lineage = None
    for at in range(5_000):
        graph.append(BUYS, [at % 10], [at % 7], [at], 1.0)
        changes += lineage != (lineage := graph.store(BUYS).lineage)
    assert graph.num_edges <= 1_125
    assert changes < 40  # Compactions: one for each 125 edges past the budget, and the first lineage.


def test_memory_is_bounded_by_the_budget():
    graph = graph_of(max_edges=10_000)
    for at in range(0, 200_000, 1_000):
        graph.append(BUYS, np.arange(1_000) % 10, np.arange(1_000) % 7, np.arange(at, at + 1_000), 1.0)
    assert graph.num_bytes < 10_000 * 28 * 2.5


def test_forgetting_drops_edges_of_all_types_at_either_end():
    graph = graph_of()
    graph.append(BUYS, [0, 1, 0], [1, 1, 2], [1, 2, 3], 1.0)
    graph.append(("user", "follows", "user"), [0, 1, 2, 0], [1, 0, 1, 0], [1, 2, 3, 4], 1.0)
    assert graph.forget("user", "u0")
    assert not graph.forget("user", "u0")
    assert not graph.forget("shop", "s0")
    view = graph.view()
    assert view.edges(BUYS).source.tolist() == [1]
    assert view.edges(BUYS).all_sources(1).rows.tolist() == [1]
    assert view.edges(("user", "follows", "user")).source.tolist() == [2]
    assert graph.nodes("user").ids.row("u0") == -1
    assert graph.num_forgotten == 1
    graph.append(BUYS, graph.nodes("user").ids.intern(["u0"]), [2], [9], 1.0)
    assert graph.view().edges(BUYS).source.tolist() == [1, 10]


def test_deleted_edges_are_gone_at_the_end_of_the_change_and_leave_the_memory_later():
    graph = graph_of()
    graph.append(BUYS, np.arange(20) % 10, [1] * 20, np.arange(20), 1.0)
    with graph.one_change():
        graph.forget("user", "u0")
        graph.append(BUYS, graph.nodes("user").ids.intern(["u0"]), [2], [30], 1.0)
        assert len(graph.view().edges(BUYS)) == 20
    view, store = graph.view(), graph.store(BUYS)
    edges = view.edges(BUYS)
    assert (view.num_edges, len(edges), store.length, store.num_dead) == (19, 19, 21, 2)
    for column in (edges.source, edges.target, edges.timestamps_ms, edges.weights):
        assert len(column) == 19
    assert 0 not in edges.source
    assert edges.all_sources(1).rows.tolist() == [9, 8, 7, 6, 5, 4, 3, 2, 1] * 2
    assert edges.recent_sources([1], 20).rows[0].tolist() == [9, 8, 7, 6, 5, 4, 3, 2, 1] * 2 + [-1, -1]
    assert edges.has([0, 1, 10], [1, 1, 2]).tolist() == [False, True, True]
    lineage = store.lineage
    graph.forget("user", "u1")  # Four dead edges of 21 are more than an eighth.
    assert (store.length, store.num_dead) == (17, 0)
    assert store.lineage != lineage
    assert edges.all_sources(1).rows.tolist() == [9, 8, 7, 6, 5, 4, 3, 2, 1] * 2, "an older view stays as it was"
    assert graph.view().edges(BUYS).all_sources(1).rows.tolist() == [9, 8, 7, 6, 5, 4, 3, 2] * 2


def test_sweeping_leaves_the_live_edges_and_their_lineage_as_they_are():
    graph = graph_of()
    graph.append(BUYS, np.arange(30) % 10, [1] * 30, np.arange(30), 1.0, features=np.arange(30.0)[:, None])
    graph.forget("user", "u3")
    store, before = graph.store(BUYS), graph.view().edges(BUYS)
    lineage, columns = store.lineage, [before.source, before.target, before.timestamps_ms, before.features]
    assert store.num_dead == 3
    store.sweep()
    after = store.view()
    assert store.lineage == lineage
    for column, expected in zip(
        [after.source, after.target, after.timestamps_ms, after.features], columns, strict=True
    ):
        np.testing.assert_array_equal(column, expected)
    assert store.num_dead == 0


def test_deleting_costs_as_much_as_the_node_has_edges():
    """Each deletion looks at its own edges alone, and few sweeps suffice for many deletions."""
    graph = graph_of(6_000, 10)
    graph.append(BUYS, np.arange(6_000), np.arange(6_000) % 10, np.arange(6_000), 1.0)
    num_sweeps = 0
    for number in range(5_000):
        num_compactions = graph.store(BUYS).columns.num_compactions
        graph.forget("user", f"u{number}")
        num_sweeps += graph.store(BUYS).columns.num_compactions - num_compactions
    assert graph.num_edges == 1_000
    assert num_sweeps < 20


def test_forgetting_a_node_without_edges_compacts_nothing():
    graph = graph_of()
    graph.append(BUYS, [0], [1], [1], 1.0)
    lineage = graph.store(BUYS).lineage
    assert graph.forget("user", "u5")
    assert graph.store(BUYS).lineage == lineage


def test_readers_beside_the_writer_see_whole_changes_only():
    """Each change is a pair of edges, (0, k) and (1, k), and every tenth comes late."""
    graph = graph_of(2, 40_000)
    num_items, failures, is_done = 2_000, [], threading.Event()

    def read() -> None:
        while not is_done.is_set():
            view = graph.view()
            edges = view.edges(BUYS)
            rows = edges.recent_targets([0, 1], len(edges)).rows
            times = edges.recent_targets([0, 1], len(edges)).timestamps_ms
            count = np.count_nonzero(rows >= 0, axis=1)
            if len(edges) % 2 or count.tolist() != [len(edges) // 2] * 2:
                failures.append(f"{len(edges)} edges, {count} walked")
            if (np.diff(times[0, : count[0]]) > 0).any():
                failures.append("not sorted")
            if len(edges) and not edges.has([0, 1], [edges.target[-1]] * 2).all():
                failures.append("an edge is not found")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for item in range(num_items):
        time = item - 500 if item % 10 == 0 else item
        graph.append(BUYS, [0, 1], [item, item], [time, time], 1.0)
    is_done.set()
    for reader in readers:
        reader.join()
    assert failures == []


def test_mark_changes_with_every_change_of_a_sources_edges():
    graph = graph_of()
    graph.append(BUYS, [0, 0], [1, 2], [10, 20], 1.0)
    marks = [graph.view().edges(BUYS).version_of(0)]
    graph.append(BUYS, [0], [3], [5], 1.0)  # A late one: the newest edge stays.
    marks.append(graph.view().edges(BUYS).version_of(0))
    graph.forget("item", "i1")
    marks.append(graph.view().edges(BUYS).version_of(0))
    graph.append(BUYS, [0], [4], [30], 1.0)
    marks.append(graph.view().edges(BUYS).version_of(0))
    assert len(set(marks)) == 4


def test_mark_does_not_come_again_after_a_node_was_forgotten():
    graph = graph_of()
    graph.append(BUYS, [0, 0], [1, 2], [10, 20], 1.0)
    before = graph.view().edges(BUYS).version_of(0)
    graph.forget("item", "i1")
    graph.append(BUYS, [0], [3], [30], 1.0)  # As many edges as before, and the newest at the same place.
    assert graph.view().edges(BUYS).version_of(0) != before


def test_view_tells_when_a_source_has_younger_edges():
    graph = graph_of()
    graph.append(BUYS, [0, 1], [1, 2], [10, 20], 1.0)
    edges = graph.view().edges(BUYS)
    assert edges.has_all_targets(0)
    graph.append(BUYS, [0], [3], [5], 1.0)
    assert not edges.has_all_targets(0)
    assert edges.has_all_targets(1)
    assert graph.view().edges(BUYS).has_all_targets(0)


def test_an_edge_takes_28_bytes_and_room_for_many_more_takes_a_quarter_at_most():
    graph, num_edges = graph_of(), 50_000
    rows = np.zeros(num_edges, np.int32)
    graph.append(BUYS, rows, rows, np.arange(num_edges), 1.0)
    assert graph.num_bytes / num_edges < 28.5
    assert capacity_for(1_025, 1_024) == 2_048  # Few double, so that a live stream copies seldom.
    assert capacity_for(8_000_001, 8_000_000) == 10_000_000
    assert capacity_for(20_000_000, 8_000_000) == 20_000_000


def test_one_weight_of_all_edges_is_held_once_until_another_one_comes():
    graph = graph_of(10, 10)
    rows = np.arange(5)
    graph.append(BUYS, rows, rows, rows, 2.0)
    graph.append(BUYS, rows, rows + 1, rows, np.full(5, 2.0))
    before = graph.view().edges(BUYS)
    assert graph.store(BUYS).columns.has_one_weight
    assert before.weights.tolist() == [2.0] * 10
    graph.append(BUYS, [0, 7], [9, 9], [9, 9], [2.0, 0.5])
    after = graph.view().edges(BUYS)
    assert not graph.store(BUYS).columns.has_one_weight
    assert before.weights.tolist() == [2.0] * 10
    assert after.weights.tolist() == [2.0] * 11 + [0.5]
    assert after.part(9, 12)[3].tolist() == [2.0, 2.0, 0.5]
    assert after.recent_sources([9], 3).weights.tolist() == [[0.5, 2.0, 0.0]]
    assert before.recent_targets([0], 2).weights.tolist() == [[2.0, 2.0]]
    graph.forget("user", "u7")
    assert graph.view().edges(BUYS).weights.tolist() == [2.0] * 11
    graph.store(BUYS).sweep()
    assert graph.store(BUYS).columns.has_one_weight, "no other weight is left"


def test_room_to_grow_takes_no_memory_and_edges_are_copied_seldom():
    graph, copied = graph_of(100, 100), 0
    random = np.random.default_rng(0)
    for start in range(0, 1_500_000, 50_000):
        before = len(graph.store(BUYS).columns.source)
        rows = random.integers(0, 100, (2, 50_000)).astype(np.int32)
        graph.append(BUYS, *rows, np.arange(start, start + 50_000), 1.0)
        copied += start if len(graph.store(BUYS).columns.source) > before else 0
    assert graph.num_bytes <= 25 * graph.num_edges  # Two rows, a time and two links are 24.
    assert copied <= graph.num_edges


def test_features_come_in_parts_the_last_first_without_dead_edges_and_later_ones() -> None:
    store, rows = EdgeStore(), np.arange(7, dtype=np.int32)
    features = np.arange(7, dtype=np.float32)[:, None]
    store.append(rows, rows, np.arange(7), np.ones((), np.float32), features)
    before = store.view()
    store.mark_dead({1: 9, 6: 9}, {})
    view = store.view()
    store.mark_dead({2: 9}, {})
    store.append(rows[:1], rows[:1], np.arange(1), np.ones((), np.float32), features[:1] + 9)

    def parts(of: EdgeView) -> list[list[float]]:
        return [part[:, 0].tolist() for part in of.feature_parts(3)]

    assert parts(before) == [[4, 5, 6], [1, 2, 3], [0]]
    assert parts(view) == [[4, 5], [2, 3], [0]]
    assert parts(store.view()) == [[5, 9], [3, 4], [0]]
    assert parts(EdgeStore().view()) == []
