"""What people see: consoles and progress bars."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

_WIDTH_OF_A_PIPE = 160  # Columns, when nobody looks: wide enough that nothing is folded.


def console(*, stderr: bool = False) -> Console:
    """Return a console that folds nothing when its output goes into a pipe."""
    terminal = Console(stderr=stderr, highlight=False)
    return terminal if terminal.is_terminal else Console(stderr=stderr, highlight=False, width=_WIDTH_OF_A_PIPE)


def progress(on: Console) -> Progress:
    """Return a progress display: a bar with counts where the total is known, the time so far always."""
    return Progress(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description:<26}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[note]}"),
        console=on,
    )


class StageBars:
    """One bar for each stage of something that goes through stages whose names are not known beforehand.

    Args:
        bars: Where they are shown.
        heading: Before each stage's name.
    """

    def __init__(self, bars: Progress, heading: str = "") -> None:
        self._bars = bars
        self._heading = heading
        self._stage = ""
        self._task: TaskID | None = None
        self._shown: list[TaskID] = []

    def show(self, stage: str, done: int = 0, total: int = 0, loss: float | None = None, note: str = "") -> None:
        """Show how far a stage is; a new name ends the stage before.

        Args:
            stage: Its name.
            done: How much is done.
            total: How much there is, 0 if that is not known.
            loss: The latest loss, if there is one.
            note: Beside the bar.
        """
        if self._task is None or stage != self._stage:
            self.finish()
            self._stage = stage
            self._task = self._bars.add_task(
                f"{self._heading}: {stage}" if self._heading else stage.capitalize(), total=None, note=""
            )
            self._shown.append(self._task)
        note = f"loss {loss:.3f}" if loss is not None else note
        self._bars.update(self._task, total=total or None, completed=done, note=note)

    def finish(self) -> None:
        """Show the last stage as done."""
        if self._task is not None:
            total = next(task.total for task in self._bars.tasks if task.id == self._task) or 1
            self._bars.update(self._task, total=total, completed=total)
        self._task = None

    def clear(self) -> None:
        """Take all stages away, so that others can follow."""
        for task in self._shown:
            self._bars.remove_task(task)
        self._shown.clear()
        self._task = None
