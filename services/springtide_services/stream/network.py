"""kafka-python's network, run by the thread that reads the events instead of a thread of its own."""

import selectors
import time
from typing import Any

from kafka.errors import KafkaConnectionError, KafkaProtocolError
from kafka.future import Future
from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import KernelEvent, NetworkSelector, Task, TaskState
from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport

from springtide_services.stream.fetch_wire import PlainFetch

_READ_BYTES = 65_536
_NO_TIMER = Task(lambda: None)  # Of a request whose time the connection watches.
_NO_TIMER.state = TaskState.DONE


def make_client(**config: Any) -> KafkaNetClient:
    """Return a client for a ``KafkaConsumer`` whose calls run its network themselves.

    What arrives is read, decoded and applied by one thread. With a thread for the network, each poll had two
    hand-overs, and a hand-over takes up to a millisecond on a busy machine. Between calls nothing is read: what arrives
    waits in the socket.
    """
    loop = _CallersLoop(**config)
    return KafkaNetClient(net=loop, manager=_Manager(loop, **config), **config)


class _CallersLoop(NetworkSelector):  # type: ignore[misc]  # kafka-python has no types.
    def start(self) -> None:
        """Start no thread: without one, kafka-python runs the loop in whichever call waits."""

    def stay_readable(self, sock: Any, is_new: bool) -> KernelEvent:
        """Return what a task awaits to go on when a socket can be read; the socket stays registered in between."""
        return KernelEvent("_stay_readable", sock, is_new)

    def _stay_readable(self, sock: Any, is_new: bool) -> None:
        if is_new:
            self.register_event(sock, selectors.EVENT_READ, self._current)
        self._current.state = TaskState.WAIT_IO


class _Manager(KafkaConnectionManager):  # type: ignore[misc]
    async def _build_transport(self, node: Any, timeout_at: float | None = None) -> KafkaTCPTransport:
        transport = await super()._build_transport(node, timeout_at=timeout_at)
        # There is no option for the class.
        transport.__class__ = _DirectTLS if isinstance(transport, KafkaSSLTransport) else DirectTCP
        return transport


class DirectTCP(KafkaTCPTransport):  # type: ignore[misc]
    """A transport with fewer system calls: kafka-python's asks the kernel four things before each read and write.

    Packed fetch requests and their responses pass kafka-python's connection by, which takes a hundred calls for them.
    They stand in its queues all the same, so that it knows what is under way.
    """

    _writing: bool
    _watch: Task | None = None  # No __init__: the object was made as another.

    def send_fetch(self, request: PlainFetch) -> Future | None:
        """Send a request; None if the connection itself must send it, because it is being made or has others to send.

        As with kafka-python, the connection is closed if the response does not come in time; but there is one timer
        for all requests.
        """
        connection = self._protocol
        if (
            not connection.connected
            or connection.initializing
            or connection.paused
            or connection._reauth.is_reauthenticating
            or connection.parser.bytes_to_send
            or len(connection.in_flight_requests) + 1 >= connection.config["max_in_flight_requests_per_connection"]
        ):
            return None
        parser, future, sent_s = connection.parser, Future(), time.monotonic()
        timeout_at_s = connection._timeout_at(now=sent_s)
        request.with_header(parser._next_correlation_id(), parser._client_id)
        parser.in_flight_requests.append(request)
        connection.in_flight_requests.append((request.correlation_id, future, sent_s, timeout_at_s, _NO_TIMER))
        if self._watch is None:
            self._watch = self._net.call_at(timeout_at_s, self._check_times)
        self.write(request.encode(framed=True, header=True))
        return future

    def _check_times(self) -> None:
        self._watch = None
        connection = self._protocol
        if connection is None or connection.closed:
            return
        for _, future, sent_s, timeout_at_s, timer in connection.in_flight_requests:
            if timer is not _NO_TIMER:
                continue
            if timeout_at_s <= time.monotonic():
                connection._request_timed_out(future, sent_s, timeout_at_s)
            else:
                self._watch = self._net.call_at(timeout_at_s, self._check_times)
            return

    def _take_fetch(self, data: bytes) -> bool:
        """Take what came if it is the whole response to the oldest request, a packed one; return whether it is."""
        connection = self._protocol
        parser = connection.parser
        if parser is None or parser._receiving or parser._header.tell() or not parser.in_flight_requests:
            return False
        request, in_flight = parser.in_flight_requests[0], connection.in_flight_requests
        if type(request) is not PlainFetch or not in_flight or in_flight[0][0] != request.correlation_id:
            return False
        response = request.read_frame(data)
        if response is None or response.throttle_time_ms or connection.closed:
            return False
        parser.in_flight_requests.popleft()
        in_flight.popleft()[1].success(response)
        connection._reauth.on_response_processed()
        return True

    def write(self, data: bytes) -> None:
        """Write at once what the socket takes; the rest when it can be written."""
        if self._writing or self._closed or not self._write or not data:
            super().write(data)
            return
        self._write_buffer.append(data)
        self.last_write = time.monotonic()
        _, error = self._sock_send()
        if error is not None:
            self._net.call_soon(lambda: self.abort(error))  # Not here: the caller goes on with the connection.
        elif self._write_buffer:
            self._writing = True
            self._write_task = self._net.call_soon(self._write_to_sock)

    async def _read_from_sock(self) -> None:
        sock, is_new = self._sock, True
        try:
            while self._read and not self._closed:
                await self._net.stay_readable(sock, is_new)
                is_new = False
                data, error = self._sock_recv()
                if error is not None:
                    self.abort(error)
                    return
                self.last_read = time.monotonic()
                try:
                    if not self._take_fetch(data):
                        self._protocol.data_received(data)
                except KafkaProtocolError as protocol_error:
                    self.abort(protocol_error)
                    return
        finally:
            self._net.unregister_event(sock, selectors.EVENT_READ)

    def _sock_recv(self) -> tuple[bytes, Exception | None]:
        received = []
        try:
            while data := self._sock.recv(_READ_BYTES):
                received.append(data)
                if len(data) < _READ_BYTES:  # All that was there: asking again would be another system call.
                    break
            else:
                return b"".join(received), KafkaConnectionError("socket disconnected")
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            return b"".join(received), KafkaConnectionError(error)
        return b"".join(received), None


class _DirectTLS(DirectTCP, KafkaSSLTransport):  # type: ignore[misc]
    _sock_recv = KafkaSSLTransport._sock_recv  # A TLS record may wait where the kernel does not know of it.
