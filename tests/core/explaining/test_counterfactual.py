"""A counterfactual is what a graph says that was read again without the events."""

import itertools
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pytest

from springtide.events.model import EventBatch, NodeUpsert
from springtide.explaining.terms import Explanation, explain
from springtide.explaining.why import Wanted, Why, why
from springtide.graph.applying import ITEM, USER
from springtide.model.registry import ModelArtifact
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.scoring import Scorer
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import Settings
from springtide.steering.values import QuerySteering
from springtide.testing import (
    START_MS,
    even_odd_events,
    even_odd_state,
    interactions_of,
    quick_model,
    quick_settings,
    state_of,
)

PLUGINS = load_plugins()
SIZE = 24
NOW = Moment(even_odd_events(SIZE)[-1][2] + 60_000)
UPSERTS = [NodeUpsert(kind, f"{kind[0]}{row}") for kind in (USER, ITEM) for row in range(SIZE)]
OTHERS = [*even_odd_events(SIZE), ("u0", "i2", NOW.timestamp_ms)]  # The newest event is not the newcomer's.
TYPES = ("purchase", "view", "dislike", "impression")
SEEN = (("*",), ("purchase",), ("view",), ("dislike", "purchase"), ("*", "impression"))


@pytest.fixture(scope="module")
def trained() -> tuple[Settings, ModelArtifact]:
    # A history so short that most newcomers have had more: without an item, an earlier one takes its place.
    ranking = {"context_weights": {}, "max_history": 4}
    interactions = {name: {"positive": name == "purchase"} for name in TYPES}
    settings = quick_settings(model={"width": 16}, ranking=ranking, interactions=interactions)
    return settings, quick_model(even_odd_state(SIZE, settings), settings)


@dataclass
class World:
    """What a newcomer did, as (type, item, time), and what they ask."""

    settings: Settings
    artifact: ModelArtifact
    events: list[tuple[str, str, int]]
    query: Query

    def scorer(self, left_out: Collection[str] = ()) -> Scorer:
        """Read all events again, but for those of the newcomer with some items."""
        state = state_of(OTHERS, self.settings, PLUGINS, UPSERTS)
        for name in TYPES:
            of_type = [("new", item, at) for each, item, at in self.events if each == name and item not in left_out]
            state.apply(EventBatch(interactions_of(of_type, name)))
        ranker = Ranker(state, self.settings.ranking)
        ranker.swap(ServingModel.from_artifact(self.artifact, PLUGINS))
        return ranker.scorer()

    def without(self, item: str, left_out: Collection[str]) -> Explanation:
        """Explain an item in the world that was read again."""
        recent = tuple(each for each in self.query.recent_items if each not in left_out)
        return explain(self.scorer(left_out), replace(self.query, recent_items=recent), item)

    @cached_property
    def first(self) -> list[str]:
        """The items of the answer, the best first."""
        scorer = self.scorer()
        scores = scorer.score([self.query]).scores[0]
        best = np.argsort(-scores, kind="stable")[: self.query.count]
        return scorer.item_ids(best[np.isfinite(scores[best])])

    def why(self, item: str) -> Why:
        found = why(self.scorer(), self.query, item, Wanted(max_paths=0, limit_s=3_600.0, count=self.query.count))
        assert not found.is_cut
        return found


def random_world(seed: int, trained: tuple[Settings, ModelArtifact]) -> World:
    rng = np.random.default_rng(seed)
    items = [f"i{row}" for row in rng.choice(SIZE, 7, replace=False).tolist()]
    events = [
        (str(rng.choice(TYPES, p=(0.6, 0.15, 0.1, 0.15))), str(rng.choice(items)), NOW.timestamp_ms - 3_600_000 * age)
        for age in rng.permutation(np.arange(1, 12)).tolist()
    ]
    steering = QuerySteering(rotation_rate=0.4) if seed % 3 == 0 else None
    query = Query(
        NOW,
        "new",
        recent_items=tuple(rng.choice(items, int(rng.integers(0, 3)), replace=False).tolist()),
        count=int(rng.integers(2, 5)),
        exclude_seen=SEEN[seed % len(SEEN)],
        exclude_items=tuple(rng.choice(items, int(rng.integers(0, 2)), replace=False).tolist()),
        steering=steering,
    )
    return World(*trained, events, query)


@pytest.mark.parametrize("seed", range(12))
def test_counterfactual_is_that_of_a_graph_that_was_read_without_the_events(
    seed: int, trained: tuple[Settings, ModelArtifact]
) -> None:
    world = random_world(seed, trained)
    for item in world.first[:2]:
        why = world.why(item)
        own, found = [each.item_id for each in why.events], why.counterfactual
        sets = (left_out for size in range(1, len(own) + 1) for left_out in itertools.combinations(own, size))
        do = (left_out for left_out in sets if not 1 <= world.without(item, left_out).rank <= world.query.count)
        smallest = next(do, None)
        assert (found is None) == (smallest is None)
        if found is not None and smallest is not None:
            assert found.is_smallest
            assert len(found.items) == len(smallest)
            assert found.rank == world.without(item, found.items).rank


@pytest.mark.parametrize("seed", range(12))
def test_influence_is_that_of_a_graph_that_was_read_without_the_events(
    seed: int, trained: tuple[Settings, ModelArtifact]
) -> None:
    world, accuracy = random_world(seed, trained), 2e-5
    if seed % 4 == 0:  # What all people had together, of which the newcomer's part stays, is counted from the graph.
        world, accuracy = replace(world, query=replace(world.query, goes_together=0.5)), 0.02
    for item in world.first[:2]:
        whole = world.without(item, []).score
        for event in world.why(item).events:
            assert event.influence == pytest.approx(whole - world.without(item, [event.item_id]).score, abs=accuracy)


def test_who_follows_the_user_goes_on_where_the_user_follows_them_no_more() -> None:
    ranking, interactions = {"context_weights": {}}, {"follow": {}}
    settings = quick_settings(
        graph={"item_type": USER}, model={"width": 16}, ranking=ranking, interactions=interactions
    )
    others = [(user, f"u{item[1:]}", at) for user, item, at in even_odd_events(SIZE)]
    others += [(f"u{row}", "new", START_MS + row) for row in (1, 2, 5)]
    users = [NodeUpsert(USER, f"u{row}") for row in range(SIZE)]
    artifact = quick_model(state_of(others[:-3], settings, PLUGINS, users, "follow"), settings)
    followed = [("new", f"u{row}", START_MS + row) for row in (1, 3, 4)]
    query = Query(NOW, "new", count=5, exclude_seen=("*",))

    def scorer(left_out: Collection[str] = ()) -> Scorer:
        events = [*others, *(event for event in followed if event[1] not in left_out)]
        ranker = Ranker(state_of(events, settings, PLUGINS, users, "follow"), settings.ranking)
        ranker.swap(ServingModel.from_artifact(artifact, PLUGINS))
        return ranker.scorer()

    item = scorer().item_ids(np.argsort(-scorer().score([query]).scores[0])[:1])[0]
    found = why(scorer(), query, item, Wanted(max_paths=0, limit_s=3_600.0, count=5))

    whole = explain(scorer(), query, item).score
    assert [each.item_id for each in found.events]
    for each in found.events:
        assert each.influence == pytest.approx(whole - explain(scorer([each.item_id]), query, item).score, abs=2e-5)
