"""Every encoder is inductive: what came after the training gets a vector from its neighbours and attributes."""

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY
from springtide.events.model import EventBatch, NodeUpsert
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import PluginSettings
from springtide.testing import START_MS, even_odd_events, interactions_of, quick_model, quick_settings, state_of

PLUGINS = load_plugins(PluginSettings())
ENCODERS = sorted(part.name for part in PLUGINS.parts if part.kind == "encoder")
SIZE = 24
NOW_MS = START_MS + 300 * MS_PER_DAY


def settings_of(encoder: str):
    aggregator = "sum" if encoder == "lightgcn" else "mean"
    model = {"width": 16, "encoder": encoder, "aggregator": aggregator, "id_dropout": 0.3}
    return quick_settings(model=model, training={"steps": 120})


@pytest.fixture(scope="module", params=ENCODERS)
def trained(request):
    """The settings and the model of a training on even and odd items, whose kind is an attribute."""
    settings = settings_of(request.param)
    return settings, quick_model(fresh_state(settings), settings, PLUGINS)


def fresh_state(settings):
    upserts = [NodeUpsert("item", f"i{row}", {"kind": (kind_of(row),)}) for row in range(SIZE)]
    upserts += [NodeUpsert("item", f"i{row}", vectors={"image": image_of(row)}) for row in range(SIZE)]
    upserts += [NodeUpsert("user", f"u{row}", {"taste": (kind_of(row),)}) for row in range(SIZE)]
    return state_of(even_odd_events(SIZE), settings, PLUGINS, upserts)


def kind_of(row: int) -> str:
    return "odd" if row % 2 else "even"


def image_of(row: int) -> tuple[float, ...]:
    """Return a vector that tells even from odd in two of its numbers; the others are the same everywhere."""
    return (1.0, row % 2 + row / 100, 5.0 * (row % 2))


def ranker_after(trained, batch: EventBatch) -> Ranker:
    settings, artifact = trained
    state = fresh_state(settings)
    ranker = Ranker(state, settings.ranking)
    ranker.swap(ServingModel.from_artifact(artifact, PLUGINS))
    state.apply(batch)
    ranker.refresh()
    return ranker


def even_and_odd_cosines(ranker: Ranker, user_id: str) -> tuple[float, float]:
    (ranking,) = ranker.recommend([Query(Moment(NOW_MS), user_id, count=SIZE)])
    cosine_of = {item.item_id: item.cosine for item in ranking.items}
    even, odd = (np.mean([cosine_of[f"i{row}"] for row in range(first, SIZE, 2)]) for first in (0, 1))
    return float(even), float(odd)


def cosines_of_item(ranker: Ranker, item_id: str) -> tuple[float, float]:
    queries = [Query(Moment(NOW_MS), f"u{row}", allow_items=(item_id,)) for row in range(SIZE)]
    cosines = [ranking.items[0].cosine for ranking in ranker.recommend(queries)]
    return float(np.mean(cosines[0::2])), float(np.mean(cosines[1::2]))


def test_new_user_with_one_event_is_near_the_items_of_its_kind(trained):
    ranker = ranker_after(trained, EventBatch(interactions_of([("new", "i4", NOW_MS)])))
    even, odd = even_and_odd_cosines(ranker, "new")
    assert even > odd + 0.2


def test_new_user_with_an_attribute_alone_is_near_the_items_of_its_kind(trained):
    upserts = [NodeUpsert("user", "new", {"taste": ("odd",)})]
    even, odd = even_and_odd_cosines(ranker_after(trained, EventBatch(interactions_of(()), upserts=upserts)), "new")
    assert odd > even + 0.2


def test_new_item_with_one_user_is_near_the_users_of_its_kind(trained):
    ranker = ranker_after(trained, EventBatch(interactions_of([("u3", "new", NOW_MS)])))
    even, odd = cosines_of_item(ranker, "new")
    assert odd > even + 0.2


def test_new_item_with_an_attribute_alone_is_near_the_users_of_its_kind(trained):
    upserts = [NodeUpsert("item", "new", {"kind": ("even",)})]
    even, odd = cosines_of_item(ranker_after(trained, EventBatch(interactions_of(()), upserts=upserts)), "new")
    assert even > odd + 0.2


def test_new_item_with_a_vector_alone_is_near_the_users_of_its_kind(trained):
    even, odd = (cosines_of_item(ranker_after(trained, batch_with_vector(row)), "new") for row in (2, 3))
    assert even[0] > even[1] + 0.05
    assert odd[1] > odd[0] + 0.05


def batch_with_vector(row: int) -> EventBatch:
    return EventBatch(interactions_of(()), upserts=[NodeUpsert("item", "new", vectors={"image": image_of(row)})])
