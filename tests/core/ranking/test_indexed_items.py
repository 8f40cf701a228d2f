"""Answers by an index: scored exactly, whole, without what is gone, and counted."""

import dataclasses

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY
from springtide.events.model import EventBatch, NodeDelete, NodeUpsert
from springtide.model.exponents import Exponents, TermExponents
from springtide.plugins.contracts import Index, Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking import indexed_items, kernels, weights
from springtide.ranking.candidate_kernels import with_candidates
from springtide.ranking.indexed_items import BuiltIndex, IndexedItems
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.testing import even_odd_events, even_odd_state, interactions_of, quick_model, quick_settings

SIZE = 60
NOW_MS = even_odd_events(SIZE)[-1][2] + 3_600_000
WEIGHTS: dict[str, dict[str, float]] = {"popularity": {}, "trend": {}, "repeat": {}}
LIFTS = {"popularity": {"share": 0.5}, "trend": {"7d": 0.3}}
HABITS = {"repeat": {"had": 1.0, "count": 1.0}}
LATE = [("u1", "new one", NOW_MS), ("u3", "new one", NOW_MS), ("newcomer", "i3", NOW_MS), ("u5", "i7", NOW_MS)]


class Exhaustive(Index):
    """Finds all that are near."""

    def build(self, vectors, rows, is_wanted):
        self.vectors, self.rows = vectors, rows

    def search(self, vector, count):
        return self.rows[np.argsort(-(self.vectors[self.rows] @ vector), kind="stable")[:count]]


class Broken(Exhaustive):
    def search(self, vector, count):
        raise OSError("the disk is gone")


class OutOfRange(Exhaustive):
    def search(self, vector, count):
        return np.array([10**6])


@pytest.fixture(autouse=True)
def short_order(monkeypatch):
    """The head has a few of the toy's items, as it has a few of a million."""
    monkeypatch.setattr(indexed_items, "_PROBED", 3)
    monkeypatch.setattr(weights, "_MIN_ORDERED", 6)


def served(cosine=2.5, has_late=True):
    """A ranker over a model, whose index was built before the latest events, and what the two are of."""
    settings = quick_settings(ranking={"context_weights": WEIGHTS})
    state = even_odd_state(SIZE, settings)
    upserts = [NodeUpsert("item", f"i{row}", categories={"brand": ("abcd"[row % 4],)}) for row in range(SIZE)]
    state.apply(EventBatch(interactions_of([]), upserts=upserts))
    ranker = Ranker(state, settings.ranking)
    model = ServingModel.from_artifact(quick_model(state, settings), load_plugins())
    exponents = Exponents(TermExponents(cosine, LIFTS), TermExponents(1.5, LIFTS | HABITS))
    ranker.swap(dataclasses.replace(model, exponents=exponents))
    early = [("early", "between", NOW_MS - 5_000), ("u2", "between", NOW_MS - 4_000)]
    state.apply(EventBatch(interactions_of(early)))
    ranker.refresh()
    before = ranker.scorer().serving.table
    if has_late:
        state.apply(EventBatch(interactions_of(LATE), deletes=[NodeDelete("item", "i6", NOW_MS)]))
        ranker.refresh()
        state.apply(EventBatch(interactions_of([]), deletes=[NodeDelete("item", "i9", NOW_MS)]))
    return state, ranker, before


def with_index(ranker, before, num_candidates, index=None, most=10**9):
    """Let the ranker use an index of an earlier table; return how its answers are counted."""
    serving = ranker.scorer().serving
    built = BuiltIndex.of(index or Exhaustive(), before, lambda: True)
    indexed = IndexedItems(built, serving.table, built.changed_rows(serving.table), num_candidates, most)
    ranker._serving = dataclasses.replace(serving, index=indexed)
    return indexed.counts


