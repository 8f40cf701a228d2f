"""Checkpoints of every earlier format become one of the format of now; the old ones are there until it is verified."""

import shutil
from functools import partialmethod
from pathlib import Path

import pytest

from springtide.checkpoint import CheckpointLock, CheckpointStore
from springtide.checkpoint.manifest_files import FORMAT
from springtide.checkpoint.migrating import Migrated, migrate_checkpoints, outdated_checkpoints
from springtide.errors import CheckpointError
from springtide.events.model import NodeUpsert
from springtide.plugins.loading import load_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import PluginSettings, Settings
from springtide.state import LiveState
from springtide.state_content import state_content
from springtide.storage import Storage

FIXTURES = Path(__file__).parents[2] / "fixtures" / "checkpoints"
PLUGINS = load_plugins(PluginSettings())


def make_state() -> LiveState:
    return LiveState(Settings(), make_context_weights(Settings().ranking, PLUGINS))


def unpacked(number: int, tmp_path: Path) -> str:
    folder = tmp_path / f"format_{number}"
    shutil.unpack_archive(FIXTURES / f"format_{number}.zip", folder)
    return str(folder)


def content(url: str) -> dict[str, str]:
    store, state = CheckpointStore(url), make_state()
    store.restore(store.latest(), state)
    return state_content(state)


def migrate(url: str) -> Migrated:
    lock = CheckpointLock(url)
    lock.acquire()
    try:
        return migrate_checkpoints(url, lock, make_state, outdated_checkpoints(CheckpointStore(url)))
    finally:
        lock.release()


@pytest.mark.parametrize("number", range(1, FORMAT))
def test_state_of_an_earlier_format_is_written_anew_and_the_old_one_goes(number: int, tmp_path: Path):
    url = unpacked(number, tmp_path)
    (old, *_), before = CheckpointStore(url).names(), content(url)
    first = outdated_checkpoints(CheckpointStore(url))[0]
    assert (first.name, first.reason) == (old, f"format {number}")
    created_ms = CheckpointStore(url).open(old).created_ms
    done = migrate(url)
    assert (done.source.name, done.compared, done.damaged) == (old, True, [])
    assert CheckpointStore(url).names() == [done.newest.name]
    assert (done.newest.manifest["format"], done.newest.created_ms) == (FORMAT, created_ms)
    assert content(url) == before
    assert outdated_checkpoints(CheckpointStore(url)) == []
    files = {path.name for path in (Path(url) / "segments").iterdir()}
    assert all(file.startswith(done.newest.name) and file.endswith(".arrays") for file in files)


def test_files_of_an_earlier_format_that_a_newer_checkpoint_shares_are_written_anew_too(tmp_path: Path):
    url = unpacked(3, tmp_path)
    store, state = CheckpointStore(url), make_state()
    store.restore(store.latest(), state)
    shares = store.write(state.snapshot())
    found = {each.name: each.reason for each in outdated_checkpoints(store)}
    assert shares.manifest["format"] == FORMAT
    assert "files of an earlier format" in found[shares.name]
    done = migrate(url)
    assert done.source.name == shares.name
    assert set(done.dropped) == found.keys()
    assert content(url) == state_content(state)


def test_newest_of_the_format_of_now_is_read_again_and_older_ones_of_others_go(tmp_path: Path):
    url = unpacked(1, tmp_path)
    store, state = CheckpointStore(url), make_state()
    store.restore(store.latest(), state)
    newest = store.write(state.snapshot())  # Arrow files are not shared.
    done = migrate(url)
    assert (done.source, done.newest.name, done.dropped) == (None, newest.name, ["00000001"])
    assert store.names() == [newest.name]
    assert content(url) == state_content(state)


@pytest.mark.parametrize("harm", ["flipped", "another state"])
def test_old_ones_stay_if_the_new_one_is_not_what_was_written(harm: str, tmp_path: Path, monkeypatch):
    url = unpacked(5, tmp_path)
    before, write = content(url), CheckpointStore.write

    def harmed(self, snapshot, now_ms=None):
        if harm == "another state":
            other = make_state()
            CheckpointStore(url).restore(CheckpointStore(url).latest(), other)
            other.graph.upsert(NodeUpsert("item", "i-new", numbers={"price": 1.0}, timestamp_ms=5))
            snapshot = other.snapshot()
        written = write(self, snapshot, now_ms)
        if harm == "flipped":
            path = next((Path(url) / "segments").glob(f"{written.name}-*edges*"))
            data = bytearray(path.read_bytes())
            data[-70] ^= 1
            path.write_bytes(data)
        return written

    monkeypatch.setattr(CheckpointStore, "write", harmed)
    with pytest.raises(CheckpointError, match="is not what was written, the old ones were kept"):
        migrate(url)
    monkeypatch.undo()
    assert CheckpointStore(url).names() == ["00000001"]
    assert content(url) == before


def test_broken_off_anywhere_a_state_is_there_and_the_next_migration_ends_it(tmp_path: Path, monkeypatch):
    before = content(unpacked(3, tmp_path / "former"))
    for number in range(0, 1_000, 9):  # Each one was tried.
        url = unpacked(3, tmp_path / f"{number}")
        calls, originals = [], {name: getattr(Storage, name) for name in ("write_from", "create", "delete")}

        def broken(self, *arguments, name, originals=originals, calls=calls, last=number, **options):
            calls.append(name)
            if len(calls) > last:
                raise OSError("the process was killed here")
            return originals[name](self, *arguments, **options)

        with monkeypatch.context() as patch:
            for name in originals:
                patch.setattr(Storage, name, partialmethod(broken, name=name))
            try:
                migrate(url)
            except (CheckpointError, OSError):
                pass
            else:
                break
        assert content(url) == before, f"broken off at {calls[-1]} {number}"
        if outdated_checkpoints(CheckpointStore(url)):
            migrate(url)
        assert content(url) == before
        assert outdated_checkpoints(CheckpointStore(url)) == []
    assert 20 < number < 999
    assert {"write_from", "create", "delete"} <= set(calls)


def test_damaged_newest_is_passed_over_and_left_to_the_server(tmp_path: Path):
    url = unpacked(5, tmp_path)
    store, state = CheckpointStore(url), make_state()
    store.restore(store.latest(), state)
    newest = store.write(state.snapshot())
    path = Path(url) / "segments" / newest.manifest["context_weights"]["reorder"]["file"]
    path.write_bytes(path.read_bytes()[:-1])
    done = migrate(url)
    assert done.source.name == "00000001"
    assert [name for name, _ in done.damaged] == [newest.name]
    assert store.names() == [done.newest.name, newest.name]
    assert content(url) == state_content(state)
