"""A try at a connection: TCP, TLS and SASL with one bootstrap server, and why it fails."""

import contextlib
import socket
import struct
from collections.abc import Mapping
from typing import Any

from kafka.errors import (
    KafkaConfigurationError,
    KafkaConnectionError,
    KafkaError,
    KafkaProtocolError,
    KafkaTimeoutError,
    RequestTimedOutError,
)
from kafka.net.connection import KafkaConnection
from kafka.net.inet import create_connection
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector
from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport
from kafka.protocol.metadata import MetadataRequest

CLOSED = "socket disconnected"  # kafka-python's message when the broker closes the connection.
HANDSHAKE_FAILED = "Handshake failed"  # kafka-python's message when TLS fails; the class is KafkaConnectionError.
_SASL_HANDSHAKE, _UNSUPPORTED_MECHANISM = 17, 33  # A request's number, and an error's, in Kafka's protocol.
_API_VERSIONS_REQUEST = struct.pack(">ihhih", 10, 18, 0, 1, -1)  # Size, request, version, number, no client id.
_TLS_ALERT = b"\x15\x03"
_MAX_SHOWN_BYTES = 40
_PROBE_S = 0.5
_MAX_ANSWER_BYTES = 65_536
PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")


class SaslWantedError(KafkaError):  # type: ignore[misc]  # kafka-python has no types.
    """Raised when a listener takes only clients with a name, and the settings have none.

    Attributes:
        mechanisms: SASL mechanisms that the listener offers.
    """

    def __init__(self, mechanisms: tuple[str, ...]) -> None:
        super().__init__(f"the listener wants one of {', '.join(mechanisms)}")
        self.mechanisms = mechanisms


class NoAnswerError(KafkaConnectionError):  # type: ignore[misc]
    """Raised when a server takes the connection, and answers nothing in time."""


def try_handshake(config: Mapping[str, Any], timeout_s: float = 2.0) -> None:
    """Connect to the bootstrap servers in turn, until one takes the connection and answers; then close it again.

    kafka-python's clients retry a handshake until their timeout, whatever the reason, then raise KafkaTimeoutError and
    leak a thread. So this comes before a client is made: it takes milliseconds, and it says the reason.

    Args:
        config: The options of a kafka-python client.
        timeout_s: Longest wait for each server, in seconds.

    Raises:
        KafkaConfigurationError: If an option is wrong.
        KafkaError: If no server takes the connection. If the reasons differ, one that is not a lost or refused
            connection is raised.
    """
    protocol = config.get("security_protocol", "PLAINTEXT")
    if protocol not in PROTOCOLS:  # kafka-python takes any other word for PLAINTEXT.
        raise KafkaConfigurationError(f"security_protocol: no protocol {protocol!r} (choices: {', '.join(PROTOCOLS)})")
    _check_names(config, protocol)
    net = NetworkSelector(client_id=config["client_id"])
    try:
        manager = _Manager(net, **config)
        try:
            _try_all(manager, net, timeout_s)
        finally:
            manager.close()
            manager.close_sockets()
    finally:
        net.close()


def _check_names(config: Mapping[str, Any], protocol: str) -> None:
    if not protocol.startswith("SASL"):
        return
    mechanism = config.get("sasl_mechanism")
    if mechanism is None:
        raise KafkaConfigurationError(f"wanted sasl_mechanism, such as SCRAM-SHA-256, for {protocol}, got none")
    if mechanism == "PLAIN" or mechanism.startswith("SCRAM"):
        for option in ("sasl_plain_username", "sasl_plain_password"):
            if not config.get(option):
                raise KafkaConfigurationError(f"wanted {option} for {mechanism}, got none")


def _try_all(manager: "_Manager", net: NetworkSelector, timeout_s: float) -> None:
    reasons: list[KafkaError] = []
    for server in manager.cluster.bootstrap_brokers():
        try:
            if not manager.config["proxy_url"]:
                _check_port(server.host, server.port, timeout_s)
            net.run(_connect, manager, server.node_id, timeout_s)
            return
        except KafkaError as error:
            reasons.append(_explained(error, manager, server, timeout_s))
        except Exception as error:  # A file of certificates that is not there, and the like.
            raise KafkaConfigurationError(f"{type(error).__name__}: {error}") from error
    reasons.sort(key=lambda it: isinstance(it, KafkaConnectionError) and HANDSHAKE_FAILED not in str(it))
    raise reasons[0]


def _explained(error: KafkaError, manager: "_Manager", server: Any, timeout_s: float) -> KafkaError:
    """Return a better error, if the listener wants names of users, or is no Kafka's."""
    config = manager.config
    is_no_answer = isinstance(error, KafkaTimeoutError | RequestTimedOutError | KafkaProtocolError)
    if is_no_answer and not config["proxy_url"]:
        return _silence_explained(error, server, config["security_protocol"], timeout_s)
    if CLOSED not in str(error) or config["security_protocol"].startswith("SASL") or config["proxy_url"]:
        return error
    with contextlib.suppress(OSError, struct.error, UnicodeDecodeError):
        with socket.create_connection((server.host, server.port), timeout_s) as plain:
            connection = plain
            if config["security_protocol"] == "SSL":
                options = {name: value for name, value in config.items() if name.startswith("ssl_")}
                context = KafkaSSLTransport._build_ssl_context({**KafkaSSLTransport.DEFAULT_CONFIG, **options})
                connection = context.wrap_socket(plain, server_hostname=server.host)
            mechanisms = _ask_for_mechanisms(connection)
        if mechanisms:
            return SaslWantedError(mechanisms)
    return error


