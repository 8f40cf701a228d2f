"""Why the stream does not go on: one table from errors to a sentence that says what is wrong, and the way out."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from kafka import errors

from springtide.errors import BrokerError, OffsetsLostError
from springtide.settings.model import KafkaSettings
from springtide_services.stream.handshake import CLOSED, HANDSHAKE_FAILED, NoAnswerError, SaslWantedError
from springtide_services.stream.record_batches import Damage

Kind = Literal[
    "unreachable",
    "settings",
    "authentication",
    "authorization",
    "tls",
    "protocol",
    "codec",
    "damaged",
    "poison",
    "plugin",
    "topic",
    "dead_letters",
    "disk",
    "offsets_lost",
    "internal",
]

_LIBRARIES = {"zstd": "zstandard", "lz4": "lz4", "snappy": "python-snappy"}
_BAD_CHECKSUM = "failed crc check"  # Of ours and of kafka-python's message.
_MAX_DETAIL = 300  # Some of kafka-python's messages hold a whole request.


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the stream does not go on.

    Attributes:
        kind: What is wrong, in a word for programs.
        message: What is wrong, and the way out, for people.
    """

    kind: Kind
    message: str

    @property
    def heals(self) -> bool:
        """Whether waiting is likely to help: the broker is away, and nothing is set wrongly."""
        return self.kind == "unreachable"


class BrokerProblemError(BrokerError):
    """Raised when the broker does not do what it is asked, with the reason in words.

    Attributes:
        problem: The reason.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Need:
    """Rights that a request needs.

    Attributes:
        resource: Kind of the resource: ``topic`` or ``group``.
        name: The resource's name.
        operations: The operations, in the words of `kafka-acls`.
    """

    resource: Literal["topic", "group"]
    name: str
    operations: tuple[str, ...]

    def grant_command(self, kafka: KafkaSettings) -> str:
        """Return the command that gives these rights to the user of the settings."""
        user = kafka.client_options.get("sasl_plain_username") or "NAME"
        words = ["kafka-acls", "--bootstrap-server", kafka.bootstrap_servers.split(",")[0], "--add"]
        words += ["--allow-principal", f"User:{user}"]
        for operation in self.operations:
            words += ["--operation", operation]
        return shlex.join([*words, f"--{self.resource}", self.name])


def to_read(kafka: KafkaSettings) -> Need:
    """Return the rights to read the events topic."""
    return Need("topic", kafka.topic, ("Read", "Describe"))


def to_write_dead_letters(kafka: KafkaSettings) -> Need:
    """Return the rights to write to the dead-letter topic; ``Create`` only makes it if it is missing."""
    return Need("topic", kafka.dead_letter_topic, ("Write", "Create"))


def explain(error: BaseException, kafka: KafkaSettings, need: Need | None = None) -> Problem:
    """Return in words why a request to the broker failed.

    Args:
        error: The error: kafka-python's, or ours.
        kafka: The settings of the client.
        need: The rights that the request needs; those to read the events topic if None.
    """
    if isinstance(error, BrokerProblemError):
        return error.problem
    if isinstance(error, errors.KafkaConnectionError) and HANDSHAKE_FAILED in str(error):
        return Problem("tls", _tls(error, kafka))
    for kinds, kind, describe in _TABLE:
        if isinstance(error, kinds):
            return Problem(kind, describe(error, kafka, need or to_read(kafka)))
    if isinstance(error, errors.KafkaError) and "AuthorizationFailed" in str(error):  # A producer wraps it.
        return Problem("authorization", _authorization(error, kafka, need or to_read(kafka)))
    if isinstance(error, errors.KafkaError):
        name = type(error).__name__.removesuffix("Error")
        return Problem("protocol", f"the broker refuses a request ({name}): {_detail(error)}")
    return Problem("internal", f"an unexpected error, please report it: {type(error).__name__}: {_detail(error)}")


def explain_damage(damage: Damage, kafka: KafkaSettings) -> Problem:
    """Return in words why a partition cannot be read on, and the way out."""
    error, last = damage.error, damage.next_offset - 1
    which = f"record {damage.offset} of" if last <= damage.offset else f"records {damage.offset} to {last} of"
    where = f"{which} partition {damage.partition} of topic {kafka.topic!r}"
    if is_missing_library(error):
        codec = next((codec for codec in _LIBRARIES if codec in str(error)), "")
        library = _LIBRARIES.get(codec, "the codec's library")
        message = f"{where} are compressed with {codec or 'a codec'}, and its library is not installed"
        return Problem("codec", f"{message} (install {library}, then restart; the other partitions are read on)")
    detail = _detail(error)
    if _BAD_CHECKSUM in detail:
        detail = "the batch's checksum is wrong"
    elif isinstance(error, errors.UnsupportedCodecError):
        detail = f"no known codec ({detail})"
    elif not isinstance(error, errors.KafkaError):
        detail = f"the batch cannot be decompressed: {type(error).__name__}: {detail}"
    message = f"{where} cannot be read: {detail}. The partition is tried again, the other partitions are read on"
    if damage.has_bytes:
        return Problem("damaged", f"{message} (if that does not help, the batch goes to the dead letters as it is)")
    return Problem(
        "damaged", f'{message} (to go on without them: springtide serve --skip-lost, or kafka.on_lost = "skip")'
    )


def is_missing_library(error: Exception) -> bool:
    """Return whether a batch cannot be read only because its codec's library is not installed."""
    return isinstance(error, errors.UnsupportedCodecError) and "not found" in str(error)


