"""The `serve` command: one server, in the foreground."""

from typing import Annotated

import typer

from springtide_services.cli.options import (
    Insecure,
    SettingsPath,
    UntilStdinCloses,
    load_settings_with_kafka,
    refuse_wrong_connection,
)
from springtide_services.termination import end_with_parent, exit_on_signals
from springtide_services.thread_pools import limit_heaps, limit_threads, wait_without_spinning

SkipLost = Annotated[
    bool,
    typer.Option(
        "--skip-lost",
        help="If the broker no longer has the next events, keep the graph and read on where the topic begins; if "
        "records are damaged, read on after them; this start only (kafka.on_lost is the lasting setting).",
    ),
]


def serve(
    settings: SettingsPath = None,
    skip_lost: SkipLost = False,
    insecure: Insecure = False,
    until_stdin_closes: UntilStdinCloses = False,
) -> None:
    """Read the stream, keep the live graph, and answer over gRPC."""
    exit_on_signals()
    limit_heaps()
    wait_without_spinning()  # Before NumPy is imported.
    if until_stdin_closes:
        end_with_parent()
    loaded = load_settings_with_kafka(settings)  # A wrong setting is reported before the slow imports.
    from springtide_services.access.public import check_doors

    if insecure:
        loaded = loaded.model_copy(update={"server": loaded.server.model_copy(update={"insecure": True})})
    check_doors(loaded.server)
    limit_threads(loaded.server.num_threads)  # Before NumPy is imported.
    refuse_wrong_connection(loaded, settings, may_serve=True)
    from springtide_services.logs import configure_logging

    configure_logging(loaded.log, "server")
    from springtide_services.serving.server import serve as run_server

    run_server(loaded, skip_lost=skip_lost)
