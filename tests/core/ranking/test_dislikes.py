"""What a user dislikes falls: the item itself, and the items like it, by weight, age and what came after."""

import dataclasses
import math

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY
from springtide.events.model import EventBatch, NodeDelete, NodeUpsert
from springtide.explaining.terms import explain
from springtide.interactions import History
from springtide.model.exponents import DislikeExponents, Exponents, TermExponents
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.dislikes import direction, disliked_at, lower_ranked, moved_away, standing
from springtide.ranking.query import Query, RankedItem
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.testing import START_MS, even_odd_events, even_odd_state, interactions_of, quick_model, quick_settings

PLUGINS = load_plugins()
SIZE = 24
NOW = Moment(even_odd_events(SIZE)[-1][2] + 3_600_000)
WEIGHTS = {"popularity": {}, "trend": {}, "repeat": {}}
RULES = {"purchase": {}, "view": {"weight": 0.1, "positive": False}, "dislike": {"positive": False}}
EXPONENTS = Exponents(
    unseen=TermExponents(8.0, {"popularity": {"share": 0.5}}),
    seen=TermExponents(5.0, {"popularity": {"share": 0.2}, "repeat": {"had": 3.0, "count": 1.0}}),
)
ONES = np.ones(3, np.float32)


def settings_of(**sections) -> Settings:
    return quick_settings(**{"interactions": RULES, "ranking": {"context_weights": WEIGHTS}, **sections})


def ranker_of(state: LiveState, settings: Settings, *, has_model: bool = True) -> Ranker:
    ranker = Ranker(state, settings.ranking)
    if has_model:
        model = ServingModel.from_artifact(quick_model(state, settings), PLUGINS)
        # Nothing is chosen twice in these data, so that a fit would give habits exponents below 0.
        is_weighted = bool(settings.ranking.context_weights)
        ranker.swap(dataclasses.replace(model, exponents=EXPONENTS if is_weighted else model.exponents))
    return ranker


def tell(state: LiveState, relation: str, user_id: str, item_id: str, count: int = 1, after_s: int = 0) -> None:
    events = [(user_id, item_id, NOW.timestamp_ms - 60_000 + 1_000 * (number + after_s)) for number in range(count)]
    state.apply(EventBatch(interactions_of(events, relation)))


def ask(ranker: Ranker, user_id: str = "u0", **query) -> dict[str, RankedItem]:
    [ranking] = ranker.recommend([Query(NOW, user_id, count=SIZE, **query)])
    return {item.item_id: item for item in ranking.items}


@pytest.fixture(params=["model", "no model"])
def served(request) -> tuple[Ranker, LiveState]:
    settings = settings_of()
    state = even_odd_state(SIZE, settings)
    return ranker_of(state, settings, has_model=request.param == "model"), state


def test_five_dislikes_of_a_bought_item_take_it_from_the_first_place(served) -> None:
    ranker, state = served
    tell(state, "purchase", "u0", "i2", count=9)
    assert next(iter(ask(ranker))) == "i2"
    tell(state, "dislike", "u0", "i2", count=5, after_s=20)
    assert list(ask(ranker)).index("i2") >= SIZE // 2 - 1, "below all others of its kind"


def test_dislikes_after_forty_purchases_count_by_their_number(served) -> None:
    ranker, state = served
    tell(state, "purchase", "u0", "i2", count=40)
    scores = [ask(ranker)["i2"].score]
    for number in range(1, 4):
        tell(state, "dislike", "u0", "i2", after_s=40 + number)
        scores.append(ask(ranker)["i2"].score)
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[1] > 3
    assert next(iter(ask(ranker))) != "i2"


def test_dislikes_of_one_user_change_nothing_for_others(served) -> None:
    ranker, state = served
    before = ask(ranker, "u4")
    tell(state, "dislike", "u0", "i2", count=5)
    assert ask(ranker, "u4") == before


