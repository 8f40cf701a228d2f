"""The `demo` command: the main job on a year of real purchases."""

from typing import Annotated

import typer


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server up at the end, until Ctrl-C.")] = False,
) -> None:
    """Run the main job on a year of real purchases: broker, stream, training, answers."""
    from springtide_services.cli.demo_run import run_demo

    run_demo(keep=keep)
