"""Users whom the training did not know: by their attributes, their events, and the mean user."""

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY
from springtide.events.model import EventBatch, NodeUpsert
from springtide.graph.pair_weights import pair_weight
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import PluginSettings
from springtide.testing import START_MS, even_odd_events, interactions_of, quick_model, quick_settings, state_of

PLUGINS = load_plugins(PluginSettings())
SIZE = 24
NOW_MS = START_MS + 300 * MS_PER_DAY


def trained(id_dropout: float = 0.0):
    """Return settings, a model of LightGCN in two layers, and the state that it was trained on."""
    model = {"width": 16, "num_layers": 2, "encoder": "lightgcn", "aggregator": "sum", "id_dropout": id_dropout}
    settings = quick_settings(model=model, training={"steps": 30})
    tastes = [NodeUpsert("user", f"u{row}", {"taste": ("odd" if row % 2 else "even",)}) for row in range(SIZE)]
    state = state_of(even_odd_events(SIZE), settings, PLUGINS, tastes)
    return settings, quick_model(state, settings, PLUGINS), state


def cosines_after(events, taste: str, id_dropout: float = 0.0):
    """Return the model, and the cosines of all items with a newcomer of some taste, by item."""
    settings, artifact, state = trained(id_dropout)
    model = ServingModel.from_artifact(artifact, PLUGINS)
    ranker = Ranker(state, settings.ranking)
    ranker.swap(model)
    state.apply(EventBatch(interactions_of(events), upserts=[NodeUpsert("user", "new", {"taste": (taste,)})]))
    [ranking] = ranker.recommend([Query(Moment(NOW_MS), "new", count=SIZE)])
    return model, {each.item_id: each.cosine for each in ranking.items}


def test_newcomer_is_the_best_guess_of_what_a_training_would_give() -> None:
    events = [("new", "i4", NOW_MS)]
    model, cosine_of = cosines_after(events, "odd")
    items, inputs = model.items, model.inputs["user"]
    row = items.rows.ids.row("i4")
    of_event = items.levels[:, row].sum(0)  # He et al. 2020, eq. 3: of one event, whatever its weight.
    share = np.sqrt(pair_weight(np.ones(1))[0] / items.degree[row])
    of_both = inputs.values[inputs.code_of["taste=odd"]] + share * of_event
    mean = model.users.vectors.mean(0)
    vector = 0.4 * (of_both / np.linalg.norm(of_both) + 0.4 * of_event / np.linalg.norm(of_event) + mean)
    vector = 0.4 * vector + 0.6 * mean  # One event of 1 + 1.5.
    wanted = [float(items.vectors[items.rows.ids.row(each)] @ vector) for each in cosine_of]
    assert list(cosine_of.values()) == pytest.approx(wanted, abs=1e-4)


def test_newcomer_without_events_is_what_their_attributes_say() -> None:
    (_, odd), (_, even) = cosines_after([], "odd"), cosines_after([], "even")
    assert odd["i1"] > even["i1"]
    assert odd["i2"] < even["i2"]


def test_attributes_and_events_are_all_where_the_training_left_out_ids() -> None:
    model, cosine_of = cosines_after([("new", "i4", NOW_MS)], "odd", 0.3)
    items, inputs = model.items, model.inputs["user"]
    row = items.rows.ids.row("i4")
    share = np.sqrt(pair_weight(np.ones(1))[0] / items.degree[row])
    vector = inputs.values[inputs.code_of["taste=odd"]] + share * items.levels[:, row].sum(0)
    vector /= np.linalg.norm(vector)
    wanted = [float(items.vectors[items.rows.ids.row(each)] @ vector) for each in cosine_of]
    assert list(cosine_of.values()) == pytest.approx(wanted, abs=1e-4)
