"""Rules, scenarios, filters and boosters, each by its own effect on an answer."""

import math
from collections.abc import Callable, Mapping, Sequence

import pytest

from springtide.errors import InvalidRequestError
from springtide.events.model import EventBatch, NodeUpsert
from springtide.explaining.terms import explain
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.item_ranks import item_ranks
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.steering.values import QuerySteering, Rule, Scenario, Steering
from springtide.testing import even_odd_events, even_odd_state, interactions_of, quick_model, quick_settings

SIZE = 24
NOW_MS = even_odd_events(SIZE)[-1][2] + 1_000
HOUR_MS = 3_600_000


@pytest.fixture(params=["model", "fallback"])
def ranker(request: pytest.FixtureRequest) -> Ranker:
    """Over items of two brands, of which the price is the number; the users are from two countries."""
    settings = quick_settings(ranking={"context_weights": {"popularity": {}}})
    state = even_odd_state(SIZE, settings)
    items = [
        NodeUpsert("item", f"i{row}", categories={"brand": ("ab"[row % 2],)}, numbers={"price": row})
        for row in range(SIZE)
    ]
    users = [NodeUpsert("user", f"u{row}", categories={"country": (("DE", "FR")[row % 2],)}) for row in range(SIZE)]
    state.apply(EventBatch(interactions_of([]), upserts=[*items, *users]))
    ranker = Ranker(state, settings.ranking)
    if request.param == "model":
        ranker.swap(ServingModel.from_artifact(quick_model(state, settings), load_plugins()))
    return ranker


def asked(
    ranker: Ranker, user: str = "u1", *, count: int = SIZE, now_ms: int = NOW_MS, **steering: object
) -> list[str]:
    says = QuerySteering(**steering) if steering else None  # type: ignore[arg-type]
    [answer] = ranker.recommend([Query(Moment(now_ms), user, count=count, steering=says)])
    return list(answer.items.ids)


def scores(ranker: Ranker, user: str = "u1", **steering: object) -> Mapping[str, float]:
    says = QuerySteering(**steering) if steering else None  # type: ignore[arg-type]
    [answer] = ranker.recommend([Query(Moment(NOW_MS), user, count=SIZE, steering=says)])
    return {each.item_id: each.score for each in answer.items}


def has_model(ranker: Ranker) -> bool:
    return ranker.scorer().serving.table is not None


def steer(ranker: Ranker, *rules: Rule, scenarios: Sequence[Scenario] = ()) -> None:
    ranker.steering = Steering(rules=rules, scenarios={each.name: each for each in scenarios})


def test_blocked_items_are_in_no_answer_and_have_no_rank(ranker: Ranker) -> None:
    before = asked(ranker)
    steer(ranker, Rule("out", "block", (before[0],)), Rule("cheap", "block", filter="price < 3"))

    assert asked(ranker) == [each for each in before if each not in {before[0], "i0", "i1", "i2"}]
    scorer, query = ranker.scorer(), Query(Moment(NOW_MS), "u1")
    assert explain(scorer, query, before[0]).rank == 0
    assert item_ranks(scorer, [query], [before[0]]).tolist() == [SIZE + 1]
    if has_model(ranker):
        assert "i2" not in dict(ranker.similar("i4", Query(Moment(NOW_MS), count=SIZE))[0])


def test_a_boost_multiplies_the_odds_and_a_burial_divides_them(ranker: Ranker) -> None:
    before = scores(ranker)
    steer(ranker, Rule("up", "boost", filter='brand == "a"', factor=8.0), Rule("down", "bury", ("i3",), factor=0.5))

    after = scores(ranker)

    for item, score in before.items():
        log = 2.0794 if int(item[1:]) % 2 == 0 else -0.6931 if item == "i3" else 0.0
        assert after[item] == pytest.approx(score + log, abs=1e-3)
    [answer] = ranker.recommend([Query(Moment(NOW_MS), "u1", count=SIZE)])
    assert {each.item_id: each.weights["rules"] for each in answer.items}["i4"] == pytest.approx(8.0)
    terms = {term.weight: term.log_weight for term in explain(ranker.scorer(), Query(Moment(NOW_MS), "u1"), "i4").terms}
    assert terms["rules"] == pytest.approx(2.0794, abs=1e-3)


def test_an_answer_is_explained_as_it_was_scored(ranker: Ranker) -> None:
    steer(ranker, Rule("up", "boost", ("i3", "i4"), factor=3.0))
    [answer] = ranker.recommend([Query(Moment(NOW_MS), "u1", count=SIZE)])

    for item in answer.items:
        explained = explain(ranker.scorer(), Query(Moment(NOW_MS), "u1"), item.item_id)
        assert explained.score == pytest.approx(item.score, abs=1e-4)
        above, equal = (sum(each.score > item.score + by for each in answer.items) for by in (1e-5, -1e-5))
        assert 1 + above <= explained.rank <= 1 + equal, "items of equal scores share a rank"


def test_a_rule_holds_for_its_segment_alone(ranker: Ranker) -> None:
    steer(ranker, Rule("de", "block", filter="price >= 10", segment='user.country == "DE"'))

    assert len(asked(ranker, "u2")) == 10
    assert len(asked(ranker, "u1")) == SIZE
    assert len(asked(ranker, "nobody")) == SIZE


