"""Rows of nodes that no longer live are used again: after a rest, and by nobody who may still see the old node."""

import gc
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from springtide.checkpoint import CheckpointStore
from springtide.clock import MS_PER_DAY
from springtide.events.model import EventBatch, NodeDelete, NodeUpsert
from springtide.graph.reclaiming import FADE_S, REST_S
from springtide.interactions import Moment
from springtide.plugins.contracts import ContextWeight
from springtide.plugins.loading import load_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.testing import interactions_of

DAY = MS_PER_DAY
PLUGINS = load_plugins()
NOBODY = interactions_of([])


class Counting(ContextWeight):
    """Counts the interactions of each item, as a plugin would that can forget rows."""

    def __init__(self):
        self.counts = np.zeros(100)
        self.forgotten_users = []

    def observe(self, observed):
        np.add.at(self.counts, observed.item_rows, 1)

    def forget_rows(self, user_rows, item_rows):
        self.counts[item_rows] = 0
        self.forgotten_users += user_rows.tolist()

    def state(self):
        return {"counts": self.counts.copy()}

    def restore(self, state):
        self.counts = np.array(state["counts"])


class Stubborn(Counting):
    """Learns by row, and cannot forget, as a plugin that was written before."""

    forget_rows = ContextWeight.forget_rows


def new_state(weight=None, **graph) -> LiveState:
    return LiveState(Settings.model_validate({"graph": graph}), {"counting": weight or Counting()})


def come(state: LiveState, *pairs: tuple[str, str], day: float = 1) -> None:
    state.apply(EventBatch(interactions_of([(user, item, int(day * DAY)) for user, item in pairs])))


def delete(state: LiveState, node_type: str, *ids: str, day: float = 1.5) -> None:
    state.apply(EventBatch(NOBODY, deletes=[NodeDelete(node_type, node_id, int(day * DAY)) for node_id in ids]))


def rest(state: LiveState, from_s: float = 0.0) -> None:
    """Let the rows of nodes that are forgotten now rest until they are released."""
    for now_s in (from_s, from_s + REST_S, from_s + REST_S + FADE_S):
        state.reclaim(now_s)


def ids_of(state: LiveState, node_type: str) -> list[str]:
    return state.graph.nodes(node_type).ids.all_ids()


def test_row_of_a_deleted_node_is_used_again_after_a_rest():
    state = new_state()
    come(state, ("ann", "x"), ("bob", "y"))
    delete(state, "user", "ann")
    state.reclaim(100.0)
    come(state, ("cid", "x"), day=2)
    assert ids_of(state, "user") == ["", "bob", "cid"], "requests may still see the old node"
    state.reclaim(100.0 + REST_S)
    assert state.context_weights["counting"].forgotten_users == [0]
    state.reclaim(99.0 + REST_S + FADE_S)
    come(state, ("ann", "x"), day=2)
    assert ids_of(state, "user") == ["", "bob", "cid", "ann"], "weights of moments may still know it"
    state.reclaim(100.0 + REST_S + FADE_S)
    lineage = state.graph.nodes("user").ids_lineage
    come(state, ("dan", "x"), ("eve", "x"), day=2)
    assert ids_of(state, "user") == ["dan", "bob", "cid", "ann", "eve"]
    assert state.graph.nodes("user").ids_lineage != lineage, "a checkpoint must write the ids anew"
    edges = state.graph.view().edges(("user", "purchase", "item"))
    assert edges.all_targets(0).timestamps_ms.tolist() == [2 * DAY], "nothing of ann"
    assert state.graph.nodes("user").num_living == 5


def test_new_node_has_nothing_of_the_one_that_had_its_row():
    state = new_state(max_age_days=10)
    state.apply(EventBatch(interactions_of([("ann", "x", DAY)] * 5), [NodeUpsert("item", "x", {"tag": ("red",)})]))
    delete(state, "item", "x")
    rest(state)
    come(state, ("bob", "new"), day=2)
    table = state.graph.nodes("item")
    assert table.ids.row("new") == 0
    assert table.category_values(0) == []
    assert table.lifetimes.newest_ms(0) == 2 * DAY
    assert table.lifetimes.born_ms(0) == 0
    assert state.context_weights["counting"].counts[0] == 1


def test_weight_that_cannot_forget_keeps_rows_from_being_used_again():
    state = new_state(Stubborn())
    come(state, ("ann", "x"))
    delete(state, "item", "x")
    rest(state)
    come(state, ("ann", "y"), day=2)
    assert ids_of(state, "item") == ["", "y"]