def queries(count=120):
    random = np.random.default_rng(2)

    def one_in(number):
        return int(random.integers(0, number)) == 0

    return [
        Query(
            Moment(NOW_MS - int(random.choice([0, 0, 3])) * MS_PER_DAY),
            user_id=str(random.choice([f"u{row}" for row in range(SIZE)] + ["", "nobody", "newcomer", "early"])),
            recent_items=("i3", "new one") if one_in(4) else (),
            count=int(random.choice([1, 5, 20, 1_000])),
            exclude_seen=("*",) if one_in(2) else (),
            exclude_items=("i1", "i2") if one_in(4) else (),
            category_filters=(("brand", ("a", "b")),) if one_in(4) else (),
        )
        for _ in range(count)
    ]


def answers(ranker, asked):
    rankings = ranker.recommend(asked)
    return [(ranking.items.ids, ranking.items.scores.tolist()) for ranking in rankings]


@pytest.mark.parametrize("cosine", [2.5, 30.0, -1.5])
def test_with_as_many_candidates_as_there_are_items_every_answer_is_exact(cosine):
    _, ranker, before = served(cosine)
    exact = answers(ranker, queries())
    counts = with_index(ranker, before, num_candidates=SIZE)
    assert answers(ranker, queries()) == exact
    assert counts.by_index > 20
    assert counts.failed == 0


def test_an_answer_that_the_moment_decides_is_proved_and_does_not_ask_the_index():
    _, ranker, before = served(cosine=1e-6)
    asked = [Query(Moment(NOW_MS), f"u{row}", count=1) for row in range(SIZE)]
    exact = answers(ranker, asked)
    counts = with_index(ranker, before, num_candidates=5, index=Broken())
    assert answers(ranker, asked) == exact
    assert counts.proven > SIZE / 2
    assert counts.by_index == 0


def test_proved_answers_are_exact_however_few_candidates():
    _, ranker, before = served(cosine=0.4)
    asked = [dataclasses.replace(query, count=1) for query in queries()]
    exact = answers(ranker, asked)
    counts = with_index(ranker, before, num_candidates=1)
    for query, wanted in zip(asked, exact, strict=True):
        so_far = counts.proven
        [found] = answers(ranker, [query])
        if counts.proven > so_far:
            assert found == wanted
    assert counts.proven > 10


def test_few_candidates_give_whole_answers_with_exact_scores():
    _, ranker, before = served(cosine=5.0)
    asked = queries()
    exact_scores = [dict(zip(*answer, strict=True)) for answer in answers(ranker, with_counts(asked, 1_000))]
    exact = answers(ranker, asked)
    with_index(ranker, before, num_candidates=4)
    for (ids, scores), (wanted, _), all_scores in zip(answers(ranker, asked), exact, exact_scores, strict=True):
        assert len(ids) == len(wanted)
        assert scores == [all_scores[each] for each in ids]
        assert scores == sorted(scores, reverse=True)


def with_counts(asked, count):
    return [dataclasses.replace(query, count=count) for query in asked]


def test_an_item_that_came_after_the_build_is_found_and_forgotten_ones_are_not():
    _, ranker, before = served(cosine=30.0)
    with_index(ranker, before, num_candidates=SIZE)
    asked = [Query(Moment(NOW_MS), f"u{row}", count=20) for row in range(SIZE)]
    found = [name for ids, _ in answers(ranker, asked) for name in ids]
    assert "new one" in found
    assert not {"i6", "i9", ""} & set(found)


def test_a_row_that_was_given_to_another_item_has_its_new_vector():
    state, ranker, before = served(cosine=30.0, has_late=False)
    state.apply(EventBatch(interactions_of([]), deletes=[NodeDelete("item", "i8", NOW_MS)]))
    for name in ("i8", "other"):
        state.apply(EventBatch(interactions_of([("u1", name, NOW_MS + 1), ("u3", name, NOW_MS + 2)])))
    ranker.refresh()
    asked = [Query(Moment(NOW_MS + 3), f"u{row}", count=5) for row in range(SIZE)]
    exact = answers(ranker, asked)
    with_index(ranker, before, num_candidates=SIZE)
    assert answers(ranker, asked) == exact