def _detail(error: BaseException) -> str:
    """Return the error's own words: without its class and number, and without a request that it was raised for."""
    text = str(error).split("\n", 1)[0]
    name = type(error).__name__
    for prefix in (f"[Error {getattr(error, 'errno', '')}] ", f"{name}: ", f"{name}: "):
        text = text.removeprefix(prefix)
    text = text.split("Request(", 1)[0] if "Request(" in text else text
    return (text[:_MAX_DETAIL] + "…" if len(text) > _MAX_DETAIL else text) or name


def _user(kafka: KafkaSettings) -> str:
    user = kafka.client_options.get("sasl_plain_username")
    return "the client without a name" if user is None else f"user {user!r}"


def _protocol(kafka: KafkaSettings) -> str:
    return str(kafka.client_options.get("security_protocol", "PLAINTEXT"))


def _unreachable(error: BaseException, kafka: KafkaSettings, need: Need) -> str:
    if isinstance(error, errors.BrokerResponseError) and not isinstance(error, errors.RequestTimedOutError):
        name = type(error).__name__.removesuffix("Error")
        return f"the broker cannot serve {need.resource} {need.name!r} now ({name}): {error.description}"
    return f"no broker answers on {kafka.bootstrap_servers} (kafka.bootstrap_servers): {_detail(error)}"


def _no_answer(error: BaseException, kafka: KafkaSettings, _need: Need) -> str:
    return (
        f"no Kafka answers on {kafka.bootstrap_servers} (kafka.bootstrap_servers): {_detail(error)}; it is starting, "
        f"or does not speak {_protocol(kafka)} (security_protocol in kafka.client_options), or is no Kafka"
    )


def _connection(error: BaseException, kafka: KafkaSettings, need: Need) -> str:
    if CLOSED in str(error):
        return (
            f"the broker on {kafka.bootstrap_servers} closes the connection: it is starting, or the listener does not "
            f"speak {_protocol(kafka)} (set security_protocol in kafka.client_options to the listener's protocol)"
        )
    return _unreachable(error, kafka, need)


def _authentication(error: BaseException, kafka: KafkaSettings, _need: Need) -> str:
    return (
        f"the broker refuses the name or password of {_user(kafka)} ({kafka.client_options.get('sasl_mechanism')}): "
        f"{_detail(error)} (set sasl_plain_username and sasl_plain_password in kafka.client_options)"
    )


def _mechanism(_error: BaseException, kafka: KafkaSettings, _need: Need) -> str:
    return (
        f"the broker does not take the SASL mechanism {kafka.client_options.get('sasl_mechanism')!r} on "
        f"{kafka.bootstrap_servers} (set sasl_mechanism in kafka.client_options to one that the listener offers)"
    )


