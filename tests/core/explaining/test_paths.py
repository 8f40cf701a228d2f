"""Paths: counted by hand on a small graph, against a slow reference on random ones, and in time on a huge one."""

import math
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from springtide.clock import MS_PER_DAY, Deadline
from springtide.events.model import EventBatch, NodeDelete, NodeUpsert, Relation
from springtide.explaining.paths import FoundPaths, Path, find_paths
from springtide.graph.live import LiveGraph
from springtide.interactions import History
from springtide.settings.interaction_rules import InteractionRules
from springtide.state import LiveState
from springtide.testing import START_MS, interactions_of, state_of

DAY = MS_PER_DAY
NOW = START_MS + 100 * DAY
AN_HOUR_S = 3_600.0
BOUGHT = ("user", "purchase", "item")


def at(days_ago: float) -> int:
    return NOW - int(days_ago * DAY)


def paths_of(
    state: LiveState, user: str, items: Sequence[str], moment_ms: int = NOW, limit_s: float = AN_HOUR_S, most: int = 100
) -> FoundPaths:
    view = state.graph.view()
    user_row = view.nodes("user").ids.row(user)
    found = view.edges(BOUGHT).all_targets(user_row)
    history = History(found.rows, found.timestamps_ms, found.weights)
    rows = [view.nodes("item").ids.row(item) for item in items]
    return find_paths(view, state.rules, user_row, history, rows, moment_ms, Deadline.after(limit_s), max_paths=most)


def of_kind(found: FoundPaths, kind: str) -> list[Path]:
    return [path for path in found.of_items[0] if path.kind == kind]


@pytest.fixture
def shop() -> LiveState:
    """Ann bought a and b. Of those who bought a, ben, cy and dee bought x, dee twice; of those of b, dee did."""
    events = [
        ("ann", "a", at(20)),
        ("ann", "a", at(3)),
        ("ann", "b", at(2)),
        ("ben", "a", at(50)),
        ("ben", "x", at(40)),
        ("cy", "a", at(30)),
        ("cy", "x", at(6)),
        ("dee", "a", at(10)),
        ("dee", "b", at(9)),
        ("dee", "x", at(8)),
        ("dee", "x", at(1)),
        ("eve", "a", at(5)),
        ("fay", "x", at(4)),
    ]
    return state_of(events)


def test_people_on_the_way_are_counted_once_each(shop: LiveState) -> None:
    found = paths_of(shop, "ann", ["x"])

    by_a, by_b = of_kind(found, "people")
    assert [node.node_id for node in by_a.nodes] == ["a", "x"]
    # ben, cy and dee; in the last week cy and dee.
    assert (by_a.num_people, by_a.num_recent_people, by_a.is_lower_bound) == (3, 2, False)
    assert (by_a.user_ms, by_a.latest_ms) == (at(3), at(1))
    # a has six edges, and x five.
    assert by_a.strength == pytest.approx(3 / math.sqrt(6 * 5) * 3 / 8)
    assert (by_b.first_item, by_b.num_people, by_b.num_recent_people, by_b.latest_ms) == ("b", 1, 1, at(1))
    assert by_a.share + by_b.share == pytest.approx(1.0)
    assert not found.is_cut


def test_nothing_later_than_the_moment_counts(shop: LiveState) -> None:
    [by_a] = of_kind(paths_of(shop, "ann", ["x"], moment_ms=at(15)), "people")

    # ann and ben had a and x by then; cy, who had a, not yet x.
    assert (by_a.num_people, by_a.num_recent_people, by_a.user_ms, by_a.latest_ms) == (1, 0, at(20), at(40))
    assert of_kind(paths_of(shop, "ann", ["x"], moment_ms=at(25)), "people") == []


def test_those_a_week_before_the_moment_to_the_millisecond_are_recent() -> None:
    events = [("ann", "a", at(50)), ("ben", "a", at(50)), ("cy", "a", at(50))]
    state = state_of([*events, ("ben", "x", NOW - 7 * DAY + 1), ("cy", "x", NOW - 7 * DAY)])

    [path] = of_kind(paths_of(state, "ann", ["x"]), "people")

    assert (path.num_people, path.num_recent_people) == (2, 1)


