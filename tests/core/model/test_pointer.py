"""The pointer: changes by several processes at once, half a change, and pointers that older software wrote."""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from springtide.errors import ModelError
from springtide.model import pointer as pointer_module
from springtide.model.audit import AuditLog
from springtide.model.manifest import ModelManifest, manifest_to_json
from springtide.model.pointer import Pointer
from springtide.model.registry import ModelStore
from springtide.storage import Storage


@pytest.fixture(params=["folder", "memory", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "s3":
        return Storage(f"{request.getfixturevalue('s3_bucket')}/models")
    return Storage(str(tmp_path) if request.param == "folder" else f"memory://pointer-{uuid.uuid4().hex}")


def pointer_in(storage: Storage) -> Pointer:
    return Pointer(storage, AuditLog(storage))


def promote(pointer: Pointer, version: str) -> None:
    def promoted(promotions: Sequence[str]) -> Sequence[str] | None:
        return None if promotions[-1:] == (version,) else (*promotions, version)

    pointer.change("promote", promoted)


def audit_of(storage: Storage) -> list[tuple[str, str]]:
    return [(entry.from_version, entry.to_version) for entry in AuditLog(storage).entries()]


def legacy(*promotions: str) -> bytes:
    """``current.json`` as software wrote it before there were numbered states."""
    return json.dumps({"current": promotions[-1], "promotions": promotions}, indent=2, sort_keys=True).encode()


def write_manifests(folder: Path, num: int) -> list[str]:
    """Write versions that are a manifest and no more, and return their names."""
    versions = [f"{number:06d}" for number in range(1, num + 1)]
    for version in versions:
        manifest = ModelManifest(version, 0, "retrain", parts={}, settings={}, graph_cut={})
        (folder / version).mkdir(parents=True)
        (folder / version / "manifest.json").write_bytes(manifest_to_json(manifest))
    return versions


PROMOTE_MANY = """
import pathlib, sys, time
from springtide.model.registry import ModelStore

store, actor, versions = ModelStore(sys.argv[1]), sys.argv[2], sys.argv[3:]
(pathlib.Path(sys.argv[1]) / f"{actor}.ready").touch()
while not (pathlib.Path(sys.argv[1]) / "go").exists():
    time.sleep(0.001)
for version in versions:
    store.promote(version, actor=actor)
"""


def run_at_once(folder: Path, script: str, arguments: Mapping[str, Sequence[str]]) -> None:
    """Run a script in several processes at once, each with the folder, its actor and its arguments."""
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(folder), actor, *words])
        for actor, words in arguments.items()
    ]
    while len(list(folder.glob("*.ready"))) < len(processes):
        assert all(process.poll() is None for process in processes)
        time.sleep(0.01)
    (folder / "go").touch()
    assert [process.wait(120) for process in processes] == [0] * len(processes)


def test_processes_that_promote_at_once_lose_no_promotion(tmp_path: Path) -> None:
    num_processes, num_each = 4, 8
    versions = write_manifests(tmp_path, num_processes * num_each)
    shares = {f"actor{number}": versions[number::num_processes] for number in range(num_processes)}
    run_at_once(tmp_path, PROMOTE_MANY, shares)

    store = ModelStore(str(tmp_path))
    promotions = store.promotions()
    assert sorted(promotions) == versions
    for share in shares.values():
        assert [version for version in promotions if version in share] == share, "each process's own are in its order"
    entries = store.audit.entries()
    assert [entry.to_version for entry in entries] == promotions
    assert [entry.from_version for entry in entries] == ["", *promotions[:-1]]
    assert all(entry.to_version in shares[entry.actor] for entry in entries)
    assert len({entry.actor for entry in entries[: num_each + 1]}) > 1, "they did run at once"


PROMOTE_AND_ROLL_BACK = PROMOTE_MANY.replace(
    "store.promote(version, actor=actor)",
    """store.promote(version, actor=actor)
    store.rollback(actor=actor)""",
)


def test_processes_that_promote_and_roll_back_at_once_leave_one_chain_of_changes(tmp_path: Path) -> None:
    first, *versions = write_manifests(tmp_path, 19)
    store = ModelStore(str(tmp_path))
    store.promote(first)
    run_at_once(tmp_path, PROMOTE_AND_ROLL_BACK, {f"actor{number}": versions[number::3] for number in range(3)})

    entries = store.audit.entries()
    assert [entry.action for entry in entries].count("promote") == 19
    assert [entry.action for entry in entries].count("roll_back") == 18
    assert [entry.from_version for entry in entries] == ["", *(entry.to_version for entry in entries[:-1])]
    promotions: list[str] = []
    for entry in entries:
        promotions = [*promotions, entry.to_version] if entry.action == "promote" else promotions[:-1]
        assert promotions[-1] == entry.to_version
    assert store.promotions() == promotions == [first], "as many were rolled back as were promoted after the first"


PROMOTE_FOREVER = """
import itertools, sys
from springtide.model.registry import ModelStore

store = ModelStore(sys.argv[1])
for version in itertools.cycle(sys.argv[2:]):
    store.promote(version)
    print(version, flush=True)
"""


