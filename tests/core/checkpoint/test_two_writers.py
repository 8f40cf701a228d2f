"""Two writers on one URL destroy each other's checkpoints, which is why the second one gets no lock."""

import shutil
import time
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from springtide.checkpoint import CheckpointLock, CheckpointStore
from springtide.checkpoint.leases import FOLDER, Leases
from springtide.checkpoint.lock_timing import HolderWatch, LockTiming
from springtide.checkpoint.manifest_files import MANIFESTS, ManifestFiles
from springtide.checkpoint.writing import SEGMENTS
from springtide.errors import CheckpointError, CheckpointLockedError, CheckpointLockLostError
from springtide.events.model import EventBatch, Interactions
from springtide.settings.model import Settings
from springtide.state import LiveState, StateSnapshot
from springtide.state_content import state_content
from springtide.storage import Storage

SOON = LockTiming(heartbeat_s=0.05, stale_s=0.3, settle_s=0.02, poll_s=0.02)

PURCHASE = ("user", "purchase", "item")


@pytest.fixture(params=["folder", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        return f"{request.getfixturevalue('s3_bucket')}/checkpoints"
    return str(tmp_path / "checkpoints")


def new_state() -> LiveState:
    return LiveState(Settings(), {})


def purchases(user: str, count: int) -> EventBatch:
    zeros = np.zeros(count, np.int32)
    return EventBatch(
        Interactions(
            *([user], zeros, ["i"], zeros, ["purchase"], zeros.astype(np.int16)),
            *(np.arange(count, dtype=np.int64), np.full(count, np.nan, np.float32)),
        )
    )


def restored(store: CheckpointStore) -> LiveState:
    state, checkpoint = LiveState(Settings(), {}), store.latest()
    assert checkpoint is not None
    store.restore(checkpoint, state)
    return state


class SlowStore(CheckpointStore):
    """Lets another writer write between its segments and its manifest."""

    meanwhile: StateSnapshot | None = None

    def _write_segments(self, name, snapshot, base):
        manifest = super()._write_segments(name, snapshot, base)
        if self.meanwhile is not None:
            CheckpointStore(self.url).write(self.meanwhile)
        return manifest


def test_without_a_lock_two_writers_leave_a_checkpoint_that_nobody_can_read(tmp_path: Path) -> None:
    first, second = LiveState(Settings(), {}), LiveState(Settings(), {})
    first.apply(purchases("first", 50))
    second.apply(purchases("second", 70))
    store = SlowStore(str(tmp_path))
    store.meanwhile = second.snapshot()

    store.write(first.snapshot())

    with pytest.raises(CheckpointError, match=r"damaged: wanted CRC-32C|is missing"):
        restored(CheckpointStore(str(tmp_path)))


def test_the_second_writer_gets_no_lock_and_the_first_one_s_checkpoint_stays_whole(tmp_path: Path) -> None:
    state = LiveState(Settings(), {})
    state.apply(purchases("first", 50))
    url = str(tmp_path)

    with CheckpointLock(url) as lock:
        store = CheckpointStore(url, lock=lock)
        store.write(state.snapshot())
        with pytest.raises(CheckpointLockedError, match="have another writer"):
            CheckpointLock(url).acquire()
        state.apply(purchases("first", 10))
        store.write(state.snapshot())

        assert len(restored(CheckpointStore(url)).graph.view().edges(PURCHASE)) == 60


def test_a_writer_that_lost_its_lock_writes_nothing_and_prunes_nothing(tmp_path: Path) -> None:
    url = str(tmp_path)
    first, second = LiveState(Settings(), {}), LiveState(Settings(), {})
    first.apply(purchases("first", 50))
    second.apply(purchases("second", 70))
    lock = CheckpointLock(url)
    lock.acquire()
    store = SlowStore(url, keep=1, lock=lock)
    store.write(first.snapshot())
    # Another process takes over: `write` finds out at once, and between segments and manifest too.
    shutil.rmtree(tmp_path / FOLDER)
    CheckpointStore(url, keep=1).write(second.snapshot())
    first.apply(purchases("first", 10))

    with pytest.raises(CheckpointLockLostError, match="nobody: the lock's files were removed"):
        store.write(first.snapshot())

    assert restored(CheckpointStore(url)).num_events == 70
    lock.release()


def test_a_lock_that_is_lost_while_segments_are_written_keeps_the_manifest_out(tmp_path: Path) -> None:
    url = str(tmp_path)
    first = LiveState(Settings(), {})
    first.apply(purchases("first", 50))
    lock = CheckpointLock(url)
    lock.acquire()

    class Overtaken(CheckpointStore):
        def _write_segments(self, name, snapshot, base):
            manifest = super()._write_segments(name, snapshot, base)
            shutil.rmtree(tmp_path / FOLDER)
            return manifest

    store = Overtaken(url, lock=lock)
    with pytest.raises(CheckpointLockLostError):
        store.write(first.snapshot())

    assert store.names() == []
    with pytest.raises(CheckpointLockLostError):
        store.raise_if_lock_lost()
    lock.release()


class Suspended(CheckpointStore):
    """Is suspended at one place of a write, as by SIGSTOP, until another process has taken over and written."""

    place = ""
    meanwhile = staticmethod(lambda: None)

    def _suspend_at(self, place):
        if place == self.place:
            self.place = ""
            self.meanwhile()

    def _write_segments(self, name, snapshot, base):
        self._suspend_at("segments")
        return super()._write_segments(name, snapshot, base)

    def _put_manifest(self, manifest):
        self._suspend_at("manifest")
        return super()._put_manifest(manifest)

    def _prune(self, manifest, earlier_names):
        self._suspend_at("prune")
        return super()._prune(manifest, earlier_names)


@pytest.mark.parametrize("forgets_lock", [False, True])
@pytest.mark.parametrize("place", ["segments", "manifest", "prune"])
def test_a_writer_that_was_replaced_while_it_was_suspended_harms_nothing(
    url: str, place: str, forgets_lock: bool
) -> None:
    """It is suspended after it has looked at the lock; ``forgets_lock`` takes away every later look, too."""
    first, second = new_state(), new_state()
    first.apply(purchases("first", 50))
    lock = CheckpointLock(url, SOON)
    lock.acquire()
    store = Suspended(url, keep=1, lock=lock)
    store.write(first.snapshot())
    first.apply(purchases("first", 10))
    locks: list[CheckpointLock] = []

    def take_over() -> None:
        if forgets_lock:
            lock.check = lambda: None  # type: ignore[method-assign]
        lock._closing.set()  # No heartbeat comes any more.
        watch = HolderWatch()
        newer = CheckpointLock(url, SOON)
        while not locks:
            try:
                newer.try_acquire(watch)
                locks.append(newer)
            except CheckpointLockedError:
                time.sleep(0.02)
        successor = CheckpointStore(url, keep=1, lock=newer)
        successor.restore(successor.latest(), second)  # type: ignore[arg-type]
        second.apply(purchases("second", 70))
        successor.write(second.snapshot())

    store.place, store.meanwhile = place, take_over
    with suppress(CheckpointError):
        store.write(first.snapshot())

    num_before = 60 if place == "prune" else 50
    assert restored(CheckpointStore(url)).num_events == num_before + 70
    assert restored(CheckpointStore(url)).graph.view().nodes("user").num_living == 2
    with pytest.raises(CheckpointLockLostError) if not forgets_lock else nullcontext():
        store.write(first.snapshot())
    newest = CheckpointStore(url).latest()
    assert newest is not None
    assert newest.manifest["fence"] == 2
    assert restored(CheckpointStore(url)).num_events == num_before + 70
    # What came late is deleted by the next checkpoint, and the state goes on.
    second.apply(purchases("second", 1))
    CheckpointStore(url, keep=1, lock=locks[0]).write(second.snapshot())
    assert restored(CheckpointStore(url)).num_events == num_before + 71
    assert len(Storage(url).list(MANIFESTS)) == 1
    assert all(name.split("-")[1] == "2" for name in Storage(url).list(SEGMENTS))
    locks[0].release()


def test_a_late_checkpoint_is_not_believed_before_the_successor_has_written_one(url: str) -> None:
    first = new_state()
    first.apply(purchases("first", 50))
    with CheckpointLock(url) as lock:
        store = CheckpointStore(url, lock=lock)
        store.write(first.snapshot())
        first.apply(purchases("first", 10))
        lock.check = lambda: None  # type: ignore[method-assign]
        successor = CheckpointLock(url)
        successor._holder = lock._holder  # Which has ended, as far as this one knows.
        Leases(Storage(url)).write(replace(lock._lease, is_released=True))
        lock._file.unlock()
        with successor:
            store.write(first.snapshot())
            assert ManifestFiles(Storage(url)).all_names() == ["00000002", "00000001"]
            assert ManifestFiles(Storage(url)).names() == ["00000001"]
            assert restored(CheckpointStore(url)).num_events == 50
            heir = new_state()
            with_lock = CheckpointStore(url, lock=successor)
            with_lock.restore(with_lock.latest(), heir)
            assert with_lock.write(heir.snapshot()).name == "00000003"
            assert ManifestFiles(Storage(url)).all_names() == ["00000003", "00000001"]


def test_a_writer_shares_no_file_with_a_checkpoint_that_another_process_wrote(tmp_path: Path) -> None:
    """A reader that becomes the writer has the same history as the former writer, with rows in another order."""
    url = str(tmp_path)
    first, reader = new_state(), new_state()
    first.apply(purchases("first", 50))
    with CheckpointLock(url) as lock:
        store = CheckpointStore(url, lock=lock)
        store.write(first.snapshot())
        reading = CheckpointStore(url)
        reading.restore(reading.latest(), reader)
        first.apply(purchases("b", 500))
        first.apply(purchases("c", 400))
        store.write(first.snapshot())
    reader.apply(purchases("c", 400))
    reader.apply(purchases("b", 500))
    with CheckpointLock(url) as lock:
        reading.write_under(lock)
        reading.write(reader.snapshot())
        assert state_content(restored(CheckpointStore(url))) == state_content(reader)
        reader.apply(purchases("d", 10))
        reading.write(reader.snapshot())
    assert state_content(restored(CheckpointStore(url))) == state_content(reader)