def test_items_like_a_disliked_one_fall_and_others_do_not() -> None:
    settings = settings_of(ranking={"context_weights": {}})
    state = even_odd_state(SIZE, settings)
    ranker = ranker_of(state, settings)
    before = ask(ranker)
    tell(state, "dislike", "u0", "i2", count=3)
    after = ask(ranker)
    for number in range(SIZE):
        gain = after[f"i{number}"].cosine - before[f"i{number}"].cosine
        assert gain < 0 if number % 2 == 0 else gain >= 0, f"i{number}: {gain}"


def test_score_is_the_sum_of_what_the_answer_gives(served) -> None:
    ranker, state = served
    tell(state, "dislike", "u0", "i2", count=2)
    tell(state, "dislike", "u0", "i3")
    has_model = bool(ranker.scorer().serving.table)
    exponent = ranker.scorer().serving.exponents.unseen.cosine if has_model else 0.0
    for item in ask(ranker).values():
        total = exponent * item.cosine + sum(map(math.log, item.weights.values()))
        assert item.score == pytest.approx(total, abs=1e-3)
        assert (item.weights["dislike"] < 1) == (item.item_id in ("i2", "i3"))
    for item_id in ("i2", "i3", "i4"):
        explanation, item = explain(ranker.scorer(), Query(NOW, "u0"), item_id), ask(ranker)[item_id]
        assert explanation.score == pytest.approx(item.score, abs=1e-3)
        assert math.exp(explanation.weights["dislike"][0].log_weight) == pytest.approx(item.weights["dislike"])


def test_dislikes_count_by_their_weight_and_fade() -> None:
    def fall(weight: float, days_ago: float = 0.0) -> float:
        settings = settings_of(interactions={"purchase": {}, "dislike": {"positive": False, "weight": weight}})
        state = even_odd_state(SIZE, settings)
        ranker = ranker_of(state, settings, has_model=False)
        before = ask(ranker)["i1"].score
        at_ms = NOW.timestamp_ms - int(days_ago * MS_PER_DAY)
        state.apply(EventBatch(interactions_of([("u0", "i1", at_ms)], "dislike")))
        return before - ask(ranker)["i1"].score

    assert fall(1.0) == pytest.approx(3.0, abs=0.01)
    assert fall(0.5) == pytest.approx(1.5, abs=0.01)
    assert fall(1.0, days_ago=180.0) == pytest.approx(1.5, abs=0.01)


def test_what_is_liked_again_is_not_disliked_any_more(served) -> None:
    ranker, state = served
    tell(state, "dislike", "u0", "i2", count=5)
    tell(state, "purchase", "u0", "i2", after_s=10)
    assert "dislike" not in ask(ranker)["i2"].weights
    tell(state, "dislike", "u0", "i2", after_s=20)
    assert ask(ranker)["i2"].weights["dislike"] < 0.1


def test_a_light_interaction_takes_back_a_part() -> None:
    dislikes = History(np.array([4], np.int32), np.array([100]), np.array([1.0], np.float32))

    def left(weight: float, time_ms: int, count: int = 1) -> list[float]:
        rows = np.full(count, 4, np.int32)
        liked = History(rows, np.full(count, time_ms), np.full(count, weight, np.float32))
        return standing(dislikes, [liked]).weights.tolist()

    assert left(0.1, 200) == pytest.approx([0.9])
    assert left(0.5, 200, count=2) == pytest.approx([0.25])
    assert left(1.0, 200) == []
    assert left(1.0, 100) == [1.0], "of two at one time, the dislike stands"
    assert left(1.0, 50) == [1.0]


def test_an_item_just_touched_stays_disliked(served) -> None:
    ranker, state = served
    tell(state, "dislike", "u0", "i2", count=3)
    assert ask(ranker, recent_items=("i2",))["i2"].weights["dislike"] < 0.01


