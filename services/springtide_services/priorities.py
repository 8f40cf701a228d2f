"""Who goes first: among processes, and among the threads of one."""

import os
import sys
import time
from pathlib import Path

# A thread that answers may have to wait so long for Python's lock, while another one applies events. Python's own
# default is 5 ms: longer than most answers take. To hand the lock over costs some microseconds.
_LONGEST_TURN_S = 0.0005

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


def take_short_turns() -> None:
    """Let no thread of this process keep the others from Python for longer than half a millisecond.

    One call into compiled code may take longer.
    """
    sys.setswitchinterval(min(sys.getswitchinterval(), _LONGEST_TURN_S))
