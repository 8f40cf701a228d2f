"""The `dead-letters` commands: what was refused and why, and publishing it again once the cause is mended."""

from pathlib import Path
from typing import Annotated

import typer

from springtide_services.cli.options import SettingsPath, load_checked_settings
from springtide_services.termination import interrupt_on_signals

app = typer.Typer(help="List, show and replay refused events.", no_args_is_help=True)

Reason = Annotated[str, typer.Option(help="Only those with this reason, such as undecodable.")]


@app.command("list")
def dead_letters_list(
    reason: Reason = "",
    limit: Annotated[int, typer.Option(min=1, help="The latest so many, if a reason is given.")] = 20,
    settings: SettingsPath = None,
) -> None:
    """Count the refused events by reason; of one reason, list them."""
    from springtide_services.cli.dead_letter_tables import show_letters

    show_letters(load_checked_settings(settings), reason, limit)


@app.command("show")
def dead_letters_show(
    place: Annotated[str, typer.Argument(help="Which one, PARTITION:OFFSET as `list --reason` prints it.")],
    output: Annotated[Path | None, typer.Option(help="Write the value's bytes to this file.")] = None,
    settings: SettingsPath = None,
) -> None:
    """Show one refused event: where it was, why it was refused, its headers and its value."""
    from springtide_services.cli.dead_letter_tables import show_letter

    show_letter(load_checked_settings(settings), place, output)


@app.command("replay")
def dead_letters_replay(
    reason: Reason = "",
    place: Annotated[str, typer.Option(help="Only this one, PARTITION:OFFSET.")] = "",
    again: Annotated[bool, typer.Option("--again", help="Those too that were replayed before.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    settings: SettingsPath = None,
) -> None:
    """Publish the original bytes of refused events to the events topic again, after their cause was mended.

    What was replayed is marked, and not replayed a second time.
    """
    interrupt_on_signals()
    from springtide_services.cli.dead_letter_tables import replay_letters

    replay_letters(
        load_checked_settings(settings),
        reason,
        place,
        again=again,
        confirm=lambda question: yes or typer.confirm(question, abort=True),
    )
