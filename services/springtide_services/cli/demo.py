"""The `demo` command: the main job on a year of real purchases."""

from typing import Annotated

import typer

from springtide.extras import refuse_without
from springtide_services.termination import exit_on_signals


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server running at the end, until Ctrl-C.")] = False,
    console: Annotated[
        bool,
        typer.Option("--console", help="End on the console, the pages for the browser, with all of it; until Ctrl-C."),
    ] = False,
) -> None:
    """Run the main job on a year of real purchases: broker, stream, training, answers."""
    exit_on_signals()
    refuse_without("train")
    if console:
        refuse_without("console")
    from springtide_services.cli.demo_run import run_demo

    run_demo(keep=keep, has_console=console)
