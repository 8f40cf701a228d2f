"""What people see: tables and progress bars."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

_WIDTH_OF_A_PIPE = 160  # Columns, when nobody looks: wide enough that nothing is folded.


def console(*, stderr: bool = False) -> Console:
    """Return a console that folds nothing when its output goes into a pipe."""
    terminal = Console(stderr=stderr, highlight=False)
    return terminal if terminal.is_terminal else Console(stderr=stderr, highlight=False, width=_WIDTH_OF_A_PIPE)


def progress(on: Console) -> Progress:
    """Return a progress display: a bar with counts where the total is known, the time so far always."""
    return Progress(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description:<24}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[note]}"),
        console=on,
    )
