"""How processes end: in order and with exit code 0, on SIGINT, SIGTERM and SIGHUP, and when their parent dies."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

# SIGINT is taken even if it is ignored, as a shell does to what it starts in the background. SIGHUP that is ignored
# stays so: `nohup` asked for it.
STOP_SIGNALS = tuple(
    number
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
)

STOP_BUDGET_S = 20.0
"""How long a process may take to end, in seconds: a server writes its last checkpoint in this time."""

UNTIL_STDIN_CLOSES = "--until-stdin-closes"
"""The hidden option with which a supervisor starts our commands: they then call ``end_with_parent``."""


def exit_on_signals() -> None:
    """End the process at once, with exit code 0, when a stop signal comes; for the main thread.

    For the time before there is anything to clean up, such as slow imports.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, _exit_now)


def interrupt_on_signals() -> None:
    """Let each stop signal end a command as Ctrl-C does: it cleans up, and says how far it came.

    For commands that have an end of their own. The exit code is not 0 then, since their work is not done. In another
    thread, as where a program calls a command, signals stay its own.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in STOP_SIGNALS:
        signal.signal(number, _interrupt)


def ignore_signals() -> None:
    """Ignore stop signals from now on, so that a second Ctrl-C does not break off the clean-up; for the main thread.

    It holds to the end of the process. Other handlers do not: Python removes them before it unloads the modules.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def ends_on_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt in the block when a stop signal comes, and end the block there without an error.

    The process is to end after the block: signals are ignored from there on. For the main thread.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, _interrupt)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        ignore_signals()


def end_with_parent() -> None:
    """End this process, as SIGTERM would, once standard input closes: it is a pipe from the parent, which has died."""
    threading.Thread(target=_watch_parent, name="parent-watch", daemon=True).start()


def _watch_parent() -> None:
    # The bare file descriptor: a thread that reads sys.stdin holds its lock, and Python aborts when it exits meanwhile.
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_BUDGET_S)
    os._exit(1)  # It did not end by itself.


def _exit_now(_number: int, _frame: FrameType | None) -> None:
    os._exit(0)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
