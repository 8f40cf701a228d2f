"""Child processes: started, watched, restarted after a crash, and never left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from springtide.errors import SpringtideError
from springtide_services.exit_codes import EXIT_REFUSED

_STOP_BUDGET_S = 20.0  # A server writes its last checkpoint in this time.
_STEADY_S = 30.0  # A child that ran this long has started well: its back-off begins anew.
_MAX_QUICK_CRASHES = 5
_LONGEST_PAUSE_S = 15.0
_NUM_LAST_WORDS = 15


class ChildFailedError(SpringtideError):
    """Raised when a child process has ended and restarting it does not help."""


@dataclass
class Child:
    """A process of ours.

    Attributes:
        name: What messages call it.
        arguments: Of the ``springtide`` command.
        environment: Variables beside our own.
        log: The file that takes what it writes; None to let it write where we do.
        process: The running process, or the last one.
        num_quick_crashes: How many times in a row it ended soon after its start.
        started_at_s: When it started, on the monotonic clock.
        restart_at_s: When it is to start again, on the monotonic clock; None unless it has crashed.
    """

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Path | None = None
    process: subprocess.Popen[bytes] | None = None
    num_quick_crashes: int = 0
    started_at_s: float = 0.0
    restart_at_s: float | None = None

    def start(self) -> None:
        """Start the process: in a session of its own, with a pipe whose end tells it that we are gone."""
        self._close_pipe()
        output = self.log.open("ab") if self.log else None
        try:
            self.process = subprocess.Popen(
                command(self.arguments),
                env={**os.environ, **self.environment},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches us alone, and we stop the children in their order.
            )
        finally:
            if output is not None:
                output.close()
        self.started_at_s = time.monotonic()
        self.restart_at_s = None

    def stop(self) -> None:
        """Ask the process to end, and end it if it does not."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_STOP_BUDGET_S)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self._close_pipe()

    def _close_pipe(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()

    def last_words(self) -> str:
        """Return the end of its log, after a line break; empty if it has none."""
        if self.log is None or not self.log.exists():
            return ""
        lines = self.log.read_text(errors="replace").splitlines()[-_NUM_LAST_WORDS:]
        return "".join(f"\n  {line}" for line in lines)


def command(arguments: Sequence[str]) -> list[str]:
    """Return the command line of a child."""
    return [sys.executable, "-m", "springtide_services.cli", *arguments, "--until-stdin-closes"]


class Supervisor:
    """Starts children in order and stops them in the reverse order.

    Args:
        restarts: Whether a child that crashes is started again.
    """

    def __init__(self, *, restarts: bool) -> None:
        self.children: list[Child] = []
        self._restarts = restarts

    def add(self, child: Child) -> None:
        """Start a child and watch it from now on."""
        child.start()
        self.children.append(child)

    def check(self) -> list[str]:
        """Look after the children once.

        Returns:
            What happened, in words, for the person who watches.

        Raises:
            ChildFailedError: If a child has ended and is not to be restarted.
        """
        news = []
        for child in self.children:
            assert child.process is not None, "add() started it"
            if child.restart_at_s is not None:
                if time.monotonic() >= child.restart_at_s:
                    child.start()
                continue
            code = child.process.poll()
            if code is None:
                continue
            is_quick = time.monotonic() - child.started_at_s < _STEADY_S
            child.num_quick_crashes = child.num_quick_crashes + 1 if is_quick else 1
            ended = f"the {child.name} ended with {_in_words(code)}"
            if not self._restarts or code == EXIT_REFUSED:
                raise ChildFailedError(f"{ended}{child.last_words()}")
            if child.num_quick_crashes >= _MAX_QUICK_CRASHES:
                raise ChildFailedError(f"{ended}, {child.num_quick_crashes} times in a row{child.last_words()}")
            pause_s = min(2.0 ** (child.num_quick_crashes - 1), _LONGEST_PAUSE_S)
            child.restart_at_s = time.monotonic() + pause_s
            news.append(f"{ended}; it starts again in {pause_s:g} s")
        return news

    def stop(self) -> None:
        """Ask the children to end, the last first, and end those that do not."""
        for child in reversed(self.children):
            child.stop()
        self.children.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def end_when_stdin_closes() -> None:
    """End this process once its parent is gone: its standard input is then closed, however the parent died."""

    def watch() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_STOP_BUDGET_S)
        os._exit(1)  # It did not end by itself.

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def _in_words(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
