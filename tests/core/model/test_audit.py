"""The record of promotions: complete, in order, and never lost between two writers."""

import json
import re
import threading
import uuid

import numpy as np
import pytest

from springtide.clock import wall_ms
from springtide.model.audit import AuditLog
from springtide.model.manifest import ModelManifest
from springtide.model.registry import ModelArtifact, ModelStore
from springtide.storage import Storage


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path):
    return ModelStore(str(tmp_path / "models") if request.param == "folder" else f"memory://audit-{uuid.uuid4().hex}")


def publish(store, **how):
    manifest = ModelManifest("", 0, "retrain", parts={}, settings={}, graph_cut={})
    return store.publish(ModelArtifact(manifest, {"items": np.ones(1, np.float32)}, {"user": [], "item": ["a"]}), **how)


def test_each_change_is_recorded_with_who_and_why(store):
    started_ms = wall_ms()
    publish(store, actor="trainer", reason="good")
    publish(store, promote=False)
    store.reject("000002", actor="trainer", reason="bad")
    store.promote("000002", actor="ipv4:10.0.0.1:5", reason="by hand")
    store.promote("000002")  # It is current already: nothing changes.
    store.rollback(actor="ann@host")
    entries = store.audit.entries()
    assert [(entry.action, entry.from_version, entry.to_version, entry.actor, entry.reason) for entry in entries] == [
        ("promote", "", "000001", "trainer", "good"),
        ("reject", "000001", "000002", "trainer", "bad"),
        ("promote", "000001", "000002", "ipv4:10.0.0.1:5", "by hand"),
        ("roll_back", "000002", "000001", "ann@host", ""),
    ]
    assert all(started_ms <= entry.time_ms <= wall_ms() for entry in entries)
    assert store.audit.entries(limit=1) == entries[-1:]
    assert store.versions() == ["000002", "000001"], "the record is no version"


def test_whoever_runs_the_process_is_named_where_nobody_is(store):
    publish(store)
    (entry,) = store.audit.entries()
    assert re.fullmatch(r".+@.+", entry.actor)


def test_an_empty_record_has_no_entries(store):
    assert store.audit.entries() == []


def test_two_writers_lose_nothing(tmp_path):
    def write(actor):
        log = AuditLog(Storage(str(tmp_path)))
        for number in range(20):
            log.append("promote", from_version="", to_version=str(number), actor=actor)

    threads = [threading.Thread(target=write, args=(actor,)) for actor in ("ann", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = AuditLog(Storage(str(tmp_path))).entries()
    for actor in ("ann", "bob"):
        assert sorted(int(entry.to_version) for entry in entries if entry.actor == actor) == list(range(20))


@pytest.mark.parametrize("content", ["{", "[]", '{"time_ms": 0}', "newer"])
def test_an_entry_that_cannot_be_read_stands_among_the_others_with_the_reason(tmp_path, content):
    log = AuditLog(Storage(str(tmp_path)))
    log.append("promote", from_version="", to_version="000001", actor="ann@host")
    (path,) = (tmp_path / "audit").iterdir()
    if content == "newer":
        content = json.dumps({**json.loads(path.read_bytes()), "ticket": 7})
    (tmp_path / "audit" / "1700000000000000000-0.json").write_text(content)
    unreadable, entry = log.entries()
    assert (unreadable.action, unreadable.time_ms, unreadable.to_version) == ("unreadable", 1_700_000_000_000, "")
    assert "audit/1700000000000000000-0.json: not an entry of an audit log: " in unreadable.reason
    assert (entry.action, entry.actor) == ("promote", "ann@host")
