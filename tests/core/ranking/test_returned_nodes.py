"""A forgotten user or item that comes again is new, until a training has seen it again."""

import dataclasses

import numpy as np
import pytest
import torch

from springtide.errors import InvalidRequestError
from springtide.events.model import EventBatch, NodeDelete, Relation
from springtide.graph.applying import ITEM, USER
from springtide.interactions import Moment
from springtide.model import births
from springtide.model.births import ModelRows, births_of
from springtide.model.registry import ModelArtifact, ModelStore
from springtide.plugins.loading import load_plugins
from springtide.ranking.baseline_artifact import baseline_artifact
from springtide.ranking.query import Query, Ranking
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_baseline import ServingBaseline
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import PartSettings, PluginSettings, Settings
from springtide.state import LiveState
from springtide.testing import even_odd_events, even_odd_state, interactions_of, quick_model, quick_settings
from springtide.training.exponents.refit import _vectors

PLUGINS = load_plugins(PluginSettings())
ENCODERS = sorted(part.name for part in PLUGINS.parts if part.kind == "encoder")
SIZE = 24
DELETED_MS = even_odd_events(SIZE)[-1][2] + 3_600_000
NOW = Moment(DELETED_MS + 10 * 3_600_000)


def settings_of(encoder: str = "lightgcn", **training) -> Settings:
    model = {"width": 16, "encoder": encoder, "aggregator": "sum" if encoder == "lightgcn" else "mean"}
    return quick_settings(model=model, training={**quick_settings().training.model_dump(), **training})


def take(state: LiveState, *pairs: tuple[str, str], hours: int = 1) -> None:
    """Apply purchases, some hours after the deletions."""
    events = [(user, item, DELETED_MS + hours * 3_600_000 + number) for number, (user, item) in enumerate(pairs)]
    state.apply(EventBatch(interactions_of(events)))


def delete(state: LiveState, node_type: str, node_id: str, hours: float = 0) -> None:
    deletion = NodeDelete(node_type, node_id, DELETED_MS + int(hours * 3_600_000))
    state.apply(EventBatch(interactions_of([]), deletes=[deletion]))


def ranker_of(state: LiveState, artifact: ModelArtifact) -> Ranker:
    ranker = Ranker(state, quick_settings().ranking)
    ranker.swap(ServingModel.from_artifact(artifact, PLUGINS))
    return ranker


def ask(ranker: Ranker, user_id: str) -> Ranking:
    [ranking] = ranker.recommend([Query(NOW, user_id, count=SIZE + 2)])
    return ranking


def vector_of(ranker: Ranker, state: LiveState, item_id: str) -> np.ndarray:
    table = ranker.scorer().serving.table
    assert table is not None
    return table.vectors[state.graph.nodes(ITEM).ids.row(item_id)]


