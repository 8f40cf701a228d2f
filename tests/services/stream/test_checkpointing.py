"""Checkpoints are written by another thread, one at a time, and a failed one holds nothing up."""

import threading
from pathlib import Path

import pytest

from springtide.checkpoint import Checkpoint, CheckpointStore
from springtide.errors import CheckpointError
from springtide.settings.model import CheckpointSettings, Settings
from springtide.state import LiveState, StateSnapshot, StreamPosition
from springtide_services.stream.checkpointing import Checkpointer


class SlowStore(CheckpointStore):
    """Writes when it is let, or fails."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.may_write = threading.Event()
        self.began = threading.Event()
        self.failure: Exception | None = None
        self.num_writing = 0
        self.most_writing = 0

    def write(self, snapshot: StateSnapshot, now_ms: int | None = None) -> Checkpoint:
        self.num_writing += 1
        self.most_writing = max(self.most_writing, self.num_writing)
        self.began.set()
        assert self.may_write.wait(5.0)
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
    assert store.began.wait(5.0)
    checkpointer.finish()


def test_two_are_never_written_at_once_and_the_later_wish_gets_the_later_state(
    state: LiveState, store: SlowStore
) -> None:
    checkpointer = _checkpointer(state, store)
    first = checkpointer.ask()
    checkpointer.write_if_due()
    assert store.began.wait(5.0)
    state.advance({0: 7})
    second, third = checkpointer.ask(), checkpointer.ask()
    checkpointer.write_if_due()
    assert not second.done()
    store.may_write.set()
    first_position = first.result(5.0).position
    assert first_position is not None
    assert first_position.next_offsets == {0: 0}
    while not second.done():
        checkpointer.write_if_due()
    assert second.result().position == third.result().position == state.position
    assert second.result().name == third.result().name
    checkpointer.finish()
    assert store.most_writing == 1


def test_failed_write_is_told_to_who_asked_and_tried_again(state: LiveState, store: SlowStore) -> None:
    store.may_write.set()
    store.failure = CheckpointError("disk full")
    checkpointer = _checkpointer(state, store)
    pending = checkpointer.ask()
    checkpointer.write_if_due()
    with pytest.raises(CheckpointError, match="disk full"):
        pending.result(5.0)
    assert checkpointer.last is None
    store.failure = None
    checkpointer.finish()
    assert store.latest() is not None


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
