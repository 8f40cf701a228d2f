"""What the commands share: options, exit codes, and how the settings are loaded."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from springtide.errors import SettingsError

if TYPE_CHECKING:
    from springtide.settings.model import Settings

SettingsPath = Annotated[
    Path | None,
    typer.Option("--settings", help="Settings file; else SPRINGTIDE_SETTINGS, else springtide.toml.", metavar="PATH"),
]
Address = Annotated[str, typer.Option(help="Server to ask, host:port; that of the settings if empty.")]
UntilStdinCloses = Annotated[bool, typer.Option("--until-stdin-closes", hidden=True)]


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
        SettingsError: If they name none, or cannot be loaded.
    """
    settings = load_settings(path)
    if not settings.kafka.bootstrap_servers:
        raise SettingsError(
            "no broker named: wanted kafka.bootstrap_servers, or KAFKA_BOOTSTRAP_SERVERS "
            "(`springtide up` starts an embedded one)"
        )
    return settings


def server_address(path: Path | None) -> str:
    """Return where the server of the settings listens, as host:port."""
    from springtide_services.addresses import join_address

    server = load_settings(path).server
    return join_address(server.host, server.port)
