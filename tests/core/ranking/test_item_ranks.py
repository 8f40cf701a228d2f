"""Ranks of given items: their positions in the whole answer, ties shared, forgotten items left out."""

import dataclasses

import numpy as np
import pytest

from springtide.events.model import EventBatch, NodeDelete
from springtide.model.exponents import Exponents, TermExponents
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.item_ranks import item_ranks, item_ranks_and_unseen
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.testing import even_odd_events, even_odd_state, interactions_of, quick_model, quick_settings, state_of

SIZE = 24
NOW = Moment(even_odd_events(SIZE)[-1][2] + 1_000)
ALL_WEIGHTS = {"popularity": {}, "calendar": {}, "trend": {}, "repeat": {}}
EXPONENTS = Exponents(
    unseen=TermExponents(4.0, {"popularity": {"share": 0.5}, "calendar": {"hour": 0.3}, "trend": {"7d": 0.4}}),
    seen=TermExponents(1.5, {"popularity": {"share": 0.2}, "repeat": {"had": -0.5, "count": 0.7}}),
)


def ranker_of(state, settings, **changes) -> Ranker:
    model = ServingModel.from_artifact(quick_model(state, settings), load_plugins())
    ranker = Ranker(state, settings.ranking)
    ranker.swap(dataclasses.replace(model, **changes))
    return ranker


@pytest.fixture
def state():
    return even_odd_state(SIZE)


@pytest.fixture
def ranker(state):
    """Ranks by cosine alone."""
    return ranker_of(state, quick_settings(model={"width": 16}))


@pytest.fixture
def weighted():
    """A ranker and its state, with every context weight."""
    settings = quick_settings(model={"width": 16}, ranking={"context_weights": ALL_WEIGHTS})
    state = even_odd_state(SIZE, settings)
    return ranker_of(state, settings, exponents=EXPONENTS), state


def take(state, *events: tuple[str, str, int]) -> None:
    state.apply(EventBatch(interactions_of(events)))


def ids(ranker: Ranker, **fields) -> list[str]:
    (ranking,) = ranker.recommend([Query(NOW, **fields)])
    return [item.item_id for item in ranking.items]


def test_ranks_are_those_of_the_whole_answer(weighted):
    ranker, _ = weighted
    for fields in ({"user_id": "u4"}, {"user_id": "u5", "exclude_items": ("i7", "i8")}, {"user_id": "?"}):
        answer = ids(ranker, count=SIZE, **fields)
        query = Query(NOW, **fields)
        assert item_ranks(ranker.scorer(), [query] * len(answer), answer).tolist() == list(range(1, len(answer) + 1))


def test_scores_put_items_in_the_order_of_the_answer(weighted):
    ranker, state = weighted
    state.apply(EventBatch(interactions_of([]), deletes=[NodeDelete("item", "i9", NOW.timestamp_ms)]))
    query = Query(NOW, user_id="u5", exclude_items=("i7",))
    [scores] = ranker.scorer().score([query]).scores
    order = np.argsort(-scores, kind="stable")[: SIZE - 2]
    assert ranker.scorer().item_ids(order) == ids(ranker, count=SIZE, user_id="u5", exclude_items=("i7",))
    assert np.isneginf(scores[[7, 9]]).all()


def test_ranks_of_many_queries_are_those_of_each_alone(weighted, monkeypatch):
    ranker, _ = weighted
    monkeypatch.setattr("springtide.ranking.item_ranks._QUERIES_AT_ONCE", 4)
    queries = [Query(Moment(NOW.timestamp_ms + number * 3_600_000), user_id=f"u{number}") for number in range(9)]
    items = [f"i{2 * number}" for number in range(9)]
    alone = [item_ranks(ranker.scorer(), [query], [item]).item() for query, item in zip(queries, items, strict=True)]
    assert item_ranks(ranker.scorer(), queries, items).tolist() == alone
    assert len({*alone}) > 1


def test_rank_of_what_is_not_ranked_is_past_the_last(ranker, state):
    take(state, ("u0", "new item", NOW.timestamp_ms))
    state.apply(EventBatch(interactions_of([]), deletes=[NodeDelete("item", "i9", NOW.timestamp_ms)]))
    queries = [Query(NOW, user_id="u0", exclude_items=("i3",))] * 4
    assert item_ranks(ranker.scorer(), queries, ["i3", "never seen", "i9", "new item"]).tolist() == [SIZE + 1] * 4
    ranker.refresh()
    assert item_ranks(ranker.scorer(), queries[:1], ["new item"]).item() <= SIZE


def test_equal_scores_share_the_middle_rank():
    settings = quick_settings(ranking={"context_weights": {"popularity": {}}})
    times = {"i0": 9, "i1": 4, "i2": 4, "i3": 4, "i4": 4, "i5": 1}
    events = [("u0", item, number) for item, count in times.items() for number in range(count)]
    ranker = Ranker(state_of(events, settings), settings.ranking)
    # i1 to i4 fill ranks 2 to 5.
    assert item_ranks(ranker.scorer(), [Query(Moment(10))] * 6, list(times)).tolist() == [1, 3, 3, 3, 3, 6]


def test_forgotten_items_take_no_rank():
    settings = quick_settings(ranking={"context_weights": {"popularity": {}}})
    events = [("u0", item, number) for item, count in (("i0", 5), ("i1", 3), ("i2", 1)) for number in range(count)]
    state = state_of(events, settings)
    ranker = Ranker(state, settings.ranking)
    queries = [Query(Moment(10))]
    assert item_ranks(ranker.scorer(), queries, ["i2"]).tolist() == [3]
    state.apply(EventBatch(interactions_of([]), deletes=[NodeDelete("item", "i0", 10)]))
    assert item_ranks(ranker.scorer(), queries, ["i2"]).tolist() == [2]


def test_ranks_want_one_item_for_each_query(ranker):
    assert item_ranks(ranker.scorer(), [], []).tolist() == []
    with pytest.raises(ValueError, match="one item for each query, got 1 for 2"):
        item_ranks(ranker.scorer(), [Query(NOW)] * 2, ["i0"])


def test_ranks_among_unseen_items_are_those_without_seen_items(weighted, monkeypatch):
    ranker, _ = weighted
    monkeypatch.setattr("springtide.ranking.item_ranks._QUERIES_AT_ONCE", 4)
    queries = [Query(NOW, user_id=f"u{number}") for number in range(9)]
    items = [f"i{2 * number + number % 2}" for number in range(9)]
    among_all, among_unseen = item_ranks_and_unseen(ranker.scorer(), queries, items)
    assert among_all.tolist() == item_ranks(ranker.scorer(), queries, items).tolist()
    without = [dataclasses.replace(query, exclude_seen=("*",)) for query in queries]
    assert among_unseen.tolist() == item_ranks(ranker.scorer(), without, items).tolist()
    assert among_unseen.tolist() != among_all.tolist()
