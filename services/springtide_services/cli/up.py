"""The `up` and `broker` commands: everything on this machine, or the embedded broker alone."""

from typing import Annotated

import typer

from springtide_services.cli.options import SettingsPath, load_checked_settings, refuse_wrong_connection
from springtide_services.termination import exit_on_signals


def up(settings: SettingsPath = None) -> None:
    """Run everything on this machine: broker (if no Kafka cluster is named), server and trainer."""
    exit_on_signals()
    loaded = load_checked_settings(settings)
    if loaded.kafka.bootstrap_servers:
        refuse_wrong_connection(loaded, settings, may_serve=True)
    from springtide_services.local.up import run_up

    run_up(loaded, settings)


def broker(port: Annotated[int, typer.Option(help="Port to listen on, on the loopback interface.")] = 9092) -> None:
    """Run the embedded broker, which forgets everything when it stops."""
    exit_on_signals()
    from springtide_services.local.up import run_broker

    run_broker(port)
