"""Who writes the checkpoints of one URL: what a process must have and be before it takes a silent writer's place."""

import dataclasses
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from springtide.checkpoint import CheckpointLock, CheckpointStore
from springtide.errors import CheckpointError, CheckpointLockedError, CheckpointLockLostError
from springtide.events.skips import Skips
from springtide.settings.model import CheckpointSettings, Settings
from springtide.state import LeftOut, LiveState, StreamPosition
from springtide_services.stream.writer_role import WriterRole


class Follower:
    def __init__(self) -> None:
        self.told: list[str] = []

    def become_writer(self) -> None:
        self.told.append("writer")

    def become_reader(self, reason: CheckpointError) -> None:
        self.told.append("reader")


@pytest.fixture
def settings(tmp_path) -> CheckpointSettings:
    return CheckpointSettings(url=str(tmp_path / "checkpoints"), takeover_s=0.6)


def state_at(offset: int) -> LiveState:
    state = LiveState(Settings(), {})
    state.position = StreamPosition("events", "id", {0: offset})
    return state


@pytest.fixture
def taking_over(settings: CheckpointSettings) -> Iterator[WriterRole]:
    """A reader that has just got the lease of a writer, whose newest checkpoint is at offset 8."""
    with CheckpointLock(settings.url) as lock:
        CheckpointStore(settings.url, lock=lock).write(state_at(8).snapshot())
        role = WriterRole(settings)
        role.begin()
        assert not role.is_writer
        role.start(CheckpointStore(settings.url))
    yield role
    role.stop()


def turn_until(role: WriterRole, state: LiveState, follower: Follower, missed: list[StreamPosition | None]) -> None:
    def write_missed(since: StreamPosition | None, state: LiveState) -> Counter[str]:
        missed.append(since)
        return Counter()

    deadline = time.monotonic() + 60.0
    while not follower.told:
        assert time.monotonic() < deadline
        role.turn(state, follower, write_missed)
        time.sleep(0.01)


def test_a_reader_writes_once_it_has_all_that_the_newest_checkpoint_has(taking_over: WriterRole) -> None:
    follower, missed = Follower(), list[StreamPosition | None]()
    deadline = time.monotonic() + 60.0
    while taking_over.status().fence < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    taking_over.turn(state_at(7), follower, lambda since, state: Counter())
    assert not taking_over.is_writer

    turn_until(taking_over, state_at(9), follower, missed)
    assert taking_over.is_writer
    assert missed == [StreamPosition("events", "id", {0: 8})]
    assert taking_over.lock is not None
    assert taking_over.lock.fence == 2


def test_a_reader_does_not_put_its_graph_in_the_place_of_a_rebuilt_one(taking_over: WriterRole) -> None:
    state = state_at(9)
    state.left_out = (LeftOut(Skips(), 0, {}, "id", {}),)
    with pytest.raises(CheckpointLockLostError, match="started again, it restores the rebuilt one"):
        turn_until(taking_over, state, Follower(), [])


def test_a_writer_that_is_replaced_reads_on_if_its_role_is_auto(settings: CheckpointSettings) -> None:
    role, follower = WriterRole(settings), Follower()
    role.begin()
    assert role.is_writer
    assert role.lock is not None
    role.lock._lost = CheckpointLockLostError("replaced")
    role.turn(state_at(1), follower, lambda since, state: Counter())
    assert (role.is_writer, role.lock, follower.told) == (False, None, ["reader"])
    role.stop()


def test_with_a_journal_auto_is_writer(settings: CheckpointSettings, tmp_path) -> None:
    journaling = settings.model_copy(update={"journal": str(tmp_path / "journal")})
    with CheckpointLock(settings.url), pytest.raises(CheckpointLockedError):
        WriterRole(journaling).begin()


def test_a_reader_takes_no_lease_and_says_who_writes(settings: CheckpointSettings) -> None:
    role = WriterRole(settings.model_copy(update={"role": "reader"}))
    role.begin()
    assert dataclasses.astuple(role.status()) == ("reader", "", 0)
    assert str(role.reader_error()) == "this server only reads checkpoints: their writer is not there yet"
    role.stop()
    with CheckpointLock(settings.url) as lock:
        assert lock.fence == 1
