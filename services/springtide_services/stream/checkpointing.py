"""When checkpoints are written: by time, by number of events, and on request; never two at once."""

import contextlib
import queue
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import structlog

from springtide.checkpoint import Checkpoint, CheckpointStore
from springtide.clock import Deadline
from springtide.errors import CheckpointError
from springtide.settings.model import CheckpointSettings
from springtide.state import LiveState, StateSnapshot, StreamPosition

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CheckpointCounts:
    """Checkpoints since the start of the process.

    Attributes:
        num_written: How many were written.
        num_failed: How many could not be written.
        last_s: How long the last one took to write, in seconds; None before the first.
    """

    num_written: int = 0
    num_failed: int = 0
    last_s: float | None = None


Requests = list[Future[Checkpoint]]


class Checkpointer:
    """Takes snapshots in the thread that applies events, and writes them in another thread.

    Args:
        settings: When to write.
        state: What to write.
        store: Where to write; None writes nothing.
        why_not: Why nothing is written for now, if another process writes there: until ``become_writer``.

    Attributes:
        last: The newest checkpoint, written by this process or by an earlier one; None if there is none.
        counts: Checkpoints since the start; replaced as one.
        on_durable: Called by the writer thread with each checkpoint once it is durable, and what was written; must not
            raise. None calls nothing.
        before_write: Called by the writer thread before each checkpoint; must not raise. None calls nothing.
    """

    def __init__(
        self,
        settings: CheckpointSettings,
        state: LiveState,
        store: CheckpointStore | None,
        why_not: CheckpointError | None = None,
    ) -> None:
        self.last: Checkpoint | None = None if store is None else store.latest()
        self.counts = CheckpointCounts()
        self.on_durable: Callable[[Checkpoint, StateSnapshot], None] | None = None
        self.before_write: Callable[[], None] | None = None
        self._settings = settings
        self._state = state
        self._store = None if why_not is not None else store
        self._other_store = store if why_not is not None else None  # Another process writes there.
        self._why_not = why_not or CheckpointError("no checkpoint can be written: wanted a checkpoint store, got none")
        self._requests: queue.SimpleQueue[Future[Checkpoint]] = queue.SimpleQueue()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._copier = ThreadPoolExecutor(1, thread_name_prefix="checkpoint-copy")  # Edges are written meanwhile.
        self._writing: Future[None] | None = None
        self._next_due = Deadline.after(settings.every_s)
        self._num_events_taken = state.num_events
        # Both are set by the writer thread before its future is done; the ingest thread reads them after that.
        self._position_written: StreamPosition | None = state.position
        self._has_failed = False
        self._is_tainted = False
        self._end: BaseException | None = None  # Why no request is answered any more.

    def ask(self) -> Future[Checkpoint]:
        """Request a checkpoint of the state after the batch that is being applied; from any thread."""
        request: Future[Checkpoint] = Future()
        if self._store is None:
            request.set_exception(self._why_not)
            return request
        self._requests.put(request)
        if self._end is not None:  # It ended just before, or between these two lines.
            self._refuse_requests(self._end)
        return request

    def taint(self, error: BaseException) -> None:
        """Write nothing of this state any more, which may be half of what it should be; called by the ingest thread."""
        self._is_tainted = True
        self._refuse_requests(error)

    def follow(self, state: LiveState) -> None:
        """Write another state from now on, the first time soon; called by the ingest thread."""
        self._state, self._is_tainted = state, False
        self._num_events_taken = state.num_events
        self._has_failed = True  # No checkpoint holds it yet.
        self._next_due = Deadline.after(0.0)

    def become_writer(self) -> None:
        """Write to the store from now on, the first time soon; called by the ingest thread."""
        self._store, self._other_store = self._other_store, None
        self.follow(self._state)

    def become_reader(self, reason: CheckpointError) -> None:
        """Write nothing until ``become_writer``; called by the ingest thread.

        Args:
            reason: What requests are answered with.
        """
        self._other_store, self._store, self._why_not = self._store, None, reason
        self._refuse_requests(reason)

    def write_if_due(self) -> None:
        """Begin to write a checkpoint if one is due or requested; called by the ingest thread between two batches.

        Raises:
            CheckpointLockLostError: If another process writes to the store now.
        """
        if self._store is None:
            return
        self._store.raise_if_lock_lost()
        if self._writing is not None and not self._writing.done():
            return
        if self._is_tainted:
            return
        if (not self._requests.empty() or self._is_due()) and not self._state.is_learning_late:
            self._begin(self._store)

    def raise_if_lock_lost(self) -> None:
        """Raise CheckpointLockLostError if another process writes to the store now; reads nothing."""
        if self._store is not None:
            self._store.raise_if_lock_lost()

    def finish(self) -> None:
        """Wait for the checkpoint that is being written, and write another one if that failed or the state changed.

        Raises:
            CheckpointLockLostError: If another process writes to the store now.
        """
        if self._store is not None:
            if self._writing is not None:
                self._writing.result()
            self._store.raise_if_lock_lost()
            if not self._is_tainted and (self._has_changed() or not self._requests.empty()):
                self._begin(self._store)
        self._close(CheckpointError("no checkpoint can be written: ingest has ended"))

    def abandon(self, error: BaseException) -> None:
        """Begin no other checkpoint, and refuse all requests with the error."""
        self._close(error)

    def _close(self, end: BaseException) -> None:
        for executor in (self._copier, self._writer):
            executor.shutdown(wait=True)
        self._end = end
        self._refuse_requests(end)

    def _is_due(self) -> bool:
        num_fresh = self._state.num_events - self._num_events_taken
        return num_fresh >= self._settings.every_events or (self._next_due.is_over() and self._has_changed())

    def _has_changed(self) -> bool:
        return self._has_failed or self._state.position is not self._position_written

    def _begin(self, store: CheckpointStore) -> None:
        snapshot, requests = self._state.snapshot(self._copier), self._take_requests()
        self._next_due = Deadline.after(self._settings.every_s)  # After a failure too: no retry at every turn.
        self._num_events_taken = snapshot.num_events
        self._writing = self._writer.submit(self._write, store, snapshot, requests)

    def _write(self, store: CheckpointStore, snapshot: StateSnapshot, requests: Requests) -> None:
        """Write a snapshot and answer the requests; runs in the writer thread, and never raises."""
        if self.before_write is not None:
            self.before_write()
        started_s = time.monotonic()
        try:
            checkpoint = store.write(snapshot)
        except BaseException as error:
            self.counts = replace(self.counts, num_failed=self.counts.num_failed + 1)
            self._has_failed = True  # The stream goes on, and the next checkpoint holds what this one did not.
            logger.error("checkpoint_failed", error=str(error), exc_info=error)
            for request in requests:
                request.set_exception(error)
            return
        self.last, self._position_written, self._has_failed = checkpoint, snapshot.position, False
        self.counts = replace(self.counts, num_written=self.counts.num_written + 1, last_s=time.monotonic() - started_s)
        logger.info("checkpoint_written", checkpoint=checkpoint.name, events=checkpoint.num_events)
        for request in requests:
            request.set_result(checkpoint)
        if self.on_durable is not None:
            self.on_durable(checkpoint, snapshot)

    def _take_requests(self) -> Requests:
        requests = []
        with contextlib.suppress(queue.Empty):
            while True:
                requests.append(self._requests.get_nowait())
        return requests

    def _refuse_requests(self, error: BaseException) -> None:
        for request in self._take_requests():
            request.set_exception(error)
