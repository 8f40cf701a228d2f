"""The processes that trainings run in: started, given their work, watched, and never left behind."""

import contextlib
import json
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Any, Self

import structlog

from springtide.clock import Deadline
from springtide.errors import PluginError, SettingsError, SpringtideError, TrainingError
from springtide.settings.model import Settings
from springtide_services.termination import STOP_BUDGET_S
from springtide_services.training.schedule import Plan
from springtide_services.training.training_folder import TrainingFolder
from springtide_services.training.training_report import TrainingReport, TrainingStoppedError

logger = structlog.stdlib.get_logger(__name__)

_POLL_S = 0.1
_STOP_S = 0.6 * STOP_BUDGET_S  # Some of the trainer's own budget is left for the rest.
_KEEP_S = 30.0  # The process that has checked the settings waits that long for a first training: it has torch by then.


class TrainingFailedError(SpringtideError):
    """Raised when the process of a training has died, or its training failed by an error that people can read."""


class UnexpectedTrainingError(Exception):
    """Raised when a training failed by an error that nobody foresaw; its cause holds the traceback."""


class _TracebackError(Exception):
    """Never raised: the cause of an error that came from another process; its text is the traceback from there."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class TrainingProcess:
    """A process for one training: it imports what is slow, checks the settings, and waits for its work.

    The settings go to it through its standard input, so that no secret is on a command line; once that closes, because
    this process has died, it ends too. What it says comes through a pipe of its own, a line of JSON each, so that
    standard output and standard error are left to logs and plugins.

    Args:
        settings: All settings.
    """

    def __init__(self, settings: Settings) -> None:
        self._said, saying = os.pipe()
        # `-m` puts the working folder on the path; where this process has it not, the child must not have it either.
        without_folder = [] if os.getcwd() in sys.path else ["-P"]
        command = [sys.executable, *without_folder, "-m", "springtide_services.training.process_main", str(saying)]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                pass_fds=(saying,),
                start_new_session=True,  # Ctrl-C reaches the trainer alone, which stops it in order.
            )
        finally:
            os.close(saying)
        self._unread = b""
        self._is_ready = False
        self._max_silence_s = settings.training.max_silence_s
        self._stage = "start"
        self._send(settings)

    def wait_until_ready(self, stopping: threading.Event) -> None:
        """Wait until it has imported what it needs and checked the settings.

        Raises:
            SettingsError: If a part that the settings name cannot work.
            PluginError: If a plugin cannot be loaded.
            TrainingFailedError: If it died, or failed otherwise.
            UnexpectedTrainingError: If it failed by an error that nobody foresaw.
            TrainingStoppedError: If ``stopping`` was set; it has been stopped then.
        """
        if not self._is_ready:
            self._next(stopping)
            self._is_ready = True

    def train(self, plan: Plan, checkpoint: str, stopping: threading.Event) -> str:
        """Let it train on the checkpoint of a name, and return the version that it published.

        Raises:
            TrainingError: If there is nothing in the checkpoint to train on.
            TrainingFailedError: If it died, or failed otherwise.
            UnexpectedTrainingError: If it failed by an error that nobody foresaw.
            TrainingStoppedError: If ``stopping`` was set; it has been stopped then.
        """
        self.wait_until_ready(stopping)
        self._send((plan, checkpoint))
        return str(self._next(stopping)["version"])

    def stop(self) -> None:
        """Ask it to end, and kill it if it does not; nothing happens if it has ended."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._kill()

    def _kill(self) -> None:
        """End it, and the processes that its parts may have started: its session is its own."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Stop it, and close the pipes; one that has done its work ends by itself."""
        self.stop()
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        os.close(self._said)

    def _send(self, what: Any) -> None:
        # Pickled, as multiprocessing does: options of parts may be what JSON does not have.
        assert self._process.stdin is not None, "it was started with a pipe"
        with contextlib.suppress(BrokenPipeError):  # It has died, which `_next` notices.
            pickle.dump(what, self._process.stdin)
            self._process.stdin.flush()

    def _next(self, stopping: threading.Event) -> dict[str, Any]:
        """Return what it says next but for its steps, or raise the error that it says."""
        while True:
            said = self._next_line(stopping)
            if "stage" not in said:
                break
            self._stage = said["stage"]
        if "error" in said:
            raise _error_of(said)
        return said

    def _next_line(self, stopping: threading.Event) -> dict[str, Any]:
        silent = None if self._max_silence_s is None else Deadline.after(self._max_silence_s)
        while b"\n" not in self._unread:
            if silent is not None and silent.is_over():
                self._kill()
                raise TrainingFailedError(
                    f"the training hung: nothing came of it for {self._max_silence_s:g} s in the stage "
                    f"{self._stage!r} (training.max_silence_s), and its process was ended"
                )
            if stopping.is_set():
                self.stop()
            has_ended = self._process.poll() is not None  # Before the read: what it said last is read then.
            is_readable = bool(select.select([self._said], [], [], 0 if has_ended else _POLL_S)[0])
            more = os.read(self._said, 65_536) if is_readable else b""
            self._unread += more
            if not more and has_ended and stopping.is_set():
                raise TrainingStoppedError("the trainer was told to stop")
            if not more and has_ended:
                raise TrainingFailedError(_end_of(self._process.returncode))
            if not more and is_readable:  # It has closed the pipe, and is about to end.
                time.sleep(_POLL_S)
        line, _, self._unread = self._unread.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        return said