@pytest.mark.parametrize("is_late", [False, True], ids=["deletion first", "deletion last"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_user_who_comes_again_is_a_stranger(encoder: str, is_late: bool) -> None:
    settings = settings_of(encoder)
    state = even_odd_state(SIZE, settings)
    ranker = ranker_of(state, quick_model(state, settings, PLUGINS))
    assert ask(ranker, "u3").personalization == "learned"
    if not is_late:
        delete(state, USER, "u3")
        assert ask(ranker, "u3").personalization == "context_only"
    take(state, ("u3", "i2"), ("u3", "i4"))  # They liked odd items once.
    if is_late:
        delete(state, USER, "u3")
    take(state, ("stranger", "i2"), ("stranger", "i4"))
    returned, stranger = ask(ranker, "u3"), ask(ranker, "stranger")
    assert returned == stranger
    assert returned.personalization == "folded_in"


@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_item_that_comes_again_is_a_new_one(encoder: str) -> None:
    settings = settings_of(encoder)
    state = even_odd_state(SIZE, settings)
    ranker = ranker_of(state, quick_model(state, settings, PLUGINS))
    delete(state, ITEM, "i3")
    take(state, ("stranger", "i3"), ("stranger", "new"))
    ranker.refresh()
    assert ranker.similar("i3", 5)[0] == [], "only a stranger has it: nothing is known of it"
    buyers = ("u0", "u2", "u4")
    take(state, *((user, "i3") for user in buyers))
    take(state, *((user, "new") for user in buyers))
    ranker.refresh()
    assert vector_of(ranker, state, "i3").tolist() == pytest.approx(vector_of(ranker, state, "new").tolist(), abs=1e-5)
    assert dict(ranker.similar("i3", 1)[0]).keys() == {"new"}
    even_ones = [item_id for item_id, _ in ranker.similar("i3", SIZE // 2)[0] if item_id[1:].isdigit()]
    assert {int(item_id[1:]) % 2 for item_id in even_ones[:5]} == {0}


def test_neighbours_that_came_again_are_strangers_to_what_is_folded_in() -> None:
    settings = settings_of()
    state = even_odd_state(SIZE, settings)
    ranker = ranker_of(state, quick_model(state, settings, PLUGINS))
    delete(state, USER, "u3")
    take(state, ("u3", "new"))
    ranker.refresh()
    assert not vector_of(ranker, state, "new").any()


def test_recent_items_and_similar_items_know_no_forgotten_item() -> None:
    settings = settings_of()
    state = even_odd_state(SIZE, settings)
    ranker = ranker_of(state, quick_model(state, settings, PLUGINS))
    delete(state, ITEM, "i3")
    [ranking] = ranker.recommend([Query(NOW, recent_items=("i3",))])
    assert ranking.personalization == "context_only"
    assert "i3" not in {item.item_id for item in ranking.items}
    with pytest.raises(InvalidRequestError):
        ranker.similar("i3", 5)


def test_a_training_learns_the_new_life_and_the_next_deletion_ends_it(tmp_path) -> None:
    settings = settings_of()
    state = even_odd_state(SIZE, settings)
    delete(state, USER, "u3")
    take(state, *(("u3", f"i{number}") for number in range(0, 12, 2)))
    store = ModelStore(str(tmp_path))
    loaded = store.load(store.publish(quick_model(state, settings, PLUGINS)))
    ranker = ranker_of(state, loaded)
    assert ask(ranker, "u3").personalization == "learned"
    assert ask(ranker, "u2").personalization == "learned"
    delete(state, USER, "u3", hours=2)
    take(state, ("u3", "i1"), hours=3)
    assert ask(ranker, "u3").personalization == "folded_in"


def test_models_without_births_are_read() -> None:
    settings = settings_of()
    state = even_odd_state(SIZE, settings)
    delete(state, USER, "u3")
    take(state, ("u3", "i2"))
    model = quick_model(state, settings, PLUGINS)
    older = {name: tensor for name, tensor in model.tensors.items() if not name.startswith("births.")}
    assert len(older) == len(model.tensors) - 2
    ranker = ranker_of(state, dataclasses.replace(model, tensors=older))
    assert ask(ranker, "u2").personalization == "learned"
    assert ask(ranker, "u3").personalization == "folded_in"


def test_fine_tuning_does_not_carry_the_former_life_over() -> None:
    settings = settings_of(learning_rate=1e-9, fine_tune_steps=1)
    state = even_odd_state(SIZE, settings)
    base = quick_model(state, settings_of(), PLUGINS)
    for node_type, node_id in ((USER, "u3"), (ITEM, "i4")):
        delete(state, node_type, node_id)
    take(state, ("u3", "i2"), ("u2", "i4"), ("u3", "i4"))
    tuned = quick_model(state, settings, PLUGINS, base=base)
    for index, (node_type, node_id) in enumerate(((USER, "u3"), (ITEM, "i4"))):
        embeddings = [
            dict(zip(model.node_ids[node_type], torch.from_numpy(model.tensors[f"inputs.ids.{index}"]), strict=True))
            for model in (base, tuned)
        ]
        before, after = embeddings
        assert torch.allclose(before[f"{node_type[0]}5"], after[f"{node_type[0]}5"], atol=1e-6)
        cosine = torch.cosine_similarity(before[node_id], after[node_id], dim=0)
        assert abs(float(cosine)) < 0.9
        assert not torch.allclose(before[node_id], after[node_id], atol=1e-2)


def test_a_refit_takes_no_vector_of_a_former_life() -> None:
    settings = settings_of()
    state = even_odd_state(SIZE, settings)
    base = quick_model(state, settings, PLUGINS)
    delete(state, USER, "u3")
    take(state, ("u3", "i2"))
    view = state.graph.view()
    vectors = _vectors(base, view, USER)
    row = view.nodes(USER).ids.row("u3")
    assert not vectors[row].any()
    assert vectors[view.nodes(USER).ids.row("u4")].any()


@pytest.mark.parametrize("name", ["bpr", "edge_bank", "ials", "item_knn", "own_counts"])
def test_a_baseline_knows_no_former_life(name: str) -> None:
    settings = settings_of()
    state = even_odd_state(SIZE, settings)
    view = state.graph.view()
    interactions = state.positive_interactions(view)
    baseline = PLUGINS.make("baseline", PartSettings(name=name))
    baseline.fit(interactions, view.num_nodes(USER), view.num_nodes(ITEM))
    artifact = baseline_artifact(name, {}, baseline, view, interactions, settings, PLUGINS)
    ranker = Ranker(state, settings.ranking)
    ranker.swap(ServingBaseline.from_artifact(artifact, PLUGINS))
    delete(state, USER, "u3")
    delete(state, ITEM, "i5")
    take(state, ("u3", "i2"), ("stranger", "i2"), ("u1", "i5"), ("u1", "new"))
    ranker.refresh()
    assert ask(ranker, "u3") == ask(ranker, "stranger")
    scores = {item.item_id: item.score for item in ask(ranker, "u7").items}
    assert scores.get("i5") == scores.get("new")


@pytest.mark.parametrize("is_older", [False, True])
def test_a_history_with_one_event_for_another_is_not_as_trained(*, is_older: bool) -> None:
    settings = settings_of()
    state = even_odd_state(SIZE, settings)
    model = quick_model(state, settings, PLUGINS)
    if is_older:
        tensors = {name: tensor for name, tensor in model.tensors.items() if name != "time_sums"}
        model = dataclasses.replace(model, tensors=tensors)
    ranker = ranker_of(state, model)
    before = ask(ranker, "u3")
    delete(state, ITEM, "i5")  # One interaction less.
    state.apply(EventBatch(interactions_of([("u3", "i2", DELETED_MS - 7_200_000)])))  # A late one more.
    after = ask(ranker, "u3")
    cosines = [{item.item_id: item.cosine for item in ranking.items} for ranking in (before, after)]
    assert (cosines[0]["i2"] == cosines[1]["i2"]) == is_older, "an older model cannot tell"


def test_births_are_those_of_the_deletions() -> None:
    state = even_odd_state(SIZE)
    delete(state, USER, "u3")
    take(state, ("u3", "i2"))
    view = state.graph.view()
    births = births_of(view, {USER: view.num_nodes(USER), ITEM: view.num_nodes(ITEM)})
    row = view.nodes(USER).ids.row("u3")
    assert np.flatnonzero(births[USER]).tolist() == [row]
    assert births[USER][row] == DELETED_MS
    assert not births[ITEM].any()


def test_a_neighbour_of_another_type_that_comes_again_is_unknown() -> None:
    settings = settings_of("hetero")
    state = even_odd_state(SIZE, settings)
    stocks = [Relation("store", f"s{row % 2}", "stocks", "item", f"i{row}", DELETED_MS - 1) for row in range(SIZE)]
    state.apply(EventBatch(interactions_of([]), relations=stocks))
    model = ServingModel.from_artifact(quick_model(state, settings, PLUGINS), PLUGINS)
    delete(state, "store", "s1")
    again = [Relation("store", "s1", "stocks", "item", "i2", DELETED_MS + 1)]
    state.apply(EventBatch(interactions_of([]), relations=again))
    view = state.graph.view()
    rows = view.nodes("store").ids.rows(["s0", "s1"]).astype(np.int64)
    assert model.levels_of(view, "store", rows)[2].tolist() == [True, False]


def test_a_user_of_a_social_graph_who_comes_again_is_a_stranger_to_all() -> None:
    settings = quick_settings(graph={"item_type": "user"}, interactions={"follow": {}, "purchase": {}})
    state = LiveState(settings, {})

    def follow(*triples: tuple[str, str, int]) -> None:
        state.apply(EventBatch(interactions_of(triples, "follow")))

    follow(*((user, f"u{item[1:]}", time_ms) for user, item, time_ms in even_odd_events(SIZE)))
    ranker = ranker_of(state, quick_model(state, settings, PLUGINS))
    delete(state, USER, "u3")
    for number, user in enumerate(("u3", "stranger")):  # Both follow even users now, and even ones follow them.
        follow(*((user, other, DELETED_MS + 1_000 + number) for other in ("u2", "u4")))
        follow(*((other, user, DELETED_MS + 2_000 + number) for other in ("u6", "u8")))
    ranker.refresh()
    returned, stranger = ask(ranker, "u3"), ask(ranker, "stranger")
    assert returned.personalization == stranger.personalization == "folded_in"
    others = [{item.item_id: item.cosine for item in ranking.items} for ranking in (returned, stranger)]
    for number in range(0, SIZE, 2):
        assert others[0][f"u{number}"] == pytest.approx(others[1][f"u{number}"], abs=1e-5)
    found, _ = ranker.similar("u3", 3)
    assert found[0][0] == "stranger"


def test_rows_are_found_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's lock is given up between two parts: a server answers meanwhile, however many items it has."""
    monkeypatch.setattr(births, "_FOUND_AT_ONCE", 5)
    items = even_odd_state(SIZE).graph.view().nodes(ITEM)
    rows = np.array([*range(len(items)), -1])
    ids = [items.ids.id(row) for row in range(len(items))][::-1]

    found = ModelRows(ids, ITEM, {}).of(items, rows)

    assert found.tolist() == [*reversed(range(len(items))), -1]
    assert ModelRows(ids, ITEM, {}).of(items, rows[:0]).tolist() == []
