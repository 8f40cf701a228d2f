"""Which processes go first."""

import os
import time
from pathlib import Path

_AUTOGROUP = Path("/proc/self/autogroup")
_NUM_TRIES, _BETWEEN_TRIES_S = 3, 0.15  # Linux takes one change in 100 ms from those who are not root.


def give_way(by: int = 0) -> int:
    """Let other processes go first, also where Linux shares the cores by session; return the niceness.

    With autogroups, as many desktops and virtual machines have them, each session gets an equal share of the cores,
    and niceness holds only within it: a process with a session of its own must lower that of the session, too.

    Args:
        by: How much higher the niceness is to be than what this process has inherited.
    """
    niceness = os.nice(by)
    if os.getsid(0) != os.getpid():
        return niceness  # Others are in the same session, and may be those that are to go first.
    for _ in range(_NUM_TRIES):
        try:
            _AUTOGROUP.write_text(str(niceness), encoding="ascii")
        except BlockingIOError:
            time.sleep(_BETWEEN_TRIES_S)
        except OSError:  # There is no such thing here, or it may not be raised again.
            break
        else:
            break
    return niceness
