"""Relational encoders see all node and edge types, in training and when a node is folded in live."""

import dataclasses

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY
from springtide.events.model import EventBatch, NodeUpsert, Relation
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import PluginSettings
from springtide.testing import (
    START_MS,
    even_odd_events,
    interactions_of,
    quick_model,
    quick_settings,
    state_of,
    training_graph_of,
)
from springtide.training.graph import Nodes, TrainingGraph, slice_of

PLUGINS = load_plugins(PluginSettings())
SIZE = 12
NOW = Moment(START_MS + 300 * MS_PER_DAY)
RELATIONAL = ("edge_sage", "hetero", "mpnn")


def settings_of(encoder: str, **sections):
    model = {"width": 16, "encoder": encoder, "aggregator": "mean"}
    interactions = {"purchase": {}, "click": {"weight": 0.3}, "dislike": {"positive": False}}
    return quick_settings(model=model, interactions=interactions, **sections)


def mixed_state(settings):
    """Purchases, clicks and dislikes; items have a kind and a price, stores stock them, users live in a region."""
    upserts = [
        *(
            NodeUpsert("item", f"i{row}", {"kind": ("odd" if row % 2 else "even",)}, numbers={"price": float(row)})
            for row in range(SIZE)
        ),
        *(NodeUpsert("user", f"u{row}", {"region": (f"r{row % 2}",)}) for row in range(SIZE)),
    ]
    state = state_of((), settings, PLUGINS, upserts)
    events = even_odd_events(SIZE)
    dislikes = [(f"u{row}", f"i{(row + 1) % SIZE}", START_MS) for row in range(SIZE)]
    stocks = [Relation("store", f"s{row % 2}", "stocks", "item", f"i{row}", START_MS) for row in range(SIZE)]
    for batch in (
        EventBatch(interactions_of(events)),
        EventBatch(interactions_of(events[::3], "click")),
        EventBatch(interactions_of(dislikes, "dislike")),
        EventBatch(interactions_of(()), relations=stocks),
    ):
        state.apply(batch)
    return state


def test_schema_has_all_types_and_both_directions():
    schema = training_graph_of(mixed_state(settings_of("hetero")), is_relational=True).schema
    assert schema.node_types == ("user", "item", "store", "user value", "item value")
    assert schema.relations[::2] == (
        ("user", "purchase", "item"),
        ("user", "click", "item"),
        ("user", "dislike", "item"),
        ("store", "stocks", "item"),
        ("user value", "region", "user"),
        ("item value", "kind", "item"),
    )
    assert schema.relations[1] == ("item", "rev_purchase", "user")
    assert len(schema.relations) == 12


def test_edges_stand_under_their_relation():
    state = state_of([("a", "x", 0), ("a", "x", MS_PER_DAY)], upserts=[NodeUpsert("item", "x", {"kind": ("k",)})])
    state.apply(EventBatch(interactions_of([("a", "x", 2 * MS_PER_DAY)], "click")))
    graph = training_graph_of(state, is_relational=True)
    edges = graph.edges
    assert dict(graph.starts) == {"user": 0, "item": 1, "item value": 2}
    found = sorted(
        zip(edges.source.tolist(), edges.target.tolist(), edges.relation.tolist(), edges.age_days.tolist(), strict=True)
    )
    # Ages count from the newest positive interaction, the click.
    assert found == [(0, 1, 0, 1.0), (0, 1, 2, 0.0), (1, 0, 1, 1.0), (1, 0, 3, 0.0), (1, 2, 5, 0.0), (2, 1, 4, 0.0)]
    at_user = edges.target == 0
    assert edges.weight[at_user].tolist() == pytest.approx([np.log(3), np.log(1.3)]), "purchases twice, a click once"
    assert edges.target_type.tolist() == [0, 1, 2]


def test_only_what_came_before_the_cut_is_seen():
    state = mixed_state(settings_of("hetero"))
    nodes = Nodes.of(state.graph.view(), is_relational=True)
    interactions = state.positive_interactions(state.graph.view())
    cut_ms = int(interactions.timestamps_ms[50])
    graph = TrainingGraph.build(nodes, slice_of(interactions, 0, 50), before_ms=cut_ms)
    purchase = nodes.schema.relations.index(("user", "purchase", "item"))
    early = {event[:2] for event in even_odd_events(SIZE) if event[2] < cut_ms}
    assert len(graph.edges.of_relation(purchase).source) == len(early)


