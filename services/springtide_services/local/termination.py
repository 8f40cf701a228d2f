"""SIGTERM and SIGHUP as Ctrl-C, so that one way of stopping cleans everything up."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

# SIGINT, too: a shell that starts us in the background has it ignored.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGINT, SIGTERM and SIGHUP while the block runs; for the main thread."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    former = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