def test_processes_killed_while_they_promote_leave_one_chain_of_changes(tmp_path: Path) -> None:
    versions = write_manifests(tmp_path, 8)
    store = ModelStore(str(tmp_path))
    acknowledged = 0
    for _ in range(3):
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", PROMOTE_FOREVER, str(tmp_path), *share], stdout=subprocess.PIPE, text=True
            )
            for share in (versions[::2], versions[1::2])
        ]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        for process in processes:
            process.kill()
            rest, _ = process.communicate(timeout=60)
            acknowledged += 1 + rest.count("\n")
    store.promote(store.current() or "")  # Completes the last change if its process died before it did.
    entries = store.audit.entries()
    assert len(entries) >= acknowledged - 6, "all but a first promotion of what was current already is in the log"
    assert [entry.from_version for entry in entries] == ["", *(entry.to_version for entry in entries[:-1])]
    assert store.promotions() == [entry.to_version for entry in entries][-100:]


def test_a_change_while_another_is_chosen_is_built_upon(storage: Storage) -> None:
    seen: list[Sequence[str]] = []

    def choose(promotions: Sequence[str]) -> Sequence[str]:
        seen.append(promotions)
        if len(seen) == 1:
            promote(pointer_in(storage), "000001")  # Another process, just before this one writes.
        return (*promotions, "000002")

    pointer_in(storage).change("promote", choose)
    assert seen == [(), ("000001",)]
    assert pointer_in(storage).promotions() == ["000001", "000002"]
    assert audit_of(storage) == [("", "000001"), ("000001", "000002")]


def test_a_pointer_of_older_software_is_read_and_built_upon(storage: Storage) -> None:
    storage.write("current.json", legacy("000001", "000002"))
    pointer = pointer_in(storage)
    assert pointer.promotions() == ["000001", "000002"]
    promote(pointer, "000002")
    assert storage.read("current.json") == legacy("000001", "000002"), "nothing has changed"
    promote(pointer, "000003")
    assert pointer.promotions() == ["000001", "000002", "000003"]
    assert audit_of(storage) == [("000002", "000003")]


def test_older_software_finds_the_pointer(storage: Storage) -> None:
    promote(pointer_in(storage), "000001")
    promote(pointer_in(storage), "000002")
    written = json.loads(storage.read("current.json"))
    assert (written["current"], written["promotions"]) == ("000002", ["000001", "000002"])


def test_what_older_software_has_changed_since_is_built_upon(storage: Storage) -> None:
    promote(pointer_in(storage), "000001")
    promote(pointer_in(storage), "000002")
    storage.write("current.json", legacy("000001", "000002", "000003"))
    promote(pointer_in(storage), "000004")
    assert pointer_in(storage).promotions() == ["000001", "000002", "000003", "000004"]


def test_a_copy_whose_states_were_deleted_is_built_upon(storage: Storage) -> None:
    for version in ("000001", "000002", "000003"):
        promote(pointer_in(storage), version)
    storage.delete_folder("pointer")
    for version in ("000004", "000005"):
        promote(pointer_in(storage), version)
        assert pointer_in(storage).promotions()[-1] == version
    assert pointer_in(storage).promotions() == ["000001", "000002", "000003", "000004", "000005"]


@pytest.mark.parametrize("before", [None, legacy("000001")])
def test_a_change_whose_process_died_in_the_middle_of_it_is_completed_by_the_next(
    storage: Storage, before: bytes | None
) -> None:
    if before is not None:
        storage.write("current.json", before)
    for version in ("000002", "000003"):
        promote(pointer_in(storage), version)
    # Killed after their states, before the audit log and the copy.
    storage.delete_folder("audit")
    if before is None:
        storage.delete("current.json")
    else:
        storage.write("current.json", before)
    num_before = 0 if before is None else 1
    promote(pointer_in(storage), "000004")
    assert pointer_in(storage).promotions()[num_before:] == ["000002", "000003", "000004"]
    assert audit_of(storage)[-2:] == [("000002", "000003"), ("000003", "000004")]
    storage.delete_folder("audit")
    promote(pointer_in(storage), "000004")  # Already current: nothing to change, but the last change is completed.
    assert audit_of(storage) == [("000003", "000004")]


def test_an_older_copy_that_is_written_late_is_replaced(storage: Storage) -> None:
    promote(pointer_in(storage), "000001")
    late = storage.read("current.json")
    promote(pointer_in(storage), "000002")
    storage.write("current.json", late)
    promote(pointer_in(storage), "000002")
    assert pointer_in(storage).promotions() == ["000001", "000002"]


def test_only_the_latest_states_and_promotions_are_kept(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointer_module, "_NUM_STATES_KEPT", 2)
    monkeypatch.setattr(pointer_module, "MAX_PROMOTIONS", 3)
    for number in range(1, 6):
        promote(pointer_in(storage), f"{number:06d}")
    assert storage.list("pointer") == ["000000000004.json", "000000000005.json"]
    assert pointer_in(storage).promotions() == ["000003", "000004", "000005"]


def test_a_state_that_cannot_be_read_is_told_and_passed_over(storage: Storage) -> None:
    promote(pointer_in(storage), "000001")
    storage.write("pointer/000000000002.json", b"{}")
    with capture_logs() as logs:
        promote(pointer_in(storage), "000002")
    assert pointer_in(storage).promotions() == ["000001", "000002"]
    (told,) = logs
    assert told["event"] == "pointer_damaged"
    assert "pointer/000000000002.json: not a pointer to a model" in told["fault"]
    storage.delete("current.json")
    for number in (1, 2, 3):
        storage.write(f"pointer/{number:012d}.json", b"{}")
    with pytest.raises(ModelError, match=r"pointer/000000000003\.json: not a pointer to a model"):
        promote(pointer_in(storage), "000003")