def test_node_that_lost_its_last_edge_by_age_goes_if_it_has_no_attributes():
    state = new_state(max_age_days=1)
    catalogue = [NodeUpsert("item", "described", {"tag": ("red",)}, timestamp_ms=DAY)]
    state.apply(EventBatch(interactions_of([("ann", "x", DAY), ("ann", "described", DAY)]), catalogue))
    state.apply(EventBatch(NOBODY, [NodeUpsert("item", "announced", timestamp_ms=9 * DAY)]))
    come(state, ("bob", "y"), day=9)
    assert state.graph.num_edges == 1
    state.reclaim(0.0)
    assert ids_of(state, "user") == ["", "bob"]
    assert ids_of(state, "item") == ["described", "", "announced", "y"]
    assert state.graph.num_forgotten == 0, "nobody was deleted: earlier checkpoints stay"


def test_least_recently_active_nodes_go_beyond_the_bound():
    state = new_state(max_nodes=64)
    come(state, *((f"u{number}", f"i{number % 10}") for number in range(30)), day=1)
    come(state, *((f"u{number}", f"i{number % 10}") for number in range(20)), day=2)
    state.apply(EventBatch(NOBODY, [NodeUpsert("item", "i3", {"tag": ("red",)}, timestamp_ms=3 * DAY)]))
    come(state, *((f"v{number}", "i3") for number in range(20)), day=3)
    state.reclaim(0.0)
    assert state.graph.nodes("user").num_living == 50, "60 nodes: within the bound"
    come(state, *((f"w{number}", "i3") for number in range(10)), day=4)
    state.reclaim(1.0)
    users, items = state.graph.nodes("user"), state.graph.nodes("item")
    assert users.num_living + items.num_living == 64
    assert sum(users.ids.row(f"u{number}") >= 0 for number in range(20, 30)) == 4, "last heard of on day 1"
    assert (users.ids.row("u0") >= 0, users.ids.row("w9") >= 0, items.ids.row("i3") >= 0) == (True, True, True)
    edges = state.graph.view().edges(("user", "purchase", "item"))
    assert "" not in users.ids.ids(edges.source)
    come(state, *((f"u{number}", "i3") for number in range(20, 30)), day=5)
    assert min(users.ids.row(f"u{number}") for number in range(20, 30)) >= 0, "they come back with their next event"


def test_restored_checkpoint_gives_rows_of_forgotten_nodes_to_new_ones(tmp_path):
    state = new_state()
    come(state, ("ann", "x"), ("bob", "y"), ("bob", "x"))
    delete(state, "item", "x")
    store = CheckpointStore(str(tmp_path))
    store.write(state.snapshot())
    again = new_state()
    checkpoint = store.latest()
    assert checkpoint is not None
    store.restore(checkpoint, again)
    come(again, ("cid", "z"), day=2)
    assert ids_of(again, "item") == ["z", "y"]
    assert again.context_weights["counting"].counts[:2].tolist() == [1, 1]
    store.write(again.snapshot())
    third = new_state()
    checkpoint = store.latest()
    assert checkpoint is not None
    store.restore(checkpoint, third)
    assert ids_of(third, "item") == ["z", "y"]


@pytest.mark.parametrize("is_restarted", [False, True])
def test_rows_are_bounded_over_generations_that_come_and_go(is_restarted, tmp_path):
    state, store = new_state(), CheckpointStore(str(tmp_path))
    for generation in range(10):
        users = [f"g{generation}-{number}" for number in range(200)]
        come(state, *((user, f"i{number % 20}") for number, user in enumerate(users)), day=2 * generation)
        delete(state, "user", *users, day=2 * generation + 1)
        rest(state, generation * 1_000.0)
        if is_restarted:
            store.write(state.snapshot())
            checkpoint = store.latest()
            assert checkpoint is not None
            state = new_state()
            store.restore(checkpoint, state)
    assert len(state.graph.nodes("user")) == 200
    assert state.graph.nodes("user").num_living == 0
    assert state.graph.num_edges == 0