def test_label_is_no_input_and_no_node():
    view = mixed_state(settings_of("hetero")).graph.view()
    nodes = Nodes.of(view, is_relational=True, labels=[("item", "kind"), ("item", "price")])
    assert "item value" not in nodes.schema.node_types
    assert ("item value", "kind", "item") not in nodes.schema.relations
    assert nodes.scales["item"].names == ()
    assert Nodes.of(view).scales["item"].names == ("price",)


@pytest.mark.parametrize("encoder", RELATIONAL)
@pytest.mark.parametrize("half_life_days", [None, 3.0])
def test_folding_a_known_user_in_gives_the_trained_vector(encoder, half_life_days):
    settings = settings_of(encoder, training={"edge_half_life_days": half_life_days})
    state = mixed_state(settings)
    model = ServingModel.from_artifact(quick_model(state, settings, PLUGINS), PLUGINS)
    trained, folding = Ranker(state, settings.ranking), Ranker(state, settings.ranking)
    trained.swap(model)
    # A model that says it saw nothing of anybody has to fold everybody in.
    folding.swap(dataclasses.replace(model, num_interactions=model.num_interactions * 0 - 1))
    for number in (0, 1, 7):
        query = [Query(NOW, f"u{number}", count=SIZE)]
        [expected], [found] = trained.recommend(query), folding.recommend(query)
        of_expected = {item.item_id: item.cosine for item in expected.items}
        assert {item.item_id: item.cosine for item in found.items} == pytest.approx(of_expected, abs=1e-5)


@pytest.mark.parametrize("encoder", RELATIONAL)
def test_new_item_without_users_is_known_by_its_kind_and_its_store(encoder):
    settings = settings_of(encoder, training={"steps": 120})
    settings = settings.model_copy(update={"model": settings.model.model_copy(update={"id_dropout": 0.3})})
    state = mixed_state(settings)
    ranker = Ranker(state, settings.ranking)
    ranker.swap(ServingModel.from_artifact(quick_model(state, settings, PLUGINS), PLUGINS))
    upserts = [NodeUpsert("item", "new", {"kind": ("even",)}, numbers={"price": 4.0})]
    stocks = [Relation("store", "s0", "stocks", "item", "new", START_MS)]
    state.apply(EventBatch(interactions_of(()), upserts=upserts, relations=stocks))
    ranker.refresh()
    rankings = ranker.recommend([Query(NOW, f"u{row}", allow_items=("new",)) for row in range(SIZE)])
    cosines = np.array([ranking.items[0].cosine for ranking in rankings])
    assert cosines[0::2].mean() > cosines[1::2].mean() + 0.2, cosines


def test_fine_tuning_goes_on_with_a_new_relation_left_out():
    settings = settings_of("hetero")
    state = mixed_state(settings)
    base = quick_model(state, settings, PLUGINS)
    follows = [Relation("user", "u0", "follows", "user", "u2", NOW.timestamp_ms)]
    state.apply(EventBatch(interactions_of([("u0", "i1", NOW.timestamp_ms)]), relations=follows))
    tuned = quick_model(state, settings, PLUGINS, base)
    assert tuned.manifest.schema == base.manifest.schema
    assert np.isfinite(tuned.tensors["vectors"]).all()


@pytest.mark.parametrize("encoder", RELATIONAL)
def test_items_just_touched_count_as_liked_whatever_came_first(encoder):
    settings = settings_of(encoder, training={"steps": 120})
    state = state_of((), settings, PLUGINS)
    dislikes = [(f"u{row}", f"i{(row + 1) % SIZE}", START_MS) for row in range(SIZE)]
    state.apply(EventBatch(interactions_of(dislikes, "dislike")))
    state.apply(EventBatch(interactions_of(even_odd_events(SIZE))))
    ranker = Ranker(state, settings.ranking)
    ranker.swap(ServingModel.from_artifact(quick_model(state, settings, PLUGINS), PLUGINS))
    (ranking,) = ranker.recommend([Query(NOW, recent_items=("i3", "i5"), count=SIZE)])
    cosine_of = {item.item_id: item.cosine for item in ranking.items}
    even, odd = (np.mean([cosine_of[f"i{row}"] for row in range(first, SIZE, 2)]) for first in (0, 1))
    assert odd > even + 0.2


def odd_names_state(settings):
    """A state with node types that are named as if they were attribute values, one of them like those of items."""
    state = mixed_state(settings)
    upserts = [
        *(NodeUpsert("face value", f"f{row}", {"shape": (f"s{row}",)}) for row in range(2)),
        *(NodeUpsert("item value", f"v{row}", {"kind": (f"k{row}",)}) for row in range(2)),
    ]
    relations = [
        *(Relation("face value", f"f{row % 2}", "is_on", "item", f"i{row}", START_MS) for row in range(SIZE)),
        *(Relation("item value", f"v{row % 2}", "kind", "item", f"i{row}", START_MS) for row in range(SIZE)),
    ]
    state.apply(EventBatch(interactions_of(()), upserts=upserts, relations=relations))
    return state


