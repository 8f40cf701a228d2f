"""The lock of a checkpoint URL: one process at a time may write there, and all can read which one it is."""

import errno
import fcntl
import os
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from springtide.checkpoint.lock_holder import LockHolder
from springtide.clock import Deadline, wall_ms
from springtide.errors import CheckpointError, CheckpointLockedError, CheckpointLockLostError
from springtide.storage import Storage

logger = structlog.stdlib.get_logger(__name__)

OnWait = Callable[[LockHolder, float], None]

LOCK_FILE = "writer.lock"  # Local folders only: empty, and locked with flock.
HOLDER_FILE = "writer.json"  # Who holds the lock; rewritten at each heartbeat.

_NO_FLOCK = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}  # What file systems without flock answer.
_UNNAMED_HOLDER_GRACE_S = 1.0  # A holder that has just locked the file writes its name within this time.


@dataclass(frozen=True, slots=True)
class LockTiming:
    """The times of the lock's protocol, in seconds.

    Attributes:
        heartbeat_s: Between two heartbeats of the holder.
        stale_s: Without a heartbeat for this long, the holder counts as dead. Six heartbeats: one slow request to an
            object store takes no lock away.
        settle_s: On object stores, from writing one's name to reading it back: of two that write at once, the last one
            wins.
        poll_s: Between two looks at a holder that may be dead.
    """

    heartbeat_s: float = 5.0
    stale_s: float = 30.0
    settle_s: float = 1.0
    poll_s: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat_s < self.stale_s or self.settle_s < 0 or self.poll_s <= 0:
            raise ValueError(f"wanted 0 < heartbeat_s < stale_s, settle_s >= 0 and poll_s > 0, got {self}")


