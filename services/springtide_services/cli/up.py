"""The `up` and `broker` commands: everything on this machine, or the embedded broker alone."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from springtide.errors import SettingsError
from springtide.extras import refuse_without
from springtide_services.cli.options import (
    Columns,
    Encoding,
    Insecure,
    SettingsPath,
    TimeFormat,
    TimeUnit,
    TypeName,
    load_checked_settings,
    read_options,
    refuse_wrong_connection,
)
from springtide_services.termination import exit_on_signals

if TYPE_CHECKING:
    from springtide.settings.model import SteeringSettings


def up(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Files of events, published in this order; a first model is then trained, and an answer shown.",
            metavar="FILE",
        ),
    ] = None,
    settings: SettingsPath = None,
    columns: Columns = "",
    type_name: TypeName = "",
    time_unit: TimeUnit = None,
    time_format: TimeFormat = None,
    encoding: Encoding = None,
    steering: Annotated[
        Path | None,
        typer.Option("--steering", help="File of rules, scenarios and experiments to follow (steering.file)."),
    ] = None,
    insecure: Insecure = False,
    ephemeral: Annotated[
        bool,
        typer.Option("--ephemeral", help="With the embedded broker: keep the state in a temporary folder."),
    ] = False,
    no_console: Annotated[
        bool, typer.Option("--no-console", help="Without the console, the pages for the browser.")
    ] = False,
) -> None:
    """Run everything on this machine: broker (if no Kafka cluster is named), server, trainer and console.

    With files, it goes all the way from them to recommendations.
    """
    exit_on_signals()
    refuse_without("train")
    loaded = load_checked_settings(settings)
    from springtide_services.access.public import check_doors

    if insecure:
        loaded = loaded.model_copy(update={"server": loaded.server.model_copy(update={"insecure": True})})
    check_doors(loaded.server)
    if steering is not None:
        loaded = loaded.model_copy(update={"steering": _checked_file(loaded.steering, steering)})
    options = read_options(columns, time_unit, time_format, encoding, type_name)
    if not files and any((columns, type_name, time_unit, time_format, encoding)):
        raise SettingsError("--columns, --type, --time-unit, --time-format, --encoding: wanted with a file, got none")
    if loaded.kafka.bootstrap_servers:
        refuse_wrong_connection(loaded, settings, may_serve=not files)
    if files:
        from springtide_services.cli.up_files import up_with_files

        up_with_files(loaded, settings, files, options, is_ephemeral=ephemeral, has_console=not no_console)
        return
    from springtide_services.local.up import run_up

    run_up(loaded, settings, is_ephemeral=ephemeral, has_console=not no_console)


def _checked_file(settings: "SteeringSettings", file: Path) -> "SteeringSettings":
    """Return settings that name a file of rules, scenarios and experiments; a wrong one is reported before all starts.

    Raises:
        SteeringError: If it cannot be read, or makes no sense.
    """
    from springtide.steering.reading import read_document

    read_document(file)
    return settings.model_copy(update={"file": str(file.absolute())})


def broker(port: Annotated[int, typer.Option(help="Port to listen on, on the loopback interface.")] = 9092) -> None:
    """Run the embedded broker, which forgets everything when it stops."""
    exit_on_signals()
    from springtide_services.local.up import run_broker

    run_broker(port)
