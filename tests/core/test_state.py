import dataclasses

import numpy as np
import pytest

from springtide.events.model import EventBatch, Interactions, NodeDelete, NodeUpsert, Relation
from springtide.events.skips import Skips
from springtide.plugins.contracts import ContextWeight, Observed
from springtide.settings.model import Settings
from springtide.state import LeftOut, LiveState, StreamPosition

INTERACTIONS = Interactions(
    user_ids=["ann", "bob"],
    user_codes=np.array([0, 1, 0, 1], np.int32),
    item_ids=["x", "y"],
    item_codes=np.array([0, 0, 1, 1], np.int32),
    relations=["purchase", "dislike", "rating>=4"],
    relation_codes=np.array([0, 1, 2, 0], np.int16),
    timestamps_ms=np.array([40, 30, 20, 10], np.int64),
    values=np.array([np.nan, np.nan, 5.0, np.nan], np.float32),
    contexts=[{"place": "p0"}, {}, {"place": "p2"}, {}],
)
NOTHING = dataclasses.replace(
    INTERACTIONS,
    **{
        column: getattr(INTERACTIONS, column)[:0]
        for column in ("user_codes", "item_codes", "relation_codes", "timestamps_ms", "values", "contexts")
    },
    user_ids=[],
    item_ids=[],
)


class Remembering(ContextWeight):
    """Keeps what it was shown."""

    context_keys = ("place",)

    def __init__(self) -> None:
        self.seen: list[Observed] = []

    def observe(self, observed: Observed) -> None:
        self.seen.append(observed)


def new_state(**settings) -> LiveState:
    return LiveState(Settings.model_validate(settings), {"remembering": Remembering()})


def test_interactions_become_edges_by_relation():
    state = new_state(interactions={"purchase": {"weight": 2.0}, "dislike": {"positive": False}, "rating>=4": {}})
    state.apply(EventBatch(INTERACTIONS))
    view = state.graph.view()
    purchases = view.edges(("user", "purchase", "item"))
    assert (purchases.source.tolist(), purchases.target.tolist()) == ([0, 1], [0, 1])
    assert purchases.timestamps_ms.tolist() == [40, 10]
    assert purchases.weights.tolist() == [2.0, 2.0]
    np.testing.assert_array_equal(purchases.features, [[np.nan, 0.0], [np.nan, np.nan]])  # A value, and a place.
    np.testing.assert_array_equal(view.edges(("user", "rating>=4", "item")).features, [[5.0, 1.0]])
    assert view.edges(("user", "dislike", "item")).features is None
    assert len(view.edges(("user", "dislike", "item"))) == 1
    assert state.num_events == 4


def test_positive_interactions_are_observed_in_stream_order_with_circumstances():
    state = new_state()
    state.apply(EventBatch(INTERACTIONS))
    (observed,) = state.context_weights["remembering"].seen
    assert observed.user_rows.tolist() == [0, 0, 1]
    assert observed.item_rows.tolist() == [0, 1, 1]
    assert observed.timestamps_ms.tolist() == [40, 20, 10]
    assert observed.circumstances["place"].codes.tolist() == [0, 1, -1]
    assert observed.circumstances["place"].values == ["p0", "p2"]


def test_what_an_event_does_not_say_is_taken_from_the_user():
    state = new_state()
    state.apply(EventBatch(NOTHING, [NodeUpsert("user", "bob", {"place": ("p2", "p9")})]))
    state.apply(EventBatch(INTERACTIONS))
    for observed in (*state.context_weights["remembering"].seen, state.positive_interactions(state.graph.view())):
        places = observed.circumstances["place"]
        found = [places.values[code] for code in places.codes]
        assert dict(zip(observed.timestamps_ms.tolist(), found, strict=True)) == {40: "p0", 20: "p2", 10: "p2"}


def test_circumstances_that_no_weight_asks_for_are_not_kept():
    state = LiveState(Settings(), {})
    state.apply(EventBatch(INTERACTIONS))
    view = state.graph.view()
    assert view.edges(("user", "purchase", "item")).features is None
    assert state.positive_interactions(view).circumstances == {}


def test_circumstances_that_come_later_are_kept_from_then_on():
    state = new_state()
    state.apply(EventBatch(dataclasses.replace(INTERACTIONS, contexts=None)))
    state.apply(EventBatch(INTERACTIONS))
    observed = state.positive_interactions(state.graph.view())
    assert observed.timestamps_ms.tolist() == [10, 10, 20, 20, 40, 40]
    assert sorted(observed.circumstances["place"].codes.tolist()) == [-1, -1, -1, -1, 0, 1]


def test_batch_without_positive_interactions_is_not_observed():
    state = new_state()
    state.apply(EventBatch(NOTHING, [NodeUpsert("item", "x")]))
    assert state.context_weights["remembering"].seen == []
    assert state.graph.nodes("item").ids.all_ids() == ["x"]


