"""A disk that is full: what cannot be written is told and tried again, nothing is lost, and it heals with room."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from springtide.checkpoint import CheckpointStore
from springtide.errors import CheckpointError
from springtide.model.manifest import ModelManifest
from springtide.model.registry import ModelArtifact, ModelStore
from springtide.settings.model import CheckpointSettings, KafkaSettings, Settings
from springtide.state import LiveState
from springtide.storage import TEMPORARY_PREFIX
from springtide.testing import state_content
from springtide.v1 import events_pb2
from springtide_services.stream.ingest import IngestLoop
from springtide_services.stream.journal import Journal
from springtide_services.stream.journaled_topics import JournaledTopics
from springtide_services.stream.producer import EventPublisher

BUDGET_S = 60.0


class SmallDisk:
    """A disk of three megabytes, which can be filled.

    Attributes:
        folder: Where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Leave no room at all."""
        with contextlib.suppress(OSError), self._filler.open("ab", buffering=0) as file:
            while file.write(b"x" * 4_096):
                pass

    def make_room(self) -> None:
        self._filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small disk: {mounted.stderr.strip()}")
    yield SmallDisk(folder)
    subprocess.run(["umount", str(folder)], check=True)


def until(is_so: Callable[[], object]) -> float:
    """Wait until something is so, and return how many seconds it took."""
    started_s = time.monotonic()
    while not is_so():
        assert time.monotonic() - started_s < BUDGET_S
        time.sleep(0.01)
    return time.monotonic() - started_s


def publish(settings: Settings, users: range) -> None:
    with EventPublisher(settings) as publisher:
        for number in users:
            event = events_pb2.Event(interaction={"user": f"u{number}", "item": f"i{number % 7}", "type": "purchase"})
            event.event_time.FromMilliseconds(1_000 + number)
            publisher.publish(event)


def content_of(settings: Settings, state: LiveState) -> dict[str, str]:
    """Return what the newest checkpoint holds; it must be at the position of the state."""
    restored, store = LiveState(settings, {}), CheckpointStore(settings.checkpoint.url)
    newest = store.latest()
    assert newest is not None
    store.restore(newest, restored)
    assert restored.next_offsets == state.next_offsets
    return state_content(restored)


@pytest.mark.fault("disk full during a checkpoint")
def test_stream_goes_on_while_no_checkpoint_can_be_written_and_the_next_one_has_all(
    disk: SmallDisk,
    fresh_kafka: Callable[..., KafkaSettings],
    record_property: Callable[[str, object], None],
) -> None:
    checkpoint = CheckpointSettings(url=str(disk.folder / "checkpoints"), every_s=0.1)
    settings = Settings(kafka=fresh_kafka(), checkpoint=checkpoint)
    state = LiveState(settings, {})
    loop = IngestLoop(settings, state, CheckpointStore(settings.checkpoint.url))
    loop.start()
    try:
        publish(settings, range(50))
        until(lambda: state.num_events == 50)
        before = loop.checkpoint_now()
        with capture_logs() as logs:
            disk.fill()
            publish(settings, range(50, 100))
            until(lambda: state.num_events == 100)
            until(lambda: sum(line["event"] == "checkpoint_failed" for line in logs) >= 3)
            with pytest.raises(CheckpointError, match="No space left"):
                loop.checkpoint_now()
        store = CheckpointStore(settings.checkpoint.url)
        assert store.latest() is not None, "the one before it stays"
        assert loop.status().failure is None
        disk.make_room()
        took_s = until(lambda: (newest := store.latest()) is not None and newest.name > before.name)
        record_property("recovered_s", took_s)
    finally:
        loop.stop()
    assert content_of(settings, state) == state_content(state)
    assert list(disk.folder.rglob(f"{TEMPORARY_PREFIX}*")) == []


@pytest.mark.long
@pytest.mark.fault("disk full while the journal is written")
def test_record_that_cannot_be_put_into_the_journal_is_not_applied_before_there_is_room(
    disk: SmallDisk,
    fresh_kafka: Callable[..., KafkaSettings],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    settings = Settings(kafka=fresh_kafka(), checkpoint=CheckpointSettings(url=str(tmp_path / "checkpoints")))
    state, store = LiveState(settings, {}), CheckpointStore(settings.checkpoint.url)
    journal = JournaledTopics(settings.kafka, Journal(disk.folder / "journal"), store)
    loop = IngestLoop(settings, state, store, journal=journal)
    loop.start()
    try:
        publish(settings, range(50))
        until(lambda: state.num_events == 50)
        disk.fill()
        publish(settings, range(50, 2_000))
        until(lambda: (problem := loop.status().problem) is not None and problem.problem.kind == "disk")
        assert loop.status().failure is None
        disk.make_room()
        record_property("recovered_s", until(lambda: state.num_events == 2_000))
    finally:
        loop.stop()
    assert content_of(settings, state) == state_content(state)


@pytest.mark.fault("disk full during a publish")
def test_model_that_cannot_be_written_is_none_and_the_one_before_serves(disk: SmallDisk) -> None:
    def artifact() -> ModelArtifact:
        manifest = ModelManifest("", 0, "retrain", parts={}, settings={}, graph_cut={})
        tensors = {"vectors": np.zeros((2_000, 64), np.float32)}
        return ModelArtifact(manifest, tensors, {"user": ["ann"], "item": ["a", "b"]})

    store = ModelStore(str(disk.folder / "models"))
    first = store.publish(artifact())
    for _ in range(3):
        disk.fill()
        with pytest.raises(OSError, match="No space left"):
            store.publish(artifact())
        assert (store.versions(), store.current()) == ([first], first)
        champion = ModelStore(str(disk.folder / "models")).load_champion()
        assert champion is not None
        assert champion.faults == {}
        disk.make_room()
    later = store.publish(artifact())
    assert store.current() == later
    assert store.versions() == [later, first]
    assert list(disk.folder.rglob(f"{TEMPORARY_PREFIX}*")) == []
