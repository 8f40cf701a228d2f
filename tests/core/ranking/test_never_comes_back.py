"""Blocked, hidden, expired, excluded, filtered and seen items never come back: by no path, cache, page or fallback.

Thousands of random requests, over rules, items and users that change meanwhile, are answered by a model, an index, the
fallback, a baseline and one that fails. What may be in an answer, an obvious reference says that looks at each item by
itself (``steered_worlds``); where nothing but scores orders the items, so does it say which are the best, and by which
scores.
"""

import dataclasses
import math

import numpy as np
import pytest

from springtide.explaining.terms import explain
from springtide.ranking.item_ranks import item_ranks
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.relevance import are_near
from springtide.steering.values import QuerySteering, Steering

from .steered_worlds import KINDS, SIZE, World, expected

NUM_REQUESTS = 4_000
_SEEDS = 5
_EPISODE = 4  # Requests to one ranker with the same rules: what was made of these is kept, and the world goes on.
_MAX_PAGES = 3


def is_by_score(query: Query, steering: Steering) -> bool:
    """Return whether scores alone order the answer."""
    says = query.steering or QuerySteering()
    pins = any(rule.action == "pin" for rule in steering.rules)
    return not (pins or says.diversity or says.max_per or says.rotation_rate or says.exploration or says.page_token)


def reference_scores(ranker: Ranker, query: Query, factors: dict[str, float]) -> dict[str, float]:
    """Score all items without steering, and multiply the odds of those that may be in the answer."""
    scorer = dataclasses.replace(ranker.scorer(), lifeless=None)
    plain = dataclasses.replace(query, steering=None, exclude_seen=(), exclude_items=(), allow_items=())
    ranker_scorer = dataclasses.replace(scorer, steered=type(scorer.steered)())
    if scorer.serving.baseline is not None and scorer.serving.baseline.baseline.baseline.fails:
        ranker_scorer = dataclasses.replace(ranker._without_baseline(scorer), steered=type(scorer.steered)())
    scored = ranker_scorer.score([dataclasses.replace(plain, category_filters=())], leaves_out=False)
    [scores], [user] = scored.scores, scored.users
    spread = 1.0
    if ranker_scorer.serving.baseline is not None:
        spread = float(np.std(scores[np.isfinite(scores)], dtype=np.float64))
    ids = ranker_scorer.items.ids
    found = {}
    for item_id, factor in factors.items():
        row = ids.row(item_id)
        is_ranked = row < len(scores) and np.isfinite(scores[row])
        bound = dataclasses.replace(scored.queries[0], steering=query.steering)
        if is_ranked and are_near(ranker_scorer.serving.table, user, bound, np.array([row], np.int32))[0]:
            found[item_id] = float(scores[row]) + spread * math.log(factor)
    return found


@pytest.mark.parametrize("seed", range(_SEEDS))
def test_what_is_left_out_never_comes_back_and_the_rest_is_as_an_obvious_reference_has_it(seed: int) -> None:
    world = World(seed)
    steering = Steering()
    num_by_score = 0
    for number in range(NUM_REQUESTS // _SEEDS):
        if number % _EPISODE == 0:
            steering, regular = world.steering(), f"u{world.random.integers(SIZE)}"
            kind = KINDS[number // _EPISODE % len(KINDS)]
            ranker = world.rankers[kind]
            ranker.steering = steering
            former = world.query()
        world.change(regular)
        query = world.query()
        if world.random.random() < 0.5:  # The same request again, now that something has changed.
            query = dataclasses.replace(former, user_id=regular)
        former = query
        allowed = expected(world, steering, query).factors
        shown: list[str] = []
        for page in range(_MAX_PAGES):
            [answer] = ranker.recommend([query])
            ids = list(answer.items.ids)
            where = f"request {number} by {kind}, page {page}: {query}, {steering}"
            assert set(ids) <= set(allowed), f"{set(ids) - set(allowed)} came back in {where}"
            assert len({*shown, *ids}) == len(shown) + len(ids), f"an item came twice in {where}"
            shown += ids
            token = answer.extras.next_page_token if answer.extras is not None else ""
            if not token or query.steering is None or not query.steering.page_token:
                break
            query = dataclasses.replace(query, steering=dataclasses.replace(query.steering, page_token=token))
            world.change()
            steering = world.steering()
            ranker.steering = steering
            allowed = expected(world, steering, query).factors
        if is_by_score(query, steering) and not world.taken.get(query.user_id, {}).get("dislike"):
            num_by_score += 1
            scores = reference_scores(ranker, query, allowed)
            best = sorted(scores.values(), reverse=True)[: query.count]
            found = dict(zip(answer.items.ids, answer.items.scores.tolist(), strict=True))
            assert all(found[each] == pytest.approx(scores[each], abs=2e-4) for each in found), where
            if kind != "index":  # Which may miss some.
                assert sorted(found.values(), reverse=True) == pytest.approx(best, abs=2e-4), where
        if number % 4 == 0:
            left_out = str(world.random.choice([each for each in world.items if each not in allowed] or ["i0"]))
            if left_out not in allowed and left_out in world.items:
                scorer = ranker.scorer()
                if kind != "failing baseline":
                    [rank] = item_ranks(scorer, [query], [left_out]).tolist()
                    assert rank > scorer.num_items, where
                    assert explain(scorer, query, left_out).rank == 0, where
    assert num_by_score > NUM_REQUESTS // _SEEDS // 6


def test_similar_items_are_none_that_a_rule_blocks_or_that_are_not_to_be_had() -> None:
    world = World(11)
    for number in range(300):
        world.change()
        if number % 3 == 0:
            steering = world.steering()
            world.rankers["model"].steering = steering
        query = dataclasses.replace(world.query(), user_id="", recent_items=(), exclude_seen=(), allow_items=())
        allowed = expected(world, steering, query).factors
        item_id = str(world.random.choice([each for each in world.items if int(each[1:]) < SIZE]))

        found, _ = world.rankers["model"].similar(item_id, query)

        assert {each for each, _ in found} <= set(allowed), f"request {number}: {query}, {steering}"
