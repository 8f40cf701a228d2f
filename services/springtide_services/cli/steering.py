"""The `steering` commands: rules, scenarios and experiments as a file, and who changed them."""

from pathlib import Path
from typing import Annotated

import typer

from springtide_services.cli.connection import Operators, asks_operators
from springtide_services.cli.options import AsJson

app = typer.Typer(help="See and change rules, scenarios and experiments as a file.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="File in TOML, as `springtide steering show` prints it.", metavar="FILE")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")]
Reason = Annotated[str, typer.Option(help="Reason, for the list of changes.")]


@app.command("show")
@asks_operators
def steering_show(operators: Operators, json: AsJson = False) -> None:
    """Print all rules, scenarios and experiments as a file that `springtide steering apply` takes."""
    from springtide_services.cli.steering_calls import show_all

    show_all(operators, as_json=json)


@app.command("check")
@asks_operators
def steering_check(operators: Operators, file: File) -> None:
    """Check a file; against the attributes and items of the server, if one answers."""
    from springtide_services.cli.steering_calls import check_file

    check_file(operators, file)


@app.command("apply")
@asks_operators
def steering_apply(
    operators: Operators,
    file: File,
    dry_run: DryRun = False,
    replace: Annotated[bool, typer.Option("--replace", help="Remove what is not in the file.")] = False,
    reason: Reason = "",
    json: AsJson = False,
) -> None:
    """Let what a file says hold; what it does not name stays, unless it is to be replaced."""
    from springtide_services.cli.steering_calls import apply_file

    apply_file(operators, file, is_dry_run=dry_run, replace=replace, reason=reason, as_json=json)


@app.command("history")
@asks_operators
def steering_history(
    operators: Operators,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many of the latest changes to show.")] = 20,
    json: AsJson = False,
) -> None:
    """Show who changed what, when and why, the latest first."""
    from springtide_services.cli.steering_calls import show_history

    show_history(operators, limit, as_json=json)