class TrainingProcesses:
    """Runs each training in a process of its own, which gives all memory back when it ends.

    Args:
        settings: All settings.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = TrainingFolder.beside_models(settings)
        self._lock = threading.Lock()  # Guards the process that is kept.
        self._kept: TrainingProcess | None = None
        self._timer: threading.Timer | None = None

    def check(self, stopping: threading.Event) -> None:
        """Check the settings in a process, which is kept for a while for a first training.

        A process that dies here, such as for want of memory, is logged, and nothing else: trainings try again.

        Raises:
            SettingsError: If a part that the settings name cannot work.
            PluginError: If a plugin cannot be loaded.
            UnexpectedTrainingError: If what it needs cannot be imported.
        """
        process = TrainingProcess(self._settings)
        try:
            process.wait_until_ready(stopping)
        except TrainingFailedError as error:
            process.close()
            logger.warning("settings_not_checked", exc_info=error)
            return
        except TrainingStoppedError:
            process.close()
            return
        except BaseException:
            process.close()
            raise
        with self._lock:
            self._kept = process
        self._timer = threading.Timer(_KEEP_S, self._let_go)
        self._timer.daemon = True
        self._timer.start()

    def run(self, plan: Plan, checkpoint: str, stopping: threading.Event) -> str:
        """Train on the checkpoint of a name in a process of its own, and return the version published.

        Raises:
            TrainingError: If there is nothing in the checkpoint to train on.
            TrainingStoppedError: If ``stopping`` was set.
            Exception: Why it failed.
        """
        report = TrainingReport(self._folder, plan, stopping)
        report.started()
        process = self._take() or TrainingProcess(self._settings)
        try:
            return process.train(plan, checkpoint, stopping)
        except Exception as error:
            is_named = isinstance(error, TrainingFailedError | UnexpectedTrainingError | TrainingStoppedError)
            report.failed(str(error) if is_named else f"{type(error).__name__}: {error}")
            raise
        finally:
            process.close()

    def close(self) -> None:
        """Stop the process that is kept, if there is one."""
        if self._timer is not None:
            self._timer.cancel()
        self._let_go()

    def _take(self) -> TrainingProcess | None:
        with self._lock:
            kept, self._kept = self._kept, None
        return kept

    def _let_go(self) -> None:
        if (kept := self._take()) is not None:
            kept.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _error_of(said: dict[str, Any]) -> Exception:
    """Return the error that a process said (``process_main.words_of``)."""
    kinds = {kind.__name__: kind for kind in (SettingsError, PluginError, TrainingError)}
    if said["traceback"]:
        error: Exception = UnexpectedTrainingError(said["error"])
        error.__cause__ = _TracebackError(said["traceback"])
        return error
    return kinds.get(said["kind"], TrainingFailedError)(said["error"])


def _end_of(exit_code: int) -> str:
    """Return in words how a process ended that said nothing."""
    if exit_code == -signal.SIGKILL:
        return "the training process was killed (signal 9): out of memory?"
    if exit_code < 0:
        return f"the training process was killed (signal {-exit_code}, {signal.Signals(-exit_code).name})"
    return f"the training process ended with exit code {exit_code}" if exit_code else "the training process was stopped"
