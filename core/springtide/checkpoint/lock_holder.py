"""Who holds the lock of a checkpoint URL, and whether that process still runs."""

import contextlib
import dataclasses
import json
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from springtide.clock import MS_PER_SECOND


@dataclass(frozen=True, slots=True)
class LockHolder:
    """A process that holds, or held, the lock.

    Attributes:
        token: A random string, another one for each lock taken.
        host: Host name.
        pid: Process id on that host.
        process_table: A name for the process table that ``pid`` belongs to: boot and pid namespace. Two containers of
            one host have two.
        process_start: When the process started, in the unit of the operating system; a pid that is used again has
            another start.
        since_ms: When it made the lock, in milliseconds since the Unix epoch.
        heartbeat_ms: Its last heartbeat, in milliseconds since the Unix epoch, by its own clock.
    """

    token: str
    host: str
    pid: int
    process_table: str
    process_start: str
    since_ms: int
    heartbeat_ms: int

    @classmethod
    def this_process(cls, token: str, now_ms: int) -> Self:
        """Return this process as a holder."""
        pid = os.getpid()
        return cls(token, socket.gethostname(), pid, _process_table(), _process_start(pid), now_ms, now_ms)

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Return the holder that a file names; an unknown one, told apart by its token, if the file cannot be read."""
        with contextlib.suppress(ValueError, TypeError):
            return cls(**json.loads(content))
        return cls(f"unreadable: {content!r}", "unknown", 0, "", "", 0, 0)

    def to_json(self, heartbeat_ms: int) -> bytes:
        """Return the file of this holder with a new heartbeat."""
        return json.dumps(dataclasses.asdict(dataclasses.replace(self, heartbeat_ms=heartbeat_ms))).encode()

    def has_ended(self) -> bool:
        """Return whether the process is known to have ended; False if only the heartbeat can tell."""
        return self.process_table == _process_table() and _process_start(self.pid) != self.process_start

    def describe(self, now_ms: int) -> str:
        """Return host, pid, since when and how old the heartbeat is, for a message."""
        if self.host == "unknown":
            return "a holder whose name cannot be read"
        since = datetime.fromtimestamp(self.since_ms / MS_PER_SECOND, UTC)
        age_s = max(0.0, (now_ms - self.heartbeat_ms) / MS_PER_SECOND)
        return (
            f"host {self.host}, pid {self.pid}, since {since:%Y-%m-%d %H:%M:%S} UTC, last heartbeat {age_s:.0f} s ago"
        )


def _process_table() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # Not Linux.
        return socket.gethostname()


def _process_start(pid: int) -> str:
    """Return when a process started, in the system's unit; empty if it has ended, "unknown" without ``/proc``."""
    try:
        # After the command's name, which may hold anything: state is the 1st field, the start time the 20th.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass  # It runs, as another user.
    return "unknown"
