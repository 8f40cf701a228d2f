"""Checkpoints are written by another thread, one at a time, and a failed one holds nothing up."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from springtide.checkpoint import Checkpoint, CheckpointLock, CheckpointStore
from springtide.checkpoint.leases import FOLDER
from springtide.errors import CheckpointError, CheckpointLockLostError
from springtide.settings.model import CheckpointSettings, Settings
from springtide.state import LiveState, StateSnapshot, StreamPosition
from springtide_services.stream.checkpointing import Checkpointer


class SlowStore(CheckpointStore):
    """Writes when it is let, or fails."""

    def __init__(self, url: str, lock: CheckpointLock | None = None) -> None:
        super().__init__(url, lock=lock)
        self.may_write = threading.Event()
        self.began = threading.Event()
        self.failure: Exception | None = None
        self.num_writing = 0
        self.most_writing = 0

    def write(self, snapshot: StateSnapshot, now_ms: int | None = None) -> Checkpoint:
        self.num_writing += 1
        self.most_writing = max(self.most_writing, self.num_writing)
        self.began.set()
        assert self.may_write.wait(60.0)
        self.num_writing -= 1
        if self.failure is not None:
            raise self.failure
        return super().write(snapshot, now_ms)


@pytest.fixture
def state() -> LiveState:
    state = LiveState(Settings(), {})
    state.position = StreamPosition("events", "id", {0: 0})
    return state


@pytest.fixture
def store(tmp_path: Path) -> SlowStore:
    return SlowStore(str(tmp_path))


def _checkpointer(state: LiveState, store: CheckpointStore | None, every_s: float = 3_600.0) -> Checkpointer:
    return Checkpointer(CheckpointSettings(every_s=every_s, every_events=5), state, store)


def test_unchanged_state_is_not_written(state: LiveState, store: SlowStore) -> None:
    store.may_write.set()
    checkpointer = _checkpointer(state, store, every_s=0.001)
    checkpointer.write_if_due()
    checkpointer.finish()
    assert store.latest() is None


def test_change_is_written_when_the_time_has_come(state: LiveState, store: SlowStore) -> None:
    store.may_write.set()
    checkpointer = _checkpointer(state, store, every_s=0.001)
    state.advance({0: 1})
    assert threading.Event().wait(0.01) is False
    checkpointer.write_if_due()
    checkpointer.finish()
    latest = store.latest()
    assert latest is not None
    assert latest.position == state.position
    assert checkpointer.last is not None
    assert checkpointer.last.name == latest.name


def test_change_is_written_after_so_many_events(state: LiveState, store: SlowStore) -> None:
    store.may_write.set()
    checkpointer = _checkpointer(state, store)
    state.num_events = 4
    checkpointer.write_if_due()
    assert not store.began.is_set()
    state.num_events = 5
    checkpointer.write_if_due()
    assert store.began.wait(60.0)
    checkpointer.finish()


def test_two_are_never_written_at_once_and_the_later_request_gets_the_later_state(
    state: LiveState, store: SlowStore
) -> None:
    checkpointer = _checkpointer(state, store)
    first = checkpointer.ask()
    checkpointer.write_if_due()
    assert store.began.wait(60.0)
    state.advance({0: 7})
    second, third = checkpointer.ask(), checkpointer.ask()
    checkpointer.write_if_due()
    assert not second.done()
    store.may_write.set()
    first_position = first.result(60.0).position
    assert first_position is not None
    assert first_position.next_offsets == {0: 0}
    while not second.done():
        checkpointer.write_if_due()
    assert second.result().position == third.result().position == state.position
    assert second.result().name == third.result().name
    checkpointer.finish()
    assert store.most_writing == 1


def test_failed_write_fails_the_request_and_is_tried_again(state: LiveState, store: SlowStore) -> None:
    store.may_write.set()
    store.failure = CheckpointError("disk full")
    checkpointer = _checkpointer(state, store)
    pending = checkpointer.ask()
    checkpointer.write_if_due()
    with pytest.raises(CheckpointError, match="disk full"):
        pending.result(60.0)
    assert checkpointer.last is None
    store.failure = None
    checkpointer.finish()
    assert store.latest() is not None


@pytest.fixture
def slow_done_callbacks() -> Iterator[None]:
    """Let those who wait for a future go on before the future's callbacks run, as may always happen."""

    def delay(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == "_invoke_callbacks":
            time.sleep(0.1)  # Those who wait for the future go on first.

    threading.setprofile(delay)  # For threads that start from now on.
    yield
    threading.setprofile(None)


@pytest.mark.usefixtures("slow_done_callbacks")
def test_write_that_fails_while_the_end_waits_for_it_is_tried_again(state: LiveState, tmp_path: Path) -> None:
    class FailingOnce(SlowStore):
        def write(self, snapshot: StateSnapshot, now_ms: int | None = None) -> Checkpoint:
            is_first = not self.began.is_set()
            self.began.set()
            assert self.may_write.wait(60.0)
            if is_first:
                raise CheckpointError("disk full")
            return CheckpointStore.write(self, snapshot, now_ms)

    store = FailingOnce(str(tmp_path))
    checkpointer = _checkpointer(state, store)
    state.advance({0: 1})
    request = checkpointer.ask()
    checkpointer.write_if_due()
    assert store.began.wait(60.0)
    end = threading.Thread(target=checkpointer.finish)
    end.start()
    store.may_write.set()
    end.join(60.0)

    assert isinstance(request.exception(5.0), CheckpointError)
    latest = store.latest()
    assert latest is not None
    assert latest.position == state.position
    assert checkpointer.last == latest


def test_failed_write_is_not_tried_again_at_every_turn(state: LiveState, store: SlowStore) -> None:
    store.may_write.set()
    store.failure = CheckpointError("disk full")
    checkpointer = _checkpointer(state, store)
    state.num_events = 5
    checkpointer.write_if_due()
    assert store.began.wait(60.0)
    while store.num_writing:
        pass
    store.began.clear()
    for _ in range(100):
        checkpointer.write_if_due()
    assert not store.began.wait(0.05)
    checkpointer.abandon(CheckpointError("over"))


def test_lost_lock_stops_the_checkpoints_for_good(state: LiveState, tmp_path: Path) -> None:
    lock = CheckpointLock(str(tmp_path))
    lock.acquire()
    store = SlowStore(str(tmp_path), lock)
    store.may_write.set()
    checkpointer = _checkpointer(state, store)
    shutil.rmtree(tmp_path / FOLDER)
    request = checkpointer.ask()
    checkpointer.write_if_due()
    with pytest.raises(CheckpointLockLostError):
        request.result(60.0)

    state.advance({0: 1})
    with pytest.raises(CheckpointLockLostError):
        checkpointer.write_if_due()
    with pytest.raises(CheckpointLockLostError) as lost:
        checkpointer.finish()
    checkpointer.abandon(lost.value)

    assert store.names() == []
    lock.release()


def test_request_after_the_end_is_refused_at_once(state: LiveState, store: SlowStore) -> None:
    checkpointer = _checkpointer(state, store)
    checkpointer.finish()
    with pytest.raises(CheckpointError, match="ingest has ended"):
        checkpointer.ask().result(0.0)


def test_finish_answers_those_who_wait(state: LiveState, store: SlowStore) -> None:
    store.may_write.set()
    checkpointer = _checkpointer(state, store)
    pending = checkpointer.ask()
    checkpointer.finish()
    assert pending.result(0.0).position == state.position


def test_abandoning_tells_those_who_wait_why(state: LiveState, store: SlowStore) -> None:
    checkpointer = _checkpointer(state, store)
    pending = checkpointer.ask()
    checkpointer.abandon(CheckpointError("ingest has failed"))
    with pytest.raises(CheckpointError, match="ingest has failed"):
        pending.result(0.0)


def test_without_a_store_nothing_is_written(state: LiveState) -> None:
    checkpointer = _checkpointer(state, None)
    with pytest.raises(CheckpointError, match="store"):
        checkpointer.ask().result(0.0)
    state.advance({0: 1})
    checkpointer.write_if_due()
    checkpointer.finish()
