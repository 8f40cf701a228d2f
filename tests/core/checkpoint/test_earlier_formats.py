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
from springtide.interactions import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.weights import make_context_weights
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
    assert segments(folder) == {".arrays"}
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
    manifest = json.loads(path.read_bytes())["checkpoint"] | {"format": 7}
    path.write_bytes(to_bytes(manifest))
    with pytest.raises(CheckpointError, match="wanted a format from 1 to 6, got 7"):
        CheckpointStore(str(folder)).latest()


def test_checkpoints_are_written_and_restored_without_arrow(folder):
    CheckpointStore(str(folder), keep=1).write(restored(folder).snapshot())
    code = f"""
import sys
from springtide.checkpoint import CheckpointStore
from springtide.interactions import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide.state import LiveState
store, state = CheckpointStore({str(folder)!r}), LiveState(Settings(), {{}})
store.restore(store.latest(), state)
store.write(state.snapshot())
print("pyarrow" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


# With edges of two types, shared segments, attributes of each kind, deletions, ids of events, and all context weights.
FORMAT_2 = Path(__file__).parent / "format_2"


@pytest.fixture
def folder_2(tmp_path):
    shutil.copytree(FORMAT_2, tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


def restored_with_weights(folder: Path) -> LiveState:
    settings = Settings()
    store, state = (
        CheckpointStore(str(folder)),
        LiveState(settings, make_context_weights(settings.ranking, load_plugins())),
    )
    checkpoint = store.latest()
    assert checkpoint is not None
    assert store.restore(checkpoint, state) == ()  # Nothing was learned anew.
    return state


def assert_is_that_of_format_2(state: LiveState) -> None:
    content = state_content(state)
    digests = json.loads((FORMAT_2 / "digests.json").read_text())  # By the release that wrote it.
    assert {name: content[name] for name in digests} == digests
    moment, num_items = Moment(1_700_360_000_000, "home", "rain"), state.graph.view().num_nodes("item")
    lifts = np.load(FORMAT_2 / "lifts.npz")
    for name in lifts.files:
        found = state.context_weights[name].item_log_lifts(moment, num_items)
        np.testing.assert_allclose(found, lifts[name], rtol=1e-4, atol=1e-5, err_msg=name)
    assert state.position is not None
    assert (state.position.next_offsets, state.num_events) == ({0: 7, 1: 8}, 95)
    assert (len(state.seen_events), state.seen_events.num_duplicates) == (93, 5)
    assert [gap.reason for gap in state.gaps] == ["retention"]


def test_checkpoint_of_format_2_is_restored_whole(folder_2):
    assert_is_that_of_format_2(restored_with_weights(folder_2))


def test_next_checkpoint_shares_files_of_format_2_and_holds_the_same(folder_2):
    state = restored_with_weights(folder_2)
    CheckpointStore(str(folder_2), keep=1).write(state.snapshot())
    assert (folder_2 / "segments" / "00000002-edges1-0.npz").exists()
    assert_is_that_of_format_2(restored_with_weights(folder_2))


def test_damaged_file_of_format_2_is_found(folder_2):
    path = folder_2 / "segments" / "00000002-edges1-0.npz"
    content = bytearray(path.read_bytes())
    content[1_000] ^= 4
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"00000002-edges1-0.npz: damaged: wanted SHA-256"):
        restored_with_weights(folder_2)


# The same state, written by the last release whose files were npz files with a CRC-32C.
FORMAT_3 = Path(__file__).parent / "format_3"


@pytest.fixture
def folder_3(tmp_path):
    shutil.copytree(FORMAT_3, tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


def test_checkpoint_of_format_3_is_restored_whole(folder_3):
    assert_is_that_of_format_2(restored_with_weights(folder_3))


def test_next_checkpoint_shares_files_of_format_3_and_holds_the_same(folder_3):
    state = restored_with_weights(folder_3)
    CheckpointStore(str(folder_3), keep=1).write(state.snapshot())
    names = {path.name for path in (folder_3 / "segments").iterdir()}
    assert {"00000001-edges1-0.npz", "00000002-weight4.arrays"} <= names
    assert_is_that_of_format_2(restored_with_weights(folder_3))


def test_damaged_file_of_format_3_is_found(folder_3):
    path = folder_3 / "segments" / "00000001-edges1-0.npz"
    content = bytearray(path.read_bytes())
    content[1_000] ^= 4
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"00000001-edges1-0.npz: damaged: wanted CRC-32C"):
        restored_with_weights(folder_3)


# The same state, written by the last release that wrote pairs one by one.
FORMAT_4 = Path(__file__).parent / "format_4"


@pytest.fixture
def folder_4(tmp_path):
    shutil.copytree(FORMAT_4, tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


def test_checkpoint_of_format_4_is_restored_whole(folder_4):
    assert_is_that_of_format_2(restored_with_weights(folder_4))


def test_next_checkpoint_shares_files_of_format_4_and_holds_the_same(folder_4):
    state = restored_with_weights(folder_4)
    CheckpointStore(str(folder_4), keep=1).write(state.snapshot())
    names = {path.name for path in (folder_4 / "segments").iterdir()}
    assert {"00000001-edges1-0.arrays", "00000002-weight4.arrays"} <= names
    assert_is_that_of_format_2(restored_with_weights(folder_4))


@pytest.mark.skipif(sys.platform != "linux", reason="Elsewhere the system does not tell what is mapped.")
def test_nothing_of_a_restored_state_lies_in_the_files_of_its_checkpoint(folder_4):
    """Else they would stay on the disk as long as the process does, and each change would copy a page."""
    state = restored_with_weights(folder_4)
    assert str(folder_4) not in Path("/proc/self/maps").read_text()
    assert state.num_events == 95


# The same state in the first format whose pairs are the tables of them as they stand: how these are laid out is fixed.
FORMAT_5 = Path(__file__).parent / "format_5"


def test_checkpoint_of_format_5_is_restored_whole(tmp_path):
    shutil.copytree(FORMAT_5, tmp_path / "checkpoints")
    state = restored_with_weights(tmp_path / "checkpoints")
    assert_is_that_of_format_2(state)
    pairs, former = state.context_weights["reorder"].state(), restored_with_weights(FORMAT_4).context_weights["reorder"]
    assert {name: array.tobytes() for name, array in pairs.items()} == {
        name: array.tobytes() for name, array in former.state().items()
    }
