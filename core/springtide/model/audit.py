"""The audit log of a registry: who changed which model serves, when and why."""

import contextlib
import dataclasses
import getpass
import json
import os
import platform
import secrets
import time
from dataclasses import dataclass

from springtide.storage import Storage
from springtide.token_search import Token

FOLDER = "audit"
_DIGITS = 19  # An entry's file name begins with its time in nanoseconds: names sort by time until the year 2286.


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change of the model that serves, or one rejection.

    Attributes:
        time_ms: Milliseconds since the Unix epoch.
        actor: Who made it: ``user@host``, or a gRPC peer.
        action: ``promote``, ``roll_back``, ``reject``, ``bypass``, or ``forget`` for a version that was rewritten or
            dropped because of deleted nodes, or ``migrate`` for one that was written in a newer format, or for the
            pointer; ``unreadable`` for an entry that cannot be read.
        from_version: The version that was current before; empty if there was none.
        to_version: The version that was promoted, rolled back to, or rejected.
        reason: Why, in words; empty if none was given. Why it cannot be read, for an entry that cannot.
    """

    time_ms: int
    actor: str
    action: str
    from_version: str
    to_version: str
    reason: str = ""


class AuditLog:
    """The audit log in a registry's folder.

    Each entry is an object of its own, which is created once and changed by ``forget`` alone: object stores cannot
    append, and of two writers that rewrite one file, one loses its entry.

    Args:
        storage: The registry's storage.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def append(self, action: str, *, from_version: str, to_version: str, actor: str = "", reason: str = "") -> None:
        """Add an entry with the time of now; without an actor, it is whoever runs this process."""
        now_ns = time.time_ns()  # Nanoseconds keep the order of entries within one millisecond.
        entry = AuditEntry(now_ns // 1_000_000, actor or this_actor(), action, from_version, to_version, reason)
        self.add(entry, entry_name(now_ns))

    def add(self, entry: AuditEntry, name: str) -> None:
        """Add an entry under a name of ``entry_name``; nothing happens if it was added before."""
        path = f"{FOLDER}/{name}"
        if not self._storage.exists(path):
            with contextlib.suppress(FileExistsError):  # Another process has added it just now.
                self._storage.create(path, json.dumps(dataclasses.asdict(entry)).encode())

    def entries(self, limit: int | None = None) -> list[AuditEntry]:
        """Return the entries, the oldest first; only the latest ``limit`` of them, or all.

        An entry that cannot be read, such as one of newer software, stands in the list as ``unreadable``.
        """
        names = self._storage.list(FOLDER)
        return [self._read(f"{FOLDER}/{name}") for name in (names if limit is None else names[-limit:])]

    def forget(self, token: Token) -> int:
        """Take an id out of the reasons that people have given; return in how many entries it was."""
        num_changed = 0
        for name in self._storage.list(FOLDER):
            entry = self._read(f"{FOLDER}/{name}")
            if entry.action != "unreadable" and token.is_in_text(entry.reason):
                changed = dataclasses.replace(entry, reason=token.without(entry.reason))
                self._storage.write(f"{FOLDER}/{name}", json.dumps(dataclasses.asdict(changed)).encode())
                num_changed += 1
        return num_changed

    def _read(self, name: str) -> AuditEntry:
        content = self._storage.read(name)
        try:
            return AuditEntry(**json.loads(content))
        except (ValueError, TypeError) as error:
            digits = name.rpartition("/")[2].partition("-")[0]
            time_ms = int(digits) // 1_000_000 if digits.isdecimal() else 0
            reason = f"{self._storage.path(name)}: not an entry of an audit log: {error}"
            return AuditEntry(time_ms, "", "unreadable", "", "", reason)


def entry_name(time_ns: int) -> str:
    """Return a new file name for an entry; names sort by time, nanoseconds since the Unix epoch."""
    return f"{time_ns:0{_DIGITS}d}-{secrets.token_hex(4)}.json"


def this_actor() -> str:
    """Return ``user@host`` of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # A container may run as a number that has no name.
        user = f"uid {os.getuid()}"
    return f"{user}@{platform.node() or 'unknown'}"
