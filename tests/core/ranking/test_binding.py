"""A query is checked where it is made and bound once: each id is looked up one time."""

from collections.abc import Iterable

import pytest

from springtide.errors import InvalidRequestError
from springtide.events.model import EventBatch, NodeUpsert
from springtide.ids import IdMap
from springtide.interactions import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.binding import bind
from springtide.ranking.filters import check_query
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.state import LiveState
from springtide.testing import even_odd_events, even_odd_state, interactions_of, quick_model, quick_settings

SIZE = 24
NOW = Moment(even_odd_events(SIZE)[-1][2] + 1_000)


@pytest.fixture
def state() -> LiveState:
    return even_odd_state(SIZE)


def test_query_for_no_items_is_refused_where_it_is_made() -> None:
    with pytest.raises(InvalidRequestError, match="wanted at least 1, got 0") as refused:
        Query(NOW, count=0)
    assert refused.value.field == "count"


def test_unknown_names_are_refused_by_the_check_as_by_the_binding(state: LiveState) -> None:
    view, rules = state.graph.view(), state.rules
    for query, field in (
        (Query(NOW, exclude_seen=("purchase", "bought")), "exclude_seen[1]"),
        (Query(NOW, category_filters=(("colour", ("red",)),)), "category_filters[0].attribute"),
    ):
        with pytest.raises(InvalidRequestError) as by_check:
            check_query(query, view, rules)
        with pytest.raises(InvalidRequestError) as by_binding:
            bind(query, view, rules, (), SIZE)
        assert str(by_check.value) == str(by_binding.value)
        assert by_check.value.field == by_binding.value.field == field


def test_bound_query_has_rows(state: LiveState) -> None:
    query = Query(NOW, "u3", ("i5", "no such item", "i1"), 7, ("purchase",), exclude_items=("i4",), allow_items=("i9",))
    bound = bind(query, state.graph.view(), state.rules, (), SIZE)
    ids = state.graph.nodes("item").ids
    assert (bound.user_id, bound.count, bound.moment) == ("u3", 7, NOW)
    assert bound.user_row == state.graph.nodes("user").ids.row("u3")
    assert ids.ids(bound.recent_rows) == ["i5", "i1"]
    odd = {f"i{number}" for number in range(1, SIZE, 2)} - {"i3"}  # The diagonal is withheld.
    assert set(ids.ids(bound.excluded_rows)) == odd | {"i4"}
    assert bound.allowed is not None
    assert [ids.id(row) for row in bound.allowed.nonzero()[0]] == ["i9"]


def test_attributes_of_the_user_stand_in_for_missing_circumstances(state: LiveState) -> None:
    upsert = NodeUpsert("user", "u0", {"place": ("Oslo", "Rome"), "channel": ("app",), "mood": ("good",)})
    state.apply(EventBatch(interactions_of([]), upserts=[upsert]))
    query = Query(Moment(5, attributes={"channel": "web"}), "u0")
    bound = bind(query, state.graph.view(), state.rules, ("place", "channel"), SIZE)
    assert bound.moment == Moment(5, attributes={"channel": "web", "place": "Oslo"})


def test_ids_of_a_query_are_looked_up_once(state: LiveState, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = quick_settings(model={"width": 16})
    ranker = Ranker(state, settings.ranking)
    ranker.swap(ServingModel.from_artifact(quick_model(state, settings), load_plugins()))
    ranker.recommend([Query(NOW, "u0")])
    live = [state.graph.nodes(node_type).ids for node_type in ("user", "item")]  # The model has maps of its own.
    looked_up: list[str] = []
    row, rows = IdMap.row, IdMap.rows

    def note(ids: IdMap, names: Iterable[str]) -> None:
        if any(ids is map_ for map_ in live):
            looked_up.extend(names)

    monkeypatch.setattr(IdMap, "row", lambda ids, id_: note(ids, [id_]) or row(ids, id_))
    monkeypatch.setattr(IdMap, "rows", lambda ids, of: note(ids, of) or rows(ids, of))

    ranker.recommend([Query(NOW, "u0", exclude_seen=("*",))])
    assert looked_up == ["u0"]
    looked_up.clear()
    ranker.recommend([Query(NOW, "u0", recent_items=("i1", "i2"), exclude_seen=("*",))])
    assert sorted(looked_up) == ["i1", "i2", "u0"]