@pytest.mark.parametrize("relation", ["view", "rating"])
def test_neutral_interactions_are_no_dislikes(relation: str) -> None:
    rules = {**RULES, "rating": {"positive": False, "feedback": "neutral"}}
    settings = settings_of(interactions=rules)
    state = even_odd_state(SIZE, settings)
    ranker = ranker_of(state, settings)
    before = ask(ranker)
    tell(state, relation, "u0", "i2", count=5)
    assert ask(ranker) == before


def test_dislikes_are_dropped_with_what_is_deleted(served) -> None:
    ranker, state = served
    tell(state, "dislike", "u0", "i2", count=3)
    assert "dislike" in ask(ranker)["i4"].weights
    state.apply(EventBatch(interactions_of([]), deletes=[NodeDelete("item", "i2", NOW.timestamp_ms)]))
    ranker.refresh()
    assert "dislike" not in ask(ranker)["i4"].weights


@pytest.mark.parametrize("user_id", ["", "stranger"])
def test_recent_items_of_a_stranger_need_no_dislikes(served, user_id: str) -> None:
    ranker, _ = served
    assert "dislike" not in ask(ranker, user_id, recent_items=("i1",))["i2"].weights


def test_a_user_of_dislikes_alone_is_kept_away_from_them() -> None:
    settings = settings_of(ranking={"context_weights": {}})
    state = even_odd_state(SIZE, settings)
    ranker = ranker_of(state, settings)
    tell(state, "dislike", "stranger", "i2")
    one = ask(ranker, "stranger")
    tell(state, "dislike", "stranger", "i4")
    two = ask(ranker, "stranger")
    assert [int(item_id[1:]) % 2 for item_id in two] == [1] * 12 + [0] * 12
    assert 0 > one["i8"].cosine > two["i8"].cosine >= -0.5
    [ranking] = ranker.recommend([Query(NOW, "stranger")])
    assert ranking.personalization == "folded_in"
    assert explain(ranker.scorer(), Query(NOW, "stranger"), "i3").sentence == "it is unlike what you dislike"
    assert explain(ranker.scorer(), Query(NOW, "stranger"), "i8").sentence == "it is like what you dislike"
    assert explain(ranker.scorer(), Query(NOW, "stranger"), "i2").sentence == "you disliked it"


def test_dislike_of_an_item_without_a_vector_says_nothing_of_others() -> None:
    settings = settings_of(ranking={"context_weights": {}})
    state = even_odd_state(SIZE, settings)
    ranker = ranker_of(state, settings)
    tell(state, "dislike", "stranger", "new")
    ranker.refresh()
    [ranking] = ranker.recommend([Query(NOW, "stranger", count=SIZE + 1)])
    assert ranking.personalization == "context_only"
    strangers = {item_id: item.cosine for item_id, item in ask(ranker, "another").items()}
    assert {item.item_id: item.cosine for item in ranking.items} == {"new": 0.0, **strangers}
    assert ranking.items[-1].item_id == "new"


def test_reasons_say_what_is_disliked_only_where_it_is_true(served) -> None:
    ranker, state = served
    tell(state, "purchase", "u0", "i2", count=9)
    tell(state, "dislike", "u0", "i2", count=5, after_s=20)
    assert explain(ranker.scorer(), Query(NOW, "u0"), "i2").sentence.endswith("; but you disliked it")
    assert "dislike" not in explain(ranker.scorer(), Query(NOW, "u0"), "i3").sentence
    assert "dislike" not in explain(ranker.scorer(), Query(NOW, "u4"), "i2").sentence


def test_ratings_are_liked_and_disliked_by_their_rules() -> None:
    settings = quick_settings()  # The rules of the defaults.
    state = even_odd_state(SIZE, settings)
    ranker = ranker_of(state, settings)
    scores = [ask(ranker)["i1"].score]
    for stars in (3.0, 1.0):
        rating = interactions_of([("u0", "i1", NOW.timestamp_ms)], f"rating<={stars:g}" if stars <= 2 else "rating")
        state.apply(EventBatch(dataclasses.replace(rating, relations=["rating<=2" if stars <= 2 else "rating"])))
        scores.append(ask(ranker)["i1"].score)
    assert scores[0] == scores[1] > scores[2]


