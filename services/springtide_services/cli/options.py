"""Options that several commands have, and how commands load the settings."""

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from springtide.errors import SettingsError
from springtide_services.termination import UNTIL_STDIN_CLOSES

if TYPE_CHECKING:
    from springtide.settings.model import Settings

SettingsPath = Annotated[
    Path | None,
    typer.Option(
        "--settings", help="Settings file; by default SPRINGTIDE_SETTINGS or springtide.toml.", metavar="PATH"
    ),
]
Moment = Annotated[datetime | None, typer.Option("--at", help="The moment, UTC. Default: now.")]
Place = Annotated[str, typer.Option(help="Region, store or country.")]
Weather = Annotated[str, typer.Option(help="The weather, in the producer's words.")]
Recent = Annotated[list[str] | None, typer.Option(help="An item just touched, latest first; may be repeated.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the response as JSON.")]
Address = Annotated[str, typer.Option(help="Server to ask, host:port; by default that of the settings.")]
UntilStdinCloses = Annotated[bool, typer.Option(UNTIL_STDIN_CLOSES, hidden=True)]


class DatasetName(StrEnum):
    """The public data sets."""

    COMPLETE_JOURNEY = "complete-journey"
    MOVIELENS_100K = "movielens-100k"
    TAFENG = "tafeng"


def load_settings(path: Path | None) -> "Settings":
    """Load the settings; see ``springtide.settings.load``."""
    from springtide.settings.load import load_settings as load

    return load(path).settings


def load_settings_with_kafka(path: Path | None) -> "Settings":
    """Load the settings, which must name a broker.

    Raises:
        SettingsError: If they name no broker, or cannot be loaded.
    """
    settings = load_settings(path)
    if not settings.kafka.bootstrap_servers:
        raise SettingsError(
            "no broker named: wanted kafka.bootstrap_servers, or KAFKA_BOOTSTRAP_SERVERS "
            "(`springtide up` starts an embedded one)"
        )
    return settings


def server_address(path: Path | None) -> str:
    """Return the address of the server of the settings, as ``host:port`` or ``[IPv6]:port``."""
    from springtide_services.addresses import join_address

    server = load_settings(path).server
    return join_address(server.host, server.port)
