"""Whatever a query asks for, its answer is what scoring all items gives: to the order, and to a score's rounding."""

import dataclasses

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY
from springtide.events.model import EventBatch, NodeDelete, NodeUpsert
from springtide.model.exponents import Exponents, TermExponents
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.ranking.top_k import best_of
from springtide.testing import even_odd_events, even_odd_state, interactions_of, quick_model, quick_settings, state_of

SIZE = 40
NUM_QUERIES = 200
NOW_MS = even_odd_events(SIZE)[-1][2] + 3_600_000
RULES = {"purchase": {}, "view": {"weight": 0.1, "positive": False}, "dislike": {"positive": False}}
WEIGHTS: dict[str, dict[str, float]] = {"popularity": {}, "trend": {}, "repeat": {}, "place": {}}
LIFTS = {"popularity": {"share": 0.5}, "trend": {"7d": 0.3}}
HABITS = {"repeat": {"had": 1.0, "count": 1.0, "recent_30d": -0.4}}


def served(cosine: float, *, has_model: bool = True) -> Ranker:
    """A ranker over events of many kinds, with nodes that came and went after the model was trained."""
    settings = quick_settings(interactions=RULES, ranking={"context_weights": WEIGHTS})
    state = even_odd_state(SIZE, settings)
    ranker = Ranker(state, settings.ranking)
    if has_model:
        model = ServingModel.from_artifact(quick_model(state, settings), load_plugins())
        exponents = Exponents(TermExponents(cosine, LIFTS), TermExponents(1.5, LIFTS | HABITS))
        ranker.swap(dataclasses.replace(model, exponents=exponents))
    random = np.random.default_rng(1)
    for relation in ("purchase", "view", "dislike"):
        pairs = random.integers(0, SIZE, (120, 2)).tolist()
        events = [(f"u{user}", f"i{item}", NOW_MS - 1_000 * (number + 1)) for number, (user, item) in enumerate(pairs)]
        state.apply(EventBatch(interactions_of(events, relation)))
    upserts = [NodeUpsert("item", f"i{row}", categories={"brand": ("ab"[row % 2],)}) for row in range(SIZE)]
    state.apply(EventBatch(interactions_of([]), deletes=[NodeDelete("item", "i6", NOW_MS)], upserts=upserts))
    ranker.refresh()
    late = [("u1", "new one", NOW_MS), ("newcomer", "i3", NOW_MS), ("newcomer", "new one", NOW_MS)]
    state.apply(EventBatch(interactions_of(late), deletes=[NodeDelete("item", "i9", NOW_MS)]))
    return ranker


def queries() -> list[Query]:
    random = np.random.default_rng(2)

    def items(most: int) -> tuple[str, ...]:
        return tuple(f"i{row}" for row in random.integers(0, SIZE + 3, random.integers(0, most)))

    def one_in(number: int) -> bool:
        return int(random.integers(0, number)) == 0

    return [
        Query(
            Moment(NOW_MS - int(random.choice([0, 0, 3, 40])) * MS_PER_DAY, str(random.choice(["", "north"]))),
            user_id=str(random.choice([f"u{row}" for row in range(SIZE)] + ["", "nobody", "newcomer"])),
            recent_items=items(4) if one_in(4) else (),
            count=int(random.choice([1, 5, SIZE, 1_000])),
            exclude_seen=tuple(random.choice(["*", "purchase", "view", "dislike"], 2)) if one_in(2) else (),
            exclude_items=items(5) if one_in(4) else (),
            allow_items=items(12) if one_in(5) else (),
            category_filters=(("brand", ("a",)),) if one_in(4) else (),
            with_weights=not one_in(4),
        )
        for _ in range(NUM_QUERIES)
    ]


@pytest.mark.parametrize("cosine", [1e-6, 2.5, 30.0, -2.0, None])
def test_every_answer_is_that_of_the_full_product(cosine: float | None) -> None:
    ranker = served(cosine or 1.0, has_model=cosine is not None)
    assert_answers_of_the_full_product(ranker, queries() * 2)  # Then, users and moments are in the cache.


def test_answers_in_a_graph_of_users_are_those_of_the_full_product() -> None:
    settings = quick_settings(
        graph={"item_type": "user"}, interactions={"follow": {}}, ranking={"context_weights": WEIGHTS}
    )
    random = np.random.default_rng(3)
    pairs = [(int(a), int(b)) for a, b in random.integers(0, SIZE, (400, 2)) if a != b]
    follows = [(f"u{a}", f"u{b}", NOW_MS - 1_000 * (number + 1)) for number, (a, b) in enumerate(pairs)]
    state = state_of(follows, settings, load_plugins(), relation="follow")
    ranker = Ranker(state, settings.ranking)
    model = ServingModel.from_artifact(quick_model(state, settings), load_plugins())
    for cosine in (2.5, -2.0):
        exponents = Exponents(TermExponents(cosine, LIFTS), TermExponents(1.5, LIFTS | HABITS))
        ranker.swap(dataclasses.replace(model, exponents=exponents))
        asked = [
            dataclasses.replace(
                query,
                recent_items=tuple(f"u{item[1:]}" for item in query.recent_items),
                exclude_items=tuple(f"u{item[1:]}" for item in query.exclude_items),
                allow_items=tuple(f"u{item[1:]}" for item in query.allow_items),
                exclude_seen=("follow",) if query.exclude_seen else (),
                category_filters=(),
            )
            for query in queries()
        ]
        assert_answers_of_the_full_product(ranker, asked)


def test_answers_of_many_random_exponents_are_those_of_the_full_product() -> None:
    ranker, random = served(1.0), np.random.default_rng(5)
    model = ranker.scorer().serving.table
    assert model is not None

    def terms(habits: dict[str, dict[str, float]]) -> TermExponents:
        weights = {
            name: {factor: float(random.normal()) * random.integers(0, 2) for factor in factors}
            for name, factors in (LIFTS | habits).items()
        }
        return TermExponents(float(random.choice([0.0, 1e-4, 1.0, 8.0, -1.0])), weights)

    for start in range(0, NUM_QUERIES, 5):
        exponents = Exponents(terms({}), terms(HABITS))
        ranker.swap(dataclasses.replace(model.model, exponents=exponents))
        if start % 2:
            coarse = ranker.scorer().serving.coarse
            assert coarse is not None
            coarse.is_wanted = True
            coarse.refresh()
        assert_answers_of_the_full_product(ranker, queries()[start : start + 5])


def assert_answers_of_the_full_product(ranker: Ranker, asked: list[Query]) -> None:
    for query in asked:
        scorer = ranker.scorer()
        scored = scorer.score([query])
        [scores] = scored.scores
        [answer] = ranker.recommend([query])
        [(_, ids)] = best_of(scored.scores, [query.count], scorer.items.ids)
        expected = {name: float(scores[scorer.items.ids.row(name)]) for name in ids}
        found = dict(zip(answer.items.ids, answer.items.scores.tolist(), strict=True))
        assert found == pytest.approx(expected, abs=2e-5)
        for ours, theirs in zip(answer.items.ids, ids, strict=True):
            # Scores of one rounding may change places.
            assert ours == theirs or expected[ours] == pytest.approx(expected[theirs], abs=2e-5)


def test_a_batch_gives_what_single_queries_give_to_the_last_bit() -> None:
    ranker, asked = served(2.5), queries()[:60]
    for query, of_batch in zip(asked, ranker.recommend(asked), strict=True):
        [alone] = ranker.recommend([query])
        assert alone.items.ids == of_batch.items.ids
        assert alone.items.scores.tolist() == of_batch.items.scores.tolist()
