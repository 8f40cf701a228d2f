"""A ranker whose answers are known: even users took even items, odd users odd ones, but for their own."""

import dataclasses

import pytest

from springtide.events.model import EventBatch, NodeUpsert
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.steering.values import QuerySteering
from springtide.testing import even_odd_events, even_odd_state, interactions_of, quick_model, quick_settings

SIZE = 48
NOW = Moment(even_odd_events(SIZE)[-1][2] + 1_000)
INTERACTIONS = {
    "purchase": {"weight": 1.0, "feedback": "positive"},
    "view": {"weight": 0.2, "feedback": "neutral"},
    "impression": {"weight": 0.1, "feedback": "shown"},
}


class Asker:
    """Asks a ranker, with what steers each question as keywords."""

    def __init__(self, state, ranker) -> None:
        self.state = state
        self.ranker = ranker

    def __call__(self, user="u0", count=10, moment=NOW, steering=None, exclude_seen=(), weights=False, **steered):
        """Return the ranking of one query."""
        query = Query(
            moment,
            user,
            count=count,
            exclude_seen=exclude_seen,
            with_weights=weights,
            steering=QuerySteering(**steered) if steered else None,
        )
        [ranking] = self.ranker.recommend([query], steering=steering)
        return ranking

    def ids(self, **question):
        """Return the ids of the answer."""
        return list(self(**question).items.ids)

    def take(self, user, item, relation="purchase", at_ms=NOW.timestamp_ms - 1_000):
        """Let a user take an item, or be shown it."""
        self.state.apply(EventBatch(interactions_of([(user, item, at_ms)], relation)))


@pytest.fixture(scope="session")
def settings():
    return quick_settings(interactions=INTERACTIONS)


@pytest.fixture(scope="session")
def artifact(settings):
    return quick_model(even_odd_state(SIZE, settings), settings)


@pytest.fixture
def ask(settings, artifact):
    """Items have a brand: of even ones 0 to 3 in turn, of odd ones 4 alone."""
    state = even_odd_state(SIZE, settings)
    brands = [item // 2 % 4 if item % 2 == 0 else 4 for item in range(SIZE)]
    upserts = [
        NodeUpsert("item", f"i{item}", {"brand": (f"b{brand}",)}, {"price": float(item)}, timestamp_ms=NOW.timestamp_ms)
        for item, brand in enumerate(brands)
    ]
    state.apply(EventBatch(interactions_of([]), upserts))
    ranker = Ranker(state, settings.ranking, rerankers={})
    model = ServingModel.from_artifact(artifact, load_plugins())
    ranker.swap(dataclasses.replace(model, version="000001"))
    return Asker(state, ranker)
