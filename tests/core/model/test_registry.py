import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import tracemalloc
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from springtide import storage
from springtide.clock import wall_ms
from springtide.errors import ModelError
from springtide.model.artifact_files import arrays_in
from springtide.model.manifest import ModelManifest, UnreadableManifest
from springtide.model.registry import ModelArtifact, ModelStore


def _safetensors(header, data):
    written = json.dumps(header).encode()
    return len(written).to_bytes(8, "little") + written + data


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
    users = np.arange(4, dtype=np.float32).reshape(2, 2)
    return ModelArtifact(
        dataclasses.replace(manifest, **changes),
        {"users": users, "items": users[:1]},
        {"user": ["ann", "bö"], "item": ["x"]},
        {"item": ["a=ü"]},
    )


@pytest.fixture(params=["folder", "memory", "s3"])
def url(request, tmp_path):
    if request.param == "s3":
        return f"{request.getfixturevalue('s3_bucket')}/models"
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
    assert np.array_equal(loaded.tensors["users"], artifact().tensors["users"])


def test_tensors_that_share_memory_are_published(url):
    loaded = ModelStore(url).load(ModelStore(url).publish(artifact()))
    assert loaded.tensors["items"].tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize(
    "tensor", [np.float32(2.5).reshape(()), np.zeros((0, 4), np.float32), np.arange(6).reshape(2, 3).T[::-1]]
)
def test_tensors_of_any_shape_and_layout_are_published(url, tensor):
    model = dataclasses.replace(artifact(), tensors={"odd": tensor})
    found = ModelStore(url).load(ModelStore(url).publish(model)).tensors["odd"]
    assert (found.dtype, found.shape, found.tolist()) == (tensor.dtype, tensor.shape, tensor.tolist())


def test_ids_of_all_kinds_come_back_in_their_order(url):
    ids = {"user": ["", "ann", "", "bö", "日本", "a\nb"], "node type.of a producer": ["x"], "none": []}
    model = dataclasses.replace(artifact(), node_ids=ids)
    assert ModelStore(url).load(ModelStore(url).publish(model)).node_ids == ids


def test_arrays_are_pages_of_the_files(tmp_path, monkeypatch):
    monkeypatch.setattr("springtide.storage._file_system", lambda device: "ext4")
    large = np.arange(100_000, dtype=np.float32)
    store = ModelStore(str(tmp_path))
    version = store.publish(dataclasses.replace(artifact(), tensors={"large": large, "small": large[:1]}))
    tracemalloc.start()
    loaded = store.load(version)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < large.nbytes / 4
    shutil.rmtree(tmp_path / version)
    assert loaded.tensors["large"].tolist() == large.tolist(), "a version that was pruned goes on serving"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "header"),
        (b"\xff" * 8, "header"),
        (b"\x02" + b"\0" * 7 + b"[]", "cannot be read"),
        (_safetensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"1234"), "wanted data within"),
        (_safetensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"1234"), "reshape"),
        (_safetensors({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, b"1234"), "no type 'BF16'"),
    ],
)
def test_file_that_holds_no_arrays_is_refused(tmp_path, content, words):
    store = ModelStore(str(tmp_path))
    folder = tmp_path / store.publish(artifact())
    (folder / "tensors.safetensors").write_bytes(content)
    files = json.loads((folder / "manifest.json").read_text())["files"]
    rewrite(tmp_path, "000001", files=files | {"tensors.safetensors": hashlib.sha256(content).hexdigest()})
    with pytest.raises(ModelError, match=words):
        ModelStore(str(tmp_path)).load("000001")


def test_arrays_of_a_file_without_spaces_are_aligned(tmp_path):
    content = _safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [1, 5]}}, b"\0\0\0\x80\x3f")
    array = arrays_in(memoryview(content))["a"]
    assert (array.tolist(), array.flags.aligned) == ([1.0], True)


