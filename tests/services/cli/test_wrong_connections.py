"""Every command that connects refuses wrong settings of the connection within seconds, and names setting and file."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from springtide.errors import BrokerError, SettingsError
from springtide_services.cli.app import app

COMMANDS = [["serve"], ["up"], ["publish", "events.jsonl"], ["rebuild", "--yes"]]
CHECK = ["check", "kafka"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    (tmp_path / "events.jsonl").write_text("")
    return tmp_path


def run(command: list[str], servers: str, options: str = "") -> str:
    Path("shop.toml").write_text(f'[kafka]\nbootstrap_servers = "{servers}"\n[kafka.client_options]\n{options}\n')
    started_s = time.monotonic()
    result = CliRunner().invoke(app, [*command, "--settings", "shop.toml"])
    assert time.monotonic() - started_s < 20.0, "said at once: a client by itself tries for 30 s and more"
    assert result.exit_code == 1
    if (command == CHECK and result.exception is None) or isinstance(result.exception, SystemExit):
        return result.output
    assert isinstance(result.exception, SettingsError | BrokerError), result.exception
    return str(result.exception)


@pytest.mark.parametrize("command", [*COMMANDS, CHECK], ids=" ".join)
@pytest.mark.parametrize(
    ("servers", "options", "words"),
    [
        ("127.0.0.1:9", 'securty_protocol = "SSL"', "kafka.client_options.securty_protocol: no option of that name"),
        ("127.0.0.1:9", 'ssl_cafile = "ca.pem"', "kafka.client_options.ssl_cafile: the file 'ca.pem' cannot be read"),
        ("localhost:abc", "", "kafka.bootstrap_servers: wanted a port from 1 to 65535, got 'abc'"),
    ],
)
def test_wrong_setting_is_refused(command: list[str], servers: str, options: str, words: str) -> None:
    message = run(command, servers, options)
    assert message.startswith("shop.toml: kafka.")
    assert words in message


@pytest.fixture
def web_server() -> Iterator[str]:
    """A port behind which an HTTP server answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        is_over = threading.Event()

        def answer() -> None:
            listener.settimeout(0.1)
            while not is_over.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    continue
                with connection:
                    connection.settimeout(1.0)
                    try:
                        if connection.recv(1_000):
                            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    except OSError:
                        continue

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        is_over.set()
        thread.join()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_what_answers_and_is_no_kafka_is_refused(command: list[str], web_server: str) -> None:
    message = run(command, web_server)
    assert message.startswith("shop.toml: ")
    assert "does not speak Kafka's protocol over PLAINTEXT" in message


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_tls_on_a_plaintext_listener_is_refused(command: list[str], broker: str) -> None:
    message = run(command, broker, 'security_protocol = "SSL"')
    assert message.startswith("shop.toml: ")
    assert "does not speak TLS" in message
    assert "set security_protocol in kafka.client_options" in message


def test_check_says_what_is_wrong_with_a_connection(broker: str) -> None:
    assert "does not speak TLS" in " ".join(run(CHECK, broker, 'security_protocol = "SSL"').split())


def test_the_embedded_broker_has_no_tls() -> None:
    assert "the embedded broker has no SSL" in run(["up"], "", 'security_protocol = "SSL"')


def test_wrong_option_is_refused_beside_the_embedded_broker() -> None:
    assert "no option of that name" in run(["up"], "", 'securty_protocol = "SSL"')
