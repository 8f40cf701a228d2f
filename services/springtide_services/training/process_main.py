"""The main program of a process that runs one training; ``processes`` starts it, and tells it what to do."""

import contextlib
import json
import os
import pickle
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

from springtide.clock import Deadline
from springtide.errors import PluginError, SettingsError, SpringtideError, TrainingError
from springtide.extras import missing_words
from springtide_services.priorities import give_way, take_short_turns
from springtide_services.termination import end_with_parent, exit_on_signals, ignore_signals
from springtide_services.thread_pools import wait_without_spinning

if TYPE_CHECKING:
    from springtide.training.train import Progress


_SAY_EVERY_S = 1.0
_NO_MEMORY = ("can't allocate memory", "out of memory", "Cannot allocate memory")  # As PyTorch and the system say it.
_LONGEST_WORDS = 300


def main(saying: int) -> None:
    """Check the settings that come through standard input, then run the training that comes, and say what came of it.

    Args:
        saying: File descriptor to say it to.
    """
    exit_on_signals()
    take_short_turns()  # So that others, which go first, need not wait for the end of a long one.
    give_way()  # Its session is new.
    wait_without_spinning()
    if (settings := _receive()) is None:
        return
    try:
        from springtide_services.logs import configure_logging

        configure_logging(settings.log, "trainer")
        from springtide_services.training.training_run import TrainingRun  # It imports torch.

        run = TrainingRun(settings)
    except Exception as error:
        _say(saying, words_of(error))
        return
    _say(saying, {"is_ready": True})
    if (work := _receive()) is None:
        return
    plan, checkpoint = work
    end_with_parent()
    try:
        version = run.run(plan, checkpoint, threading.Event(), _Steps(saying).note)
    except Exception as error:
        _say(saying, words_of(error))
    else:
        _say(saying, {"version": version})


class _Steps:
    """Says that the training goes forward, once a second at most.

    Args:
        saying: File descriptor to say it to.
    """

    def __init__(self, saying: int) -> None:
        self._saying = saying
        self._stage = ""
        self._next = Deadline.after(0.0)

    def note(self, progress: "Progress") -> None:
        """Note a step. From the last stage on, ignore stop signals; until then there is nothing to end in order."""
        if progress.stage == "publish":
            ignore_signals()
        if progress.stage != self._stage or self._next.is_over():
            self._stage, self._next = progress.stage, Deadline.after(_SAY_EVERY_S)
            _say(self._saying, {"stage": progress.stage})


def words_of(error: Exception) -> dict[str, Any]:
    """Return an error as JSON: its kind, its message, and a traceback unless the message is written for people."""
    if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
        said = " ".join(str(error).split())[:_LONGEST_WORDS]
        advice = "out of memory: give the trainer more, or lower training.batch_users, num_negatives or model.width"
        return {"kind": "", "error": f"{advice} ({said})" if said else advice, "traceback": ""}
    if (missing := missing_words(error)) is not None:
        return {"kind": SettingsError.__name__, "error": missing, "traceback": ""}
    if isinstance(error, SpringtideError):
        kinds = [kind.__name__ for kind in (SettingsError, PluginError, TrainingError) if isinstance(error, kind)]
        return {"kind": kinds[0], "error": str(error), "traceback": ""} if kinds else _named(error)
    return _named(error) | {"traceback": "".join(traceback.format_exception(error)).rstrip()}


def _named(error: Exception) -> dict[str, Any]:
    return {"kind": "", "error": f"{type(error).__name__}: {error}", "traceback": ""}


def _receive() -> Any:
    """Return what the trainer sends next; None if it has died, or has no work."""
    try:
        return pickle.load(sys.stdin.buffer)  # From the process that started this one.
    except EOFError:
        return None


def _say(saying: int, what: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError), open(saying, "wb", closefd=False) as pipe:
        pipe.write(json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # At once, as multiprocessing does: to take PyTorch apart module by module takes seconds.
