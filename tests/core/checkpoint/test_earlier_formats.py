"""A checkpoint that an earlier release has written is restored, and what is written next needs nothing of it.

``tests/fixtures/make.py`` wrote the fixtures. Format 1 has edges and nodes alone. The others have one state: edges of
two types, shared segments, attributes of each kind, deletions, ids of events, and all context weights.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from springtide.checkpoint import CheckpointStore
from springtide.checkpoint.manifest_files import FORMAT, to_bytes
from springtide.errors import CheckpointError
from springtide.events.model import EventBatch, Interactions
from springtide.interactions import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import PluginSettings, Settings
from springtide.state import LiveState
from springtide.state_content import state_content

FIXTURES = Path(__file__).parents[2] / "fixtures" / "checkpoints"
PLUGINS = load_plugins(PluginSettings())
# An edge's file that is shared with the next checkpoint; format 1 has Arrow files, which are not.
SHARED = {2: "00000002-edges1-0.npz", 3: "00000001-edges1-0.npz"} | dict.fromkeys(
    (4, 5, 6, 7), "00000001-edges1-0.arrays"
)


def unpacked(number: int, folder: Path) -> Path:
    """Unpack the fixture of a format into a folder, and return it."""
    shutil.unpack_archive(FIXTURES / f"format_{number}.zip", folder)
    return folder


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[dict[str, str], dict[str, np.ndarray]]]:
    """By format, digests of the state, and lifts of the context weights, from the release that wrote it."""
    first, others = (unpacked(number, tmp_path_factory.mktemp("expected")) for number in (1, 2))
    with np.load(others / "lifts.npz") as lifts:
        of_others = json.loads((others / "digests.json").read_text()), dict(lifts)
    return {1: (json.loads((first / "digests.json").read_text()), {})} | dict.fromkeys(range(2, FORMAT + 1), of_others)


@pytest.fixture(params=range(1, FORMAT + 1))
def number(request: pytest.FixtureRequest) -> int:
    """Every format, that of now too."""
    return int(request.param)


@pytest.fixture
def folder(number: int, tmp_path: Path) -> Path:
    return unpacked(number, tmp_path / "checkpoints")


def new_state(number: int = 2) -> LiveState:
    settings = Settings()
    return LiveState(settings, make_context_weights(settings.ranking, PLUGINS) if number > 1 else {})


def restored(folder: Path, number: int) -> LiveState:
    store, state = CheckpointStore(str(folder)), new_state(number)
    checkpoint = store.latest()
    assert checkpoint is not None
    assert store.restore(checkpoint, state) == ()  # Nothing was learned anew.
    return state


def assert_is_that_of(number: int, state: LiveState, expected) -> None:
    digests, lifts = expected[number]
    content = state_content(state)
    assert {name: content[name] for name in digests} == digests
    moment, num_items = Moment(1_700_360_000_000, "home", "rain"), state.graph.view().num_nodes("item")
    for name, wanted in lifts.items():
        found = state.context_weights[name].item_log_lifts(moment, num_items)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5, err_msg=name)
    assert state.position is not None
    if number == 1:
        assert state.position.next_offsets == {0: 5, 1: 7}
        return
    assert (state.position.next_offsets, state.num_events) == ({0: 7, 1: 8}, 95)
    assert (len(state.seen_events), state.seen_events.num_duplicates) == (93, 5)
    assert [gap.reason for gap in state.gaps] == ["retention"]


def purchase() -> EventBatch:
    one = np.zeros(1, np.int32)
    return EventBatch(
        Interactions(
            ["u1"], one, ["i1"], one, ["purchase"], np.zeros(1, np.int16), np.array([3_000]), np.array([np.nan])
        )
    )


def test_every_format_has_a_fixture():
    assert {path.stem for path in FIXTURES.iterdir()} == {f"format_{each}" for each in range(1, FORMAT + 1)}
    assert max(path.stat().st_size for path in FIXTURES.iterdir()) < 50_000


def test_it_is_restored_whole_and_the_next_one_holds_the_same(number: int, folder: Path, expected):
    state = restored(folder, number)
    assert_is_that_of(number, state, expected)
    CheckpointStore(str(folder), keep=1).write(state.snapshot())
    assert_is_that_of(number, restored(folder, number), expected)
    names = {path.name for path in (folder / "segments").iterdir()}
    if number == 1:
        assert {Path(name).suffix for name in names} == {".arrays"}
    else:
        assert SHARED[number] in names
        assert any(name.endswith("-weight4.arrays") for name in names)


def test_it_stays_whole_beside_newer_ones_and_its_copy_is_restored(number: int, folder: Path, expected):
    state = restored(folder, number)
    state.apply(purchase())
    store, first = CheckpointStore(str(folder), keep=3), CheckpointStore(str(folder)).names()[0]
    store.write(state.snapshot())
    old = new_state(number)
    store.restore(store.open(first), old)
    assert_is_that_of(number, old, expected)
    assert state_content(restored(folder, number)) == state_content(state) != state_content(old)
    store.copy_as_newest(first)
    assert_is_that_of(number, restored(folder, number), expected)


@pytest.mark.parametrize("number", SHARED, indirect=True)
def test_damaged_file_is_found(number: int, folder: Path):
    path = folder / "segments" / SHARED[number]
    content = bytearray(path.read_bytes())
    content[1_000] ^= 4
    path.write_bytes(content)
    kind = "SHA-256" if number == 2 else "CRC-32C"
    with pytest.raises(CheckpointError, match=f"{path.name}: damaged: wanted {kind}"):
        restored(folder, number)


def test_format_of_a_later_release_is_refused(tmp_path: Path):
    folder = unpacked(1, tmp_path / "checkpoints")
    path = folder / "manifests" / "00000001.json"
    manifest = json.loads(path.read_bytes())["checkpoint"] | {"format": FORMAT + 1}
    path.write_bytes(to_bytes(manifest))
    with pytest.raises(CheckpointError, match=f"wanted a format from 1 to {FORMAT}, got {FORMAT + 1}"):
        CheckpointStore(str(folder)).latest()


def test_checkpoints_are_written_and_restored_without_arrow(tmp_path: Path):
    folder = unpacked(1, tmp_path / "checkpoints")
    CheckpointStore(str(folder), keep=1).write(restored(folder, 1).snapshot())
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


@pytest.mark.skipif(sys.platform != "linux", reason="Elsewhere the system does not tell what is mapped.")
def test_nothing_of_a_restored_state_lies_in_the_files_of_its_checkpoint(tmp_path: Path):
    """Else they would stay on the disk as long as the process does, and each change would copy a page."""
    folder = unpacked(FORMAT, tmp_path / "checkpoints")
    state = restored(folder, FORMAT)
    assert str(folder) not in Path("/proc/self/maps").read_text()
    assert state.num_events == 95


def test_pairs_of_all_formats_are_the_same_tables(tmp_path: Path):
    """From format 5 on they are stored as they stand; how much room a part has depends on how it grew."""
    tables = [
        {
            name: (array[:, [0, 2, 3]] if name.endswith("/parts") else array).tobytes()
            for name, array in restored(unpacked(number, tmp_path / f"{number}"), number)
            .context_weights["reorder"]
            .state()
            .items()
        }
        for number in (4, 5, FORMAT)
    ]
    assert tables[0] == tables[1] == tables[2]
