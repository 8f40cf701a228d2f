"""Whether this process writes the checkpoints of its URL: it may become the writer, and may cease to be."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from springtide.checkpoint import Checkpoint, CheckpointLock, CheckpointStore
from springtide.checkpoint import manifest as manifests
from springtide.checkpoint.leases import Leases
from springtide.checkpoint.lock import OnWait
from springtide.checkpoint.lock_timing import HolderWatch, LockTiming
from springtide.clock import wall_ms
from springtide.errors import CheckpointError, CheckpointLockedError, CheckpointLockLostError
from springtide.settings.model import CheckpointSettings
from springtide.state import LeftOut, LiveState, StreamPosition
from springtide.storage import Storage

logger = structlog.stdlib.get_logger(__name__)

MissedLetters = Callable[[StreamPosition | None, LiveState], Counter[str]]


class RoleFollower(Protocol):
    """What changes with the role; called by the ingest thread."""

    def become_writer(self) -> None:
        """Write from now on."""

    def become_reader(self, reason: CheckpointError) -> None:
        """Write nothing from now on, for a reason."""


@dataclass(frozen=True, slots=True)
class RoleStatus:
    """The role, as status pages show it.

    Attributes:
        role: ``writer`` or ``reader``.
        holder: The process that may write, in words; empty if there is none.
        fence: The number of its lease; 0 if there never was one.
    """

    role: str
    holder: str
    fence: int


@dataclass(frozen=True, slots=True)
class _Taken:
    lock: CheckpointLock
    newest: Checkpoint | None


class WriterRole:
    """Takes the lease of a checkpoint URL when the settings allow it and it is free.

    A reader looks at the lease in a thread of its own. Once it has the lease, it writes as soon as its state has all
    that the newest checkpoint has, and the dead letters are written that the former writer may have left out.

    Args:
        settings: The URL, the role, and when a silent writer is replaced.

    Attributes:
        is_writer: Whether this process writes now.
    """

    def __init__(self, settings: CheckpointSettings) -> None:
        # A journal has one writer, and no reader can go on without one.
        self._wanted = "writer" if settings.role == "auto" and settings.journal else settings.role
        self._url = settings.url
        self._timing = LockTiming.replacing_after(settings.takeover_s)
        self._leases = Leases(Storage(settings.url))
        self.is_writer = False
        self._lock: CheckpointLock | None = None
        self._store: CheckpointStore | None = None
        self._taken: _Taken | None = None  # By our thread, for the ingest thread.
        self._holder, self._fence = "", 0
        self._stopping = threading.Event()
        self._changing = threading.Lock()  # Of the lock, between our thread and `stop`.
        self._thread = threading.Thread(target=self._run, name="writer-role", daemon=True)

    @property
    def lock(self) -> CheckpointLock | None:
        """The lock, if this process is the writer."""
        return self._lock if self.is_writer else None

    def begin(self, on_wait: OnWait | None = None) -> None:
        """Take the lease before anything is restored, if the role allows it.

        Args:
            on_wait: As in ``CheckpointLock.acquire``; only a writer waits.

        Raises:
            CheckpointLockedError: If the role is ``writer``, and another process holds the lease and lives.
            CheckpointError: If the lease cannot be read or written.
        """
        if self._wanted == "reader":
            self._look()
            return
        self._lock = lock = CheckpointLock(self._url, self._timing)
        try:
            if self._wanted == "writer":
                lock.acquire(on_wait)
            else:
                lock.try_acquire(HolderWatch())
        except CheckpointLockedError as error:
            self._lock = None
            if self._wanted == "writer":
                raise
            self._look()
            logger.info("reading_beside_writer", holder=error.holder)
        else:
            self.is_writer = True
            self._note_ours(lock)

    def start(self, store: CheckpointStore) -> None:
        """Begin to look for a free lease, as far as the role allows; ``begin`` came before.

        Args:
            store: The checkpoints that the state was restored from.
        """
        self._store = store
        if self._wanted != "writer":
            self._thread.start()

    def stop(self) -> None:
        """Release the lease, and end a ``begin`` that waits for it; after the last checkpoint."""
        self._stopping.set()
        with self._changing:
            lock = self._lock if self._taken is None else self._taken.lock
        if lock is not None:
            lock.release()
        if self._thread.ident is not None:
            self._thread.join()
            if self._taken is not None:
                self._taken.lock.release()

    def status(self) -> RoleStatus:
        """Return the role; from any thread, and without a look at the storage."""
        return RoleStatus("writer" if self.is_writer else "reader", self._holder, self._fence)

    def reader_error(self) -> CheckpointError:
        """Return why no checkpoint is written here."""
        return CheckpointError(f"this server only reads checkpoints: their writer is {self._holder or 'not there yet'}")

    def turn(self, state: LiveState, follower: RoleFollower, write_missed: MissedLetters) -> None:
        """Take up a role that has changed; called by the ingest thread between two batches.

        Args:
            state: The state that would be written.
            follower: Is told of the change.
            write_missed: Writes the dead letters of what a state has read since a position.

        Raises:
            CheckpointLockLostError: If the lease is lost, and the role is ``writer``; or if the former writer had
                taken over a rebuilt state, which this process has to restore.
            KafkaError: If the broker does not answer; the next call tries again.
        """
        if self.is_writer:
            if self._wanted == "auto":
                self._step_down_if_lost(follower)
            return
        taken = self._taken
        if taken is None or self._store is None or not _has_all(state, taken.newest):
            return
        if (newest := taken.newest) is not None and _left_out(newest) != state.left_out:
            raise CheckpointLockLostError(
                f"the graph of checkpoint {newest.name} was rebuilt, and this server still reads into the former one: "
                "started again, it restores the rebuilt one and writes on"
            )
        letters = write_missed(None if taken.newest is None else taken.newest.position, state)
        self._store.write_under(taken.lock)
        with self._changing:
            self._lock, self._taken, self.is_writer = taken.lock, None, True
        follower.become_writer()
        logger.warning("became_writer", fence=taken.lock.fence, dead_letters=sum(letters.values()))

    def _step_down_if_lost(self, follower: RoleFollower) -> None:
        lock = self._lock
        assert lock is not None, "a writer has the lock"
        try:
            lock.raise_if_lost()
        except CheckpointLockLostError as error:
            self.is_writer = False
            follower.become_reader(error)
            logger.warning("became_reader", error=str(error))

    def _run(self) -> None:
        watch, is_failing = HolderWatch(), False
        while not self._stopping.wait(self._timing.poll_s):
            try:
                if not self.is_writer:
                    self._look()
                    if self._wanted == "auto" and self._taken is None:
                        self._try_to_take(watch)
                is_failing = False
            except CheckpointLockedError:
                is_failing = False
            except Exception as error:  # Clients of object stores raise all kinds; the next look tries again.
                if not is_failing:
                    logger.warning("writer_lease_not_read", error=str(error))
                is_failing = True

    def _try_to_take(self, watch: HolderWatch) -> None:
        former, lock = self._lock, CheckpointLock(self._url, self._timing)
        if former is not None:
            former.release()  # It was lost: only its thread and its file are left.
            self._lock = None
        lock.try_acquire(watch)
        try:
            assert self._store is not None, "start gave it"
            taken = _Taken(lock, self._store.latest())
        except BaseException:
            lock.release()
            raise
        with self._changing:
            self._taken = taken
        self._note_ours(lock)

    def _note_ours(self, lock: CheckpointLock) -> None:
        self._holder, self._fence = lock.holder.describe(wall_ms()).rpartition(", last heartbeat")[0], lock.fence

    def _look(self) -> None:
        newest = self._leases.newest()
        if newest is None or self._taken is not None:
            return
        self._fence = newest.number
        self._holder = "" if newest.is_released else newest.holder.describe(wall_ms())


def _left_out(checkpoint: Checkpoint) -> tuple[LeftOut, ...]:
    return manifests.left_out_from_json(checkpoint.manifest.get("left_out", ()))


def _has_all(state: LiveState, checkpoint: Checkpoint | None) -> bool:
    """Return whether a state has everything that a checkpoint has, if they are of one topic."""
    wanted, position = None if checkpoint is None else checkpoint.position, state.position
    if wanted is None:
        return True
    if position is None:
        return False
    return position.topic_id != wanted.topic_id or state.has_reached(wanted.next_offsets)
