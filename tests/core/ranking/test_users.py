"""Users are cached until they change: what they did, what they are, and whether they are still there."""

import gc
import tracemalloc

import pytest

from springtide.events.model import EventBatch, NodeDelete, NodeUpsert
from springtide.graph.view import GraphView
from springtide.interactions import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.binding import BoundQuery
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.ranking.users import LiveUser, Users
from springtide.state import LiveState
from springtide.testing import even_odd_events, even_odd_state, interactions_of, quick_model, quick_settings, state_of

SIZE = 24
NOW = Moment(even_odd_events(SIZE)[-1][2] + 1_000)
SETTINGS = quick_settings(model={"width": 16})


@pytest.fixture
def state() -> LiveState:
    return even_odd_state(SIZE)


def take(state: LiveState, *events: tuple[str, str, int]) -> None:
    state.apply(EventBatch(interactions_of(events)))


def upsert(state: LiveState, *upserts: NodeUpsert) -> None:
    state.apply(EventBatch(interactions_of([]), upserts=list(upserts)))


def delete(state: LiveState, node_type: str, node_id: str) -> None:
    state.apply(EventBatch(interactions_of([]), deletes=[NodeDelete(node_type, node_id, NOW.timestamp_ms)]))


def bound(view: GraphView, user_id: str) -> BoundQuery:
    return BoundQuery(user_id, view.nodes("user").ids.row(user_id), NOW)


def find(users: Users, state: LiveState, user_id: str) -> LiveUser:
    view = state.graph.view()
    return users.find(view, None, bound(view, user_id))


def test_user_found_in_an_older_view_is_not_cached_for_the_next(state: LiveState) -> None:
    users = Users(state.rules, max_history=100, model=None)
    older = state.graph.view()
    take(state, ("u0", "i1", 1_000))
    found = [users.find(view, None, bound(view, "u0")) for view in (older, state.graph.view())]
    assert [len(user.history.item_rows) for user in found] == [SIZE // 2 - 1, SIZE // 2]


def test_user_is_cached_until_something_changes(state: LiveState) -> None:
    users = Users(state.rules, max_history=100, model=None)
    first = find(users, state, "u0")
    take(state, ("u1", "i1", NOW.timestamp_ms))
    assert find(users, state, "u0") is first
    take(state, ("u0", "i1", NOW.timestamp_ms))
    assert find(users, state, "u0") is not first


@pytest.mark.parametrize("kind", ["category", "number"])
def test_changed_attributes_of_a_cached_user_change_the_answer(kind: str) -> None:
    def side(user_id: str, name: str) -> NodeUpsert:
        if kind == "category":
            return NodeUpsert("user", user_id, categories={"side": (name,)})
        return NodeUpsert("user", user_id, numbers={"side": {"even": -1.0, "odd": 1.0}[name]})

    upserts = [side(f"u{number}", "even" if number % 2 == 0 else "odd") for number in range(SIZE)]
    state = state_of(even_odd_events(SIZE), SETTINGS, upserts=upserts)
    ranker = Ranker(state, SETTINGS.ranking)
    ranker.swap(ServingModel.from_artifact(quick_model(state, SETTINGS), load_plugins()))
    take(state, ("new user", "i0", NOW.timestamp_ms))
    upsert(state, side("new user", "even"))

    def cosine() -> float:
        [ranking] = ranker.recommend([Query(NOW, "new user", allow_items=("i1",))])
        return ranking.items[0].cosine

    before = cosine()
    upsert(state, side("u5", "odd"))
    assert cosine() == before, "somebody else's attributes change nothing"
    upsert(state, side("new user", "odd"))
    assert cosine() > before + 0.05


def test_attributes_of_others_leave_a_user_in_the_cache(state: LiveState) -> None:
    ranker = Ranker(state, SETTINGS.ranking)
    model = ServingModel.from_artifact(quick_model(state, SETTINGS), load_plugins())
    ranker.swap(model)
    users, table = ranker._serving.users, ranker._serving.table
    take(state, ("u0", "i1", NOW.timestamp_ms))
    view = state.graph.view()
    first = users.find(view, table, bound(view, "u0"))
    upsert(state, NodeUpsert("user", "u1", categories={"side": ("odd",)}))
    view = state.graph.view()
    assert users.find(view, table, bound(view, "u0")) is first


def test_forgotten_user_leaves_the_cache_with_the_next_refresh(state: LiveState) -> None:
    ranker = Ranker(state, SETTINGS.ranking)
    users = ranker._serving.users
    ranker.recommend([Query(NOW, "u0"), Query(NOW, "u1")])
    of_two = users.num_bytes
    assert len(users) == 2
    delete(state, "user", "u0")
    ranker.refresh()
    assert (len(users), users.num_bytes) == (1, of_two // 2)


def test_user_who_is_forgotten_while_being_found_is_not_cached(
    state: LiveState, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = Users(state.rules, max_history=100, model=None)
    make = users._make

    def make_late(*args):
        user = make(*args)
        delete(state, "user", "u0")
        users.drop_forgotten(state.graph.view())  # It comes too early for this one.
        return user

    monkeypatch.setattr(users, "_make", make_late)
    assert len(find(users, state, "u0").history.item_rows) == SIZE // 2 - 1
    assert len(users) == 0


def test_cache_drops_the_user_asked_for_longest_ago(state: LiveState) -> None:
    measured = Users(state.rules, max_history=100, model=None)
    find(measured, state, "u0")
    users = Users(state.rules, max_history=100, model=None, max_bytes=2 * measured.num_bytes)
    first = find(users, state, "u0")
    second = find(users, state, "u1")
    assert find(users, state, "u0") is first
    find(users, state, "u2")
    assert find(users, state, "u0") is first, "asked for after u1"
    assert find(users, state, "u1") is not second


def test_cache_stays_within_its_bytes(state: LiveState) -> None:
    max_bytes = 9_000
    users = Users(state.rules, max_history=100, model=None, max_bytes=max_bytes)
    for number in range(SIZE):
        find(users, state, f"u{number}")
        assert users.num_bytes <= max_bytes
    assert 2 <= len(users) < SIZE
    take(state, *[("u0", f"i{number % SIZE}", NOW.timestamp_ms) for number in range(1_000)])
    unbounded = Users(state.rules, max_history=1_000, model=None)
    find(unbounded, state, "u0")
    assert unbounded.num_bytes > 28_000, "a long history counts for what it is"


def test_bytes_of_the_cache_are_those_that_it_takes() -> None:
    events = [(f"u{user}", f"i{item}", item) for user in range(400) for item in range(user % 100)]
    state = state_of(events, SETTINGS)
    users = Users(state.rules, max_history=100, model=None)
    find(users, state, "u1")
    tracemalloc.start()
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(400):
        find(users, state, f"u{number}").history.distinct()
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert users.num_bytes == pytest.approx(taken, rel=0.2)
