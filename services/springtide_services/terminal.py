"""Output for people: consoles and progress bars."""

from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_PIPE_WIDTH = 160  # Columns, if the output is no terminal: wide enough that nothing is wrapped.


def console(*, stderr: bool = False) -> Console:
    """Return a console, which wraps no lines when its output goes into a pipe."""
    terminal = Console(stderr=stderr, highlight=False)
    return terminal if terminal.is_terminal else Console(stderr=stderr, highlight=False, width=_PIPE_WIDTH)


def progress(on: Console) -> "Progress":
    """Return a progress display: the elapsed time, and a bar with counts where the total is known."""
    # Slow to import, and most commands show none.
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

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
    """One progress bar for each stage of a task whose stages are not known beforehand.

    Args:
        bars: The display that shows the bars.
        heading: Text before each stage's name.
    """

    def __init__(self, bars: "Progress", heading: str = "") -> None:
        self._bars = bars
        self._heading = heading
        self._stage = ""
        self._task: TaskID | None = None
        self._shown: list[TaskID] = []

    def show(self, stage: str, done: int = 0, total: int = 0, loss: float | None = None, note: str = "") -> None:
        """Show the progress of a stage; a new name ends the stage before it.

        Args:
            stage: Name of the stage.
            done: Number of steps done.
            total: Number of steps in all, 0 if it is not known.
            loss: The latest loss, if there is one; it takes the place of the note.
            note: Text beside the bar.
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
        """Remove all bars, so that the stages of another task can follow."""
        for task in self._shown:
            self._bars.remove_task(task)
        self._shown.clear()
        self._task = None