def test_an_item_that_the_user_had_has_a_path_through_their_own_past(shop: LiveState) -> None:
    [path] = of_kind(paths_of(shop, "ann", ["a"]), "own")

    assert ([node.node_id for node in path.nodes], path.num_own, path.user_ms) == (["a"], 2, at(3))
    assert all(each.first_item != "a" for each in of_kind(paths_of(shop, "ann", ["a"]), "people"))


def test_values_that_both_items_have_carry_an_item(shop: LiveState) -> None:
    upserts = [
        NodeUpsert("item", item, {"brand": (brand,), "tag": tags}, timestamp_ms=at(60))
        for item, brand, tags in (("a", "acme", ("red",)), ("b", "acme", ("red", "new")), ("x", "acme", ("new", "old")))
    ]
    shop.apply(EventBatch(interactions_of(()), upserts=upserts))

    found = of_kind(paths_of(shop, "ann", ["x"]), "attribute")

    assert {(path.attribute, path.value, path.num_own, path.first_item) for path in found} == {
        ("brand", "acme", 2, "b"),  # Of the two that ann had, the later one.
        ("tag", "new", 1, "b"),
    }
    # Both of ann's items are of acme, as three are in all.
    assert {path.value: path.strength for path in found}["acme"] == pytest.approx(2 / math.sqrt(2 * 3) * 2 / 7)


def test_people_whom_the_user_follows_carry_an_item(shop: LiveState) -> None:
    follows = [
        Relation("user", "ann", "follows", "user", followed, at(days_ago))
        for followed, days_ago in (("cy", 70), ("dee", 70), ("eve", 70), ("fay", 0.5))
    ]
    shop.apply(EventBatch(interactions_of(()), relations=follows))

    [path] = of_kind(paths_of(shop, "ann", ["x"]), "relation")

    assert (path.relation, path.num_people, path.num_recent_people, path.latest_ms) == ("follows", 3, 3, at(1))
    assert [node.node_id for node in path.nodes] == ["x"]
    [path] = of_kind(paths_of(shop, "ann", ["x"], moment_ms=at(2)), "relation")
    assert (path.num_people, path.num_recent_people, path.latest_ms) == (2, 2, at(6))  # Before fay was followed.


def test_edges_between_items_and_to_what_the_user_likes_carry_an_item(shop: LiveState) -> None:
    relations = [
        Relation("item", "x", "goes_with", "item", "b", at(60)),
        Relation("user", "ann", "likes", "artist", "abba", at(9)),
        Relation("artist", "abba", "made", "item", "x", at(60)),
    ]
    shop.apply(EventBatch(interactions_of(()), relations=relations))

    found = of_kind(paths_of(shop, "ann", ["x"]), "relation")

    assert {(path.relation, path.nodes[0].node_type, path.first_item, path.user_ms) for path in found} == {
        ("goes_with", "item", "b", at(2)),
        ("likes", "artist", "abba", at(9)),
    }


def test_deleted_people_are_not_counted(shop: LiveState) -> None:
    shop.apply(EventBatch(interactions_of(()), deletes=[NodeDelete("user", "cy", NOW)]))

    by_a, _ = of_kind(paths_of(shop, "ann", ["x"]), "people")

    assert (by_a.num_people, by_a.num_recent_people) == (2, 1)


def test_several_items_are_found_as_each_alone(shop: LiveState) -> None:
    together = paths_of(shop, "ann", ["x", "b", "a"])

    assert together.of_items == tuple(paths_of(shop, "ann", [item]).of_items[0] for item in ("x", "b", "a"))


EVENT = st.tuples(st.integers(0, 7), st.integers(0, 5), st.integers(-20, 3))