def _silence_explained(error: KafkaError, server: Any, protocol: str, timeout_s: float) -> KafkaError:
    """Return what a server is that did not answer: one that says something else than a Kafka, or nothing."""
    answer = b""
    with contextlib.suppress(OSError):
        if "SSL" not in protocol:
            with socket.create_connection((server.host, server.port), timeout_s) as connection:
                connection.settimeout(_PROBE_S)
                connection.sendall(_API_VERSIONS_REQUEST)
                answer = connection.recv(_MAX_SHOWN_BYTES)
    is_kafka = answer[4:8] == _API_VERSIONS_REQUEST[8:12]  # The request's number: a Kafka that is slow.
    if answer and not is_kafka and not answer.startswith(_TLS_ALERT):
        return KafkaProtocolError(f"it answers {answer!r}")
    if answer or isinstance(error, KafkaProtocolError):
        return error
    return NoAnswerError(f"it takes the connection, and answers nothing within {timeout_s:g} s")


def _ask_for_mechanisms(connection: socket.socket) -> tuple[str, ...]:
    """Ask for a SASL mechanism that does not exist, and return those that the listener names in its refusal.

    Raises:
        OSError: If the listener does not answer.
        struct.error: If it answers with something else.
    """
    wanted = b"NONE"
    request = struct.pack(">hhih", _SASL_HANDSHAKE, 1, 1, -1) + struct.pack(">h", len(wanted)) + wanted
    connection.sendall(struct.pack(">i", len(request)) + request)
    with connection.makefile("rb") as answers:
        (size,) = struct.unpack(">i", answers.read(4))
        if not 0 < size < _MAX_ANSWER_BYTES:
            return ()
        answer = answers.read(size)
    _, error_code, count = struct.unpack_from(">ihi", answer)
    if error_code != _UNSUPPORTED_MECHANISM:
        return ()
    mechanisms, at = [], 10
    for _ in range(count):
        (length,) = struct.unpack_from(">h", answer, at)
        mechanisms.append(answer[at + 2 : at + 2 + length].decode())
        at += 2 + length
    return tuple(mechanisms)


def _check_port(host: str, port: int, timeout_s: float) -> None:
    """Raise KafkaConnectionError if nothing takes connections there; kafka-python does not close such a socket."""
    try:
        socket.create_connection((host, port), timeout_s).close()
    except OSError as error:
        raise KafkaConnectionError(error.strerror or str(error)) from error


async def _connect(manager: "_Manager", node_id: str, timeout_s: float) -> None:
    timeout_ms = round(timeout_s * 1_000)
    connection: KafkaConnection = manager.get_connection(node_id, timeout_ms, refresh_metadata_on_err=False)
    # A TLS handshake of kafka-python has no timeout, and some servers wait for more bytes for ever.
    late = KafkaConnectionError(f"{HANDSHAKE_FAILED}: no answer within {timeout_s:g} s")
    manager._net.call_later(timeout_s, lambda: None if connection.connected else connection.close(late))
    await connection
    # A broker that wants SASL takes a connection without it, and closes it at the first request.
    await connection.send_request(MetadataRequest(topics=[]), request_timeout_ms=timeout_ms)


class _Manager(KafkaConnectionManager):  # type: ignore[misc]  # It has no types.
    """Connects as kafka-python does, with two differences.

    It reads what a broker sends just before it closes the connection: kafka-python 3.0 drops these bytes, and with them
    Kafka's reason for refusing a password. And it closes the sockets of handshakes that fail.
    """

    def __init__(self, net: NetworkSelector, **config: Any) -> None:
        super().__init__(net, **config)
        self._sockets: list[socket.socket] = []

    async def _build_transport(self, node: Any, timeout_at: float | None = None) -> KafkaTCPTransport:
        options, proxy = self.config["socket_options"], self.config["proxy_url"]
        connected = await create_connection(
            self._net, node.host, node.port, options, proxy_url=proxy, timeout_at=timeout_at
        )
        self._sockets.append(connected)
        if self.ssl_enabled:
            ssl_options = {name: value for name, value in self.config.items() if name.startswith("ssl_")}
            transport = KafkaSSLTransport(self._net, connected, host=node.host, **ssl_options)
        else:
            transport = KafkaTCPTransport(self._net, connected, host=node.host)
        self._sockets.append(transport._sock)
        try:
            await transport.handshake()
        except Exception as error:
            raise KafkaConnectionError(f"{HANDSHAKE_FAILED}: {error}") from error
        receive = transport._sock_recv

        def receive_all() -> tuple[bytes, Exception | None]:
            received, error = receive()
            return received, None if received else error  # The next read finds the connection closed again.

        transport._sock_recv = receive_all
        return transport

    def close_sockets(self) -> None:
        """Close the sockets that are still open."""
        for each in self._sockets:
            each.close()
