"""Whatever the order in which partitions are read, and wherever a server restarts, the state is the same."""

import dataclasses
import itertools
import uuid
from collections.abc import Sequence

import hypothesis
import numpy as np
from hypothesis import strategies as st

from springtide.checkpoint import CheckpointStore
from springtide.clock import MS_PER_DAY
from springtide.events.model import EventBatch, NodeDelete, NodeUpsert, Relation
from springtide.interactions import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.weights import make_context_weights
from springtide.recommendation_ids import new_id, pack_arms
from springtide.settings.model import PluginSettings, Settings
from springtide.state import LiveState
from springtide.testing import START_MS, interactions_of, state_content

PLUGINS = load_plugins(PluginSettings())
SETTINGS = Settings.model_validate(
    {
        "interactions": {"purchase": {}, "view": {"weight": 0.1}, "dislike": {"positive": False}},
        "graph": {"keep_deletions_days": None},  # Times are up to 15 years apart.
    }
)
NO_EVENTS = interactions_of(())

users, items, shops = (st.sampled_from([f"{letter}{number}" for number in range(4)]) for letter in "uis")
times = st.one_of(
    st.integers(0, 12), st.integers(0, 400).map(lambda days: days * MS_PER_DAY), st.sampled_from([-5_000 * MS_PER_DAY])
).map(lambda offset_ms: START_MS + offset_ms)
answers = [pack_arms(arms) for arms in ([], [(7, 0)], [(7, 1)], [(7, 1), (9, 2)])]
interactions = st.builds(
    lambda user, item, time, relation, context, arms: EventBatch(
        dataclasses.replace(
            interactions_of([(user, item, time)], relation),
            contexts=[context],
            recommendation_ids=[new_id(time, arms).decode()] if arms else None,
        )
    ),
    *(users, items, times, st.sampled_from(["purchase", "purchase", "view", "dislike"])),
    st.sampled_from([{}, {"place": "York"}, {"place": "Bath", "temperature": "12.5"}, {"time_zone": "Asia/Tokyo"}]),
    st.sampled_from(answers),
)
deletes = st.builds(
    lambda node, time: EventBatch(NO_EVENTS, deletes=[NodeDelete(*node, time)]),
    st.one_of(st.tuples(st.just("user"), users), st.tuples(st.just("item"), items), st.tuples(st.just("shop"), shops)),
    times,
)
upserts = st.builds(
    lambda item, time, tag, price: EventBatch(
        NO_EVENTS,
        [
            NodeUpsert(
                *("item", item, {"tag": tag}),
                {"price": price} if isinstance(price, float) else {},
                {"price": price} if isinstance(price, str) else {},
                time,
            )
        ],
    ),
    *(items, times, st.sampled_from([(), ("x",), ("y", "x")]), st.sampled_from([None, 1.0, 2.5, "cheap"])),
)
relations = st.builds(
    lambda item, shop, time: EventBatch(NO_EVENTS, relations=[Relation("item", item, "in", "shop", shop, time)]),
    *(items, shops, times),
)
events = st.one_of(interactions, interactions, interactions, deletes, upserts, relations)


def new_state() -> LiveState:
    return LiveState(SETTINGS, make_context_weights(SETTINGS.ranking, PLUGINS))


def restarted(state: LiveState) -> LiveState:
    store = CheckpointStore(f"memory://order-{uuid.uuid4().hex}")
    again = new_state()
    store.restore(store.write(state.snapshot()), again)
    return again


def read(
    order: Sequence[EventBatch], restarts_before: frozenset[int] = frozenset(), *, reclaims: bool = False
) -> LiveState:
    state = new_state()
    for position, event in enumerate(order):
        if position in restarts_before:
            state = restarted(state)
        state.apply(event)
        if reclaims:
            for turn in range(3):  # Rows of forgotten nodes rest, are forgotten by what learned, and rest again.
                state.reclaim(1_000.0 * (3 * position + turn))
    return state


def answers(state: LiveState) -> list[list[tuple[str, float]]]:
    ranker = Ranker(state, SETTINGS.ranking)
    queries = [Query(Moment(START_MS + 400 * MS_PER_DAY), user_id, count=3) for user_id in ("u0", "u1", "", "u9")]
    return [[(item.item_id, item.score) for item in found.items] for found in ranker.recommend(queries)]


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(st.lists(st.lists(events, max_size=8), min_size=2, max_size=4), st.data())
def test_any_interleaving_of_partitions_with_restarts_gives_one_state(
    partitions: list[list[EventBatch]], data: st.DataObject
) -> None:
    in_turn = list(itertools.chain(*partitions))
    partition_of = data.draw(st.permutations([number for number, each in enumerate(partitions) for _ in each]))
    left = [iter(each) for each in partitions]
    interleaved = [next(left[number]) for number in partition_of]
    restarts = data.draw(st.frozensets(st.integers(0, max(0, len(in_turn) - 1)), max_size=2))

    one, other = read(in_turn), read(interleaved, restarts, reclaims=data.draw(st.booleans()))

    assert state_content(one) == state_content(other)
    assert answers(one) == answers(other)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(st.lists(events, max_size=14), st.randoms(use_true_random=False))
def test_any_order_of_single_events_and_any_batches_give_one_state(order: list[EventBatch], random: object) -> None:
    """Batches are put together as decoding does: deletions anywhere between other events."""
    shuffled = list(order)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    state = new_state()
    for start in range(0, len(shuffled), 4):
        part = shuffled[start : start + 4]
        joined = EventBatch(
            NO_EVENTS,
            [upsert for each in part for upsert in each.upserts],
            [relation for each in part for relation in each.relations],
            [delete for each in part for delete in each.deletes],
        )
        state.apply(joined)
        for each in part:
            state.apply(EventBatch(each.interactions))
    assert state_content(state) == state_content(read(order))


def test_a_deleted_item_does_not_come_back_on_a_second_server() -> None:
    """The smallest input: the deletion lies in one partition, an earlier purchase in another."""
    sold = EventBatch(interactions_of([("u1", "x", START_MS - 60_000), ("u1", "y", START_MS)]))
    deleted = EventBatch(NO_EVENTS, deletes=[NodeDelete("item", "x", START_MS)])
    for order in ([sold, deleted], [deleted, sold]):
        for restarts in (frozenset[int](), frozenset([1])):
            state = read(order, restarts)
            assert [item for item, _ in answers(state)[2]] == ["y"]


def test_two_states_that_differ_in_one_edge_have_different_content() -> None:
    events_of_days = [("u0", "i0", START_MS), ("u0", "i1", START_MS + MS_PER_DAY)]
    one, other = (read([EventBatch(interactions_of(each))]) for each in (events_of_days, events_of_days[:1] * 2))
    differing = {name for name, digest in state_content(one).items() if state_content(other).get(name) != digest}
    assert {"newest_ms", "nodes/item", "edges/user purchase item"} <= differing


def test_what_was_learned_of_deleted_users_is_exactly_nothing() -> None:
    generator = np.random.default_rng(1)
    rows = [(f"u{u}", f"i{i}", START_MS + int(t)) for u, i, t in generator.integers(0, 20, (300, 3))]
    state = read([EventBatch(interactions_of(rows))])
    state.apply(EventBatch(NO_EVENTS, deletes=[NodeDelete("user", f"u{u}", START_MS + 99) for u in range(20)]))
    for name in ("popularity", "trend", "calendar", "reorder"):
        lifts = state.context_weights[name].item_log_lifts(Moment(START_MS), 20)
        assert lifts is None or not lifts.any(), name
