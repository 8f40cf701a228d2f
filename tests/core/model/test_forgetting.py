"""Model versions lose deleted nodes, and the attribute values that only they had; what is left serves as before."""

import dataclasses
import threading
import uuid
from pathlib import Path

import numpy as np
import pytest

from springtide.errors import ModelError
from springtide.events.model import EventBatch, NodeDelete, NodeUpsert
from springtide.graph.applying import ITEM, USER
from springtide.model.forgetting import Living, without
from springtide.model.registry import ModelArtifact, ModelStore
from springtide.plugins.loading import load_plugins
from springtide.ranking.baseline_artifact import baseline_artifact
from springtide.ranking.serving_baseline import ServingBaseline, forget_users_by
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import PartSettings, PluginSettings
from springtide.state import LiveState
from springtide.testing import even_odd_events, even_odd_state, interactions_of, quick_model, quick_settings
from springtide.token_search import Token

PLUGINS = load_plugins(PluginSettings())
FORGET_USERS = forget_users_by(PLUGINS)
SIZE = 24
END_MS = even_odd_events(SIZE)[-1][2] + 3_600_000
NOBODY = interactions_of([])


def state_with_values() -> LiveState:
    """Return users and items of which `u3` alone has a club, and `i4` alone a brand."""
    state = even_odd_state(SIZE)
    upserts = [NodeUpsert(USER, f"u{user}", {"city": ("Bern",)}) for user in range(4)]
    upserts += [NodeUpsert(USER, "u3", {"club": ("chess",)}), NodeUpsert(ITEM, "i4", {"brand": ("unique",)})]
    upserts += [NodeUpsert(ITEM, "i5", {"brand": ("common",)})]
    state.apply(EventBatch(NOBODY, upserts))
    return state


def delete(state: LiveState, node_type: str, node_id: str) -> None:
    state.apply(EventBatch(NOBODY, deletes=[NodeDelete(node_type, node_id, END_MS)]))


def cleaned(state: LiveState, artifact: ModelArtifact) -> ModelArtifact | None:
    living = Living(state.graph.view(), state.graph.tombstones)
    gone = living.gone(artifact)
    assert living.may_lack(artifact.node_ids, artifact.attribute_values) or not gone
    return without(artifact, gone, FORGET_USERS) if gone else None


@pytest.mark.parametrize("encoder", ["lightgcn", "graphsage", "hetero"])
def test_model_loses_ids_vectors_and_values_of_what_was_deleted_and_nothing_else(encoder: str) -> None:
    state = state_with_values()
    model = quick_model(state, quick_settings(model={"width": 16, "encoder": encoder}), PLUGINS)
    assert cleaned(state, model) is None
    before = {name: array.copy() for name, array in model.tensors.items()}
    user, item = list(model.node_ids[USER]).index("u3"), list(model.node_ids[ITEM]).index("i4")
    delete(state, USER, "u3")
    delete(state, ITEM, "i4")
    after = cleaned(state, model)
    assert after is not None
    assert list(after.node_ids[USER]) == [each if each != "u3" else "" for each in model.node_ids[USER]]
    assert list(after.node_ids[ITEM]) == [each if each != "i4" else "" for each in model.node_ids[ITEM]]
    names = [*after.attribute_values[USER], *after.attribute_values[ITEM]]
    assert not any(Token(text).is_in_text(name) for text in ("chess", "unique") for name in names)
    assert {"city=Bern"} <= set(names)
    assert {"brand=common"} <= set(names)
    assert len(after.attribute_values[USER]) == len(model.attribute_values[USER])
    start = list(after.manifest.schema["node_types"]).index(ITEM) * len(model.node_ids[USER])
    gone = [user, start + item]
    assert not after.tensors["vectors"][gone].any()
    assert not after.tensors["levels"][:, gone].any()
    assert not after.tensors["inputs.ids.0"][user].any()
    assert after.tensors["num_interactions"][user] == 0
    kept = np.setdiff1d(np.arange(2 * SIZE), gone)
    np.testing.assert_array_equal(after.tensors["vectors"][kept], before["vectors"][kept])
    assert cleaned(state, after) is None
    ServingModel.from_artifact(dataclasses.replace(after), PLUGINS)


def test_user_who_came_again_after_a_deletion_is_not_the_one_of_the_model() -> None:
    state = state_with_values()
    model = quick_model(state, quick_settings(), PLUGINS)
    delete(state, USER, "u3")
    state.apply(EventBatch(interactions_of([("u3", "i1", END_MS + 1)])))
    after = cleaned(state, model)
    assert after is not None
    assert "u3" not in list(after.node_ids[USER])
    again = quick_model(state, quick_settings(), PLUGINS)
    assert cleaned(state, again) is None
    assert "u3" in list(again.node_ids[USER])


def test_node_that_was_only_evicted_stays_in_the_model() -> None:
    state = state_with_values()
    model = quick_model(state, quick_settings(), PLUGINS)
    state.graph.forget(USER, "u3")
    found = Living(state.graph.view(), state.graph.tombstones).gone(model)
    assert not found.rows


