"""An inspection names each file that is missing or damaged, and reads a shared file once."""

from pathlib import Path

import numpy as np
import pytest

from springtide.checkpoint import CheckpointStore
from springtide.checkpoint.inspection import CheckpointInspector
from springtide.errors import CheckpointError
from springtide.events.model import EventBatch, Interactions
from springtide.settings.model import Settings
from springtide.state import LiveState


def purchases(count: int) -> EventBatch:
    zeros = np.zeros(count, np.int32)
    return EventBatch(
        Interactions(
            *(["u"], zeros, ["i"], zeros, ["purchase"], zeros.astype(np.int16)),
            *(np.arange(count, dtype=np.int64), np.full(count, np.nan, np.float32)),
        )
    )


class CountingStore(CheckpointStore):
    """Counts how often each file is read."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.read_files: list[str] = []

    def read_file(self, entry: dict[str, object]) -> bytes:
        self.read_files.append(str(entry["file"]))
        return super().read_file(entry)


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    """Two checkpoints, of which the newer one shares all files of the older one."""
    state, store = LiveState(Settings(), {}), CountingStore(str(tmp_path))
    state.apply(purchases(1_000))
    store.write(state.snapshot())
    state.apply(purchases(10))  # Late, so that nobody was heard of any later.
    store.write(state.snapshot())
    return store


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def test_whole_checkpoints_have_no_faults_and_shared_files_are_read_once(store: CountingStore, tmp_path: Path) -> None:
    newer, older = CheckpointInspector(store, reads_files=True).inspect_all()

    assert (newer.name, newer.faults, older.name, older.faults) == ("00000002", (), "00000001", ())
    assert newer.checkpoint == store.latest()
    assert newer.checkpoint is not None
    assert (newer.checkpoint.num_events, newer.checkpoint.num_edges) == (1_010, 1_010)
    assert newer.num_bytes == sum(path.stat().st_size for path in (tmp_path / "segments").iterdir())
    assert sorted(store.read_files) == sorted(path.name for path in (tmp_path / "segments").iterdir())


def test_damaged_file_is_named_in_each_checkpoint_that_has_it(store: CountingStore, tmp_path: Path) -> None:
    shared = tmp_path / "segments" / "00000001-edges0-0.arrays"
    damage(shared)

    for condition in CheckpointInspector(store, reads_files=True).inspect_all():
        (fault,) = condition.faults
        assert fault.startswith(f"{shared}: damaged: wanted CRC-32C ")
    # Existence alone is no proof.
    assert [condition.faults for condition in CheckpointInspector(store, reads_files=False).inspect_all()] == [(), ()]


@pytest.mark.parametrize("reads_files", [False, True])
def test_missing_file_is_named(store: CountingStore, tmp_path: Path, reads_files: bool) -> None:
    (tmp_path / "segments" / "00000002-edges0-1000.arrays").unlink()

    newer, older = CheckpointInspector(store, reads_files=reads_files).inspect_all()

    assert [("missing" in fault, "00000002-edges0-1000.arrays" in fault) for fault in newer.faults] == [(True, True)]
    assert older.faults == ()


def test_damaged_manifest_is_a_fault(store: CountingStore, tmp_path: Path) -> None:
    damage(tmp_path / "manifests" / "00000002.json")

    newer, older = CheckpointInspector(store, reads_files=False).inspect_all()

    assert newer.checkpoint is None
    assert "00000002.json: damaged" in newer.faults[0]
    assert older.faults == ()


def test_checkpoint_that_is_deleted_meanwhile_is_left_out(store: CountingStore, tmp_path: Path) -> None:
    class Pruned(CheckpointInspector):
        def inspect(self, name):
            if name == "00000001":
                (tmp_path / "manifests" / "00000001.json").unlink()
                return CheckpointInspector(store, reads_files=True).inspect("00000002")
            return super().inspect(name)

    assert {found.name for found in Pruned(store, reads_files=False).inspect_all()} == {"00000002"}


def test_unknown_name_lists_the_choices(store: CountingStore) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint '7' \(choices: 00000002, 00000001\)"):
        CheckpointInspector(store, reads_files=True).inspect("7")