def test_items_whose_vectors_have_changed_are_scored_by_the_new_ones():
    state, ranker, before = served(has_late=False)
    state.apply(EventBatch(interactions_of([(f"u{row}", "between", NOW_MS) for row in range(1, SIZE, 2)])))
    ranker.refresh()
    table = ranker.scorer().serving.table
    changed = BuiltIndex.of(Exhaustive(), before, lambda: True).changed_rows(table)
    row = ranker.scorer().items.ids.row("between")
    assert (before.vectors[row] != table.vectors[row]).any()
    assert changed.tolist() == [row]


@pytest.mark.parametrize("index", [Broken(), OutOfRange()])
def test_a_search_that_fails_is_answered_exactly_and_counted(index):
    _, ranker, before = served(cosine=30.0)
    exact = answers(ranker, queries())
    counts = with_index(ranker, before, num_candidates=10, index=index)
    assert answers(ranker, queries()) == exact
    assert counts.failed > 20
    assert counts.exact == counts.failed


def test_a_filter_that_few_pass_asks_for_more_candidates_and_then_for_the_exact_answer():
    _, ranker, before = served(cosine=30.0)
    asked = [Query(Moment(NOW_MS), f"u{row}", count=15, category_filters=(("brand", ("b",)),)) for row in range(SIZE)]
    exact = answers(ranker, asked)
    counts = with_index(ranker, before, num_candidates=5, most=6)
    assert answers(ranker, asked) == exact
    assert counts.by_index == 0


def test_nearest_items_that_are_all_left_out_ask_for_a_few_more_and_not_for_all():
    asked = []

    class Noting(Exhaustive):
        def search(self, vector, count):
            asked.append(count)
            return super().search(vector, count)

    _, ranker, before = served(cosine=30.0)
    exact_query = Query(Moment(NOW_MS), "u4", count=1)
    nearest = Exhaustive()
    nearest.build(before.vectors, np.arange(len(before.vectors)), lambda: True)
    user = ranker.scorer().serving.users.find(
        ranker.scorer().view, ranker.scorer().serving.table, ranker.scorer().bind(exact_query)
    )
    rows = nearest.search(user.vector, 10).tolist()
    left_out = tuple(filter(None, ranker.scorer().item_ids(np.array(rows))))
    query = dataclasses.replace(exact_query, exclude_items=left_out)
    exact = answers(ranker, [query])
    with_index(ranker, before, num_candidates=10, index=Noting())
    assert answers(ranker, [query]) == exact
    assert asked == [10, 40]  # Six times as many would have been all of them.


def test_candidates_changed_items_and_those_apart_are_brought_together_each_once():
    random = np.random.default_rng(3)
    for _ in range(200):
        num_items, width = int(random.integers(1, 60)), int(random.integers(1, 40))
        vectors = random.normal(size=(num_items + 2, width)).astype(np.float32)
        values, user = random.normal(size=num_items).astype(np.float32), vectors[-1]

        def some(num_items=num_items):
            return np.flatnonzero(random.random(num_items) < random.random()).astype(np.int32)

        nearest, changed, apart = some(), some(), some()
        of_apart = random.normal(size=len(apart)).astype(np.float32)
        rows, scores = with_candidates(user, 2.5, vectors, values, nearest, changed, apart, of_apart)
        wanted = values + kernels.cosines_of(user, vectors, np.arange(num_items, dtype=np.int32)) * np.float32(2.5)
        wanted[apart] = of_apart
        assert rows.tolist() == sorted({*nearest.tolist(), *changed.tolist(), *apart.tolist()})
        assert scores.tolist() == wanted[rows].tolist()


@pytest.mark.parametrize("rows", [[1, 1], [2, 1], [-1], [5]])
def test_candidates_that_do_not_ascend_or_lie_beyond_the_items_are_refused(rows):
    vectors, none = np.zeros((5, 4), np.float32), np.empty(0, np.int32)
    given = np.array(rows, np.int32)
    for kinds in ((given, none, none), (none, given, none), (none, none, given)):
        of_apart = np.zeros(len(kinds[2]), np.float32)
        with pytest.raises(ValueError, match="wanted rows below 5"):
            with_candidates(vectors[0], 1.0, vectors, vectors[:, 0].copy(), *kinds, of_apart)