def _no_sasl(_error: BaseException, kafka: KafkaSettings, _need: Need) -> str:
    return (
        f"the listener on {kafka.bootstrap_servers} knows no users, and security_protocol is {_protocol(kafka)} "
        "(set it to PLAINTEXT or SSL, or name the SASL listener in kafka.bootstrap_servers)"
    )


def _wants_sasl(error: BaseException, kafka: KafkaSettings, _need: Need) -> str:
    mechanisms = error.mechanisms if isinstance(error, SaslWantedError) else ()
    wanted = "SASL_SSL" if _protocol(kafka) == "SSL" else "SASL_PLAINTEXT"
    return (
        f"the listener on {kafka.bootstrap_servers} takes only named users, and security_protocol is "
        f"{_protocol(kafka)} (in kafka.client_options, set it to {wanted}, sasl_mechanism to one of "
        f"{', '.join(mechanisms)}, and sasl_plain_username and sasl_plain_password)"
    )


def _authorization(_error: BaseException, kafka: KafkaSettings, need: Need) -> str:
    operations = " and ".join(need.operations)
    return (
        f"{_user(kafka)} may not {operations} {need.resource} {need.name!r}; to allow it: {need.grant_command(kafka)}"
    )


def _tls(error: BaseException, kafka: KafkaSettings) -> str:
    detail = _detail(error).removeprefix(f"{HANDSHAKE_FAILED}: ")
    if "EOF" in detail or "WRONG_VERSION" in detail or "no answer" in detail:
        return (
            f"the listener on {kafka.bootstrap_servers} does not speak TLS, and security_protocol is "
            f"{_protocol(kafka)}: {detail} (set security_protocol in kafka.client_options to the listener's protocol)"
        )
    return (
        f"no TLS connection to {kafka.bootstrap_servers}: {detail} (set ssl_cafile in kafka.client_options to the file "
        "of the authority that signed the broker's certificate, and name the broker as the certificate does)"
    )


def _frame(error: BaseException, kafka: KafkaSettings, _need: Need) -> str:
    detail = _detail(error)
    seen = f": {detail}" if detail.startswith("it answers") else ""
    return (
        f"what answers on {kafka.bootstrap_servers} does not speak Kafka's protocol over {_protocol(kafka)}{seen}; it "
        "may be a TLS listener (set security_protocol in kafka.client_options to the listener's protocol), or no Kafka"
    )


def _version(error: BaseException, _kafka: KafkaSettings, _need: Need) -> str:
    return f"the broker's version does not have a request that is needed: {_detail(error)}"


def _settings(error: BaseException, _kafka: KafkaSettings, _need: Need) -> str:
    return f"an option in kafka.client_options is wrong: {_detail(error)}"


def _codec(error: BaseException, kafka: KafkaSettings, _need: Need) -> str:
    return (
        f"topic {kafka.topic!r} has records that are compressed with a codec whose library is not installed: "
        f"{_detail(error)} (install zstandard for zstd, lz4 for lz4, python-snappy for snappy; then restart)"
    )


def _message(error: BaseException, _kafka: KafkaSettings, _need: Need) -> str:
    return str(error)


# The first class that an error is an instance of decides.
_TABLE: tuple[tuple[Any, Kind, Callable[[BaseException, KafkaSettings, Need], str]], ...] = (
    (OffsetsLostError, "offsets_lost", _message),
    (SaslWantedError, "authentication", _wants_sasl),
    (errors.SaslAuthenticationFailedError, "authentication", _authentication),
    (errors.UnsupportedSaslMechanismError, "authentication", _mechanism),
    (errors.IllegalSaslStateError, "authentication", _no_sasl),
    (errors.AuthorizationError, "authorization", _authorization),
    (errors.KafkaConfigurationError, "settings", _settings),
    (errors.UnsupportedCodecError, "codec", _codec),
    (errors.UnsupportedVersionError, "protocol", _version),
    (errors.KafkaProtocolError, "protocol", _frame),
    (NoAnswerError, "unreachable", _no_answer),
    (errors.RetriableError, "unreachable", _connection),
    (errors.BrokerNotAvailableError, "unreachable", _unreachable),
    (BrokerError, "unreachable", _message),
)
