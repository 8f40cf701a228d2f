"""The lock of a checkpoint URL: one process at a time may write there, and all can read which one it is."""

import contextlib
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

import structlog

from springtide.checkpoint.leases import Lease, Leases
from springtide.checkpoint.lock_file import LockFile
from springtide.checkpoint.lock_holder import LockHolder
from springtide.checkpoint.lock_timing import HolderWatch, LockTiming
from springtide.checkpoint.manifest_files import ManifestFiles
from springtide.clock import MS_PER_SECOND, Deadline, wall_ms
from springtide.errors import CheckpointError, CheckpointLockedError, CheckpointLockLostError
from springtide.storage import Storage

logger = structlog.stdlib.get_logger(__name__)

OnWait = Callable[[LockHolder, float], None]

HOLDER_FILE = "writer.json"  # Who held the lock, in releases that knew no leases.

_UNNAMED_HOLDER_GRACE_S = 1.0  # A holder that has just locked the file writes its name within this time.
_NONE = "00000000"  # In place of a checkpoint's name.


class CheckpointLock:
    """The right to write checkpoints to one URL; taken once, released once.

    Whoever takes it creates the next of the numbered leases (``leases.Leases``), and has the right until there is one
    of a larger number. The holder writes heartbeats. A killed holder is replaced at once if it ran on this host, where
    we see that the process has ended, or that the kernel has dropped its lock of a local file (flock). Any other is
    replaced when its heartbeat has not changed for ``stale_s`` seconds.

    A holder that was suspended, and replaced meanwhile, finds that with ``check``, which comes before each write. What
    it writes in spite of that, since it was suspended between the two, harms nothing: its files carry the number of its
    lease, and a manifest is created, never overwritten, and not believed (``Lease.is_late``).

    Args:
        url: The checkpoint URL: a local folder, or an fsspec URL.
        timing: The protocol's times; they must be the same in all processes.
    """

    def __init__(self, url: str, timing: LockTiming | None = None) -> None:
        self._storage = Storage(url)
        self._leases = Leases(self._storage)
        self._timing = timing or LockTiming()
        self._holder = LockHolder.this_process(uuid.uuid4().hex, wall_ms())
        self._lease: Lease | None = None
        self._file = LockFile(self._storage.local_folder)
        self._heart: threading.Thread | None = None
        self._lost: CheckpointLockLostError | None = None
        self._closing = threading.Event()
        self._changing = threading.Lock()  # Between acquire and release.

    @property
    def fence(self) -> int:
        """The number of the lease; larger than those of all leases before."""
        assert self._lease is not None, "acquire comes first"
        return self._lease.number

    @property
    def holder(self) -> LockHolder:
        """This process as the holder."""
        return self._holder

    def acquire(self, on_wait: OnWait | None = None) -> None:
        """Take the lock; waits up to ``stale_s`` seconds for a holder that may have died.

        Args:
            on_wait: Called once with the holder and the most seconds to wait, if there is anything to wait for.

        Raises:
            CheckpointLockedError: If another process holds the lock and lives.
            CheckpointError: If the lock cannot be read or written, or ``release`` came before.
        """
        self._take(lambda former: self._wait_for(former, on_wait))

    def try_acquire(self, watch: HolderWatch) -> None:
        """Take the lock if it is free, or its holder is known to be dead; waits for nothing.

        Args:
            watch: Knows how long the holder has been silent; the same one at each attempt.

        Raises:
            CheckpointLockedError: If another process holds the lock, and may live.
            CheckpointError: If the lock cannot be read or written.
        """

        def refuse_if_alive(former: Lease) -> None:
            if watch.silent_s(former) < self._timing.stale_s:
                raise self._locked_error(former.holder)

        self._take(refuse_if_alive)

    def release(self) -> None:
        """Let the next process in; ends an ``acquire`` that waits in another thread. Does nothing without the lock."""
        self._closing.set()
        with self._changing:
            heart, self._heart = self._heart, None
            if heart is not None and self._lease is not None:
                heart.join()
                try:
                    if self._lost is None and self._is_ours():
                        self._leases.write(replace(self._lease, is_released=True))
                except Exception as error:  # The next process waits until the heartbeat is stale.
                    logger.warning("checkpoint_lock_not_released", url=self._storage.url, error=str(error))
            self._file.unlock()

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

    def _take(self, wait_for: Callable[[Lease], None]) -> None:
        with self._changing:
            try:
                former = self._look_at_former()
                if former is not None and not self._is_gone(former):
                    wait_for(former)
                self._claim(former)
            except OSError as error:
                self._file.unlock()
                raise CheckpointError(
                    f"checkpoints at {self._storage.url}: the lock cannot be taken: {error}"
                ) from error
            except BaseException:
                self._file.unlock()
                raise
            self._heart = threading.Thread(target=self._keep_alive, name="checkpoint-lock", daemon=True)
            self._heart.start()

    def _look_at_former(self) -> Lease | None:
        """Lock the file if nobody else has it locked, and return the newest lease; None if there never was one.

        Raises:
            CheckpointLockedError: If another process has the file locked, and no lease.
        """
        grace = Deadline.after(_UNNAMED_HOLDER_GRACE_S)
        while True:
            self._file.lock()
            former = self._leases.newest() or self._of_earlier_release()
            if not self._file.is_taken or (former is not None and not former.is_released):
                return former
            if grace.is_over() or self._closing.wait(0.02):
                raise self._locked_error()

    def _of_earlier_release(self) -> Lease | None:
        try:
            return Lease(0, LockHolder.from_json(self._storage.read(HOLDER_FILE)))
        except FileNotFoundError:
            return None

    def _is_gone(self, former: Lease) -> bool:
        """Return whether the holder of a lease has let go, or is known to have ended."""
        if former.is_released or former.holder.has_ended():
            return True
        # The kernel of this host says that nobody has the file locked.
        return self._file.is_held and former.holder.host == self._holder.host

    def _wait_for(self, former: Lease, on_wait: OnWait | None) -> None:
        """Return once the holder of a lease is known to be dead.

        Raises:
            CheckpointLockedError: If it lives.
        """
        holder, timing = former.holder, self._timing
        if self._file.is_taken and holder.host == self._holder.host:
            silent_ms = wall_ms() - holder.heartbeat_ms  # By the clock of this host.
            if silent_ms < timing.stale_s * MS_PER_SECOND:
                raise self._locked_error(holder)
        if on_wait is not None:
            on_wait(holder, timing.stale_s)
        deadline = Deadline.after(timing.stale_s)
        while not deadline.is_over():
            if self._closing.wait(timing.poll_s):
                raise self._gave_up()
            now = self._leases.newest() or self._of_earlier_release()
            if now is None or now.is_released:
                return
            if now != former:
                raise self._locked_error(now.holder)

    def _claim(self, former: Lease | None) -> None:
        """Create the next lease, and note in it which checkpoint was the newest one then.

        Raises:
            CheckpointLockedError: If another process was first.
        """
        number = 1 + max(0 if former is None else former.number, self._newest_fence())
        lease = Lease(number, self._holder, taken=() if former is None else former.taken)
        try:
            with self._file.replacing():
                self._leases.create(lease.beating(wall_ms()))
        except FileExistsError:
            raise self._locked_error() from None
        self._lease = lease
        try:
            if not self._storage.creates_exclusively:
                self._settle(lease)
            # After it was created: what the former holder writes from now on is seen here, or never believed.
            newest = ManifestFiles(self._storage).names()[:1]
            self._lease = lease.taken_after(newest[0] if newest else _NONE)
            self._leases.write(self._lease.beating(wall_ms()))
        except BaseException:
            with contextlib.suppress(OSError):
                if self._is_ours():
                    self._leases.write(replace(lease, is_released=True))
            raise
        self._leases.delete_before(number)
        self._storage.delete(HOLDER_FILE)
        if self._file.is_held:
            self._storage.delete_unfinished()  # Of a holder that was killed while it took the lock.

    def _newest_fence(self) -> int:
        """Return the number of the lease that the newest checkpoint was written under; the lease may be lost."""
        newest = ManifestFiles(self._storage).newest()
        return 0 if newest is None else int(newest.get("fence") or 0)

    def _settle(self, lease: Lease) -> None:
        """Read our name back after a while: of two that create a lease at once, the last one wins."""
        if self._closing.wait(self._timing.settle_s):
            raise self._gave_up()
        newest = self._leases.newest()
        if newest is None or newest.number != lease.number or newest.holder.token != lease.holder.token:
            raise self._locked_error(None if newest is None else newest.holder)

    def _keep_alive(self) -> None:
        is_failing = False
        assert self._lease is not None, "the lock is ours"
        while not self._closing.wait(self._timing.heartbeat_s):
            try:
                self.check()
                self._leases.write(self._lease.beating(wall_ms()))
                is_failing = False
            except CheckpointLockLostError:
                return
            except Exception as error:  # Clients of object stores raise all kinds; the next heartbeat tries again.
                if not is_failing:  # Once, not every time.
                    logger.warning("checkpoint_lock_heartbeat_failed", url=self._storage.url, error=str(error))
                is_failing = True

    def _is_ours(self) -> bool:
        lease = self._lease
        assert lease is not None, "the lock was taken"
        if self._file.is_replaced:
            return False
        if self._storage.creates_exclusively:
            return self._leases.newest_number() == lease.number
        newest = self._leases.newest()
        return newest is not None and newest.number == lease.number and newest.holder.token == lease.holder.token

    def _gave_up(self) -> CheckpointError:
        return CheckpointError(f"checkpoints at {self._storage.url}: gave up waiting for the lock")

    def _locked_error(self, holder: LockHolder | None = None) -> CheckpointLockedError:
        deadline = Deadline.after(_UNNAMED_HOLDER_GRACE_S)
        while holder is None and not deadline.is_over() and not self._closing.wait(0.05):
            newest = self._leases.newest()
            holder = None if newest is None or newest.is_released else newest.holder
        who = "a process that has not written its name" if holder is None else holder.describe(wall_ms())
        error = CheckpointLockedError(
            f"checkpoints at {self._storage.url} have another writer: {who}. Only one process may write to one "
            "checkpoint.url: stop that process, or set another checkpoint.url"
        )
        error.holder = who
        return error

    def _describe_holder(self) -> str:
        newest = self._leases.newest()
        return "nobody: the lock's files were removed" if newest is None else newest.holder.describe(wall_ms())
