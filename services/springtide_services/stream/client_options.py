"""The settings of connections to Kafka, checked before anything connects: servers, and options of kafka-python."""

import contextlib
import difflib
import ipaddress
import math
import re
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

from springtide.errors import SettingsError
from springtide.settings.model import KafkaSettings
from springtide_services.stream.handshake import PROTOCOLS

_COMMON = (
    KafkaConsumer.DEFAULT_CONFIG.keys() & KafkaProducer.DEFAULT_CONFIG.keys() & KafkaAdminClient.DEFAULT_CONFIG.keys()
)
_ALL = {**KafkaAdminClient.DEFAULT_CONFIG, **KafkaProducer.DEFAULT_CONFIG, **KafkaConsumer.DEFAULT_CONFIG}
_OURS = {  # Options that Springtide sets by itself, with the setting that stands for them.
    "bootstrap_servers": "kafka.bootstrap_servers",
    "group_id": "kafka.group_id",
    "fetch_max_wait_ms": "kafka.fetch_max_wait_ms",
    "max_poll_records": "kafka.max_poll_records",
    **dict.fromkeys(("acks", "enable_idempotence", "transactional_id", "partitioner"), ""),
    **dict.fromkeys(("key_serializer", "value_serializer", "key_deserializer", "value_deserializer"), ""),
    **dict.fromkeys(("enable_auto_commit", "auto_offset_reset", "fetch_min_bytes", "isolation_level"), ""),
    **dict.fromkeys(("group_instance_id", "partition_assignment_strategy", "consumer_timeout_ms"), ""),
    **dict.fromkeys(("default_offset_commit_callback", "kafka_client", "selector", "metric_reporters"), ""),
}
_OF_OTHER_CLIENTS = {  # Names of Java's client and of librdkafka, with dots as underscores.
    "sasl_username": "sasl_plain_username",
    "sasl_password": "sasl_plain_password",
    "sasl_mechanisms": "sasl_mechanism",
    "ssl_ca_location": "ssl_cafile",
    "ssl_ca_cert": "ssl_cafile",
    "ssl_certificate_location": "ssl_certfile",
    "ssl_key_location": "ssl_keyfile",
    "ssl_key_password": "ssl_password",
    "ssl_truststore_location": "ssl_cafile",
    "ssl_keystore_location": "ssl_certfile",
    "ssl_endpoint_identification_algorithm": "ssl_check_hostname",
    "metadata_broker_list": "bootstrap_servers",
}
_FILES = ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_crlfile")
_CODECS = ("gzip", "snappy", "lz4", "zstd")
_WHOLE_OR_NONE = ("receive_buffer_bytes", "send_buffer_bytes")
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_MAX_PORT = 65_535
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_SCHEME = re.compile(r"^([A-Za-z_]+)://")

Origins = Mapping[tuple[str, ...], str]


def server_list(kafka: KafkaSettings) -> list[str]:
    """Return the bootstrap servers, each as ``host`` or ``host:port``, without spaces and protocols."""
    servers = (_SCHEME.sub("", server.strip()) for server in kafka.bootstrap_servers.split(","))
    return [server for server in servers if server]


def options_for(kafka: KafkaSettings, client: type | None = None) -> dict[str, Any]:
    """Return the options that a kind of client takes: those of a consumer would be refused by a producer.

    Args:
        kafka: The settings.
        client: KafkaConsumer or KafkaProducer; None for the options that all clients have.
    """
    known = _COMMON if client is None else client.DEFAULT_CONFIG  # type: ignore[attr-defined]
    return {name: value for name, value in kafka.client_options.items() if name in known or name not in _ALL}


