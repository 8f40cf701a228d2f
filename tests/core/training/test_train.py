"""Retraining and fine-tuning: from a live state to a model that loads."""

import dataclasses

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY
from springtide.errors import ModelError, TrainingError
from springtide.events.model import EventBatch, NodeDelete, NodeUpsert
from springtide.model.artifact import exponents_of
from springtide.model.exponents import Exponents, TermExponents, fallback_exponents
from springtide.model.registry import ModelStore
from springtide.plugins.loading import load_plugins
from springtide.ranking.serving_model import ServingModel
from springtide.state import LiveState
from springtide.testing import (
    START_MS,
    even_odd_events,
    even_odd_state,
    interactions_of,
    quick_model,
    quick_settings,
    state_of,
)
from springtide.training.loop import Progress
from springtide.training.train import train

PLUGINS = load_plugins()
LATER_MS = START_MS + 400 * MS_PER_DAY


def serving(artifact) -> ServingModel:
    return ServingModel.from_artifact(artifact, PLUGINS)


def test_fine_tuning_passes_over_users_with_new_interactions_and_as_many_others(model):
    events = [*even_odd_events(), *[("u3", "i1", 2 * 10**12 + minute) for minute in range(20)]]
    settings = quick_settings(training={"fine_tune_steps": 1, "batch_users": 1, "min_passes": 4})
    steps: dict[str, int] = {}
    train(
        state_of(events),
        settings,
        load_plugins(),
        mode="fine_tune",
        base=model,
        on_progress=lambda now: steps.update({now.stage: now.total}),
    )
    assert steps["learn the latest"] == 8, "four passes over one active user and one other"


@pytest.fixture(scope="module")
def state() -> LiveState:
    return even_odd_state()


@pytest.fixture(scope="module")
def model(state):
    return quick_model(state)


def test_retrained_model_is_published_and_loads(state, model, tmp_path):
    store = ModelStore(str(tmp_path))
    loaded = store.load(store.publish(model))
    assert loaded.manifest.training == "retrain"
    assert loaded.manifest.graph_cut["num_interactions"] == state.num_events
    assert loaded.manifest.graph_cut["newest_ms"] == state.graph.newest_ms
    assert loaded.manifest.parts["encoder"]["name"] == "lightgcn"
    served = serving(loaded)
    assert served.version == "000001"
    assert np.linalg.norm(served.users.vectors, axis=1) == pytest.approx(np.ones(24), abs=1e-5)


def test_training_is_the_same_every_time(state, model):
    again = quick_model(state)
    for name, tensor in model.tensors.items():
        assert np.array_equal(tensor, again.tensors[name]), name
    assert again.manifest.exponents == model.manifest.exponents


def test_training_differs_under_another_seed(state, model):
    other = quick_model(state, quick_settings(training={"seed": 1}))
    assert not np.array_equal(other.tensors["vectors"], model.tensors["vectors"])


def test_progress_is_reported_stage_by_stage(state):
    reported: list[Progress] = []
    settings = quick_settings(training={"steps": 3, "fine_tune_steps": 2})
    train(state, settings, PLUGINS, mode="retrain", on_progress=reported.append)
    stages = [(progress.stage, progress.done, progress.total) for progress in reported]
    assert stages == [
        ("learn", 1, 3),
        ("learn", 2, 3),
        ("learn", 3, 3),
        ("exponents", 0, 1),
        ("exponents", 1, 1),
        ("learn the latest", 1, 2),
        ("learn the latest", 2, 2),
    ]
    assert all(progress.loss is not None for progress in reported if progress.stage != "exponents")


def test_loss_falls(state):
    reported: list[Progress] = []
    train(state, quick_settings(), PLUGINS, mode="retrain", on_progress=reported.append)
    losses = [progress.loss for progress in reported if progress.stage == "learn"]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.5


def test_steps_are_added_until_all_users_have_been_passed_over(state):
    reported: list[Progress] = []
    settings = quick_settings(training={"steps": 1, "min_passes": 3.0, "batch_users": 10})
    train(state, settings, PLUGINS, mode="retrain", on_progress=reported.append)
    assert max(progress.total for progress in reported if progress.stage == "learn") == 8  # 3 · 24 / 10, rounded up.


def test_few_events_give_the_fallback_exponents():
    # A quarter of 144 interactions are fewer than 50.
    names = ("popularity", "calendar", "trend", "repeat")
    settings = quick_settings(ranking={"context_weights": {name: {} for name in names}})
    popular = {"popularity": {"share": 1.0}, "trend": {"1d": 0.5, "28d": 0.5}}
    habit = {"repeat": {"had": 3.0, "count": 1.0, "recent_30d": 0.5}}
    expected = Exponents(TermExponents(1.0, popular), TermExponents(1.0, {**popular, **habit}))
    assert exponents_of(quick_model(even_odd_state(18, settings), settings).manifest) == expected


