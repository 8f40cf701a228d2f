"""What a history says of items that the user never had: in the scores, the answers, the ranks and the explanations."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from springtide.events import EventBatch
from springtide.events.model import NodeDelete
from springtide.explaining.influence import score_of
from springtide.explaining.terms import explain
from springtide.model.exponents import Exponents, TermExponents
from springtide.plugins.contracts import ContextWeight, Factor, History, Moment, RelatedItems
from springtide.plugins.loading import load_plugins
from springtide.ranking.item_ranks import item_ranks
from springtide.ranking.query import Query
from springtide.ranking.query_scores import QueryScores
from springtide.ranking.ranker import Ranker
from springtide.ranking.related import related_scores, related_terms
from springtide.ranking.serving_model import ServingModel
from springtide.ranking.weights import make_context_weights
from springtide.state import LiveState
from springtide.testing import even_odd_events, history_of, interactions_of, quick_model, quick_settings

SIZE = 24
NOW = Moment(even_odd_events(SIZE)[-1][2] + 1_000)
OWN, BESIDE, NEXT = 0.9, 0.6, -1.7
UNSEEN = {"popularity": {"share": 0.5}, "neighbours": {"beside": BESIDE, "next": NEXT}, "opposite": {"opposite": 2.0}}
SEEN = {"popularity": {"share": 0.2}, "repeat": {"count": 0.7}, "neighbours": {"beside": OWN}}
EXPONENTS = Exponents(unseen=TermExponents(4.0, UNSEEN), seen=TermExponents(1.5, SEEN))


class Neighbours(ContextWeight):
    """The items with the next numbers, in the order of rows, and the one after, as many times as the history is long.

    It also says something of the user's items by themselves.
    """

    factors = (Factor("beside"), Factor("next", is_signed=True))

    def history_log_lifts(self, history: History, moment: Moment) -> np.ndarray:
        return np.full((2, len(history.distinct()[0])), 0.25, np.float32)

    def related(self, history: History, moment: Moment) -> RelatedItems | None:
        items, _ = history.distinct()
        rows = np.unique(np.concatenate([items + 1, items + 2])).astype(np.int32)
        lifts = np.stack([np.log1p(rows), np.isin(rows, items + 2)])
        return RelatedItems(rows, lifts.astype(np.float32))


class Opposite(ContextWeight):
    """The item half the catalogue on from the last one; the first after it that the user never had."""

    factors = (Factor("opposite", words="{lift} as far"),)

    def related(self, history: History, moment: Moment) -> RelatedItems | None:
        row = (int(history.item_rows[0]) + SIZE // 2) % SIZE
        while row in history.item_rows:
            row = (row + 1) % SIZE
        return RelatedItems(np.array([row], np.int32), np.ones((1, 1), np.float32))


@pytest.fixture
def state() -> LiveState:
    settings = quick_settings(model={"width": 16}, ranking={"context_weights": {"popularity": {}, "repeat": {}}})
    weights = make_context_weights(settings.ranking, load_plugins())
    state = LiveState(settings, {**weights, "neighbours": Neighbours(), "opposite": Opposite()})
    state.apply(EventBatch(interactions_of(even_odd_events(SIZE))))
    return state


@pytest.fixture
def ranker(state: LiveState) -> Ranker:
    settings = quick_settings(model={"width": 16}, ranking={"context_weights": {"popularity": {}, "repeat": {}}})
    model = ServingModel.from_artifact(quick_model(state, settings), load_plugins())
    ranker = Ranker(state, settings.ranking)
    ranker.swap(dataclasses.replace(model, exponents=EXPONENTS))
    return ranker


QUERIES: list[dict[str, Any]] = [
    {"user_id": "u4"},
    {"user_id": "u5", "exclude_seen": ("*",)},
    {"user_id": "u6", "exclude_items": ("i7", "i8", "i19")},
    {"user_id": "u7", "recent_items": ("i19",)},
    {"recent_items": ("i3", "i10")},
    {"user_id": "nobody"},
    {"user_id": "u4", "allow_items": tuple(f"i{number}" for number in range(3, 20))},
]


@pytest.mark.parametrize("fields", QUERIES)
def test_answers_are_those_of_scoring_all_items(ranker: Ranker, state: LiveState, fields: dict[str, Any]) -> None:
    for is_disliking in (False, True):
        if is_disliking:
            dislikes = [("u4", "i5", NOW.timestamp_ms - 9), ("u4", "i4", NOW.timestamp_ms - 8)]
            state.apply(EventBatch(interactions_of(dislikes, relation="dislike")))
        query = Query(NOW, count=SIZE, **fields)
        [scores] = ranker.scorer().score([query]).scores
        items = ranker.recommend([query])[0].items
        by_id = {name: scores[row] for row, name in enumerate(ranker.scorer().item_ids(np.arange(SIZE)))}
        expected = sorted((score for score in by_id.values() if np.isfinite(score)), reverse=True)
        assert [item.score for item in items] == pytest.approx(expected, abs=1e-5)
        assert [by_id[item.item_id] for item in items] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("fields", QUERIES)
def test_a_score_is_the_sum_of_what_the_answer_shows(ranker: Ranker, fields: dict[str, Any]) -> None:
    [ranking] = ranker.recommend([Query(NOW, count=SIZE, **fields)])
    for item in ranking.items:
        shown = sum(np.log(weight) for weight in item.weights.values())
        assert item.score == pytest.approx(4.0 * item.cosine + shown, abs=1e-4), item
    if fields != {"user_id": "nobody"}:
        assert any(item.weights["opposite"] > 7 for item in ranking.items)


def test_scores_are_worked_by_hand() -> None:
    weights = {"neighbours": Neighbours(), "opposite": Opposite()}
    terms = related_terms(weights, EXPONENTS)
    seen = np.array([2, 3], np.int32)
    related, of_seen = related_scores(terms, history_of([(2, 5), (3, 1)]), NOW, seen, SIZE)

    assert related.rows.tolist() == [3, 4, 5, 14]
    expected = [BESIDE * np.log(4), BESIDE * np.log(5) + NEXT, BESIDE * np.log(6) + NEXT, 2.0]
    np.testing.assert_allclose(related.total, expected, rtol=1e-6)
    assert related.of(np.array([14, 0, 3])).tolist() == pytest.approx([2.0, 0.0, BESIDE * np.log(4)])
    assert list(of_seen) == ["neighbours"]
    assert of_seen["neighbours"].tolist() == pytest.approx([0.0, OWN * np.log(4)])


def test_rows_beyond_what_is_ranked_are_left_out() -> None:
    terms = related_terms({"neighbours": Neighbours()}, EXPONENTS)
    related, _ = related_scores(terms, history_of([(2, 5), (3, 1)]), NOW, np.array([2, 3], np.int32), 5)
    assert related.rows.tolist() == [3, 4]


def test_weights_without_exponents_are_not_asked() -> None:
    none = Exponents(TermExponents(1.0), TermExponents(1.0))
    assert related_terms({"neighbours": Neighbours()}, none) == []


def test_ranks_and_explanations_are_those_of_the_answer(ranker: Ranker) -> None:
    for fields in QUERIES[:5]:
        query = Query(NOW, count=SIZE, **fields)
        items = ranker.recommend([query])[0].items
        names = [item.item_id for item in items]
        assert item_ranks(ranker.scorer(), [query] * len(names), names).tolist() == list(range(1, len(names) + 1))
        scorer = ranker.scorer()
        bound = scorer.bind(query)
        user = QueryScores(scorer, bound).user
        for rank, item in enumerate(items, start=1):
            explained = explain(scorer, query, item.item_id)
            assert (explained.rank, explained.score) == (rank, pytest.approx(item.score, abs=1e-4))
            row = scorer.items.ids.row(item.item_id)
            assert score_of(scorer, user, bound, row) == pytest.approx(item.score, abs=1e-4)


def test_a_deleted_item_is_never_related(ranker: Ranker, state: LiveState) -> None:
    [ranking] = ranker.recommend([Query(NOW, user_id="u4", count=3)])
    gone = ranking.items[0].item_id
    state.apply(EventBatch(interactions_of([]), deletes=[NodeDelete("item", gone, NOW.timestamp_ms)]))
    [ranking] = ranker.recommend([Query(NOW, user_id="u4", count=SIZE)])
    assert gone not in [item.item_id for item in ranking.items]


@pytest.mark.parametrize(
    ("rows", "lifts", "said"),
    [
        (np.zeros(1, np.int64), np.zeros((1, 1), np.float32), "wanted int32"),
        (np.array([2, 1], np.int32), np.zeros((1, 2), np.float32), "ascending"),
        (np.array([1, 1], np.int32), np.zeros((1, 2), np.float32), "ascending"),
        (np.array([-1], np.int32), np.zeros((1, 1), np.float32), "from 0"),
        (np.zeros(1, np.int32), np.zeros((1, 2), np.float32), "lifts of 1 items, got 2"),
    ],
)
def test_nonsense_is_refused(rows: np.ndarray, lifts: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RelatedItems(rows, lifts)
