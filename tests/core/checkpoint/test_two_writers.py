"""Two writers on one URL destroy each other's checkpoints, which is why the second one gets no lock."""

from pathlib import Path

import numpy as np
import pytest

from springtide.checkpoint import CheckpointLock, CheckpointStore
from springtide.checkpoint.lock import HOLDER_FILE
from springtide.errors import CheckpointError, CheckpointLockedError, CheckpointLockLostError
from springtide.events.model import EventBatch, Interactions
from springtide.settings.model import Settings
from springtide.state import LiveState, StateSnapshot

PURCHASE = ("user", "purchase", "item")


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
    (tmp_path / HOLDER_FILE).unlink()
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
            (tmp_path / HOLDER_FILE).unlink()
            return manifest

    store = Overtaken(url, lock=lock)
    with pytest.raises(CheckpointLockLostError):
        store.write(first.snapshot())

    assert store.names() == []
    with pytest.raises(CheckpointLockLostError):
        store.raise_if_lock_lost()
    lock.release()
