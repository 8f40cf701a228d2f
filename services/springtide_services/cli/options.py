"""Options that several commands have, and how commands load the settings."""

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from springtide.errors import SettingsError
from springtide.settings.file import TLS_CA_VARIABLE, TLS_CERT_VARIABLE, TLS_KEY_VARIABLE, TOKEN_VARIABLE
from springtide_services.termination import UNTIL_STDIN_CLOSES

if TYPE_CHECKING:
    from springtide.event_files import ReadOptions
    from springtide.settings.model import Settings

SettingsPath = Annotated[
    Path | None,
    typer.Option(
        "--settings", help="Settings file; by default SPRINGTIDE_SETTINGS or springtide.toml.", metavar="PATH"
    ),
]
Moment = Annotated[datetime | None, typer.Option("--at", help="The moment, UTC. Default: by ranking.clock.")]
Place = Annotated[str, typer.Option(help="Region, store or country.")]
Weather = Annotated[str, typer.Option(help="The weather, in the producer's words.")]
Recent = Annotated[list[str] | None, typer.Option(help="An item just touched, latest first; may be repeated.")]
AdminAddress = Annotated[
    str,
    typer.Option(
        "--address", help="Listener for operators to ask, host:port; by default that of the settings (admin_port)."
    ),
]
Insecure = Annotated[
    bool,
    typer.Option(
        "--insecure",
        help="Start where other machines get in although TLS or tokens are missing: something else sees to them.",
    ),
]
Token = Annotated[
    str,
    typer.Option("--token", envvar=TOKEN_VARIABLE, help="Token to show; others on this machine may see options."),
]
TlsCa = Annotated[
    str,
    typer.Option(
        "--tls-ca",
        envvar=TLS_CA_VARIABLE,
        metavar="PATH",
        help="Connect with TLS, and trust these authorities (PEM), or `system`: those of this machine.",
    ),
]
TlsCert = Annotated[
    str,
    typer.Option("--tls-cert", envvar=TLS_CERT_VARIABLE, metavar="PATH", help="Certificate to show, for mutual TLS."),
]
TlsKey = Annotated[
    str, typer.Option("--tls-key", envvar=TLS_KEY_VARIABLE, metavar="PATH", help="Key of that certificate.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the response as JSON.")]
Address = Annotated[str, typer.Option(help="Server to ask, host:port; by default that of the settings.")]
UntilStdinCloses = Annotated[bool, typer.Option(UNTIL_STDIN_CLOSES, hidden=True)]


class TimeUnitName(StrEnum):
    """Units of times that are numbers."""

    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "us"
    NANOSECONDS = "ns"


Columns = Annotated[
    str,
    typer.Option(
        "--columns", help="Names of columns in a file, or their numbers: user=visitorid,item=itemid.", metavar="NAMES"
    ),
]
TypeName = Annotated[
    str, typer.Option("--type", help="Interaction type of rows that have none, such as purchase.", metavar="NAME")
]
TimeUnit = Annotated[
    TimeUnitName | None,
    typer.Option("--time-unit", help="Unit of times that are numbers. Default: by their size."),
]
TimeFormat = Annotated[
    str | None,
    typer.Option("--time-format", help="Form of times that are texts, as in Python: '%d/%m/%Y %H:%M'.", metavar="FORM"),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding", help="Encoding of a text file, such as latin-1. Default: UTF-8 or its mark.", metavar="NAME"
    ),
]


class DatasetName(StrEnum):
    """The public data sets."""

    COMPLETE_JOURNEY = "complete-journey"
    MOVIELENS_100K = "movielens-100k"
    NYC_FLIGHTS = "nyc-flights"
    TAFENG = "tafeng"


def load_settings(path: Path | None) -> "Settings":
    """Load the settings; see ``springtide.settings.load``."""
    from springtide.settings.load import load_settings as load

    return load(path).settings


