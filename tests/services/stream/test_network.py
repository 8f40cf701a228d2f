"""kafka-python's network in the thread that reads: nothing is lost when a socket takes or gives only a part."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kafka.errors import KafkaConnectionError

from springtide_services.stream.network import _CallersLoop, _DirectTCP

_MANY_BYTES = bytes(range(256)) * 20_000  # 5 MB: more than a socket takes at once, and than is read at once.


class Receiver:
    """Stands where a KafkaConnection does: it keeps what came."""

    _sensors = None

    def __init__(self) -> None:
        self.received = bytearray()
        self.lost_with: list[Exception | None] = []

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, error: Exception | None) -> None:
        self.lost_with.append(error)


class Ends:
    """The two ends of a connection: ours, and a plain socket."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        ours.setblocking(False)
        self.loop = _CallersLoop()
        self.receiver = Receiver()
        self.transport = _DirectTCP(self.loop, ours)
        self.transport.set_protocol(self.receiver)
        self.transport.resume_reading()

    def run_until(self, is_done: Any, budget_s: float = 20.0) -> None:
        ends_at = time.monotonic() + budget_s
        while not is_done():
            assert time.monotonic() < ends_at, "it did not come to an end"
            self.loop._poll_once(0.01)

    def close(self) -> None:
        self.transport.close()
        self.theirs.close()
        self.loop.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    ends.close()


def test_a_small_write_is_sent_before_the_loop_runs(ends: Ends) -> None:
    ends.transport.write(b"fetch")

    ends.theirs.settimeout(1)
    assert ends.theirs.recv(100) == b"fetch"


def test_a_write_that_the_socket_does_not_take_at_once_arrives_whole_and_in_order(ends: Ends) -> None:
    received = bytearray()

    def read() -> None:
        while len(received) < len(_MANY_BYTES) + 3:
            received.extend(ends.theirs.recv(100_000))

    ends.transport.write(_MANY_BYTES)
    ends.transport.write(b"end")
    reader = threading.Thread(target=read)
    reader.start()
    ends.run_until(lambda: not reader.is_alive())

    assert received == _MANY_BYTES + b"end"


def test_what_comes_in_pieces_is_read_whole(ends: Ends) -> None:
    sender = threading.Thread(target=ends.theirs.sendall, args=(_MANY_BYTES,))
    sender.start()
    ends.run_until(lambda: len(ends.receiver.received) >= len(_MANY_BYTES))
    sender.join()

    assert ends.receiver.received == _MANY_BYTES


def test_a_reader_waits_without_turning(ends: Ends) -> None:
    ends.loop._poll_once(0.0)  # The task begins to read.
    started = time.thread_time()
    for _ in range(10):
        ends.loop._poll_once(0.02)

    assert time.thread_time() - started < 0.05


def test_the_other_end_closing_is_a_lost_connection(ends: Ends) -> None:
    ends.theirs.close()
    ends.run_until(lambda: ends.receiver.lost_with)

    assert [type(error) for error in ends.receiver.lost_with] == [KafkaConnectionError]


def test_a_write_to_a_connection_that_was_reset_is_a_lost_connection(ends: Ends) -> None:
    ends.theirs.close()
    ends.transport.write(b"fetch")
    assert not ends.receiver.lost_with, "the connection is still in use by who writes"
    ends.run_until(lambda: ends.receiver.lost_with)

    assert [type(error) for error in ends.receiver.lost_with] == [KafkaConnectionError]
