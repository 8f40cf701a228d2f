"""Where nothing is known of an item or a user, the answer says nothing of them."""

import dataclasses

import numpy as np
import pytest

from springtide.events.model import EventBatch, NodeUpsert
from springtide.explaining.reasons import FactorTerm, sentence_of
from springtide.explaining.terms import explain
from springtide.model.exponents import Exponents, TermExponents
from springtide.model.registry import ModelArtifact
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import PartSettings, PluginSettings, Settings
from springtide.state import LiveState
from springtide.testing import even_odd_events, even_odd_state, interactions_of, quick_model, quick_settings

PLUGINS = load_plugins(PluginSettings())
ENCODERS = sorted(part.name for part in PLUGINS.parts if part.kind == "encoder")
SIZE = 24
NOW = Moment(even_odd_events(SIZE)[-1][2] + 1_000)
ALL = {"popularity": {}, "calendar": {}, "trend": {}, "repeat": {}}


def settings_of(encoder: str = "lightgcn", **sections) -> Settings:
    model = {"width": 16, "encoder": encoder, "aggregator": "sum" if encoder == "lightgcn" else "mean"}
    return quick_settings(model=model, **sections)


def upsert(state: LiveState, *upserts: NodeUpsert) -> None:
    state.apply(EventBatch(interactions_of([]), upserts=list(upserts)))


def ranker_of(state: LiveState, artifact: ModelArtifact, settings: Settings) -> Ranker:
    ranker = Ranker(state, settings.ranking)
    ranker.swap(ServingModel.from_artifact(artifact, PLUGINS))
    return ranker


@pytest.fixture(params=ENCODERS)
def ranker(request) -> Ranker:
    """A ranker over items and users of which nothing is known: some were there at the training, others came later."""
    settings = settings_of(request.param)
    state = even_odd_state(SIZE, settings)
    upsert(state, NodeUpsert("item", "early"), NodeUpsert("user", "early"))
    artifact = quick_model(state, settings, PLUGINS)
    upsert(state, NodeUpsert("item", "late"), NodeUpsert("user", "late"))
    return ranker_of(state, artifact, settings)


@pytest.mark.parametrize("item_id", ["early", "late"])
def test_an_item_of_which_nothing_is_known_is_like_no_other(ranker: Ranker, item_id: str) -> None:
    assert ranker.similar(item_id, 5)[0] == []
    found, _ = ranker.similar("i0", SIZE + 2)
    assert item_id not in {other for other, _ in found}
    assert len(found) == SIZE - 1


@pytest.mark.parametrize("item_id", ["early", "late"])
def test_nothing_speaks_for_an_item_of_which_nothing_is_known(ranker: Ranker, item_id: str) -> None:
    explanation = explain(ranker.scorer(), Query(NOW, "u0"), item_id)
    assert explanation.cosine == 0.0
    assert explanation.sentence == ""


@pytest.mark.parametrize("user_id", ["early", "late", "nobody", ""])
def test_a_user_of_whom_nothing_is_known_is_the_mean_user(ranker: Ranker, user_id: str) -> None:
    [ranking] = ranker.recommend([Query(NOW, user_id, allow_items=("i0", "i1", "late"))])
    assert ranking.personalization == "context_only"
    table = ranker.scorer().serving.table
    mean = table.model.users.vectors
    mean = mean[mean.any(1)].mean(0)
    wanted = [float(table.vectors[ranker.scorer().items.ids.row(item.item_id)] @ mean) for item in ranking.items]
    assert [item.cosine for item in ranking.items] == pytest.approx(wanted, abs=1e-6)
    assert len(ranking.items) == 3, "what is asked for by name is ranked"


@pytest.mark.parametrize("user_id", ["nobody", ""])
def test_what_suits_the_mean_user_is_no_reason_for_one(ranker: Ranker, user_id: str) -> None:
    for row in range(SIZE):
        assert "suits" not in explain(ranker.scorer(), Query(NOW, user_id), f"i{row}").sentence


