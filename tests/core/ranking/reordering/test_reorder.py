"""The answer is chosen among the best items: it differs as far as is asked, and no value comes too often."""

import collections

import numpy as np
import pytest

from springtide.errors import BypassedError, InvalidRequestError
from springtide.plugins.contracts import Reranker
from springtide.ranking.reordering.kernels import greedy
from springtide.steering.values import Rule, Scenario, Steering

NONE_FIXED = np.full(20, -1, np.int32)


def likeness(ask, ids):
    """Return the mean cosine of each two items."""
    scorer = ask.ranker.scorer()
    vectors = scorer.serving.table.vectors[scorer.items.ids.rows(ids)]
    return float((vectors @ vectors.T)[np.triu_indices(len(ids), 1)].mean())


def brands(ask, ids):
    items = ask.ranker.scorer().items
    column = items.categories["brand"]
    return collections.Counter(column.values(row)[0] for row in items.ids.rows(ids).tolist())


def test_no_diversity_is_the_ranking(ask):
    plain = ask()
    steered = ask(diversity=0.0)
    assert steered.items.ids == plain.items.ids
    assert steered.items.scores.tolist() == plain.items.scores.tolist()


def test_items_are_less_alike_the_more_diversity_is_asked_for(ask):
    alike = [likeness(ask, ask.ids(diversity=diversity)) for diversity in (0.0, 0.3, 0.6, 1.0)]
    assert alike == sorted(alike, reverse=True)
    assert alike[-1] < alike[0] - 0.3
    assert ask.ids(diversity=1.0)[0] == ask.ids()[0], "the first is the best, whatever comes behind it"


def test_scores_and_cosines_are_those_of_the_items(ask):
    plain = ask(count=48)
    scores = dict(zip(plain.items.ids, plain.items.scores.tolist(), strict=True))
    steered = ask(diversity=0.7, weights=True)
    assert steered.items.scores.tolist() == [scores[item] for item in steered.items.ids]
    assert len(steered.items) == 10


def test_brands_are_spread_by_an_attribute(ask):
    spread = brands(ask, ask.ids(diversity=1.0, diversity_attribute="brand"))
    assert set(spread.values()) == {2}, "five brands, ten items"


def test_attribute_that_is_not_there_is_refused_with_the_choices(ask):
    with pytest.raises(InvalidRequestError, match=r"diversity_attribute: .*'brnd' \(choices: brand\)"):
        ask(diversity=0.5, diversity_attribute="brnd")
    with pytest.raises(InvalidRequestError, match=r"max_per\[brnd\]: .*\(choices: brand\)"):
        ask(max_per=(("brnd", 2),))


def test_attribute_of_a_scenario_that_has_gone_fails_no_request(ask):
    scenario = Scenario("home", ask_steering(diversity=0.5, diversity_attribute="brnd", max_per=(("brnd", 1),)))
    steering = Steering(scenarios={"home": scenario})
    assert len(ask.ids(scenario="home", steering=steering)) == 10


def ask_steering(**steered):
    from springtide.steering.values import QuerySteering

    return QuerySteering(**steered)


def test_no_value_comes_more_often_than_it_may_and_the_order_is_kept(ask):
    ranked, bounded = ask.ids(count=48), ask.ids(max_per=(("brand", 2),), count=8)
    assert max(brands(ask, bounded).values()) == 2
    expected, counts = [], collections.Counter()
    for item in ranked:
        [brand] = brands(ask, [item])
        if counts[brand] < 2 and len(expected) < 8:
            expected.append(item)
            counts[brand] += 1
    assert bounded == expected


def test_items_are_looked_for_among_more_if_few_of_them_are_let_through(ask, monkeypatch):
    """Of 48 items, the best 24 are even, of four brands: with one of each the fifth is found behind them."""
    monkeypatch.setattr("springtide.ranking.reordering.reorder.MIN_POOL", 4)
    monkeypatch.setattr("springtide.ranking.reordering.reorder.POOL_FACTOR", 1)
    assert brands(ask, ask.ids(max_per=(("brand", 1),), count=5)) == {f"b{brand}": 1 for brand in range(5)}


def test_answer_is_short_if_no_more_may_stand(ask):
    assert len(ask.ids(max_per=(("brand", 1),), count=9)) == 5