def test_memory_is_bounded_by_what_lives_over_generations_that_come_and_go():
    of = Settings.model_validate({"graph": {"max_deletions": 400}, "events": {"duplicates_max_events": 1_000}})
    state = LiveState(of, make_context_weights(of.ranking, PLUGINS))
    generator, traced = np.random.default_rng(0), []
    try:
        for generation in range(24):
            if generation == 1:  # The first one compiles.
                tracemalloc.start()
            users = [f"g{generation}-{number}" for number in range(200)]
            upserts = [
                NodeUpsert("user", user, {"city": (user, "c")}, {"age": 3.0}, {"about": user}, 2 * generation * DAY)
                for user in users
            ]
            items = [f"i{number}" for number in generator.integers(0, 100, 1_000)]
            pairs = [(users[number % 200], item, 2 * generation * DAY) for number, item in enumerate(items)]
            state.apply(EventBatch(interactions_of(pairs), upserts))
            delete(state, "user", *users, day=2 * generation + 1)
            rest(state, generation * 1_000.0)
            del users, upserts, items, pairs
            gc.collect()
            traced.append(tracemalloc.get_traced_memory()[0] // 1_024)
    finally:
        tracemalloc.stop()
    # KiB. By then what has room to grow has got it; each generation brings about 100 KiB.
    assert max(traced[12:]) <= max(traced[4:12]) + 16, traced


def test_category_values_that_nobody_has_any_more_leave_the_vocabulary():
    state = new_state()
    for day in range(60):
        upserts = [
            NodeUpsert("user", f"u{number}", {"seen": (f"{day}-{number}", "always")}, timestamp_ms=day * DAY)
            for number in range(10)
        ]
        state.apply(EventBatch(NOBODY, upserts))
        rest(state, day * 1_000.0)
    users = state.graph.nodes("user")
    assert len(users.categories["seen"].vocabulary) < 150, "of 601 values so far"
    assert users.category_values(3) == [("seen", "59-3"), ("seen", "always")]
    assert users.has_category("seen", ["59-3"]).sum() == 1
    assert not users.has_category("seen", ["58-3"]).any()


def test_code_of_a_forgotten_value_rests_before_another_value_has_it():
    state = new_state()
    state.apply(EventBatch(NOBODY, [NodeUpsert("user", "ann", {"seen": ("red",)}, timestamp_ms=DAY)]))
    state.apply(EventBatch(NOBODY, [NodeUpsert("user", "eve", {"seen": ("blue",)}, timestamp_ms=DAY)]))
    delete(state, "user", "ann")
    state.reclaim(0.0)
    state.apply(EventBatch(NOBODY, [NodeUpsert("user", "bob", {"seen": ("green",)}, timestamp_ms=2 * DAY)]))
    vocabulary = state.graph.nodes("user").categories["seen"].vocabulary
    assert vocabulary.all_ids() == ["", "blue", "green"]
    state.reclaim(REST_S)
    state.apply(EventBatch(NOBODY, [NodeUpsert("user", "cid", {"seen": ("white",)}, timestamp_ms=2 * DAY)]))
    assert vocabulary.all_ids() == ["white", "blue", "green"]


names = st.sampled_from([f"n{number}" for number in range(5)])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("come"), names, names),
        st.tuples(st.just("tag"), names, st.sampled_from(["red", "blue"])),
        st.tuples(st.just("delete"), st.sampled_from(["user", "item"]), names),
        st.just(("rest",)),
    ),
    max_size=40,
)


def with_all_weights() -> LiveState:
    weights = {"popularity": {}, "trend": {}, "calendar": {}, "reorder": {}, "place": {}}
    of = Settings.model_validate({"ranking": {"context_weights": weights}})
    return LiveState(of, make_context_weights(of.ranking, PLUGINS))


def all_that_is_known(state: LiveState, now_ms: int):
    """Edges, attributes and the log lifts of each living item, by id."""
    view = state.graph.view()
    users, items = view.nodes("user"), view.nodes("item")
    edges = view.edges(("user", "purchase", "item"))
    known = sorted(
        zip(users.ids.ids(edges.source), items.ids.ids(edges.target), edges.timestamps_ms.tolist(), strict=True)
    )
    rows = [items.ids.row(item_id) for item_id in sorted(filter(None, items.ids.all_ids()))]
    lifts = {}
    for name, weight in state.context_weights.items():
        of_all = weight.item_log_lifts(Moment(now_ms, place="p"), len(items))
        if of_all is not None and of_all[:, rows].any():  # Rows of forgotten items do not matter.
            lifts[name] = of_all[:, rows].round(5).tolist()
    return known, [items.category_values(row) for row in rows], lifts


@settings(max_examples=100, deadline=None)
@given(steps)
def test_state_whose_rows_are_used_again_knows_the_same(events):
    state, wanted = with_all_weights(), with_all_weights()
    now_s = 0.0
    for number, (what, *about) in enumerate(events, start=1):
        at_ms = number * DAY
        for each in (state, wanted):
            if what == "come":
                each.apply(EventBatch(interactions_of([(about[0], about[1], at_ms)])))
            elif what == "tag":
                each.apply(EventBatch(NOBODY, [NodeUpsert("item", about[0], {"tag": (about[1],)}, timestamp_ms=at_ms)]))
            elif what == "delete":
                each.apply(EventBatch(NOBODY, deletes=[NodeDelete(about[0], about[1], at_ms)]))
        if what == "rest":
            now_s += 1_000.0
            rest(state, now_s)
    assert all_that_is_known(state, len(events) * DAY) == all_that_is_known(wanted, len(events) * DAY)
    assert len(state.graph.nodes("user")) <= len(wanted.graph.nodes("user"))