@given(st.lists(EVENT, max_size=60), st.integers(0, 5))
def test_counts_equal_those_of_a_slow_reference(events: list[tuple[int, int, int]], wanted: int) -> None:
    rows = [(f"u{user}", f"i{item}", NOW + days * DAY) for user, item, days in [(0, 0, -19), (1, wanted, -19), *events]]
    state = state_of(rows)
    past = [(user, item, time_ms) for user, item, time_ms in rows if time_ms <= NOW]
    had = {user: {item for other, item, _ in past if other == user} for user, _, _ in past}
    target = f"i{wanted}"
    expected = {}
    for own in had["u0"] - {target}:
        people = {user for user, items in had.items() if user != "u0" and {own, target} <= items}
        if people:
            last = {user: max(ms for other, item, ms in past if (other, item) == (user, target)) for user in people}
            recent = sum(ms > NOW - 7 * DAY for ms in last.values())
            expected[own] = (len(people), recent, max(last.values()), False)

    found = of_kind(paths_of(state, "u0", [target]), "people")

    counts = {p.first_item: (p.num_people, p.num_recent_people, p.latest_ms, p.is_lower_bound) for p in found}
    assert counts == expected


@pytest.fixture(scope="module")
def crowd() -> LiveState:
    """User 0 had items 0 to 63, and 300,000 people had these and item 64 each: 20 million edges would be too many."""
    state = state_of([])
    rng = np.random.default_rng(5)
    graph: LiveGraph = state.graph
    num_people, num_own = 300_000, 64
    graph.nodes("user").ids.intern([f"u{row}" for row in range(num_people)])
    graph.nodes("item").ids.intern([f"i{row}" for row in range(num_own + 1)])
    sources = np.concatenate([np.zeros(num_own), np.arange(1, num_people), rng.integers(1, num_people, 2_000_000)])
    targets = np.concatenate(
        [np.arange(num_own), np.full(num_people - 1, num_own), rng.integers(0, num_own, 2_000_000)]
    )
    times = rng.integers(at(90), NOW, len(sources))
    graph.append(BOUGHT, sources.astype(np.int32), targets.astype(np.int32), times, 1.0)
    return state


def test_time_is_kept_with_an_item_that_very_many_people_had(crowd: LiveState) -> None:
    took_s = []
    for _ in range(10):
        before_s = time.thread_time()  # Of this thread: the limit holds by the clock, and others may run meanwhile.
        found = paths_of(crowd, "u0", ["i64"], limit_s=0.005)
        took_s.append(time.thread_time() - before_s)

    assert sorted(took_s)[2] < 0.007
    assert found.is_cut
    assert all(path.is_lower_bound for path in of_kind(found, "people"))


def test_lower_bounds_are_not_above_the_counts(crowd: LiveState) -> None:
    cut = of_kind(paths_of(crowd, "u0", ["i64"], limit_s=0.05), "people")
    full = {path.first_item: path for path in of_kind(paths_of(crowd, "u0", ["i64"]), "people")}

    assert len(full) == 64
    assert not any(path.is_lower_bound for path in full.values())
    assert cut
    for path in cut:
        assert path.num_people <= full[path.first_item].num_people
        assert path.num_recent_people <= full[path.first_item].num_recent_people


def test_a_path_refuses_more_recent_people_than_people() -> None:
    with pytest.raises(ValueError, match="0 to all people recent"):
        Path("people", (), 1.0, num_people=1, num_recent_people=2)


def test_interactions_that_are_not_positive_carry_nothing() -> None:
    rules = InteractionRules.from_mapping({"purchase": (1.0, "positive"), "view": (1.0, "neutral")})
    state = state_of([("ann", "a", at(9)), ("ben", "a", at(9))])
    state.graph.append(("user", "view", "item"), [1], [0], [at(1)], 1.0)
    state.graph.nodes("item").ids.intern(["x"])
    state.graph.append(("user", "view", "item"), [0, 1], [1, 1], [at(1)] * 2, 1.0)
    view = state.graph.view()
    history = History(np.zeros(1, np.int32), np.full(1, at(9), np.int64), np.ones(1, np.float32))

    assert find_paths(view, rules, 0, history, [1], NOW, Deadline.after(AN_HOUR_S)).of_items == ((),)