def test_slice_is_widened_up_to_a_quarter():
    # 7 % of 264 interactions are 18; a quarter are 66.
    model = quick_model(even_odd_state(24))
    assert model.manifest.metrics["exponent_events"] == 66
    assert exponents_of(model.manifest) != fallback_exponents({})


def test_exponents_are_learned_where_there_are_enough_events(state):
    settings = quick_settings(training={"exponent_slice": 0.4}, ranking={"context_weights": {"popularity": {}}})
    learned = quick_model(even_odd_state(settings=settings), settings)
    assert learned.manifest.metrics["exponent_events"] > 50
    assert exponents_of(learned.manifest).unseen.factors["popularity"]["share"] != 1.0, "the fallback"
    assert learned.manifest.temperature == pytest.approx(1 / exponents_of(learned.manifest).unseen.cosine)


def test_too_few_interactions_are_refused():
    with pytest.raises(TrainingError, match=r"at least 10 positive interactions \(training.min_interactions\), got 2"):
        quick_model(state_of([("u0", "i0", 1), ("u1", "i0", 2)]))


def test_negative_interactions_are_not_learned_from():
    state = state_of([("u0", "i0", 1)] * 20)
    state.apply(EventBatch(interactions_of([("u0", "i1", 2)] * 100, relation="dislike")))
    assert quick_model(state).manifest.graph_cut["num_interactions"] == 20


def test_loss_that_is_not_finite_is_refused(state):
    settings = quick_settings(training={"learning_rate": 1e38})
    with pytest.raises(TrainingError, match=r"the loss of step .* is nan: wanted a finite number"):
        quick_model(state, settings)


def test_fine_tuning_without_a_model_is_refused(state):
    with pytest.raises(TrainingError, match="retrain first"):
        train(state, quick_settings(), PLUGINS, mode="fine_tune")


@pytest.mark.parametrize(
    "changed", [{"width": 8}, {"num_layers": 1}, {"encoder": {"name": "graphsage"}}, {"aggregator": {"name": "mean"}}]
)
def test_fine_tuning_a_model_of_another_shape_is_refused(state, model, changed):
    with pytest.raises(TrainingError, match="a model of the same parts and width"):
        quick_model(state, quick_settings(model={"width": 16, **changed}), base=model)


def test_fine_tuning_adds_new_users_and_items(model):
    state = even_odd_state()
    state.apply(EventBatch(interactions_of([("u0", "new item", LATER_MS), ("new user", "i2", LATER_MS + 1)])))
    tuned = quick_model(state, base=model)
    assert tuned.manifest.training == "fine_tune"
    assert (tuned.node_ids["user"][-1], tuned.node_ids["item"][-1]) == ("new user", "new item")
    served = serving(tuned)
    cosines = served.items.vectors @ served.users.vectors[served.users.rows.ids.row("new user")]
    assert cosines[0::2].mean() > cosines[1:24:2].mean(), "the new user took an even item"


def test_fine_tuning_starts_from_the_model(state, model):
    tuned = quick_model(state, quick_settings(training={"fine_tune_steps": 1, "learning_rate": 1e-9}), base=model)
    np.testing.assert_allclose(tuned.tensors["vectors"], model.tensors["vectors"], atol=1e-5, rtol=0)
    assert tuned.manifest.exponents == model.manifest.exponents


def test_fine_tuning_finds_nodes_by_id_and_not_by_row(model):
    upserts = [NodeUpsert(kind, f"{kind[0]}{row}") for kind in ("user", "item") for row in reversed(range(24))]
    events = even_odd_state().positive_interactions(even_odd_state().graph.view())
    named = [
        (f"u{user}", f"i{item}", int(time))
        for user, item, time in zip(events.user_rows, events.item_rows, events.timestamps_ms, strict=True)
    ]
    settings = quick_settings(training={"fine_tune_steps": 1, "learning_rate": 1e-9})
    tuned = quick_model(state_of(named, upserts=upserts), settings, base=model)
    users = {user_id: row for row, user_id in enumerate(tuned.node_ids["user"])}
    np.testing.assert_allclose(tuned.tensors["vectors"][users["u3"]], model.tensors["vectors"][3], atol=1e-4, rtol=0)


