"""The `serve` command: one server, in the foreground."""

from springtide_services.cli.options import SettingsPath, UntilStdinCloses, load_settings_with_kafka


def serve(settings: SettingsPath = None, until_stdin_closes: UntilStdinCloses = False) -> None:
    """Read the stream, keep the live graph, and answer over gRPC."""
    loaded = load_settings_with_kafka(settings)  # A wrong setting is told before the slow imports.
    from springtide_services.local.supervisor import end_when_stdin_closes
    from springtide_services.logs import configure_logging
    from springtide_services.serving.server import serve as run_server

    if until_stdin_closes:
        end_when_stdin_closes()
    configure_logging()
    run_server(loaded)