def test_pinned_items_have_their_slots_and_come_once(ask):
    rules = (
        Rule("promo", "pin", ("i5", "i0"), slot=2),
        Rule("late", "pin", ("i7",), slot=3),
        Rule("gone", "block", ("i9",)),
        Rule("never", "pin", ("i9", "nothing"), slot=1),
    )
    ranking = ask(steering=Steering(rules=rules))
    ids, placed_by = ranking.items.ids, ranking.extras.placed_by
    assert [ids[1], ids[2], ids[3]] in (["i5", "i7", "i0"], ["i5", "i0", "i7"])
    assert len(set(ids)) == 10
    assert "i9" not in ids
    assert {placed_by[1], placed_by[2], placed_by[3]} == {"rule promo", "rule late"}
    assert [*placed_by[:1], *placed_by[4:]] == [""] * 7
    assert ask.ids(steering=Steering(rules=rules), diversity=0.8)[1] == "i5"


def test_pinned_items_count_for_the_bound(ask):
    rules = (Rule("promo", "pin", ("i1", "i3"), slot=9),)
    ids = ask.ids(steering=Steering(rules=rules), max_per=(("brand", 2),), count=10)
    assert ids[8:] == ["i1", "i3"]
    assert brands(ask, ids)["b4"] == 2


class PricesDown(Reranker):
    def order(self, shortlist, count):
        assert len(shortlist) == 48
        assert shortlist.vectors.shape == (48, 16)
        return np.argsort(-shortlist.attributes.numbers("price"), kind="stable")[:count]


class Fails(Reranker):
    def order(self, shortlist, count):
        raise BypassedError("it is gone")


def test_reranker_orders_and_says_so(ask, monkeypatch):
    monkeypatch.setattr("springtide.ranking.reordering.reorder.MIN_POOL", 60)  # It sees all 48 items.
    ask.ranker.rerankers = {"prices": PricesDown()}
    ranking = ask(reranker="prices")
    assert ranking.items.ids == [f"i{item}" for item in range(47, 37, -1)]
    assert ranking.extras.placed_by == ["reranker prices"] * 10
    assert ask.ids(reranker="prices", max_per=(("brand", 1),), count=3) == ["i47", "i46", "i0"]


def test_reranker_that_fails_leaves_the_order_of_the_scores(ask):
    ask.ranker.rerankers = {"fails": Fails()}
    ranking = ask(reranker="fails")
    assert ranking.items.ids == ask.ids()
    assert not ranking.extras.placed_by


def test_unknown_reranker_is_refused(ask):
    with pytest.raises(InvalidRequestError, match=r"reranker: no reranker named 'mrr' \(choices: none\)"):
        ask(reranker="mrr")


def by_hand(count, scores, diversity, vectors):
    relevance = (scores - scores.min()) / (scores.max() - scores.min())
    chosen = []
    for _ in range(count):
        values = {
            item: (1 - diversity) * relevance[item]
            - diversity * max([0.0, *(float(vectors[item] @ vectors[other]) for other in chosen)])
            for item in range(len(scores))
            if item not in chosen
        }
        chosen.append(max(values, key=lambda item: (values[item], -item)))
    return chosen


@pytest.mark.parametrize("diversity", [0.0, 0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_kernel_chooses_as_by_hand(seed, diversity):
    generator = np.random.default_rng(seed)
    scores = -np.sort(-generator.normal(size=60)).astype(np.float32)
    vectors = (generator.normal(size=(60, 24)) + 0.5).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = np.arange(60, dtype=np.int32)
    found = greedy(20, rows, scores, diversity, vectors, rows, None, None, NONE_FIXED)
    assert found.tolist() == by_hand(20, scores, diversity, vectors)


@pytest.mark.parametrize(
    "change",
    [
        {"order": np.array([60], np.int32)},
        {"fixed": np.full(20, 60, np.int32)},
        {"fixed": np.full(3, -1, np.int32)},
        {"rows": np.full(60, -2, np.int32)},
        {"values": (np.array([60], np.int32), np.array([0], np.int32), 1)},
        {"caps": (np.array([0], np.int32), np.array([5], np.int32), np.array([1], np.int32), 5)},
    ],
)
def test_kernel_refuses_what_lies_beyond_its_arrays(change):
    rows = np.arange(60, dtype=np.int32)
    given = {"order": rows, "rows": rows, "values": None, "caps": None, "fixed": NONE_FIXED, **change}
    scores = np.zeros(60, np.float32)
    with pytest.raises(ValueError, match="wanted"):
        greedy(20, given["order"], scores, 0.5, None, given["rows"], given["values"], given["caps"], given["fixed"])
