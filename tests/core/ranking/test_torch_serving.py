"""A model of parts without a serving half is served by torch, with the same answers, and says for which parts."""

import pytest

from springtide.graph.applying import ITEM
from springtide.interactions import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.toy_data import START_MS, even_odd_state, quick_model, quick_settings

BUILT_IN = load_plugins()
OWN = BUILT_IN.with_part("encoder", "own", BUILT_IN.part("encoder", "edge_sage").factory, "shop 1.0")


def answers_of(state, settings, artifact, plugins):
    model = ServingModel.from_artifact(artifact, plugins)
    ranker = Ranker(state, settings.ranking)
    ranker.swap(model)
    moment = Moment(START_MS)
    visitors = [Query(moment, recent_items=(item,), count=3) for item in state.graph.nodes(ITEM).ids.all_ids()]
    return model, [
        [(item.item_id, pytest.approx(item.cosine, abs=1e-5)) for item in ranking.items]
        for ranking in ranker.recommend(visitors)
    ]


def test_a_part_without_a_serving_half_gives_the_same_answers():
    settings = quick_settings(model={"encoder": "own", "aggregator": "max"})
    state = even_odd_state(12, settings, OWN)
    artifact = quick_model(state, settings, OWN)
    by_torch, answers = answers_of(state, settings, artifact, OWN)
    assert by_torch.parts_with_torch == ("encoder 'own' of shop 1.0",)
    both = BUILT_IN.part("encoder", "edge_sage")
    with_half = OWN.with_part("encoder", "own", both.factory, serving=both.serving)
    by_numpy, others = answers_of(state, settings, artifact, with_half)
    assert by_numpy.parts_with_torch == ()
    assert others == answers
