"""A handshake says within moments why there is no connection, in words that name the way out."""

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest

from springtide.errors import BrokerError
from springtide.settings.model import KafkaSettings
from springtide_services.addresses import free_port
from springtide_services.stream.broker_errors import BrokerProblemError
from springtide_services.stream.topics import check_connection, wait_for_broker


def _refusal(servers: str, **client_options: object) -> BrokerProblemError:
    started_s = time.monotonic()
    with pytest.raises(BrokerProblemError) as refused:
        check_connection(KafkaSettings(bootstrap_servers=servers, client_options=client_options))
    assert time.monotonic() - started_s < 20.0, "said at once: a client by itself tries for 30 s and more"
    return refused.value


def _listener(name: str) -> str:
    servers = os.environ.get(f"KAFKA_{name}_BOOTSTRAP_SERVERS", "")
    if not servers:
        pytest.skip(f"wanted KAFKA_{name}_BOOTSTRAP_SERVERS, a listener of a real Kafka")
    return servers


def _scram(**others: object) -> dict[str, object]:
    return {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": os.environ.get("KAFKA_USERNAME"),
        "sasl_plain_password": os.environ.get("KAFKA_PASSWORD"),
        **others,
    }


def test_broker_that_answers_is_connected_to_and_no_thread_stays(broker: str) -> None:
    before = threading.active_count()
    check_connection(KafkaSettings(bootstrap_servers=broker))
    check_connection(KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()},{broker}"))
    assert threading.active_count() == before


def test_port_without_a_broker_is_unreachable_and_may_heal() -> None:
    refused = _refusal(f"127.0.0.1:{free_port()}")
    assert refused.problem.heals
    assert "no broker answers on 127.0.0.1" in str(refused)


def test_server_that_is_not_kafka_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            listener.accept()[0].close()  # The look whether the port is open.
            connection, _ = listener.accept()
            connection.recv(1_000)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        refused = _refusal(f"127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    assert refused.problem.kind == "protocol"
    assert "does not speak Kafka's protocol" in str(refused)


def test_tls_where_the_listener_has_none_is_named(broker: str) -> None:
    refused = _refusal(broker, security_protocol="SSL")
    assert refused.problem.kind == "tls"
    assert "security_protocol" in str(refused)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"security_protocol": "TLS"}, "no protocol 'TLS'"),
        ({"security_protocol": "SASL_SSL"}, "wanted sasl_mechanism"),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"}, "wanted sasl_plain_username"),
        ({"security_protocol": "SSL", "ssl_cafile": "/no/such/file"}, "FileNotFoundError"),
    ],
)
def test_wrong_option_is_named(options: dict[str, object], words: str, broker: str) -> None:
    refused = _refusal(broker, **options)
    assert refused.problem.kind == "settings"
    assert words in str(refused)


def test_waiting_for_a_broker_ends_at_once_if_waiting_does_not_help(broker: str) -> None:
    wrong = KafkaSettings(bootstrap_servers=broker, client_options={"security_protocol": "TLS"})
    started_s = time.monotonic()
    with pytest.raises(BrokerError, match="no protocol 'TLS'"):
        wait_for_broker(wrong, 30.0)
    assert time.monotonic() - started_s < 20.0


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"sasl_plain_password": "wrong"}, "authentication", "refuses the name or password of user"),
        ({"sasl_mechanism": "PLAIN"}, "authentication", "does not take the SASL mechanism 'PLAIN'"),
        ({"security_protocol": "PLAINTEXT"}, "authentication", "set it to SASL_PLAINTEXT, sasl_mechanism to one of "),
    ],
)
def test_scram_listener_says_what_it_refuses(options: dict[str, object], kind: str, words: str) -> None:
    refused = _refusal(_listener("SASL_PLAINTEXT"), **_scram(**options))
    assert refused.problem.kind == kind
    assert words in str(refused)
    assert "wrong" not in str(refused), "no password is shown"


@pytest.mark.kafka
def test_scram_where_the_listener_has_no_users_is_named(broker: str) -> None:
    _listener("SASL_PLAINTEXT")
    refused = _refusal(broker, **_scram())
    assert refused.problem.kind == "authentication"
    assert "knows no users" in str(refused)


@pytest.mark.kafka
def test_certificate_of_an_unknown_authority_is_named() -> None:
    servers = _listener("SSL")
    refused = _refusal(servers, security_protocol="SSL")
    assert refused.problem.kind == "tls"
    assert "certificate verify failed" in str(refused)
    assert "ssl_cafile" in str(refused)
    check_connection(
        KafkaSettings(
            bootstrap_servers=servers,
            client_options={"security_protocol": "SSL", "ssl_cafile": str(Path(os.environ["KAFKA_CA_FILE"]))},
        )
    )


@pytest.mark.kafka
def test_plaintext_to_a_tls_listener_is_named() -> None:
    refused = _refusal(_listener("SSL"))
    assert refused.problem.kind == "protocol"
    assert "TLS listener" in str(refused)


def test_certificate_for_another_name_is_named(tmp_path: Path) -> None:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("needs openssl")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=kafka.example"]
    command += ["-addext", "subjectAltName=DNS:kafka.example", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            listener.accept()[0].close()  # The look whether the port is open.
            connection, _ = listener.accept()
            with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
                secure.recv(1_000)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        servers = f"127.0.0.1:{listener.getsockname()[1]}"
        refused = _refusal(servers, security_protocol="SSL", ssl_cafile=str(certificate))
        thread.join()
    assert refused.problem.kind == "tls"
    assert "certificate is not valid for '127.0.0.1'" in str(refused)
    assert "name the broker as the certificate does" in str(refused)


def test_one_wrong_server_of_three_does_no_harm(broker: str) -> None:
    check_connection(KafkaSettings(bootstrap_servers=f"no.such.host.invalid:9092, {broker},127.0.0.1:{free_port()},"))


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (b"<!DOCTYPE HTML><html>", "protocol", "it answers b'<!DOCTYPE HTML><html>'"),
        (
            b"",
            "unreachable",
            "it takes the connection, and answers nothing within 2 s; it is starting",
        ),
    ],
)
def test_server_that_keeps_the_connection_is_named(answer: bytes, kind: str, words: str) -> None:
    connections = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def take_all() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connections.append(connection)
                    if answer:
                        connection.sendall(answer)  # A size of a gigabyte, to a Kafka client.

        threading.Thread(target=take_all, daemon=True).start()
        started_s = time.monotonic()
        with pytest.raises(BrokerProblemError) as refused:
            check_connection(KafkaSettings(bootstrap_servers=f"127.0.0.1:{listener.getsockname()[1]}"))
        assert time.monotonic() - started_s < 20.0
    for connection in connections:
        connection.close()
    assert refused.value.problem.kind == kind
    assert words in str(refused.value)