def test_a_user_of_whom_nothing_is_known_is_like_no_other(ranker: Ranker) -> None:
    assert ranker.lists.similar_users(Query(NOW, "early"))[0] == []
    ranker.recommend([Query(NOW, "early")])  # From here on it is among the users that are kept.
    assert "early" not in {user_id for user_id, _ in ranker.lists.similar_users(Query(NOW, "u0", count=SIZE))[0]}


def test_a_user_who_has_only_what_nobody_knows_is_no_person(ranker: Ranker) -> None:
    [ranking] = ranker.recommend([Query(NOW, "nobody", recent_items=("late", "early"))])
    assert ranking.personalization == "context_only"
    [ranking] = ranker.recommend([Query(NOW, "nobody", recent_items=("late", "i1"))])
    assert ranking.personalization == "folded_in"


def test_attributes_are_something_to_know() -> None:
    settings = settings_of()
    state = even_odd_state(SIZE, settings)
    sides = ("even", "odd")
    upsert(state, *(NodeUpsert("item", f"i{row}", categories={"side": (sides[row % 2],)}) for row in range(SIZE)))
    upsert(state, NodeUpsert("item", "early", categories={"side": ("even",)}))
    artifact = quick_model(state, settings, PLUGINS)
    upsert(state, NodeUpsert("item", "late", categories={"side": ("even",)}))
    ranker = ranker_of(state, artifact, settings)
    for item_id in ("early", "late"):
        found, _ = ranker.similar(item_id, 6)
        assert len(found) == 6
    cosines = [dict(ranker.similar(item_id, SIZE + 1)[0])["i2"] for item_id in ("early", "late")]
    assert cosines[0] == pytest.approx(cosines[1], abs=1e-6), "known by the attribute alone, both times"


def test_a_cosine_that_is_only_less_bad_than_others_is_no_reason() -> None:
    exponents = Exponents(unseen=TermExponents(20.0), seen=TermExponents(20.0))
    settings = settings_of()
    state = even_odd_state(SIZE, settings)
    model = ServingModel.from_artifact(quick_model(state, settings, PLUGINS), PLUGINS)
    users = dataclasses.replace(model.users, vectors=-model.users.vectors)  # Everybody dislikes what they have.
    ranker = Ranker(state, settings.ranking)
    ranker.swap(dataclasses.replace(model, exponents=exponents, sides={**model.sides, "user": users}))
    for row in range(SIZE):
        explanation = explain(ranker.scorer(), Query(NOW, "u0"), f"i{row}")
        assert ("suits" in explanation.sentence) == (explanation.cosine > 0.01)


def test_a_lift_that_is_none_is_not_put_into_words() -> None:
    factor = next(
        factor
        for factor in PLUGINS.make("context weight", PartSettings(name="calendar")).factors
        if factor.name == "hour"
    )
    assert sentence_of([FactorTerm("calendar", factor, 0.02, 30.0)]) == "calendar/hour: ×1.8"
    assert sentence_of([FactorTerm("calendar", factor, 0.02, 1.0)]) == ""


def test_vectors_that_are_no_numbers_are_like_no_other() -> None:
    settings = settings_of()
    state = even_odd_state(SIZE, settings)
    model = ServingModel.from_artifact(quick_model(state, settings, PLUGINS), PLUGINS)
    sides = {}
    for name, side in model.sides.items():
        vectors = side.vectors.copy()
        vectors[2] = np.nan
        sides[name] = dataclasses.replace(side, vectors=vectors)
    ranker = Ranker(state, settings.ranking)
    ranker.swap(dataclasses.replace(model, sides=sides))
    assert ranker.similar("i2", 5)[0] == []
    found, _ = ranker.similar("i0", SIZE)
    assert len(found) == SIZE - 2
    assert all(np.isfinite(cosine) for _, cosine in found)
    one, other = ranker.recommend([Query(NOW, "u2", count=SIZE), Query(NOW, "u0", count=SIZE)])
    assert one.personalization == "context_only"
    assert len(one.items) == len(other.items) == SIZE
    assert all(np.isfinite(item.score) for ranking in (one, other) for item in ranking.items)
