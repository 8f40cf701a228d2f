"""A damaged checkpoint is passed over, whichever of its files is damaged and how; nothing is ever built on it."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from structlog.testing import capture_logs

from springtide.checkpoint import CheckpointStore
from springtide.checkpoint.fallback import Restored, restore_newest
from springtide.errors import CheckpointError
from springtide.events.marks import BatchMarks, EventMarks
from springtide.events.model import EventBatch, Interactions, NodeDelete, NodeUpsert
from springtide.plugins.contracts import ContextWeight, Observed
from springtide.settings.model import Settings
from springtide.state import LiveState, StreamPosition
from springtide.state_content import state_content

DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "flipped": lambda content: (
        bytes([*content[: len(content) // 2], content[len(content) // 2] ^ 4]) + content[len(content) // 2 + 1 :]
    ),
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "missing": lambda content: None,
    "torn": lambda content: content[: len(content) // 3] + b"\xaa" * (len(content) - len(content) // 3),
}


def purchases(count: int, start: int = 0) -> Interactions:
    numbers = np.arange(start, start + count)
    return Interactions(
        *([f"u{n}" for n in range(7)], (numbers % 7).astype(np.int32)),
        *([f"i{n}" for n in range(5)], (numbers % 5).astype(np.int32)),
        *(["purchase"], np.zeros(count, np.int16), 1_000 + numbers, np.full(count, np.nan, np.float32)),
    )


class Counting(ContextWeight):
    """Counts how often each item was taken."""

    def __init__(self) -> None:
        self.counts = np.zeros(100, np.int64)

    def observe(self, observed: Observed) -> None:
        np.add.at(self.counts, observed.item_rows, 1)

    def state(self) -> dict[str, npt.NDArray[np.int64]]:
        return {"counts": self.counts.copy()}

    def restore(self, state: Mapping[str, npt.NDArray[np.int64]]) -> None:
        self.counts = state["counts"].copy()


def new_state() -> LiveState:
    return LiveState(Settings(), {"counting": Counting()})


def grow(state: LiveState, step: int) -> None:
    """Apply what each file of a checkpoint has some of: edges, ids, attributes, lifetimes, tombstones."""
    state.position, rows = StreamPosition("events", "abc", {0: step}), np.arange(40)
    state.apply(
        EventBatch(
            purchases(40, step * 40),
            [NodeUpsert("item", f"new{step}", {"brand": (f"b{step}",)}, {"price": float(step)})],
            deletes=[NodeDelete("user", "gone", 5)],  # Of another user, it would have earlier checkpoints deleted.
            marks=BatchMarks(EventMarks(rows, rows.astype(np.uint64) + 1_000 * step, *(rows.astype(np.uint32),) * 2)),
        )
    )


def damage(path: Path, how: str) -> None:
    changed = DAMAGES[how](path.read_bytes())
    if changed is None:
        path.unlink()
    else:
        path.write_bytes(changed)


def restore(url: Path) -> tuple[CheckpointStore, Restored]:
    store = CheckpointStore(str(url), keep=3)
    return store, restore_newest(store, new_state, sets_aside=True)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three checkpoints, of which each shares files with the one before it."""
    url = tmp_path_factory.mktemp("three")
    store, state = CheckpointStore(str(url), keep=3), new_state()
    for step in range(3):
        if step == 0:
            state.apply(EventBatch(purchases(200)))
        grow(state, step)
        store.write(state.snapshot())
    return url


@pytest.fixture
def url(three: Path, tmp_path: Path) -> Path:
    return shutil.copytree(three, tmp_path / "checkpoints")


def own_files(url: Path) -> list[Path]:
    """Return the files that only the newest checkpoint has."""
    return [*sorted((url / "segments").glob("00000003-*")), url / "manifests" / "00000003.json"]


@pytest.mark.parametrize("how", DAMAGES)
def test_the_one_before_is_used_whichever_file_of_the_newest_is_damaged(three: Path, tmp_path: Path, how: str) -> None:
    wanted = new_state()
    wanted_store = CheckpointStore(str(three))
    wanted_store.restore(wanted_store.open("00000002"), wanted)
    names = [path.relative_to(three) for path in own_files(three)]
    assert len(names) >= 5
    for number, name in enumerate(names):
        url = shutil.copytree(three, tmp_path / str(number))
        damage(url / name, how)
        with capture_logs() as logs:
            store, restored = restore(url)
        assert restored.checkpoint is not None
        assert restored.checkpoint.name == "00000002", name
        assert state_content(restored.state) == state_content(wanted)
        assert restored.state.position == wanted.position
        if how == "missing" and name.suffix == ".json":  # As if its writer had been killed before.
            assert [entry["event"] for entry in logs] == ["checkpoint_unfinished"]
            continue
        (told,) = [entry for entry in logs if entry["event"] == "checkpoint_damaged"]
        assert (told["checkpoint"], told["instead"]) == ("00000003", "checkpoint 00000002")
        assert name.name in told["fault"]
        assert [found.checkpoint for found in store.damage.latest] == ["00000003"]
        assert [each.name for each in store.all_set_aside()] == ["00000003"]
        assert (url / "damaged" / "00000003.json").exists()