def test_node_types_of_events_are_told_from_attribute_values_whatever_their_names():
    schema = training_graph_of(odd_names_state(settings_of("hetero")), is_relational=True).schema
    assert schema.event_types == ("user", "item", "store", "face value", "item value")
    assert schema.value_types == {
        "user": "user value",
        "item": "item value value",
        "face value": "face value value",
        "item value": "item value value value",
    }
    assert ("item value", "kind", "item") in schema.relations
    assert ("item value value", "kind", "item") in schema.relations


@pytest.mark.parametrize("encoder", RELATIONAL)
def test_node_type_named_like_attribute_values_trains_and_serves(encoder):
    settings = settings_of(encoder)
    state = odd_names_state(settings)
    artifact = quick_model(state, settings, PLUGINS)
    assert artifact.node_ids["face value"] == ["f0", "f1"]
    model = ServingModel.from_artifact(artifact, PLUGINS)
    trained, folding = Ranker(state, settings.ranking), Ranker(state, settings.ranking)
    trained.swap(model)
    folding.swap(dataclasses.replace(model, num_interactions=model.num_interactions * 0 - 1))
    [expected] = trained.recommend([Query(NOW, "u1", count=SIZE)])
    [found] = folding.recommend([Query(NOW, "u1", count=SIZE)])
    of_expected = {item.item_id: item.cosine for item in expected.items}
    assert {item.item_id: item.cosine for item in found.items} == pytest.approx(of_expected, abs=1e-5)

    # A new item has neighbours under both relations of the name `kind`: a value and a node.
    upserts = [NodeUpsert("item", "new", {"kind": ("even",)})]
    relations = [Relation("item value", "v0", "kind", "item", "new", START_MS)]
    state.apply(EventBatch(interactions_of([("u0", "i1", NOW.timestamp_ms)]), upserts=upserts, relations=relations))
    trained.refresh()
    [ranking] = trained.recommend([Query(NOW, "u0", allow_items=("new",))])
    assert np.isfinite(ranking.items[0].score)

    tuned = quick_model(state, settings, PLUGINS, artifact)
    assert tuned.manifest.schema["value_types"] == artifact.manifest.schema["value_types"]
    assert np.isfinite(tuned.tensors["vectors"]).all()


def test_node_type_that_comes_later_is_told_from_the_values_of_the_model():
    settings = settings_of("hetero")
    state = mixed_state(settings)
    artifact = quick_model(state, settings, PLUGINS)
    ranker = Ranker(state, settings.ranking)
    ranker.swap(ServingModel.from_artifact(artifact, PLUGINS))
    relations = [Relation("item value", f"v{row}", "kind", "item", f"i{row}", START_MS) for row in range(SIZE)]
    state.apply(EventBatch(interactions_of([("u0", "i1", NOW.timestamp_ms)]), relations=relations))
    ranker.refresh()
    [ranking] = ranker.recommend([Query(NOW, "u0", count=SIZE)])
    assert len(ranking.items) == SIZE
    tuned = quick_model(state, settings, PLUGINS, artifact)
    assert tuned.manifest.schema == artifact.manifest.schema


@pytest.mark.parametrize("encoder", ["hetero", "lightgcn"])
def test_model_stored_before_manifests_named_value_types_still_serves_and_goes_on(encoder):
    settings = settings_of(encoder)
    state = mixed_state(settings)
    artifact = quick_model(state, settings, PLUGINS)
    schema = {name: part for name, part in artifact.manifest.schema.items() if name != "value_types"}
    stored = dataclasses.replace(artifact, manifest=dataclasses.replace(artifact.manifest, schema=schema))
    answers = []
    for each in (artifact, stored):
        ranker = Ranker(state, settings.ranking)
        ranker.swap(ServingModel.from_artifact(each, PLUGINS))
        [ranking] = ranker.recommend([Query(NOW, "u1", count=SIZE)])
        answers.append([(item.item_id, item.score) for item in ranking.items])
    assert answers[0] == answers[1]
    state.apply(EventBatch(interactions_of([("u0", "i1", NOW.timestamp_ms)])))
    tuned = quick_model(state, settings, PLUGINS, stored)
    assert tuned.manifest.schema == artifact.manifest.schema