def test_version_of_an_earlier_release_is_read(tmp_path):
    """Its node ids are in an Arrow file, one row for each node type."""
    store, ids = ModelStore(str(tmp_path)), artifact().node_ids
    folder = tmp_path / store.publish(artifact())
    table = pa.table(
        {
            "node_type": pa.array(list(ids), pa.large_string()),
            "ids": pa.array(list(ids.values()), pa.large_list(pa.large_string())),
        }
    )
    with pa.OSFile(str(folder / "node_ids.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    (folder / "node_ids.safetensors").unlink()
    files = json.loads((folder / "manifest.json").read_text())["files"]
    del files["node_ids.safetensors"]
    files["node_ids.arrow"] = hashlib.sha256((folder / "node_ids.arrow").read_bytes()).hexdigest()
    rewrite(tmp_path, "000001", files=files)
    assert ModelStore(str(tmp_path)).load("000001").node_ids == ids


def test_models_are_published_and_loaded_without_torch_and_arrow(tmp_path):
    code = f"""
import sys
import numpy as np
from springtide.model.artifact_files import arrays_in
from springtide.model.manifest import ModelManifest
from springtide.model.registry import ModelArtifact, ModelStore
manifest = ModelManifest("", 0, "retrain", parts={{}}, settings={{}}, graph_cut={{}})
store = ModelStore({str(tmp_path)!r})
store.load(store.publish(ModelArtifact(manifest, {{"items": np.ones(3)}}, {{"item": ["a"]}})))
print([name for name in ("torch", "pyarrow", "networkx", "scipy") if name in sys.modules])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


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


def test_what_killed_processes_were_writing_is_deleted_after_an_hour(tmp_path):
    store = ModelStore(str(tmp_path))
    store.publish(artifact())
    old, fresh = [
        [tmp_path / folder / f".writing-{age}" for folder in ("", "pointer", "audit")] for age in ("old", "fresh")
    ]
    for path in (*old, *fresh):
        path.write_bytes(b"half of")
    for path in old:
        os.utime(path, (time.time() - 3_700, time.time() - 3_700))

    store.publish(artifact())
    assert [path.exists() for path in old] == [False] * 3
    assert [path.exists() for path in fresh] == [True] * 3, "others may be writing them now"


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
    for path in (tmp_path / "pointer").iterdir():
        path.unlink()
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


def rewrite(folder: Path, version: str, **changes) -> None:
    """Change a version's manifest on disk; None takes a key away."""
    path = folder / version / "manifest.json"
    fields = {**json.loads(path.read_bytes()), **changes}
    path.write_text(json.dumps({name: value for name, value in fields.items() if value is not None}))
    path.with_name("manifest.sha256").unlink(missing_ok=True)


def test_versions_that_cannot_be_read_stand_in_the_list_with_the_reason(tmp_path):
    store = ModelStore(str(tmp_path))
    for _ in range(4):
        store.publish(artifact())
    (tmp_path / "000001" / "manifest.json").write_text("{")
    rewrite(tmp_path, "000002", quantization="int8")
    rewrite(tmp_path, "000004", created_ms=None)
    newest, readable, newer, broken = ModelStore(str(tmp_path)).manifests()
    assert (newest.version, newer.version, broken.version) == ("000004", "000002", "000001")
    for found, reason in (
        (newest, "missing keys: created_ms"),
        (newer, "unknown keys: quantization (written by a newer version of Springtide?)"),
        (broken, "not JSON: "),
    ):
        assert isinstance(found, UnreadableManifest)
        assert reason in found.reason
    assert readable == store.manifest("000003")


def test_a_manifest_that_was_mended_is_read(tmp_path):
    store = ModelStore(str(tmp_path))
    store.publish(artifact())
    rewrite(tmp_path, "000001", quantization="int8")
    assert isinstance(store.manifests()[0], UnreadableManifest)
    rewrite(tmp_path, "000001", quantization=None)
    assert store.manifests() == [store.manifest("000001")]


def test_manifests_of_some_versions_are_listed_without_those_pruned_meanwhile(url):
    store = ModelStore(url)
    for _ in range(3):
        store.publish(artifact())
    assert [found.version for found in store.manifests(["000003", "000009", "000001"])] == ["000003", "000001"]


def test_a_manifest_in_another_version_s_folder_is_refused(tmp_path):
    store = ModelStore(str(tmp_path))
    store.publish(artifact())
    (tmp_path / "000001").rename(tmp_path / "000007")
    with pytest.raises(ModelError, match="version: wanted 000007, got 000001"):
        store.load("000007")


def test_an_unreadable_version_is_neither_promoted_nor_rolled_back_to(tmp_path):
    store = ModelStore(str(tmp_path))
    for _ in range(3):
        store.publish(artifact())
    rewrite(tmp_path, "000002", quantization="int8")
    with pytest.raises(ModelError, match="unknown keys: quantization"):
        store.promote("000002")
    assert store.rollback() == "000001"
    with pytest.raises(ModelError, match=r"nothing to roll back to: no version was promoted before 000001$"):
        store.rollback()
    store.promote("000003")
    rewrite(tmp_path, "000001", quantization="int8")
    with pytest.raises(ModelError, match=r"before 000003; passed over: .*000001/manifest\.json: not a model manifest"):
        store.rollback()
    assert store.promotions() == ["000001", "000003"]


def test_publishing_and_pruning_go_on_beside_an_unreadable_version(tmp_path):
    store = ModelStore(str(tmp_path), keep=2)
    store.publish(artifact())
    rewrite(tmp_path, "000001", quantization="int8")
    for _ in range(4):
        store.publish(artifact())
    assert store.versions() == ["000005", "000004", "000003"]


PUBLISH = """
import pathlib, sys, time
import numpy as np
from springtide.model.artifact_files import arrays_in
from springtide.model.manifest import ModelManifest
from springtide.model.registry import ModelArtifact, ModelStore

folder, actor = pathlib.Path(sys.argv[1]), sys.argv[2]
manifest = ModelManifest("", 0, "retrain", parts={}, settings={"actor": actor}, graph_cut={})
(folder / f"{actor}.ready").touch()
while not (folder / "go").exists():
    time.sleep(0.001)
for number in range(4):
    tensors = {"items": np.full(3, float(number), np.float32)}
    ModelStore(str(folder), keep=1).publish(ModelArtifact(manifest, tensors, {"item": ["a"]}), actor=actor)
"""


def test_processes_that_publish_at_once_get_versions_of_their_own(tmp_path):
    actors = ("ann", "bob")
    processes = [subprocess.Popen([sys.executable, "-c", PUBLISH, str(tmp_path), actor]) for actor in actors]
    while len(list(tmp_path.glob("*.ready"))) < len(actors):
        assert all(process.poll() is None for process in processes)
        time.sleep(0.01)
    (tmp_path / "go").touch()
    assert [process.wait(120) for process in processes] == [0] * len(actors)

    store = ModelStore(str(tmp_path))
    entries = store.audit.entries()
    assert sorted(entry.to_version for entry in entries) == [f"{number:06d}" for number in range(1, 9)]
    assert sorted(store.promotions()) == [f"{number:06d}" for number in range(1, 9)]
    for version in store.versions():
        loaded = store.load(version)
        assert [entry.actor for entry in entries if entry.to_version == version] == [loaded.manifest.settings["actor"]]


def test_a_version_that_is_being_published_is_not_pruned_and_a_dead_publisher_s_is(tmp_path):
    store = ModelStore(str(tmp_path), keep=1)
    for version, age_ms in (("000001", 0), ("000002", 2 * 3_600_000)):
        (tmp_path / version).mkdir()
        claim = {"actor": "ann@host", "created_ms": wall_ms() - age_ms}
        (tmp_path / version / "claim.json").write_text(json.dumps(claim))
    assert store.publish(artifact()) == "000003"
    assert (tmp_path / "000001").exists()
    assert not (tmp_path / "000002").exists()


@pytest.mark.parametrize("is_linked", [False, True])
def test_a_version_whose_number_is_just_being_claimed_is_published_while_others_delete_what_is_left(
    tmp_path, monkeypatch, is_linked
):
    """Between the folder and the claim in it, a publisher looks like one that died."""
    monkeypatch.setattr(storage, "_link_new", deletes_meanwhile(tmp_path, storage._link_new, is_linked=is_linked))
    store = ModelStore(str(tmp_path))
    version = store.publish(artifact())

    assert store.versions() == [version]
    assert store.load(version).node_ids == artifact().node_ids


def deletes_meanwhile(folder, link, *, is_linked):
    """Return a way to create a file, in whose first use another process deletes what dead publishers left."""
    is_first = True

    def create(temporary, path):
        nonlocal is_first
        was_first, is_first = is_first, False
        if is_linked:
            link(temporary, path)
        if was_first:
            ModelStore(str(folder)).delete_unfinished()
        if not is_linked:
            link(temporary, path)

    return create


def test_a_version_that_is_published_while_others_look_for_what_is_left_stays(tmp_path, monkeypatch):
    store, publisher = ModelStore(str(tmp_path)), ModelStore(str(tmp_path))
    (tmp_path / "000001").mkdir()
    is_version = ModelStore._is_version

    def published_after_the_look(self, name):
        found = is_version(self, name)
        if self is store and not publisher.versions():
            monkeypatch.setattr(publisher, "_claim_version", lambda: "000001")
            publisher.publish(artifact())
        return found

    monkeypatch.setattr(ModelStore, "_is_version", published_after_the_look)
    store.delete_unfinished()

    assert publisher.versions() == ["000001"]
    assert publisher.load("000001").node_ids == artifact().node_ids
    assert not (tmp_path / "000001" / "claim.json").exists()
