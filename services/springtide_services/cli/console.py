"""The `console` command: the pages and the gateway, beside a server."""

from springtide_services.cli.options import SettingsPath, UntilStdinCloses, load_checked_settings
from springtide_services.termination import end_with_parent


def console(settings: SettingsPath = None, until_stdin_closes: UntilStdinCloses = False) -> None:
    """Serve the console and the gateway for a running server."""
    if until_stdin_closes:
        end_with_parent()
    from springtide.extras import refuse_without

    refuse_without("console")
    from springtide_services.console.server import serve_console

    serve_console(load_checked_settings(settings))