@pytest.mark.parametrize("name", ["user_knn", "tifu_knn", "bpr", "item_knn", "decayed_own_counts"])
def test_baseline_loses_what_it_keeps_of_a_user(name: str) -> None:
    state, settings = state_with_values(), quick_settings()
    view = state.graph.view()
    interactions = state.positive_interactions(view)
    baseline = PLUGINS.make("baseline", PartSettings(name=name))
    baseline.fit(interactions, SIZE, SIZE)
    model = baseline_artifact(name, {}, baseline, view, interactions, settings, PLUGINS)
    row = list(model.node_ids[USER]).index("u3")
    delete(state, USER, "u3")
    after = cleaned(state, model)
    assert after is not None
    assert list(after.node_ids[USER])[row] == ""
    restored = ServingBaseline.from_artifact(after, PLUGINS).baseline
    for key in getattr(restored, "by_user", ()):
        kept = getattr(restored, key)
        assert np.asarray(kept[[row]].sum()) == 0
        assert np.asarray(abs(kept[[row - 1]]).sum()) > 0


@pytest.fixture(params=["folder", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "models") if request.param == "folder" else f"memory://models-{uuid.uuid4().hex}"


def test_rewritten_version_is_whole_for_readers_at_every_moment_and_stays_current(url: str) -> None:
    state = state_with_values()
    store = ModelStore(url)
    for _ in range(2):
        version = store.publish(quick_model(state, quick_settings(training={"steps": 2}), PLUGINS))
    first, done, faults, loads = store.revision(version), threading.Event(), [], []

    def read() -> None:
        reader = ModelStore(url)
        while not done.is_set():
            try:
                loads.append(len(reader.load(version).node_ids[USER]))
            except ModelError as error:
                faults.append(str(error))

    thread = threading.Thread(target=read)
    thread.start()
    for user in range(12):
        delete(state, USER, f"u{user}")
        changed = cleaned(state, store.load(version))
        assert changed is not None
        store.rewrite(changed, "a node was taken out")
    done.set()
    thread.join()
    assert faults == []
    assert set(loads) == {SIZE}
    assert ModelStore(url).current() == version
    assert store.revision(version) != first
    assert list(ModelStore(url).load(version).node_ids[USER])[:12] == [""] * 12
    assert {entry.action for entry in store.audit.entries()} == {"promote", "forget"}
    names, _ = ModelStore(url).names_in(version)
    assert list(names[USER])[12] == "u12"


def test_rewriting_that_was_broken_off_anywhere_leaves_a_whole_version(tmp_path: Path, monkeypatch) -> None:
    state = state_with_values()
    model = quick_model(state, quick_settings(training={"steps": 2}), PLUGINS)
    delete(state, USER, "u3")
    for stop_at in range(1, 8):
        store = ModelStore(str(tmp_path / str(stop_at)))
        version = store.publish(dataclasses.replace(model))
        calls = 0

        def fail(real, stop_at=stop_at):
            def broken(*arguments, **options):
                nonlocal calls
                calls += 1
                if calls >= stop_at:
                    raise OSError("no space left on device")
                return real(*arguments, **options)

            return broken

        changed = cleaned(state, store.load(version))
        with monkeypatch.context() as patched:
            for name in ("write", "write_from"):
                patched.setattr(store._storage, name, fail(getattr(store._storage, name)))
            if stop_at < 7:
                with pytest.raises(OSError, match="no space"):
                    store.rewrite(changed, "a node was taken out")
            else:
                store.rewrite(changed, "a node was taken out")
        loaded = ModelStore(str(tmp_path / str(stop_at))).load(version)
        assert len(loaded.node_ids[USER]) == SIZE
        changed = cleaned(state, loaded)
        if changed is not None:
            store.rewrite(changed, "a node was taken out")
        store.delete_unfinished()
        folder = tmp_path / str(stop_at) / version
        assert len(list(folder.glob("tensors*"))) == len(list(folder.glob("node_ids*"))) == 1
        assert "u3" not in list(store.load(version).node_ids[USER])


def test_version_that_was_pruned_meanwhile_does_not_come_back(tmp_path: Path) -> None:
    state = state_with_values()
    store = ModelStore(str(tmp_path))
    version = store.publish(quick_model(state, quick_settings(training={"steps": 2}), PLUGINS))
    artifact = store.load(version)
    other = store.publish(artifact)
    assert not store.drop(other, reason="it is current")
    assert store.drop(version, reason="a test")
    with pytest.raises(ModelError, match="no model version"):
        store.rewrite(artifact, "a node was taken out")
    assert store.versions() == [other]


def test_ids_leave_the_reasons_that_people_gave(tmp_path: Path) -> None:
    store = ModelStore(str(tmp_path))
    model = quick_model(state_with_values(), quick_settings(training={"steps": 2}), PLUGINS)
    store.publish(model, reason="u3 asked for it, not u30")
    store.publish(model, reason="better")
    assert store.forget_text(Token("u3")) == 1
    assert store.forget_text(Token("u3")) == 0
    assert [entry.reason for entry in store.audit.entries()] == ["(forgotten) asked for it, not u30", "better"]
    assert not any(Token("u3").is_in_bytes(path.read_bytes()) for path in tmp_path.glob("pointer/*"))
    assert ModelStore(str(tmp_path)).current() == "000002"
    assert ModelStore(str(tmp_path)).rollback() == "000001"