def check_kafka_settings(kafka: KafkaSettings, origins: Origins) -> KafkaSettings:
    """Check what can be known without a broker, and return the settings with options of the right types.

    Environment variables are text: ``"500"`` becomes a number where an option wants one.

    Args:
        kafka: The settings.
        origins: File or environment variable that set each setting, by its path.

    Raises:
        SettingsError: If a server or an option is wrong; one line lists all problems, with settings and files.
    """
    problems = []
    protocol = kafka.client_options.get("security_protocol", "PLAINTEXT")
    for server in kafka.bootstrap_servers.split(","):
        problem = _server_problem(server.strip(), protocol)
        if problem:
            problems.append(_located(("kafka", "bootstrap_servers"), problem, origins))
    if kafka.bootstrap_servers and not problems and not server_list(kafka):
        problems.append(_located(("kafka", "bootstrap_servers"), "wanted host:port, got none", origins))
    for name, topic in (("topic", kafka.topic), ("dead_letter_topic", kafka.dead_letter_topic)):
        if not _TOPIC.fullmatch(topic) or topic in (".", ".."):
            wanted = "wanted 1 to 249 letters, digits, dots, underscores and hyphens"
            problems.append(_located(("kafka", name), f"{wanted}, got {topic!r}", origins))
    if kafka.topic == kafka.dead_letter_topic:
        words = f"wanted another topic than kafka.topic, which would be read again, got {kafka.topic!r}"
        problems.append(_located(("kafka", "dead_letter_topic"), words, origins))
    options: dict[str, Any] = {}
    for name, value in kafka.client_options.items():
        try:
            options[name] = _converted(name, value)
        except ValueError as error:
            problems.append(_located(("kafka", "client_options", name), str(error), origins))
    if not problems:
        for name, problem in _combined_problems(options):
            problems.append(_located(("kafka", "client_options", name), problem, origins))
    if problems:
        raise SettingsError("; ".join(problems))
    return kafka.model_copy(update={"client_options": options})


def _located(path: tuple[str, ...], problem: str, origins: Origins) -> str:
    # An option that is missing has no origin: its place is where the others are.
    is_option = len(path) > 2
    others = (origin for other, origin in origins.items() if is_option and other[:2] == path[:2])
    origin = origins.get(path) or next(others, "")
    return f"{origin}{origin and ': '}{'.'.join(path)}: {problem}"


