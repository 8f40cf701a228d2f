"""kafka-python's network, run by the thread that reads the events instead of a thread of its own."""

import selectors
import time
from typing import Any

from kafka.errors import KafkaConnectionError, KafkaProtocolError
from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import KernelEvent, NetworkSelector, TaskState
from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport

_READ_BYTES = 65_536


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
        transport.__class__ = _DirectTLS if isinstance(transport, KafkaSSLTransport) else _DirectTCP
        return transport


class _DirectTCP(KafkaTCPTransport):  # type: ignore[misc]
    """A transport with fewer system calls: kafka-python's asks the kernel four things before each read and write."""

    _writing: bool

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


class _DirectTLS(_DirectTCP, KafkaSSLTransport):  # type: ignore[misc]
    _sock_recv = KafkaSSLTransport._sock_recv  # A TLS record may wait where the kernel does not know of it.