def test_all_positive_interactions_come_back_sorted_by_time():
    state = new_state()
    state.apply(EventBatch(INTERACTIONS))
    observed = state.positive_interactions(state.graph.view())
    assert observed.timestamps_ms.tolist() == [10, 20, 40]
    assert observed.item_rows.tolist() == [1, 1, 0]
    assert observed.user_rows.tolist() == [1, 0, 0]
    assert observed.circumstances["place"].codes.tolist() == [-1, 1, 0]
    assert len(new_state().positive_interactions(new_state().graph.view())) == 0


def test_only_positive_interactions_count_as_interacted():
    state = new_state()
    state.apply(EventBatch(INTERACTIONS))
    users, items = np.array([0, 0, 1, 1, -1, 0], np.int32), np.array([0, 1, 0, 1, 0, -1], np.int32)
    has = state.has_interacted(state.graph.view(), users, items)
    assert has.tolist() == [True, True, False, True, False, False]  # Bob dislikes x; -1 is unknown.


def test_relations_become_edges_of_their_own_types():
    state = new_state()
    relations = [Relation("item", "x", "in", "shop", "s", 5, 0.5), Relation("user", "a", "follows", "user", "b", 6)]
    state.apply(EventBatch(NOTHING, relations=relations))
    view = state.graph.view()
    assert view.edges(("item", "in", "shop")).weights.tolist() == [0.5]
    assert view.edges(("user", "follows", "user")).target.tolist() == [1]


def edges_of(state: LiveState, relation: str = "purchase") -> list[tuple[str, str, int]]:
    view = state.graph.view()
    edges = view.edges(("user", relation, "item"))
    users, items = view.nodes("user").ids.ids(edges.source), view.nodes("item").ids.ids(edges.target)
    return sorted(zip(users, items, edges.timestamps_ms.tolist(), strict=True))


def apply_in_order(*batches: EventBatch) -> LiveState:
    state = new_state()
    for batch in batches:
        state.apply(batch)
    return state


BUYS = EventBatch(INTERACTIONS)
DELETES_ANN = EventBatch(NOTHING, deletes=[NodeDelete("user", "ann", 25), NodeDelete("user", "eve", 50)])
DELETES_X = EventBatch(NOTHING, deletes=[NodeDelete("item", "x", 40)])


@pytest.mark.parametrize(
    "batches",
    [
        pytest.param([BUYS, DELETES_ANN], id="deletion last"),
        pytest.param([DELETES_ANN, BUYS], id="deletion first"),
        pytest.param([dataclasses.replace(BUYS, deletes=DELETES_ANN.deletes)], id="in one batch"),
        pytest.param([DELETES_ANN, BUYS, DELETES_ANN], id="deletion twice"),
    ],
)
def test_a_deletion_holds_for_what_happened_before_it_whichever_comes_first(batches: list[EventBatch]) -> None:
    state = apply_in_order(*batches)

    assert edges_of(state) == [("ann", "x", 40), ("bob", "y", 10)]
    assert edges_of(state, "rating>=4") == [], "Ann rated y at 20"
    users = state.graph.nodes("user")
    assert sorted(filter(None, users.ids.all_ids())) == ["ann", "bob"]
    assert users.lifetimes.born_ms(users.ids.row("ann")) == 25
    assert users.lifetimes.born_ms(users.ids.row("bob")) == 0


@pytest.mark.parametrize("batches", [[BUYS, DELETES_X], [DELETES_X, BUYS]], ids=["deletion last", "deletion first"])
def test_an_event_at_the_time_of_a_deletion_is_deleted_and_its_other_end_stays(batches: list[EventBatch]) -> None:
    state = apply_in_order(*batches)

    assert edges_of(state) == [("bob", "y", 10)]
    assert state.graph.nodes("item").ids.row("x") == -1
    assert sorted(filter(None, state.graph.nodes("user").ids.all_ids())) == ["ann", "bob"]
    assert state.graph.newest_ms == 40


def test_late_upserts_and_relations_of_a_deleted_node_change_nothing() -> None:
    state = apply_in_order(
        EventBatch(NOTHING, deletes=[NodeDelete("item", "x", 40)]),
        EventBatch(NOTHING, [NodeUpsert("item", "x", numbers={"price": 1.0}, timestamp_ms=40)]),
        EventBatch(NOTHING, relations=[Relation("item", "x", "in", "shop", "s", 39)]),
        EventBatch(NOTHING, relations=[Relation("item", "y", "like", "item", "x", 38)]),
    )
    assert state.graph.num_edges == 0
    assert state.graph.nodes("item").ids.all_ids() == ["y"]
    assert state.graph.nodes("shop").ids.all_ids() == ["s"]
    assert state.graph.num_dropped == 3
    state.apply(EventBatch(NOTHING, [NodeUpsert("item", "x", numbers={"price": 2.0}, timestamp_ms=41)]))
    items = state.graph.nodes("item")
    assert items.lifetimes.born_ms(items.ids.row("x")) == 40


