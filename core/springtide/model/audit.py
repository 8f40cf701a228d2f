"""Who changed which model serves: a record that is only ever added to."""

import dataclasses
import getpass
import json
import os
import platform
import secrets
import time
from dataclasses import dataclass

from springtide.errors import ModelError
from springtide.storage import Storage

_FOLDER = "audit"
_DIGITS = 19  # Of an entry's time in nanoseconds, with which its name begins: names sort by time until 2286.


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change, or one refusal.

    Attributes:
        time_ms: Milliseconds since the Unix epoch.
        actor: Who: ``user@host``, or a gRPC peer.
        action: ``promote``, ``roll_back`` or ``reject``.
        from_version: What was current before; empty if nothing was.
        to_version: What was promoted or gone back to; or what was rejected.
        reason: In words; empty if none was given.
    """

    time_ms: int
    actor: str
    action: str
    from_version: str
    to_version: str
    reason: str = ""


class AuditLog:
    """The record in a registry's folder.

    Each entry is an object of its own, created and never written again: object stores cannot append, and of two
    writers that rewrite one file, one loses.

    Args:
        storage: Of the registry.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def append(self, action: str, *, from_version: str, to_version: str, actor: str = "", reason: str = "") -> None:
        """Add an entry of now; without an actor, it is whoever runs this process."""
        now_ns = time.time_ns()  # Of entries within a millisecond, too, the first is to stay the first.
        entry = AuditEntry(now_ns // 1_000_000, actor or this_actor(), action, from_version, to_version, reason)
        name = f"{now_ns:0{_DIGITS}d}-{secrets.token_hex(4)}.json"
        self._storage.create(f"{_FOLDER}/{name}", json.dumps(dataclasses.asdict(entry)).encode())

    def entries(self, limit: int | None = None) -> list[AuditEntry]:
        """Return the entries, the oldest first; only the latest ``limit`` of them, or all.

        Raises:
            ModelError: If one cannot be read.
        """
        names = self._storage.list(_FOLDER)
        return [self._read(f"{_FOLDER}/{name}") for name in (names if limit is None else names[-limit:])]

    def _read(self, name: str) -> AuditEntry:
        try:
            return AuditEntry(**json.loads(self._storage.read(name)))
        except (ValueError, TypeError) as error:
            raise ModelError(f"{self._storage.path(name)}: not an entry of an audit log: {error}") from error


def this_actor() -> str:
    """Return ``user@host`` of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # A container may run as a number that has no name.
        user = f"uid {os.getuid()}"
    return f"{user}@{platform.node() or 'unknown'}"
