"""Wrong settings of a connection are refused before anything connects, with the setting, the file and the way out."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

from springtide.errors import SettingsError
from springtide.settings.load import load_settings
from springtide.settings.model import KafkaSettings
from springtide_services.stream.client_options import check_kafka_settings, options_for, server_list
from springtide_services.stream.topics import client_config

FILE = "shop.toml"
SCRAM = {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-256"}
USER = {"sasl_plain_username": "ann", "sasl_plain_password": "secret"}


def checked(servers: str = "kafka:9092", **options: object) -> Mapping[str, object]:
    kafka = KafkaSettings(bootstrap_servers=servers, client_options=options)
    return check_kafka_settings(kafka, {}).client_options


def refusal(servers: str = "kafka:9092", **options: object) -> str:
    kafka = KafkaSettings(bootstrap_servers=servers, client_options=options)
    origins = {("kafka", "bootstrap_servers"): FILE}
    origins |= {("kafka", "client_options", name): FILE for name in options}
    with pytest.raises(SettingsError) as refused:
        check_kafka_settings(kafka, origins)
    assert "secret" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    "servers",
    [
        "kafka",
        "kafka:9092",
        "a:1,b:65535, c:9092 ,",
        "10.0.0.1:9092",
        "[::1]:9092",
        "[fe80::1]",
        "::1",
        "PLAINTEXT://kafka:9092",
        "broker-1.kafka.svc.cluster.local.:9092",
        "",
    ],
)
def test_good_servers_are_taken(servers: str) -> None:
    checked(servers)


@pytest.mark.parametrize(
    ("servers", "words"),
    [
        ("localhost:abc", "wanted a port from 1 to 65535, got 'abc' in 'localhost:abc'"),
        ("localhost:0", "got '0'"),
        ("localhost:70000", "got '70000'"),
        ("localhost:", "got ''"),
        ("localhost:-1", "got '-1'"),
        ("localhost:٩٠٩٢", "wanted a port"),
        (":9092", "wanted host:port, got ':9092'"),
        ("a:9092 b:9092", "separated by commas"),
        ("a:9092;b:9092", "separated by commas"),
        ("a:9092,b:abc,c:9092", "got 'abc' in 'b:abc'"),
        ("[::1:9092", "wanted [IPv6]:port"),
        ("[::1]9092", "wanted [IPv6]:port"),
        ("[::1]:x", "wanted a port"),
        ("a:b:9092", "wanted host:port or [IPv6]:port"),
        ("http://kafka:9092", "wanted host:port, got 'http://kafka:9092'"),
        ("kafka:9092/topic", "wanted host:port"),
        ("SSL://kafka:9093", "is for SSL, and kafka.client_options.security_protocol is PLAINTEXT: set it"),
        (" , ", "wanted host:port, got none"),
    ],
)
def test_bad_server_is_named_with_its_file(servers: str, words: str) -> None:
    message = refusal(servers)
    assert message.startswith(f"{FILE}: kafka.bootstrap_servers: ")
    assert words in message


def test_servers_are_given_to_the_clients_without_spaces_and_protocols() -> None:
    kafka = KafkaSettings(bootstrap_servers=" a:1 ,PLAINTEXT://b:2,, [::1]:3,")
    assert server_list(kafka) == ["a:1", "b:2", "[::1]:3"]
    assert client_config(kafka)["bootstrap_servers"] == ["a:1", "b:2", "[::1]:3"]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("securty_protocol", "SSL", "no option of that name (did you mean security_protocol?)"),
        ("security.protocol", "SSL", "did you mean security_protocol?"),
        ("SSL_CAFILE", "x", "did you mean ssl_cafile?"),
        ("sasl.username", "ann", "did you mean sasl_plain_username?"),
        ("ssl.ca.location", "x", "did you mean ssl_cafile?"),
        ("ssl.truststore.location", "x", "did you mean ssl_cafile?"),
        ("frobnicate", 1, "no option of that name"),
        ("bootstrap_servers", "a:1", "set kafka.bootstrap_servers"),
        ("group_id", "x", "set kafka.group_id"),
        ("max_poll_records", 5, "set kafka.max_poll_records"),
        ("fetch_max_wait_ms", 5, "set kafka.fetch_max_wait_ms"),
        ("isolation_level", "read_uncommitted", "Springtide sets this option itself (leave it out)"),
        ("value_deserializer", "json", "leave it out"),
        ("acks", 0, "leave it out"),
        ("security_protocol", "TLS", "wanted one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL, got 'TLS'"),
        ("security_protocol", 5, "wanted one of PLAINTEXT"),
        ("compression_type", "brotli", "wanted one of gzip, snappy, lz4, zstd, got 'brotli'"),
        ("request_timeout_ms", "abc", "wanted a whole number of at least 0, got 'abc'"),
        ("request_timeout_ms", 1.5, "wanted a whole number"),
        ("request_timeout_ms", -5, "wanted a whole number"),
        ("request_timeout_ms", True, "wanted a whole number"),
        ("receive_buffer_bytes", "many", "wanted a whole number"),
        ("ssl_check_hostname", "maybe", "wanted true or false, got 'maybe'"),
        ("ssl_cafile", 7, "wanted text, got int"),
        ("sasl_plain_password", 7, "wanted text, got int"),
        ("api_version", "new", "wanted a version such as [2, 8] or '2.8', got 'new'"),
        ("ssl_cafile", "/no/such/ca.pem", "the file '/no/such/ca.pem' cannot be read: No such file or directory"),
        ("ssl_keyfile", "/", "wanted a file, got the folder '/'"),
    ],
)
def test_bad_option_is_named_with_its_file(name: str, value: object, words: str) -> None:
    message = refusal(**{name: value})
    assert message.startswith(f"{FILE}: kafka.client_options.{name}: ")
    assert words in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"security_protocol": "SASL_SSL"},
            "sasl_mechanism: wanted one, such as SCRAM-SHA-256, for SASL_SSL",
        ),
        (SCRAM, "sasl_plain_username: wanted one for SCRAM-SHA-256, got none"),
        ({**SCRAM, "sasl_plain_username": "ann"}, "sasl_plain_password: wanted one for SCRAM-SHA-256, got none"),
        ({"sasl_mechanism": "PLAIN", **USER}, "security_protocol: wanted SASL_SSL or SASL_PLAINTEXT"),
        ({"security_protocol": "SSL", "ssl_keyfile": __file__}, "ssl_certfile: wanted the certificate of ssl_keyfile"),
        ({"security_protocol": "SSL", "ssl_cafile": __file__}, "ssl_cafile: wanted certificates in PEM, got another"),
        ({"security_protocol": "SSL", "ssl_certfile": __file__}, "ssl_certfile: wanted a certificate and its private"),
    ],
)
def test_options_that_do_not_go_together_are_named(options: Mapping[str, object], words: str) -> None:
    message = refusal(**options)
    assert words in message
    assert message.startswith(f"{FILE}: kafka.client_options.")


def test_all_problems_are_named_at_once() -> None:
    message = refusal("a:x,b:y", securty_protocol="SSL", request_timeout_ms="abc")
    for words in ("'a:x'", "'b:y'", "securty_protocol", "request_timeout_ms"):
        assert words in message


def test_texts_of_environment_variables_become_what_options_want(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    prefix = "SPRINGTIDE_KAFKA__CLIENT_OPTIONS__"
    for name, value in {
        "REQUEST_TIMEOUT_MS": "5000",
        "SSL_CHECK_HOSTNAME": "False",
        "SECURITY_PROTOCOL": "ssl",
        "API_VERSION": "2.8",
        "CLIENT_ID": "12",
    }.items():
        monkeypatch.setenv(prefix + name, value)
    loaded = load_settings()
    options = check_kafka_settings(loaded.settings.kafka, loaded.origins).client_options
    assert options == {
        "request_timeout_ms": 5_000,
        "ssl_check_hostname": False,
        "security_protocol": "SSL",
        "api_version": (2, 8),
        "client_id": "12",
    }
    monkeypatch.setenv(f"{prefix}REQUEST_TIMEOUT_MS", "abc")
    loaded = load_settings()
    with pytest.raises(SettingsError, match=f"^{prefix}REQUEST_TIMEOUT_MS: kafka.client_options.request_timeout_ms: "):
        check_kafka_settings(loaded.settings.kafka, loaded.origins)


def test_each_client_gets_the_options_that_it_takes() -> None:
    options = checked(client_id="x", fetch_max_bytes=1_000, linger_ms=5, max_request_size=10, ssl_ciphers="HIGH")
    kafka = KafkaSettings(client_options=options)
    assert options_for(kafka) == {"client_id": "x"}
    assert options_for(kafka, KafkaAdminClient) == {"client_id": "x"}
    assert options_for(kafka, KafkaConsumer) == {"client_id": "x", "fetch_max_bytes": 1_000, "ssl_ciphers": "HIGH"}
    expected = {"client_id": "x", "linger_ms": 5, "max_request_size": 10, "ssl_ciphers": "HIGH"}
    assert options_for(kafka, KafkaProducer) == expected


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate, its key, the key with a password, and another key."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("pems")

    def run(*words: str) -> None:
        subprocess.run([program, *words], check=True, capture_output=True, cwd=folder)

    new = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-days", "2")
    run(*new, "-keyout", "key.pem", "-out", "cert.pem")
    run(*new, "-keyout", "other.pem", "-out", "other-cert.pem")
    run("rsa", "-in", "key.pem", "-aes128", "-passout", "pass:secret", "-out", "locked.pem")
    return folder


def test_certificate_and_key_are_read_as_a_connection_will(pems: Path) -> None:
    tls = {"security_protocol": "SSL", "ssl_cafile": str(pems / "cert.pem"), "ssl_certfile": str(pems / "cert.pem")}
    checked(**tls, ssl_keyfile=str(pems / "key.pem"))
    checked(**tls, ssl_keyfile=str(pems / "locked.pem"), ssl_password="secret")
    locked = refusal(**tls, ssl_keyfile=str(pems / "locked.pem"))
    assert "ssl_password: wanted the password of the key in " in locked
    assert "got none" in locked
    assert "it does not fit" in refusal(**tls, ssl_keyfile=str(pems / "locked.pem"), ssl_password="other")
    assert "key values mismatch" in refusal(**tls, ssl_keyfile=str(pems / "other.pem"))
    assert "wanted a certificate and its private key in PEM" in refusal(**tls)


@pytest.mark.parametrize(
    ("topics", "words"),
    [
        ({"topic": "shop events"}, "kafka.topic: wanted 1 to 249 letters, digits"),
        ({"topic": ""}, "kafka.topic: wanted 1 to 249 letters"),
        ({"dead_letter_topic": "x" * 250}, "kafka.dead_letter_topic: wanted 1 to 249 letters"),
        ({"topic": "a", "dead_letter_topic": "a"}, "kafka.dead_letter_topic: wanted another topic than kafka.topic"),
    ],
)
def test_topics_that_cannot_be_are_named(topics: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        check_kafka_settings(KafkaSettings(bootstrap_servers="a:1", **topics), {})


def test_servers_may_be_a_list(tmp_path: Path) -> None:
    file = tmp_path / "shop.toml"
    file.write_text('[kafka]\nbootstrap_servers = ["a:1", "b:2"]\n')
    assert load_settings(file).settings.kafka.bootstrap_servers == "a:1,b:2"