def test_users_are_disliked_in_a_graph_of_users() -> None:
    rules = {"follow": {}, "block": {"positive": False}}
    settings = quick_settings(graph={"item_type": "user"}, interactions=rules)
    state = LiveState(settings, {})
    upserts = [NodeUpsert("user", f"u{number}") for number in range(SIZE)]
    events = [(user, f"u{item[1:]}", time_ms) for user, item, time_ms in even_odd_events(SIZE)]
    state.apply(EventBatch(interactions_of(events, "follow"), upserts=upserts))
    ranker = ranker_of(state, settings)
    before = ask(ranker)
    tell(state, "block", "u0", "u2", count=2)
    after = ask(ranker)
    assert after["u2"].weights["dislike"] < 0.01
    assert after["u4"].cosine < before["u4"].cosine


def test_query_of_the_past_looks_at_no_later_dislike(served) -> None:
    ranker, state = served
    tell(state, "dislike", "u0", "i2", count=3)
    past = Moment(NOW.timestamp_ms - 3 * MS_PER_DAY)
    [ranking] = ranker.recommend([Query(past, "u0", count=SIZE)])
    assert all("dislike" not in item.weights for item in ranking.items)


def test_strengths_and_direction_by_hand() -> None:
    now_ms = START_MS + 180 * MS_PER_DAY
    rows, times_ms = np.array([5, 1, 5], np.int32), np.array([now_ms, now_ms, START_MS])
    dislikes = History(rows, times_ms, ONES)
    disliked = disliked_at(dislikes, now_ms)
    assert (disliked.rows.tolist(), disliked.strengths.tolist()) == ([1, 5], [1.0, 1.5])
    vectors = np.zeros((6, 2), np.float32)
    vectors[5], vectors[1] = (1.0, 0.0), (0.0, 1.0)
    found = direction(dislikes, vectors, now_ms)
    assert found is not None
    assert found.tolist() == pytest.approx([1.5 / 4.5, 1.0 / 4.5])
    assert direction(dislikes, vectors[:1], now_ms) is None, "items that came after the table"
    assert moved_away(None, found, 0.5).tolist() == pytest.approx([-1.5 / 9, -1.0 / 9])
    assert moved_away(vectors[5], found, 0.6).tolist() == pytest.approx([0.8, -0.6 / 4.5])
    assert np.linalg.norm(moved_away(-vectors[5], found, 0.6)) == pytest.approx(1.0)


def test_scores_of_a_baseline_move_to_the_lowest() -> None:
    disliked = disliked_at(History(np.array([0, 1, 1], np.int32), np.zeros(3, np.int64), ONES), 0)
    scores = np.array([10.0, 10.0, 3.0, -np.inf], np.float32)
    lower_ranked(scores, disliked)
    assert scores[0] == pytest.approx(3 + 7 * math.exp(-2))
    assert scores[1] == pytest.approx(3 + 7 * math.exp(-4))
    masked = np.array([-np.inf, 2.0, 3.0, 1.0], np.float32)
    lower_ranked(masked, disliked)
    assert masked[0] == -np.inf
    assert np.isfinite(masked[1:]).all()


def test_exponents_of_dislikes_come_from_the_model() -> None:
    settings = settings_of()
    state = even_odd_state(SIZE, settings)
    model = ServingModel.from_artifact(quick_model(state, settings), PLUGINS)
    weaker = dataclasses.replace(model.exponents, dislikes=DislikeExponents(1.0, 0.0))
    ranker = Ranker(state, settings.ranking)
    ranker.swap(dataclasses.replace(model, exponents=weaker))
    before = ask(ranker)
    tell(state, "dislike", "u0", "i1")
    after = ask(ranker)
    assert math.log(after["i1"].weights["dislike"]) == pytest.approx(-1.0, abs=1e-3)
    assert after["i3"].cosine == pytest.approx(before["i3"].cosine)