def _server_problem(server: str, protocol: object) -> str:
    """Return what is wrong with a bootstrap server, or an empty text; no server, as after a last comma, is fine."""
    scheme = _SCHEME.match(server)
    if scheme is not None:
        name = scheme[1].upper()
        if name not in PROTOCOLS:
            return f"wanted host:port, got {server!r}"
        if name != protocol:
            return (
                f"{server!r} is for {name}, and kafka.client_options.security_protocol is {protocol}: set it to {name}"
            )
        server = server[scheme.end() :]
    if not server:
        return ""
    if any(letter.isspace() or letter in "/;@" for letter in server):
        return f"wanted host:port, with servers separated by commas, got {server!r}"
    host, port = server, ""
    if server.startswith("["):
        host, bracket, port = server[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            return f"wanted [IPv6]:port, got {server!r}"
        port = port.removeprefix(":") if port else ""
        is_numbered = server.endswith("]") or bool(port)
    elif server.count(":") > 1:
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(server)
            return ""
        return f"wanted host:port or [IPv6]:port, got {server!r}"
    else:
        host, colon, port = server.partition(":")
        is_numbered = not colon or bool(port)
    if not host:
        return f"wanted host:port, got {server!r}"
    if not is_numbered or (port and not (port.isascii() and port.isdigit() and 0 < int(port) <= _MAX_PORT)):
        return f"wanted a port from 1 to {_MAX_PORT}, got {port!r} in {server!r}"
    return ""


def _converted(name: str, value: Any) -> Any:
    """Return an option's value as kafka-python wants it.

    Raises:
        ValueError: If there is no such option, it is ours, or the value is of another kind; it says what was wanted.
    """
    if name in _OURS:
        instead = f"set {_OURS[name]}" if _OURS[name] else "leave it out"
        raise ValueError(f"Springtide sets this option itself ({instead})")
    if name not in _ALL:
        plain = name.lower().replace(".", "_").replace("-", "_")
        close = [plain] if plain in _ALL else difflib.get_close_matches(plain, _ALL, n=1)
        meant = _OF_OTHER_CLIENTS.get(plain) or (close[0] if close else "")
        hint = f"did you mean {meant}?" if meant else "choices: those of kafka-python's KafkaConsumer and KafkaProducer"
        raise ValueError(f"no option of that name ({hint})")
    default = _ALL[name]
    if name == "security_protocol":
        return _choice(value, PROTOCOLS)
    if name == "sasl_mechanism" and isinstance(value, str):
        return value.strip().upper()
    if name == "compression_type":
        return None if value in (None, "none") else _choice(value, _CODECS)
    if isinstance(default, bool):
        return _boolean(value)
    if isinstance(default, int | float) or name in _WHOLE_OR_NONE:
        return _number(value, is_whole=not (isinstance(default, float) and math.isfinite(default)))
    if name == "api_version":
        return _version(value)
    if (default is None or isinstance(default, str)) and name not in ("ssl_context", "sasl_oauth_token_provider"):
        if not isinstance(value, str):
            raise ValueError(f"wanted text, got {type(value).__name__}")  # The value may be a password.
        if name in _FILES:
            _check_file(value)
    return value


def _choice(value: Any, choices: Sequence[str]) -> str:
    if isinstance(value, str):
        for choice in choices:
            if choice.lower() == value.strip().lower():
                return choice
    raise ValueError(f"wanted one of {', '.join(choices)}, got {value!r}")


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in (*_TRUE, *_FALSE):
        return value.strip().lower() in _TRUE
    raise ValueError(f"wanted true or false, got {value!r}")


def _number(value: Any, *, is_whole: bool) -> int | float:
    found = value
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            found = int(value)
    if isinstance(found, str) and not is_whole:
        with contextlib.suppress(ValueError):
            found = float(found)
    if isinstance(found, bool) or not isinstance(found, int if is_whole else int | float) or not 0 <= found < 2**31:
        raise ValueError(f"wanted a {'whole ' if is_whole else ''}number of at least 0, got {value!r}")
    return found


def _version(value: Any) -> tuple[int, ...] | None:
    parts = value.split(".") if isinstance(value, str) else value
    try:
        return None if value in (None, "auto") else tuple(int(part) for part in parts)
    except (TypeError, ValueError):
        raise ValueError(f"wanted a version such as [2, 8] or '2.8', got {value!r}") from None


def _check_file(name: str) -> None:
    path = Path(name)
    try:
        if path.is_dir():
            raise ValueError(f"wanted a file, got the folder {name!r}")
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise ValueError(f"the file {name!r} cannot be read: {error.strerror or error}") from error


def _combined_problems(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what is wrong with options together: names of users, certificates and their keys."""
    protocol, mechanism = options.get("security_protocol", "PLAINTEXT"), options.get("sasl_mechanism")
    problems: list[tuple[str, str]] = []
    if protocol.startswith("SASL"):
        if mechanism is None:
            problems.append(("sasl_mechanism", f"wanted one, such as SCRAM-SHA-256, for {protocol}, got none"))
        elif mechanism == "PLAIN" or mechanism.startswith("SCRAM"):
            names = [name for name in ("sasl_plain_username", "sasl_plain_password") if not options.get(name)]
            problems += [(name, f"wanted one for {mechanism}, got none") for name in names]
    elif mechanism is not None and "security_protocol" not in options:
        wanted = f"wanted SASL_SSL or SASL_PLAINTEXT for sasl_mechanism {mechanism}, got none"
        problems.append(("security_protocol", wanted))
    if "SSL" in protocol:
        problems += _tls_problems(options)
    return problems


def _tls_problems(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Read the certificates and the key as a connection will."""
    if options.get("ssl_context") is not None:
        return []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    problems: list[tuple[str, str]] = []
    for name in ("ssl_cafile", "ssl_crlfile"):
        file = options.get(name)
        try:
            if file:
                context.load_verify_locations(file)
        except (ssl.SSLError, OSError) as error:
            problems.append((name, f"wanted certificates in PEM, got another file, {file!r}: {_reason(error)}"))
    certificate, key, password = (options.get(name) for name in ("ssl_certfile", "ssl_keyfile", "ssl_password"))
    if not certificate:
        return [*problems, ("ssl_certfile", "wanted the certificate of ssl_keyfile, got none")] if key else problems
    asked: list[bool] = []

    def give_password() -> str:  # Without it, OpenSSL would ask at the terminal.
        asked.append(True)
        return password or ""

    try:
        context.load_cert_chain(certificate, key, give_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        if asked:
            which = "it does not fit" if password else "got none"
            problems.append(("ssl_password", f"wanted the password of the key in {key or certificate!r}: {which}"))
        else:
            files = f"{certificate!r}" + (f" and {key!r}" if key else "")
            fit = "a certificate and its private key in PEM"
            problems.append(("ssl_keyfile" if key else "ssl_certfile", f"wanted {fit}, got {files}: {_reason(error)}"))
    return problems


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason).replace("_", " ").lower() if reason else str(error)
