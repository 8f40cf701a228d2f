"""A graph of users alone: who follows whom, and whom to follow next."""

import numpy as np
import pytest

from springtide.clock import MS_PER_HOUR
from springtide.events.model import EventBatch, NodeUpsert
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import PluginSettings
from springtide.testing import START_MS, interactions_of, quick_model, quick_settings, state_of, training_graph_of

PLUGINS = load_plugins(PluginSettings())
ENCODERS = sorted(part.name for part in PLUGINS.parts if part.kind == "encoder")
SIZE = 24
NOW = Moment(START_MS + 10_000 * MS_PER_HOUR)


def settings_of(encoder: str = "lightgcn", **sections):
    model = {"width": 16, "encoder": encoder, "aggregator": "sum" if encoder == "lightgcn" else "mean"}
    interactions = {"follow": {}}
    return quick_settings(graph={"item_type": "user"}, model=model, interactions=interactions, **sections)


def follows(size: int = SIZE) -> list[tuple[str, str, int]]:
    """Even users follow all even users and odd ones odd ones, but for the next of their kind."""
    pairs = [
        (follower, followed)
        for follower in range(size)
        for followed in range(follower % 2, size, 2)
        if followed not in (follower, (follower + 2) % size)
    ]
    order = np.random.default_rng(0).permutation(len(pairs))
    return [
        (f"u{pairs[place][0]}", f"u{pairs[place][1]}", START_MS + hour * MS_PER_HOUR)
        for hour, place in enumerate(order.tolist())
    ]


def social_state(settings, size: int = SIZE):
    upserts = [NodeUpsert("user", f"u{row}") for row in range(size)]
    return state_of(follows(size), settings, PLUGINS, upserts, "follow")


def ranker_of(state, settings) -> Ranker:
    ranker = Ranker(state, settings.ranking)
    ranker.swap(ServingModel.from_artifact(quick_model(state, settings, PLUGINS), PLUGINS))
    return ranker


def ask(ranker: Ranker, **query) -> list[str]:
    (ranking,) = ranker.recommend([Query(**{"moment": NOW, **query})])
    return [item.item_id for item in ranking.items]


def test_follows_are_edges_between_users():
    settings = settings_of()
    graph = training_graph_of(social_state(settings))
    assert graph.schema.node_types == ("user",)
    assert (graph.num_users, graph.num_items, graph.item_start) == (SIZE, SIZE, 0)
    assert graph.edges.num_sources == SIZE


def test_a_pair_is_one_edge_whoever_began():
    settings = settings_of()
    state = state_of([("a", "b", 0), ("b", "a", 1), ("a", "a", 2)], settings, PLUGINS, relation="follow")
    edges = training_graph_of(state).edges
    assert (edges.source.tolist(), edges.target.tolist()) == ([1, 0], [0, 1]), "nobody is paired with themselves"
    assert edges.weight.tolist() == pytest.approx(np.log([3, 3]).tolist())


@pytest.mark.parametrize("encoder", ENCODERS)
def test_whom_to_follow_is_the_one_of_their_kind_that_is_left(encoder):
    settings = settings_of(encoder, training={"steps": 120})
    ranker = ranker_of(social_state(settings), settings)
    first = [ask(ranker, user_id=f"u{number}", exclude_seen=("*",), count=1)[0] for number in range(SIZE)]
    right = sum(found == f"u{(number + 2) % SIZE}" for number, found in enumerate(first))
    assert right >= SIZE * 0.9, first


def test_nobody_is_told_to_follow_themselves():
    settings = settings_of()
    ranker = ranker_of(social_state(settings), settings)
    for number in range(SIZE):
        assert f"u{number}" not in ask(ranker, user_id=f"u{number}", count=SIZE)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_newcomer_is_personal_after_their_first_follow(encoder):
    settings = settings_of(encoder, training={"steps": 120})
    state = social_state(settings)
    ranker = ranker_of(state, settings)
    state.apply(EventBatch(interactions_of([("new", "u3", NOW.timestamp_ms)], "follow")))
    ranker.refresh()
    nearest = ask(ranker, user_id="new", exclude_seen=("*",), count=5)
    assert [int(found[1:]) % 2 for found in nearest] == [1] * 5, nearest