class CheckpointLock:
    """The right to write checkpoints to one URL; taken once, released once.

    In a local folder, the kernel keeps the lock (flock) and drops it when the process dies, even by SIGKILL. On an
    object store, the holder writes heartbeats. A killed holder is replaced at once if it ran on this host, where we see
    that the process has ended. A holder elsewhere is replaced when its heartbeat has not changed for ``stale_s``
    seconds by our own monotonic clock, so wall clocks need not agree.

    On object stores, the last of two writers wins. So a new holder reads its name back after ``settle_s``, and each
    write of a checkpoint calls ``check`` first: a holder that was suspended, and replaced meanwhile, notices and stops.

    Args:
        url: The checkpoint URL: a local folder, or an fsspec URL.
        timing: The protocol's times; they must be the same in all processes.
    """

    def __init__(self, url: str, timing: LockTiming | None = None) -> None:
        self._storage = Storage(url)
        self._timing = timing or LockTiming()
        self._holder = LockHolder.this_process(uuid.uuid4().hex, wall_ms())
        self._descriptor: int | None = None  # Of LOCK_FILE, while we have it locked.
        self._heart: threading.Thread | None = None
        self._lost: CheckpointLockLostError | None = None
        self._closing = threading.Event()
        self._changing = threading.Lock()  # Between acquire and release.

    def acquire(self, on_wait: OnWait | None = None) -> None:
        """Take the lock; waits up to ``stale_s`` seconds for a holder that may have died.

        Args:
            on_wait: Called once with the holder and the most seconds to wait, if there is anything to wait for.

        Raises:
            CheckpointLockedError: If another process holds the lock and lives.
            CheckpointError: If the lock cannot be read or written, or ``release`` came before.
        """
        with self._changing:
            try:
                self._lock_file()
                former = self._wait_for_former_holder(on_wait)
                self._claim(former)
            except OSError as error:
                self._unlock_file()
                raise CheckpointError(
                    f"checkpoints at {self._storage.url}: the lock cannot be taken: {error}"
                ) from error
            except BaseException:
                self._unlock_file()
                raise
            self._heart = threading.Thread(target=self._keep_alive, name="checkpoint-lock", daemon=True)
            self._heart.start()

    def release(self) -> None:
        """Let the next process in; ends an ``acquire`` that waits in another thread. Does nothing without the lock."""
        self._closing.set()
        with self._changing:
            heart, self._heart = self._heart, None
            if heart is not None:
                heart.join()
                try:
                    if self._lost is None and self._is_ours():
                        self._storage.delete(HOLDER_FILE)
                except Exception as error:  # The next process waits until the heartbeat is stale.
                    logger.warning("checkpoint_lock_not_released", url=self._storage.url, error=str(error))
            self._unlock_file()

    def check(self) -> None:
        """Read the lock and make sure that it is still ours.

        Raises:
            CheckpointLockLostError: If it is not; it never is again.
            OSError: If the lock cannot be read just now.
        """
        if self._lost is None and not self._is_ours():
            self._lost = CheckpointLockLostError(
                f"checkpoints at {self._storage.url}: this process has lost the lock to {self._describe_holder()}; it "
                "writes no checkpoint any more"
            )
            logger.error("checkpoint_lock_lost", url=self._storage.url, error=str(self._lost))
        self.raise_if_lost()

    def raise_if_lost(self) -> None:
        """Raise CheckpointLockLostError if a heartbeat or ``check`` found the lock lost; reads nothing."""
        if self._lost is not None:
            raise self._lost

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _lock_file(self) -> None:
        """Lock LOCK_FILE; nothing on an object store, or on a file system without flock.

        Raises:
            CheckpointLockedError: If another process has it locked.
        """
        folder = self._storage.local_folder
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / LOCK_FILE
        while self._descriptor is None:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise self._locked_error() from None
            except OSError as error:
                os.close(descriptor)
                if error.errno in _NO_FLOCK:
                    return
                raise
            if _is_file_of(descriptor, path):
                self._descriptor = descriptor
            else:  # Somebody removed the folder between open and flock.
                os.close(descriptor)

    def _unlock_file(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _wait_for_former_holder(self, on_wait: OnWait | None) -> LockHolder | None:
        """Return the former holder once it is known to be dead; None if there is none, or it has let go."""
        first = self._read_holder()
        if first is None or first.has_ended():
            return first
        if self._descriptor is not None and first.host == self._holder.host:
            return first  # The kernel of this host says that nobody has the file locked.
        if on_wait is not None:
            on_wait(first, self._timing.stale_s)
        deadline = Deadline.after(self._timing.stale_s)
        while not deadline.is_over():
            self._sleep(self._timing.poll_s)
            now = self._read_holder()
            if now is None:
                return None
            if now != first:
                raise self._locked_error(now)
        return first

    def _claim(self, former: LockHolder | None) -> None:
        """Write our name in place of the former holder's, and on an object store read it back after a while."""
        if self._descriptor is not None:
            self._storage.delete_unfinished()  # Of a holder that was killed during a heartbeat.
        if former is None:
            try:
                self._storage.create(HOLDER_FILE, self._holder.to_json(heartbeat_ms=wall_ms()))
            except FileExistsError:
                raise self._locked_error() from None
        else:
            self._write_holder()
        if self._descriptor is None:
            try:
                self._sleep(self._timing.settle_s)
            except CheckpointError:
                if self._is_ours():
                    self._storage.delete(HOLDER_FILE)
                raise
            holder = self._read_holder()
            if holder is None or holder.token != self._holder.token:
                raise self._locked_error(holder)

    def _keep_alive(self) -> None:
        is_failing = False
        while not self._closing.wait(self._timing.heartbeat_s):
            try:
                self.check()
                self._write_holder()
                is_failing = False
            except CheckpointLockLostError:
                return
            except Exception as error:  # Clients of object stores raise all kinds; the next heartbeat tries again.
                if not is_failing:  # Once, not every time.
                    logger.warning("checkpoint_lock_heartbeat_failed", url=self._storage.url, error=str(error))
                is_failing = True

    def _is_ours(self) -> bool:
        folder = self._storage.local_folder
        if (
            self._descriptor is not None
            and folder is not None
            and not _is_file_of(self._descriptor, folder / LOCK_FILE)
        ):
            return False
        holder = self._read_holder()
        return holder is not None and holder.token == self._holder.token

    def _read_holder(self) -> LockHolder | None:
        try:
            return LockHolder.from_json(self._storage.read(HOLDER_FILE))
        except FileNotFoundError:
            return None

    def _write_holder(self) -> None:
        self._storage.write(HOLDER_FILE, self._holder.to_json(heartbeat_ms=wall_ms()))

    def _sleep(self, duration_s: float) -> None:
        if self._closing.wait(duration_s):
            raise CheckpointError(f"checkpoints at {self._storage.url}: gave up waiting for the lock")

    def _locked_error(self, holder: LockHolder | None = None) -> CheckpointLockedError:
        deadline = Deadline.after(_UNNAMED_HOLDER_GRACE_S)
        while holder is None and not deadline.is_over() and not self._closing.wait(0.05):
            holder = self._read_holder()
        who = "a process that has not written its name" if holder is None else holder.describe(wall_ms())
        error = CheckpointLockedError(
            f"checkpoints at {self._storage.url} have another writer: {who}. Only one process may write to one "
            "checkpoint.url: stop that process, or set another checkpoint.url"
        )
        error.holder = who
        return error

    def _describe_holder(self) -> str:
        holder = self._read_holder()
        return "nobody: the lock's files were removed" if holder is None else holder.describe(wall_ms())


def _is_file_of(descriptor: int, path: Path) -> bool:
    """Return whether an open file is still the one at a path."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)