def test_fine_tuning_keeps_the_codes_of_attribute_values():
    def with_brand(brand: str) -> LiveState:
        return state_of(
            [(f"u{number % 3}", f"i{number % 5}", number) for number in range(60)],
            upserts=[NodeUpsert("item", "i0", categories={"brand": (brand,)})],
        )

    base = quick_model(with_brand("b"))
    tuned = quick_model(with_brand("a"), base=base)
    assert base.attribute_values["item"] == ["brand=b"]
    assert tuned.attribute_values["item"] == ["brand=b", "brand=a"]


def test_deleted_nodes_are_in_no_later_model(model):
    state = even_odd_state()
    deletes = [NodeDelete("user", "u3", LATER_MS), NodeDelete("item", "i4", LATER_MS)]
    state.apply(EventBatch(interactions_of([]), deletes=deletes))
    for later in (quick_model(state), quick_model(state, base=model)):
        assert "u3" not in later.node_ids["user"]
        assert "i4" not in later.node_ids["item"]
        assert (len(later.node_ids["user"]), len(later.node_ids["item"])) == (23, 23), "no row is kept for them"
        served = serving(later)
        assert served.users.rows.ids.row("") == -1
        assert served.users.rows.ids.row("u3") == -1


def test_checkpoint_and_request_are_in_the_manifest(state):
    settings = quick_settings(training={"steps": 1, "fine_tune_steps": 1})
    manifest = train(state, settings, PLUGINS, mode="retrain", request_id="request-7").manifest
    assert manifest.request_id == "request-7"
    assert manifest.graph_cut["checkpoint"] == ""


def test_model_that_does_not_fit_its_manifest_is_refused(model):
    tensors = {name: tensor for name, tensor in model.tensors.items() if name != "levels"}
    with pytest.raises(ModelError, match="does not fit its own manifest: 'levels'"):
        serving(dataclasses.replace(model, tensors=tensors))


KINDS = {
    "model": {"tasks": {"kinds": {"name": "node_classification", "options": {"attribute": "kind"}, "weight": 0.5}}}
}


def with_kinds() -> LiveState:
    upserts = [NodeUpsert(kind, f"{kind[0]}{row}") for kind in ("user", "item") for row in range(24)]
    kinds = [NodeUpsert("item", f"i{row}", {"kind": ("odd" if row % 2 else "even",)}) for row in range(20)]
    return state_of(even_odd_events(24), upserts=[*upserts, *kinds])


def test_task_is_learned_beside_the_main_loss():
    settings = quick_settings(model={"width": 16, **KINDS["model"]})
    model = quick_model(with_kinds(), settings)
    tasks = {name: tensor for name, tensor in model.tensors.items() if name.startswith("tasks.kinds.")}
    assert tasks
    assert model.attribute_values["item"] == [], "a label is no input"
    alone = quick_model(with_kinds(), quick_settings())
    assert alone.attribute_values["item"] == ["kind=even", "kind=odd"]
    served = serving(model)
    assert served.items.vectors.shape == (24, 16)


def test_fine_tuning_starts_from_the_parameters_of_a_task():
    settings = quick_settings(
        model={"width": 16, **KINDS["model"]}, training={"fine_tune_steps": 1, "learning_rate": 1e-9}
    )
    base = quick_model(with_kinds(), quick_settings(model={"width": 16, **KINDS["model"]}))
    tuned = quick_model(with_kinds(), settings, base=base)
    for name, tensor in base.tensors.items():
        if name.startswith("tasks."):
            np.testing.assert_allclose(tuned.tensors[name], tensor, atol=1e-6, rtol=0)


def test_fine_tuning_a_model_of_other_labels_is_refused():
    base = quick_model(with_kinds())
    with pytest.raises(TrainingError, match="a model of the same parts and width"):
        quick_model(with_kinds(), quick_settings(model={"width": 16, **KINDS["model"]}), base=base)


def test_training_and_model_hold_what_lives_alone():
    """Ten users came and went, and two items were never taken up: the model is as if they had never been there."""
    plain = even_odd_state()
    state = even_odd_state()
    gone = [(f"gone{number}", f"i{number}", START_MS + number) for number in range(10)]
    state.apply(EventBatch(interactions_of(gone), [NodeUpsert("item", "nothing"), NodeUpsert("user", "nobody")]))
    state.apply(EventBatch(interactions_of([]), deletes=[NodeDelete("user", user, LATER_MS) for user, _, _ in gone]))
    model, wanted = quick_model(state), quick_model(plain)
    assert model.node_ids == wanted.node_ids
    assert "" not in model.node_ids["user"]
    for name, tensor in wanted.tensors.items():
        np.testing.assert_allclose(model.tensors[name], tensor, atol=1e-5, rtol=1.3e-6, err_msg=name)
