"""The leases of a checkpoint URL: numbered, each created once, so that the newest one says who may write."""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from springtide.checkpoint.lock_holder import LockHolder
from springtide.storage import Storage

FOLDER = "leases"

_DIGITS = 12  # Names sort by number.
_MAX_TAKEN = 100  # Take-overs that are remembered: the manifests of earlier ones were pruned long ago.

Taken = tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write to one URL, which ends when a lease of a larger number is created.

    Attributes:
        number: The fencing number: 1 for the first lease, one more for each later one.
        holder: The process that has it, with its last heartbeat.
        is_released: Whether that process has let go.
        taken: For each lease up to this one, oldest first, its number and the newest checkpoint when it was taken, as
            far as that is known; a name of zeros if there was none.
    """

    number: int
    holder: LockHolder
    is_released: bool = False
    taken: Taken = ()

    def beating(self, heartbeat_ms: int) -> "Lease":
        """Return the lease with a new heartbeat, in milliseconds since the Unix epoch."""
        return replace(self, holder=replace(self.holder, heartbeat_ms=heartbeat_ms))

    def taken_after(self, newest: str) -> "Lease":
        """Return the lease, taken when this was the newest checkpoint."""
        return replace(self, taken=(*self.taken, (self.number, newest))[-_MAX_TAKEN:])

    def is_late(self, name: str, fence: int) -> bool:
        """Return whether a checkpoint was written by a writer that had been replaced.

        Args:
            name: The checkpoint.
            fence: The number of the lease that it was written under.
        """
        return any(number > fence and int(name) > int(newest) for number, newest in self.taken)


class Leases:
    """The files of leases. Only the process that created one writes it again, so no heartbeat undoes a take-over.

    Args:
        storage: The folder that checkpoints are kept in.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def newest_number(self) -> int:
        """Return the fencing number of the newest lease; 0 if there never was one.

        Raises:
            OSError: If they cannot be listed.
        """
        return max(self._numbers(), default=0)

    def newest(self) -> Lease | None:
        """Return the newest lease; None if there never was one.

        Raises:
            OSError: If it cannot be read.
        """
        while number := self.newest_number():
            with contextlib.suppress(FileNotFoundError):  # A newer one has come meanwhile.
                return self._read(number)
        return None

    def create(self, lease: Lease) -> None:
        """Create a lease: of two processes that create one of a number, one is refused.

        Raises:
            FileExistsError: If there is one of its number.
            OSError: If it cannot be written.
        """
        content = _to_json(lease)
        try:
            self._storage.create(_file_of(lease.number), content)
        except FileExistsError:
            # It may be ours: a client of an object store repeats a request whose answer was lost.
            if self._storage.read(_file_of(lease.number)) != content:
                raise

    def write(self, lease: Lease) -> None:
        """Write a lease again; only the process that created it may.

        Raises:
            OSError: If it cannot be written.
        """
        self._storage.write(_file_of(lease.number), _to_json(lease))

    def delete_before(self, number: int) -> None:
        """Delete the leases of smaller numbers, and what was left of heartbeats.

        Raises:
            OSError: If they cannot be deleted.
        """
        for each in self._numbers():
            if each < number:
                self._storage.delete(_file_of(each))
        self._storage.delete_unfinished(FOLDER)

    def _numbers(self) -> list[int]:
        stems = (name.removesuffix(".json") for name in self._storage.list(FOLDER))
        return [int(stem) for stem in stems if stem.isdecimal()]

    def _read(self, number: int) -> Lease:
        content = self._storage.read(_file_of(number))
        try:
            fields = json.loads(content)
            holder = LockHolder.from_json(json.dumps(fields["holder"]).encode())
            taken: Sequence[tuple[int, str]] = [(int(each), f"{int(name):08d}") for each, name in fields["taken"]]
            return Lease(number, holder, bool(fields["is_released"]), tuple(taken))
        except (ValueError, TypeError, KeyError):  # Its name still says its number, and its content whether it changes.
            return Lease(number, LockHolder.from_json(content))


def _file_of(number: int) -> str:
    return f"{FOLDER}/{number:0{_DIGITS}d}.json"


def _to_json(lease: Lease) -> bytes:
    holder = json.loads(lease.holder.to_json(lease.holder.heartbeat_ms))
    return json.dumps({"holder": holder, "is_released": lease.is_released, "taken": lease.taken}, indent=1).encode()
