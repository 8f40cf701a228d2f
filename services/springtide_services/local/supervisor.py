"""Child processes: started, watched, restarted after a crash, and never left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from springtide.errors import SettingsError, SpringtideError
from springtide_services.exit_codes import EXIT_REFUSED
from springtide_services.termination import STOP_BUDGET_S, UNTIL_STDIN_CLOSES

logger = structlog.stdlib.get_logger(__name__)

_STEADY_S = 30.0  # A child that ran this long has started well: its next crash counts as the first one.
_MAX_QUICK_CRASHES = 5
_LONGEST_PAUSE_S = 15.0
_NUM_LAST_LINES = 15


class ChildFailedError(SpringtideError):
    """Raised when a child process has ended and is not to be started again."""


class ChildRefusedError(ChildFailedError, SettingsError):
    """Raised when a child process has ended with ``EXIT_REFUSED``: its settings, a plugin or an argument is wrong."""


@dataclass
class Child:
    """A child process: a ``springtide`` command.

    Attributes:
        name: Name in messages, such as ``server``.
        arguments: Command-line arguments of ``springtide``.
        environment: Environment variables, in addition to those of this process.
        log: File for its standard output and standard error; None to share those of this process.
        is_needed: Whether the supervisor fails with it; else it is left out when it cannot be started again.
        process: The running process, or the last one.
        num_quick_crashes: How many times in a row it ended soon after its start.
        started_at_s: Time of its last start, on the monotonic clock.
        restart_at_s: Time of its next start, on the monotonic clock; None unless it has crashed.
    """

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Path | None = None
    is_needed: bool = True
    process: subprocess.Popen[bytes] | None = None
    num_quick_crashes: int = 0
    started_at_s: float = 0.0
    restart_at_s: float | None = None

    def start(self) -> None:
        """Start the process, in its own session, with a pipe as standard input that closes when this process dies."""
        self._close_pipe()
        output = self.log.open("ab") if self.log else None
        try:
            self.process = subprocess.Popen(
                command(self.arguments),
                env={**os.environ, **self.environment},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches this process alone, which stops the children in order.
            )
        finally:
            if output is not None:
                output.close()
        self.started_at_s = time.monotonic()
        self.restart_at_s = None

    def stop(self) -> None:
        """Ask the process to end, and kill it if it does not."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_BUDGET_S)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self._close_pipe()

    def _close_pipe(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()

    def last_lines(self) -> str:
        """Return a line break and the last lines of its log; an empty text if it has no log."""
        if self.log is None or not self.log.exists():
            return ""
        lines = self.log.read_text(errors="replace").splitlines()[-_NUM_LAST_LINES:]
        return "".join(f"\n  {line}" for line in lines)


def command(arguments: Sequence[str]) -> list[str]:
    """Return the command line of a child."""
    return [sys.executable, "-m", "springtide_services.cli", *arguments, UNTIL_STDIN_CLOSES]


class Supervisor:
    """Starts child processes in order, and stops them in the reverse order.

    Args:
        restarts: Whether a child that has crashed is started again.
    """

    def __init__(self, *, restarts: bool) -> None:
        self.children: list[Child] = []
        self._restarts = restarts

    def add(self, child: Child) -> None:
        """Start a child and watch it from now on."""
        child.start()
        self.children.append(child)

    def check(self) -> None:
        """Notice children that have ended, and start them again when their pause is over; to be called regularly.

        Raises:
            ChildRefusedError: If a child has ended with ``EXIT_REFUSED``.
            ChildFailedError: If a child has crashed too often, or crashed children are not to be started again.
        """
        for child in [*self.children]:
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
            reason = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            ended = f"the {child.name} ended with {reason}"
            if not child.is_needed and (code == EXIT_REFUSED or child.num_quick_crashes >= _MAX_QUICK_CRASHES):
                logger.warning("child_left_out", child=child.name, reason=f"{ended}{child.last_lines()}")
                child.stop()
                self.children.remove(child)
                continue
            if code == EXIT_REFUSED:
                raise ChildRefusedError(f"{ended}{child.last_lines()}")
            if not self._restarts:
                raise ChildFailedError(f"{ended}{child.last_lines()}")
            if child.num_quick_crashes >= _MAX_QUICK_CRASHES:
                raise ChildFailedError(f"{ended}, {child.num_quick_crashes} times in a row{child.last_lines()}")
            pause_s = min(2.0 ** (child.num_quick_crashes - 1), _LONGEST_PAUSE_S)
            child.restart_at_s = time.monotonic() + pause_s
            logger.warning("child_ended", child=child.name, reason=reason, restart_in_s=pause_s)

    def stop(self) -> None:
        """Stop the children, the last one first."""
        for child in reversed(self.children):
            child.stop()
        self.children.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