def test_deleted_again_the_later_deletion_counts_in_any_order() -> None:
    first, again = (EventBatch(NOTHING, deletes=[NodeDelete("user", "ann", time)]) for time in (25, 40))
    for batches in ([BUYS, first, again], [BUYS, again, first], [first, BUYS, again], [again, first, BUYS]):
        state = apply_in_order(*batches)
        assert edges_of(state) == [("bob", "y", 10)]
        assert state.graph.nodes("user").ids.row("ann") == -1


def test_deletions_are_remembered_within_their_bounds() -> None:
    state = new_state(graph={"keep_deletions_days": 1.0, "max_deletions": 8})
    deletes = [NodeDelete("user", f"u{number}", number) for number in range(20)]
    for delete in deletes:
        state.apply(EventBatch(NOTHING, deletes=[delete]))
    assert 8 <= len(state.graph.tombstones) <= 9
    assert state.graph.tombstones.deleted_ms("user", ["u19", "u0"]).tolist() == [19, np.iinfo(np.int64).min]
    state.apply(EventBatch(dataclasses.replace(INTERACTIONS, timestamps_ms=INTERACTIONS.timestamps_ms + 100_000_000)))
    state.apply(EventBatch(NOTHING, deletes=[NodeDelete("user", "u50", 100_000_000)]))
    assert len(state.graph.tombstones) == 1


def test_readers_see_a_batch_whole():
    state = new_state()
    state.apply(EventBatch(INTERACTIONS, [NodeUpsert("item", "x", numbers={"price": 1.0})]))
    assert state.graph.version == 1


def test_settled_kind_is_that_of_most_nodes():
    state = new_state()
    assert state.settled_kind("item", "size") is None
    sizes = [NodeUpsert("item", "x", texts={"size": "L"}), NodeUpsert("item", "y", numbers={"size": 3.0})]
    state.apply(EventBatch(INTERACTIONS, [sizes[0]]))
    assert state.settled_kind("item", "size") == "text"
    state.apply(EventBatch(NOTHING, [sizes[1]]))
    assert state.settled_kind("item", "size") == "number"


def test_position_advances_by_partition():
    state = new_state()
    with pytest.raises(ValueError, match="wanted a position"):
        state.advance({0: 1})
    state.position = StreamPosition("topic", "id", {0: 1, 1: 1})
    before = state.snapshot()
    state.advance({1: 5})
    assert state.position == StreamPosition("topic", "id", {0: 1, 1: 5})
    assert before.position == StreamPosition("topic", "id", {0: 1, 1: 1})


def test_bounds_come_from_the_settings():
    state = new_state(graph={"max_edges": 2, "max_age_days": 1.0})
    assert (state.graph.max_edges, state.graph.max_age_ms) == (2, 86_400_000)
    state.apply(EventBatch(INTERACTIONS))
    assert state.graph.num_edges == 2


def test_a_position_is_reached_once_all_its_partitions_are() -> None:
    state = LiveState(Settings(), {})
    assert not state.has_reached({0: 1})
    state.position = StreamPosition("events", "", {0: 5, 1: 2})
    assert state.has_reached({0: 5, 1: 1})
    assert not state.has_reached({0: 5, 1: 3})
    assert state.has_reached({2: 0}), "a partition that was never read counts as read up to its beginning"
    assert not state.has_reached({2: 1})


def test_deleted_user_is_named_no_more_among_what_was_left_out():
    state = new_state()
    both = Skips(users=("ann", "bob"), since_ms=5)
    state.left_out = (
        LeftOut(both, 1, {both.publishing_in_words(): 3}),
        LeftOut(Skips(users=("ann",), since_ms=5), 1, {"events of user ann": 2}),
        LeftOut(Skips(((0, 1, 2),), users=("ann",)), 1, {"partition 0, 1 to 2": 2, "events of user ann": 2}),
    )
    state.apply(EventBatch(NOTHING, deletes=[NodeDelete("item", "ann", 5), NodeDelete("user", "zoe", 5)]))
    assert len(state.left_out) == 3
    state.apply(EventBatch(NOTHING, deletes=[NodeDelete("user", "ann", 5)]))
    assert [each.skips for each in state.left_out] == [Skips(users=("bob",), since_ms=5), Skips(((0, 1, 2),))]
    assert state.left_out[1].num_events == {"partition 0, 1 to 2": 2}
    assert "ann" not in str(state.left_out)