def load_checked_settings(path: Path | None) -> "Settings":
    """Load the settings, and check how they connect to a broker, as far as that can be known without one.

    Raises:
        SettingsError: If a server, an option or a file of the connection is wrong, or they cannot be loaded.
    """
    from springtide.settings.load import load_settings as load

    loaded = load(path)
    from springtide_services.stream.client_options import check_kafka_settings

    return loaded.settings.model_copy(update={"kafka": check_kafka_settings(loaded.settings.kafka, loaded.origins)})


def refuse_wrong_connection(settings: "Settings", path: Path | None, *, may_serve: bool = False) -> None:
    """Connect to the broker once, before anything slow happens; one that does not answer may come later.

    Args:
        settings: Settings that name a broker.
        path: The settings file, if it is named on the command line.
        may_serve: Whether to go on if the stream need not be read: ``kafka.on_failure`` is ``serve``, and there is a
            checkpoint to answer from. The log and the status then say what is wrong.

    Raises:
        BrokerProblemError: If the broker answers, and the connection's settings do not fit it.
    """
    from springtide.settings.load import load_settings as load
    from springtide_services.stream.broker_errors import BrokerProblemError, Problem
    from springtide_services.stream.topics import check_connection

    try:
        check_connection(settings.kafka)
    except BrokerProblemError as error:
        problem = error.problem
        if problem.heals or (may_serve and settings.kafka.on_failure == "serve" and _has_checkpoint(settings)):
            return
        places = {origin for setting, origin in load(path).origins.items() if setting[0] == "kafka"}
        message = f"{', '.join(sorted(places))}: {problem.message}" if places else problem.message
        raise BrokerProblemError(Problem(problem.kind, message)) from error


def _has_checkpoint(settings: "Settings") -> bool:
    from springtide.checkpoint import CheckpointStore
    from springtide.errors import SpringtideError

    try:
        return bool(CheckpointStore(settings.checkpoint.url).names())
    except SpringtideError:
        return True  # The server says what is wrong with them.


def load_settings_with_kafka(path: Path | None) -> "Settings":
    """Load the settings, which must name a broker.

    Raises:
        SettingsError: If they name no broker, a wrong one or a wrong option, or cannot be loaded.
    """
    settings = load_checked_settings(path)
    if not settings.kafka.bootstrap_servers:
        raise SettingsError(
            "no broker named: wanted kafka.bootstrap_servers, or KAFKA_BOOTSTRAP_SERVERS "
            "(`springtide up` starts an embedded one)"
        )
    return settings


def tls_authorities(path: Path | None, tls_ca: str, address: str, *, is_admin: bool = False) -> str:
    """Return whom to trust for a connection: as named, else this machine's where the server of the settings has TLS."""
    from springtide.settings.file import plain_server_address
    from springtide_services.addresses import is_loopback

    if tls_ca or address or plain_server_address(path) is not None:
        return tls_ca
    server = load_settings(path).server
    return "system" if server.has_tls and not (is_admin and is_loopback(server.admin_host)) else ""


def server_address(path: Path | None) -> str:
    """Return the address of the server of the settings, as ``host:port`` or ``[IPv6]:port``."""
    from springtide.settings.file import plain_server_address
    from springtide_services.addresses import join_address

    if (plain := plain_server_address(path)) is not None:
        return join_address(*plain)
    server = load_settings(path).server
    return join_address(server.host, server.port)


def admin_address(path: Path | None) -> str:
    """Return the address of the server's listener for operators, as ``host:port`` or ``[IPv6]:port``."""
    from springtide.settings.file import plain_admin_address
    from springtide_services.addresses import join_address

    if (plain := plain_admin_address(path)) is not None:
        return join_address(*plain)
    server = load_settings(path).server
    return join_address(server.admin_host, server.admin_port_number)


def read_options(
    columns: str,
    time_unit: TimeUnitName | None,
    time_format: str | None,
    encoding: str | None,
    type_name: str = "",
) -> "ReadOptions":
    """Return how a file of events is read, from the options of a command.

    Raises:
        SettingsError: If ``columns`` or ``time_format`` has another form.
    """
    from springtide.event_files import ReadOptions, parse_columns

    unit = time_unit.value if time_unit is not None else None
    return ReadOptions(
        parse_columns(columns) if columns else None, unit, encoding, type_name or None, time_format=time_format
    )
