"""Texts as hashed vectors, and as inputs of a model."""

import numpy as np
import pytest

from springtide.events.model import EventBatch, NodeUpsert
from springtide.model.hashed_texts import LENGTH, hashed_texts
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import PluginSettings
from springtide.testing import START_MS, even_odd_events, interactions_of, quick_model, quick_settings, state_of
from springtide.training.artifact import fits_settings

PLUGINS = load_plugins(PluginSettings())
SIZE = 24


def test_texts_that_share_words_are_near_each_other() -> None:
    wine, other_wine, tyres, nothing = hashed_texts(["Red wine, France", "white WINE from france", "car tyres", " "])
    assert wine.shape == (LENGTH,)
    assert wine @ wine == pytest.approx(1.0)
    assert wine @ other_wine > 0.3
    assert abs(wine @ tyres) < 0.2
    assert not nothing.any()
    np.testing.assert_array_equal(hashed_texts(["x" * 2_000]), hashed_texts(["x" * 1_000]))


def test_new_item_with_a_text_alone_is_near_the_users_of_its_kind() -> None:
    settings = quick_settings(model={"width": 16, "texts": "hashed", "id_dropout": 0.3}, training={"steps": 120})
    words = ("even smooth paired", "odd rough single")
    upserts = [NodeUpsert("item", f"i{row}", texts={"title": f"{words[row % 2]} {row}"}) for row in range(SIZE)]
    state = state_of(even_odd_events(SIZE), settings, PLUGINS, upserts)
    artifact = quick_model(state, settings, PLUGINS)
    ranker = Ranker(state, settings.ranking)
    ranker.swap(ServingModel.from_artifact(artifact, PLUGINS))
    new = [NodeUpsert("item", f"new{kind}", texts={"about": "x", "title": words[kind]}) for kind in (0, 1)]
    state.apply(EventBatch(interactions_of(()), upserts=new))
    ranker.refresh()
    for kind in (0, 1):
        queries = [Query(Moment(START_MS), f"u{row}", allow_items=(f"new{kind}",)) for row in range(SIZE)]
        cosines = [ranking.items[0].cosine for ranking in ranker.recommend(queries)]
        assert np.mean(cosines[kind::2]) > np.mean(cosines[1 - kind :: 2]) + 0.2
    assert fits_settings(artifact, PLUGINS.resolved(settings))
    without = quick_settings(model={"width": 16, "id_dropout": 0.3}, training={"steps": 120})
    assert not fits_settings(artifact, PLUGINS.resolved(without)), "a model that reads no texts is trained anew"