@pytest.mark.parametrize("how", DAMAGES)
def test_a_shared_file_that_is_damaged_damages_all_that_share_it(url: Path, how: str) -> None:
    """The state is then made from the stream: nothing that is written later shares the file."""
    shared = url / "segments" / "00000001-edges0-0.arrays"
    damage(shared, how)
    with capture_logs() as logs:
        store, restored = restore(url)
    assert restored.checkpoint is None
    assert restored.state.num_events == 0
    assert restored.lost_position == StreamPosition("events", "abc", {0: 2})
    assert [(entry["checkpoint"], entry["instead"]) for entry in logs if entry["event"] == "checkpoint_damaged"] == [
        (name, "the stream from its beginning") for name in ("00000003", "00000002", "00000001")
    ]
    _, again = restore(url)
    assert again.lost_position == restored.lost_position, "what was set aside still says that there was a state"

    state = restored.state
    state.apply(EventBatch(purchases(200)))
    for step in range(3):
        grow(state, step)
    written = store.write(state.snapshot())
    assert written.name == "00000004", "no name is used twice"
    _, after = restore(url)
    assert (after.checkpoint, after.damaged, after.lost_position) == (written, (), None)
    assert state_content(after.state) == state_content(state)


def test_without_any_manifest_the_stream_is_read_from_its_beginning(url: Path) -> None:
    shutil.rmtree(url / "manifests")
    _, restored = restore(url)
    assert restored.checkpoint is None
    assert restored.lost_position == StreamPosition("", "", {})
    assert ("00000003", "its manifest is missing") in restored.damaged


def test_files_of_a_first_checkpoint_that_was_never_finished_are_no_lost_state(tmp_path: Path) -> None:
    state = new_state()
    grow(state, 0)
    CheckpointStore(str(tmp_path)).write(state.snapshot())
    shutil.rmtree(tmp_path / "manifests")
    with capture_logs() as logs:
        _, restored = restore(tmp_path)
    assert (restored.checkpoint, restored.damaged, restored.lost_position) == (None, (), None)
    assert [entry["event"] for entry in logs] == ["checkpoint_unfinished"]


def test_a_damaged_one_is_kept_aside_and_does_not_count_among_the_kept(url: Path) -> None:
    damage(own_files(url)[0], "flipped")
    store, restored = restore(url)
    aside = {path.name for path in (url / "segments").glob("00000003-*")}
    assert aside
    for step in range(2, 4):
        grow(restored.state, step)
        store.write(restored.state.snapshot())
    assert store.names() == ["00000005", "00000004", "00000002"]
    assert {path.name for path in (url / "segments").glob("00000003-*")} == aside, "for a person to look at"
    for name in store.names():
        files = json.dumps(store.open(name).manifest)
        assert "00000003-" not in files, "nothing is built on it"


def test_what_was_set_aside_goes_once_a_node_is_forgotten(url: Path) -> None:
    damage(own_files(url)[0], "flipped")
    store, restored = restore(url)
    restored.state.apply(EventBatch(purchases(0), deletes=[NodeDelete("user", "u1", 10_000)]))
    store.write(restored.state.snapshot())
    assert store.all_set_aside() == []
    assert not [*(url / "segments").glob("00000003-*"), *(url / "damaged").iterdir()]


def test_only_the_latest_that_were_set_aside_stay(url: Path) -> None:
    store, restored = restore(url)
    state = restored.state
    for step in range(3, 9):
        grow(state, step)
        written = store.write(state.snapshot())
        damage(url / "manifests" / f"{written.name}.json", "flipped")
        store, restored = restore(url)
        state = restored.state
    grow(state, 10)
    store.write(state.snapshot())
    assert [each.name for each in store.all_set_aside()] == ["00000009", "00000008", "00000007"]


def test_a_reader_passes_over_a_damaged_one_and_writes_nothing(url: Path) -> None:
    damage(own_files(url)[0], "flipped")
    before = sorted(path.relative_to(url) for path in url.rglob("*"))
    restored = restore_newest(CheckpointStore(str(url)), new_state, "00000003")
    assert restored.checkpoint is not None
    assert restored.checkpoint.name == "00000002"
    assert sorted(path.relative_to(url) for path in url.rglob("*")) == before


def test_a_format_of_newer_software_is_refused_and_never_passed_over(url: Path) -> None:
    from springtide.checkpoint.manifest_files import to_bytes

    manifest = CheckpointStore(str(url)).open("00000003").manifest
    (url / "manifests" / "00000003.json").write_bytes(to_bytes({**manifest, "format": 99}))
    with pytest.raises(CheckpointError, match="wanted a format from 1 to"):
        restore(url)


@pytest.mark.parametrize("how", DAMAGES)
def test_a_running_writer_finds_a_damaged_file_and_writes_it_again(tmp_path: Path, how: str) -> None:
    store, state = CheckpointStore(str(tmp_path), keep=3), new_state()
    state.apply(EventBatch(purchases(200)))
    grow(state, 0)
    store.write(state.snapshot())
    grow(state, 1)
    store.write(state.snapshot())
    shared = tmp_path / "segments" / "00000001-edges0-0.arrays"
    damage(shared, how)
    with capture_logs() as logs:
        grow(state, 2)
        written = store.write(state.snapshot())
    (told,) = [entry for entry in logs if entry["event"] == "checkpoint_damaged"]
    assert shared.name in told["fault"]
    assert shared.name not in json.dumps(written.manifest)
    assert store.names() == ["00000003"], "the others have the damaged file"
    assert [each.name for each in store.all_set_aside()] == ["00000002", "00000001"]
    _, restored = restore(tmp_path)
    assert restored.damaged == ()
    assert state_content(restored.state) == state_content(state)


def test_a_network_that_is_away_is_no_damage(url: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CheckpointStore(str(url))

    def fail(name: str) -> bytes:
        raise ConnectionError(f"no route to {name}")

    monkeypatch.setattr(store._storage, "open", fail)
    with pytest.raises(CheckpointError, match="cannot be read: no route"):
        restore_newest(store, new_state, sets_aside=True)
    assert store.names() == ["00000003", "00000002", "00000001"]