def test_a_rule_follows_the_attributes_of_items_and_of_users(ranker: Ranker) -> None:
    steer(ranker, Rule("de", "block", filter="price >= 10", segment='user.country == "DE"'))
    assert len(asked(ranker, "u2")) == 10
    upserts = [
        NodeUpsert("item", "i3", numbers={"price": 99}, timestamp_ms=NOW_MS),
        NodeUpsert("user", "u1", categories={"country": ("DE",)}, timestamp_ms=NOW_MS),
    ]
    ranker._state.apply(EventBatch(interactions_of([]), upserts=upserts))

    assert len(asked(ranker, "u2")) == 9
    assert len(asked(ranker, "u1")) == 9


def test_a_rule_holds_from_its_start_until_before_its_end(ranker: Ranker) -> None:
    steer(ranker, Rule("day", "block", filter="true", start_ms=NOW_MS, end_ms=NOW_MS + HOUR_MS))

    found = [len(asked(ranker, now_ms=time)) for time in (NOW_MS - 1, NOW_MS, NOW_MS + HOUR_MS - 1, NOW_MS + HOUR_MS)]

    assert found == [SIZE, 0, 0, SIZE]


def test_a_rule_of_a_scenario_holds_in_it_alone(ranker: Ranker) -> None:
    steer(ranker, Rule("home", "block", ("i0",), scenarios=("home",)), scenarios=[Scenario("home"), Scenario("mail")])

    assert "i0" in asked(ranker)
    assert "i0" in asked(ranker, scenario="mail")
    assert "i0" not in asked(ranker, scenario="home")


def test_the_filters_of_request_and_scenario_both_hold(ranker: Ranker) -> None:
    steer(ranker, scenarios=[Scenario("cheap", QuerySteering(filter="price < 8"), count=2, exclude_seen=("*",))])

    items = asked(ranker, filter='brand == "a"', scenario="cheap")
    assert set(items) == {"i0", "i2", "i4", "i6"}, "u1 took the odd ones"
    assert len(asked(ranker, filter='brand == "a"', scenario="cheap", says_count=False)) == 2
    assert set(asked(ranker, "u3", scenario="cheap")) == {"i0", "i2", "i3", "i4", "i6"}, "u3 did not take i3"


def test_a_wrong_filter_is_refused(ranker: Ranker) -> None:
    with pytest.raises(InvalidRequestError, match="did you mean price"):
        asked(ranker, filter="pric < 8")
    with pytest.raises(InvalidRequestError, match="no scenario named"):
        asked(ranker, scenario="home")


def test_rules_that_cannot_be_read_any_more_fail_no_request(ranker: Ranker) -> None:
    steer(ranker, Rule("a", "block", filter="no_such < 3"), Rule("b", "block", filter="(("), Rule("c", "block", ("?",)))

    assert len(asked(ranker)) == SIZE


@pytest.mark.parametrize(
    ("text", "factor_of"),
    [
        ("1 if price < 12 else 4", lambda row: 1.0 if row < 12 else 4.0),
        ('price if user.country == "FR" else 1', float),
    ],
)
def test_a_booster_multiplies_the_odds(ranker: Ranker, text: str, factor_of: Callable[[int], float]) -> None:
    before, after = scores(ranker), scores(ranker, booster=text)

    factors = {f"i{row}": factor_of(row) for row in range(SIZE)}
    assert set(after) == {item for item in before if factors[item] > 0}, "a factor of 0 leaves an item out"
    for item, score in after.items():
        assert score == pytest.approx(before[item] + math.log(factors[item]), abs=1e-3)


def test_hidden_and_expired_items_are_in_no_answer(ranker: Ranker) -> None:
    times = {
        "i1": {"is_hidden": 1},
        "i3": {"available_until": NOW_MS / 1_000},
        "i5": {"available_from": NOW_MS / 1_000 + 1},
    }
    upserts = [NodeUpsert("item", item, numbers=numbers, timestamp_ms=NOW_MS) for item, numbers in times.items()]
    ranker._state.apply(EventBatch(interactions_of([]), upserts=upserts))

    assert set(asked(ranker)) == {f"i{row}" for row in range(SIZE)} - {"i1", "i3", "i5"}
    assert "i5" in asked(ranker, now_ms=NOW_MS + 1_000)
    assert "i3" in asked(ranker, now_ms=NOW_MS - 1_000)


def test_items_that_are_not_near_enough_are_left_out_but_for_those_that_the_user_had(ranker: Ranker) -> None:
    [whole] = ranker.recommend([Query(Moment(NOW_MS), "u1", count=SIZE)])
    cosines = {each.item_id: each.cosine for each in whole.items}
    had = {f"i{row}" for row in range(1, SIZE, 2)} - {"i1"}
    for count in (3, SIZE):
        near = asked(ranker, min_relevance=0.3, count=count)

        if has_model(ranker):
            assert near == [each for each in cosines if cosines[each] >= 0.3 or each in had][:count]
            assert set(near) >= had or count < SIZE
        else:
            assert near == list(cosines)[:count], "nothing has a cosine without a model"
    if has_model(ranker):
        far = next(item for item in cosines if cosines[item] < 0.3)
        query = Query(Moment(NOW_MS), "u1", steering=QuerySteering(min_relevance=0.3))
        assert explain(ranker.scorer(), query, far).rank == 0
        assert item_ranks(ranker.scorer(), [query], [far]).tolist() == [SIZE + 1]
