"""Which processes go first, and whose turns on a core are short."""

import contextlib
import ctypes
import os
import platform
import time
from pathlib import Path

_NUM_TRIES, _BETWEEN_TRIES_S = 3, 0.15  # Linux takes one change in 100 ms from those who are not root.

_AUTOGROUP = Path("/proc/self/autogroup")
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274, "riscv64": 274}  # Numbers of the system call; glibc has it since 2.41.
_TURN_NS = 100_000  # The least that Linux takes; by default it is 1.4 ms with two cores, and 2.8 with eight.


class _SchedulingAttributes(ctypes.Structure):
    """Linux's ``struct sched_attr`` in its first version."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("turn_ns", ctypes.c_uint64),
        ("deadline_ns", ctypes.c_uint64),
        ("period_ns", ctypes.c_uint64),
    )


def take_short_turns() -> None:
    """Let this thread, and those that it starts, run often and briefly where others want the cores, too.

    It then goes before a thread in a longer turn when it wakes, and others wait less for the end of its own. Its share
    of the cores stays what it is. Linux heeds it from 6.12 on, and needs no rights for it; elsewhere nothing happens.
    What it gains and costs is in record 0017.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if not hasattr(os, "sched_getscheduler") or number is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return  # Whoever has chosen another policy for it knows better.
    wanted = _SchedulingAttributes(
        size=ctypes.sizeof(_SchedulingAttributes),
        policy=os.SCHED_OTHER,
        nice=os.getpriority(os.PRIO_PROCESS, 0),
        turn_ns=_TURN_NS,
    )
    with contextlib.suppress(AttributeError):  # No such C library.
        ctypes.CDLL(None).syscall(number, 0, ctypes.byref(wanted), 0)


def give_way(by: int = 0) -> int:
    """Let other processes go first, also where Linux shares the cores by session; return the niceness.

    With autogroups, as many desktops and virtual machines have them, each session gets an equal share of the cores,
    and niceness holds only within it: a process with a session of its own must lower that of the session, too.

    Args:
        by: How much higher the niceness is to be than what this process has inherited.
    """
    niceness = os.nice(by)
    if os.getsid(0) == os.getpid():  # Else others are in the same session, and may be those that are to go first.
        _lower_session(niceness)
    return niceness


def _lower_session(niceness: int) -> None:
    for _ in range(_NUM_TRIES):
        try:
            _AUTOGROUP.write_text(str(niceness), encoding="ascii")
        except BlockingIOError:
            time.sleep(_BETWEEN_TRIES_S)
        except OSError:  # There is no such thing here, or it may not be raised again.
            break
        else:
            break
