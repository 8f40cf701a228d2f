"""A checkpoint that an earlier release has written is restored, and what is written next needs nothing of it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from springtide.checkpoint import CheckpointStore
from springtide.checkpoint.manifest_files import to_bytes
from springtide.errors import CheckpointError
from springtide.events.model import EventBatch, Interactions
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.state_content import state_content

FORMAT_1 = Path(__file__).parent / "format_1"  # Written before edges, ids and attributes were npz files.
DIGESTS = json.loads((FORMAT_1 / "digests.json").read_text())  # Of the state that was written, by that release.


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(FORMAT_1, tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


def restored(folder: Path) -> LiveState:
    store, state = CheckpointStore(str(folder)), LiveState(Settings(), {})
    checkpoint = store.latest()
    assert checkpoint is not None
    store.restore(checkpoint, state)
    return state


def purchase() -> EventBatch:
    one = np.zeros(1, np.int32)
    return EventBatch(
        Interactions(
            ["u1"], one, ["i1"], one, ["purchase"], np.zeros(1, np.int16), np.array([3_000]), np.array([np.nan])
        )
    )


def segments(folder: Path) -> set[str]:
    return {path.suffix for path in (folder / "segments").iterdir()}


def test_checkpoint_of_format_1_is_restored_whole(folder):
    state = restored(folder)
    assert state_content(state) == DIGESTS
    assert state.position is not None
    assert state.position.next_offsets == {0: 5, 1: 7}


def test_next_checkpoint_holds_the_same_and_no_file_of_format_1(folder):
    state = restored(folder)
    CheckpointStore(str(folder), keep=1).write(state.snapshot())
    assert segments(folder) == {".npz"}
    assert state_content(restored(folder)) == DIGESTS


def test_checkpoint_of_format_1_stays_whole_beside_newer_ones(folder):
    state = restored(folder)
    state.apply(purchase())
    store = CheckpointStore(str(folder), keep=3)
    store.write(state.snapshot())
    old = LiveState(Settings(), {})
    store.restore(store.open("00000001"), old)
    assert state_content(old) == DIGESTS
    assert state_content(restored(folder)) == state_content(state) != DIGESTS


def test_copy_of_a_checkpoint_of_format_1_is_restored(folder):
    state = restored(folder)
    state.apply(purchase())
    store = CheckpointStore(str(folder), keep=3)
    store.write(state.snapshot())
    store.copy_as_newest("00000001")
    assert state_content(restored(folder)) == DIGESTS


def test_format_of_a_later_release_is_refused(folder):
    path = folder / "manifests" / "00000001.json"
    manifest = json.loads(path.read_bytes())["checkpoint"] | {"format": 3}
    path.write_bytes(to_bytes(manifest))
    with pytest.raises(CheckpointError, match="wanted format 1 or 2, got 3"):
        CheckpointStore(str(folder)).latest()


def test_checkpoints_are_written_and_restored_without_arrow(folder):
    CheckpointStore(str(folder), keep=1).write(restored(folder).snapshot())
    code = f"""
import sys
from springtide.checkpoint import CheckpointStore
from springtide.settings.model import Settings
from springtide.state import LiveState
store, state = CheckpointStore({str(folder)!r}), LiveState(Settings(), {{}})
store.restore(store.latest(), state)
store.write(state.snapshot())
print("pyarrow" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
