import dataclasses
import json
import threading
import uuid

import pytest
import torch

from springtide.errors import ModelError
from springtide.model.registry import ModelArtifact, ModelManifest, ModelStore


def artifact(**changes) -> ModelArtifact:
    manifest = ModelManifest(
        version="",
        created_ms=1_700_000_000_000,
        training="retrain",
        parts={"encoder": {"name": "lightgcn", "origin": "springtide 0.1", "options": {}}},
        settings={"model": {"width": 2}},
        graph_cut={"checkpoint": "00000003", "num_interactions": 10},
        metrics={"ndcg@20": 0.05},
        exponents={"trend": {"lift": 0.5}},
        temperature=0.1,
    )
    users = torch.arange(4, dtype=torch.float32).reshape(2, 2)
    return ModelArtifact(
        dataclasses.replace(manifest, **changes),
        {"users": users, "items": users[:1]},
        {"user": ["ann", "bö"], "item": ["x"]},
        {"item": ["a=ü"]},
    )


@pytest.fixture(params=["folder", "memory"])
def url(request, tmp_path):
    return str(tmp_path / "models") if request.param == "folder" else f"memory://models-{uuid.uuid4().hex}"


def test_published_model_comes_back_whole(url):
    store = ModelStore(url)
    version = store.publish(artifact())
    loaded = ModelStore(url).load(version)
    assert version == "000001"
    assert loaded.manifest.version == version
    assert loaded.manifest.metrics == {"ndcg@20": 0.05}
    assert loaded.node_ids == {"user": ["ann", "bö"], "item": ["x"]}
    assert loaded.attribute_values == {"item": ["a=ü"]}
    assert torch.equal(loaded.tensors["users"], artifact().tensors["users"])


def test_tensors_that_share_memory_are_published(url):
    loaded = ModelStore(url).load(ModelStore(url).publish(artifact()))
    assert loaded.tensors["items"].tolist() == [[0.0, 1.0]]


def test_versions_come_newest_first_and_promotion_is_optional(url):
    store = ModelStore(url)
    assert store.current() is None
    assert store.versions() == []
    store.publish(artifact())
    store.publish(artifact(), promote=False)
    assert store.versions() == ["000002", "000001"]
    assert store.current() == "000001"


def test_promoting_an_unknown_version_lists_the_choices(url):
    store = ModelStore(url)
    store.publish(artifact())
    with pytest.raises(ModelError, match=r"no model version '000099' \(choices: 000001\)"):
        store.promote("000099")
    with pytest.raises(ModelError, match="no model version"):
        store.manifest("../000001")


def test_rollback_goes_back_promotion_by_promotion(url):
    store = ModelStore(url)
    for _ in range(3):
        store.publish(artifact())
    assert store.rollback() == "000002"
    assert store.current() == "000002"
    assert store.rollback() == "000001"
    with pytest.raises(ModelError, match="nothing to roll back to"):
        store.rollback()
    store.promote("000003")
    assert store.rollback() == "000001"


def test_pruning_keeps_the_newest_and_those_a_rollback_needs(url):
    store = ModelStore(url, keep=2)
    store.publish(artifact())
    for _ in range(4):
        store.publish(artifact(), promote=False)
    assert store.versions() == ["000005", "000004", "000001"]
    assert store.load("000001").node_ids["user"] == ["ann", "bö"]


def test_damaged_file_is_named(tmp_path):
    store = ModelStore(str(tmp_path))
    version = store.publish(artifact())
    path = tmp_path / version / "tensors.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ModelError, match=r"tensors\.safetensors: damaged"):
        store.load(version)
    path.unlink()
    with pytest.raises(ModelError, match=r"tensors\.safetensors: .*missing"):
        store.load(version)


def test_half_published_version_is_no_version(tmp_path):
    store = ModelStore(str(tmp_path))
    (tmp_path / "000001").mkdir()
    (tmp_path / "000001" / "tensors.safetensors").write_bytes(b"half")
    assert store.versions() == []
    assert store.publish(artifact()) == "000002"


def test_manifest_that_json_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    store = ModelStore(str(tmp_path / "models"))
    with pytest.raises(ModelError, match="JSON"):
        store.publish(artifact(metrics={"ndcg@20": float("nan")}))
    assert not (tmp_path / "models").exists()


def test_manifest_refuses_nonsense():
    with pytest.raises(ModelError, match=r"training: .*choices: baseline, fine_tune, refit, retrain"):
        artifact(training="again")
    with pytest.raises(ModelError, match="temperature"):
        artifact(temperature=0.0)


def test_unreadable_pointer_and_manifest_are_named(tmp_path):
    store = ModelStore(str(tmp_path))
    version = store.publish(artifact())
    (tmp_path / version / "manifest.json").write_text(json.dumps({"version": version}))
    with pytest.raises(ModelError, match=r"manifest\.json: not a model manifest"):
        store.manifest(version)
    (tmp_path / "current.json").write_text("{")
    with pytest.raises(ModelError, match=r"current\.json"):
        store.current()


def test_reader_beside_a_publisher_sees_whole_models_only(tmp_path):
    store, reader = ModelStore(str(tmp_path), keep=2), ModelStore(str(tmp_path), keep=2)
    store.publish(artifact())
    done = threading.Event()

    def publish() -> None:
        for _ in range(10):
            store.publish(artifact())
        done.set()

    publisher = threading.Thread(target=publish)
    publisher.start()
    num_loaded = 0
    while not done.is_set() or not num_loaded:
        version = reader.current()
        assert version is not None
        assert reader.load(version).manifest.version == version
        num_loaded += 1
    publisher.join()
