"""kafka-python's network in the thread that reads: nothing is lost when a socket takes or gives only a part."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kafka.errors import KafkaConnectionError, RequestTimedOutError
from kafka.net.connection import KafkaConnection
from kafka.protocol.consumer import FetchResponse

from springtide_services.stream.fetch_wire import PlainFetch, PlainResponse
from springtide_services.stream.network import DirectTCP, _CallersLoop

_MANY_BYTES = bytes(range(256)) * 20_000  # 5 MB: more than a socket takes at once, and than is read at once.


class Receiver:
    """Stands where a KafkaConnection does: it keeps what came."""

    _sensors = parser = None

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
        self.transport = DirectTCP(self.loop, ours)
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


def _connect(ends: Ends, request_timeout_ms: int = 10_000) -> KafkaConnection:
    """Return kafka-python's own connection over our end, as it is once it is made."""
    connection = KafkaConnection(ends.loop, node_id=1, client_id="test", request_timeout_ms=request_timeout_ms)
    ends.transport.set_protocol(connection)
    connection.connection_made(ends.transport)
    connection.initializing, connection.connected = False, True
    return connection


def _response(correlation_id: int, **fields: Any) -> bytes:
    message = FetchResponse(throttle_time_ms=0, session_id=5, responses=[], version=12, **fields)
    body = correlation_id.to_bytes(4, "big") + b"\0" + bytes(message.encode(version=12))
    return len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize("pieces", [1, 7], ids=["at once", "in pieces"])
def test_packed_fetches_are_answered_in_turn(ends: Ends, pieces: int) -> None:
    connection = _connect(ends)
    futures = [ends.transport.send_fetch(PlainFetch(b"")) for _ in range(3)]
    data = _response(1) + _response(2) if pieces > 1 else _response(1)
    for start in range(0, len(data), len(data) // pieces + 1):
        ends.theirs.sendall(data[start : start + len(data) // pieces + 1])
        ends.loop._poll_once(0.05)
        ends.loop._poll_once(0.05)
    num_answered = 2 if pieces > 1 else 1

    assert [future.is_done for future in futures] == [True] * num_answered + [False] * (3 - num_answered)
    assert type(futures[0].value) is PlainResponse
    assert len(connection.in_flight_requests) == len(connection.parser.in_flight_requests) == 3 - num_answered


def test_what_is_unusual_in_a_response_is_left_to_kafka_python(ends: Ends) -> None:
    _connect(ends)
    future = ends.transport.send_fetch(PlainFetch(b""))
    ends.theirs.sendall(_response(1, error_code=70))
    ends.run_until(lambda: future.is_done)

    assert isinstance(future.value, FetchResponse)
    assert future.value.error_code == 70


def test_a_packed_fetch_that_is_not_answered_in_time_ends_the_connection(ends: Ends) -> None:
    connection = _connect(ends, request_timeout_ms=150)
    first = ends.transport.send_fetch(PlainFetch(b""))
    ends.theirs.sendall(_response(1))
    ends.run_until(lambda: first.is_done)
    ends.loop._poll_once(0.1)
    sent_s = time.monotonic()
    second = ends.transport.send_fetch(PlainFetch(b""))  # The timer of the first one runs.
    ends.run_until(lambda: second.is_done)

    assert time.monotonic() - sent_s >= 0.15
    assert isinstance(second.exception, RequestTimedOutError)
    assert connection.closed


def test_a_connection_with_other_requests_to_send_is_not_passed_by(ends: Ends) -> None:
    connection = _connect(ends)
    sent = [ends.transport.send_fetch(PlainFetch(b"")) for _ in range(5)]
    assert sent[-1] is None, "kafka-python pauses at five"
    connection.paused.add("throttle")
    connection.in_flight_requests.clear()
    assert ends.transport.send_fetch(PlainFetch(b"")) is None
    connection.paused.clear()
