"""Edges that come long after others of their nodes with a later time."""

import numpy as np
import pytest

from springtide.graph.live import LiveGraph

BUYS = ("user", "buys", "item")


def make_graph(num_users: int, num_items: int) -> LiveGraph:
    graph = LiveGraph()
    graph.nodes("user").ids.intern([f"u{number}" for number in range(num_users)])
    graph.nodes("item").ids.intern([f"i{number}" for number in range(num_items)])
    return graph


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("num_times", [50, 10**6])  # Many edges of one time, or few.
def test_edges_that_come_in_any_order_are_found_newest_first(seed: int, num_times: int) -> None:
    random = np.random.default_rng(seed)
    graph = make_graph(3, 2)
    users, items, times = (random.integers(0, most, 20_000) for most in (3, 2, num_times))
    at = 0
    while at < len(times):
        rows = slice(at, at + int(random.choice([1, 7, 500, 3_000])))
        if random.random() < 0.5:
            times[rows] = np.sort(times[rows])
        graph.append(BUYS, users[rows], items[rows], times[rows], 1.0)
        if at < 10_000 <= rows.stop:  # Edges get other numbers.
            graph.delete([])
            graph.store(BUYS).compact(np.ones(graph.store(BUYS).length, np.bool_))
        at = rows.stop

    edges = graph.view().edges(BUYS)

    newest_first = np.lexsort((-np.arange(len(times)), -times))
    for user in range(3):
        of_user = newest_first[users[newest_first] == user]
        found = edges.all_targets(user)
        assert found.timestamps_ms.tolist() == times[of_user].tolist()
        assert found.rows.tolist() == items[of_user].tolist()
    for item in range(2):
        of_item = newest_first[items[newest_first] == item]
        assert edges.all_sources(item).rows.tolist() == users[of_item].tolist()


def test_a_long_chain_is_walked_through_once_for_all_late_edges() -> None:
    graph = make_graph(1, 1)
    random = np.random.default_rng(0)
    num = 100_000
    zeros = np.zeros(num, np.int32)
    graph.append(BUYS, zeros, zeros, 10 * np.arange(num), 1.0)
    assert graph.store(BUYS).num_steps == 0
    graph.append(BUYS, [0], [0], [5], 1.0)
    num_steps = graph.store(BUYS).num_steps
    assert num_steps == 2 * (12 + num - 1)  # Of both sides: near the head first, and then all the way.

    for _ in range(100):
        graph.append(BUYS, [0], [0], random.integers(0, 10 * num, 1), 1.0)

    steps_for_each = (graph.store(BUYS).num_steps - num_steps) / 200
    assert steps_for_each < 12 + 16  # Near the head, and from a landmark on.
    assert graph.num_bytes < 28 * 2.5 * num
