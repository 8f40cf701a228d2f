"""When checkpoints are written: by time, by number of events, and when somebody asks; never two at once."""

import queue
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

from springtide.checkpoint import Checkpoint, CheckpointStore
from springtide.clock import Deadline
from springtide.errors import CheckpointError
from springtide.settings.model import CheckpointSettings
from springtide.state import LiveState, StreamPosition

logger = structlog.stdlib.get_logger(__name__)


class Checkpointer:
    """Takes snapshots in the thread that applies events, and has them written by another.

    Args:
        settings: When.
        state: What is written.
        store: Where to; None writes nothing.

    Attributes:
        last: The last checkpoint that was written, by this process or the one before.
    """

    def __init__(self, settings: CheckpointSettings, state: LiveState, store: CheckpointStore | None) -> None:
        self.last: Checkpoint | None = None if store is None else store.latest()
        self._settings = settings
        self._state = state
        self._store = store
        self._pending: queue.SimpleQueue[Future[Checkpoint]] = queue.SimpleQueue()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[Checkpoint] | None = None
        self._next_due = Deadline.after(settings.every_s)
        self._num_events_taken = state.num_events
        self._position_taken: StreamPosition | None = state.position

    def ask(self) -> Future[Checkpoint]:
        """Ask for a checkpoint of the state after the batch that is being applied; from any thread."""
        pending: Future[Checkpoint] = Future()
        if self._store is None:
            pending.set_exception(CheckpointError("no checkpoint can be written: wanted a checkpoint store, got none"))
        else:
            self._pending.put(pending)
        return pending

    def write_if_due(self) -> None:
        """Begin to write a checkpoint if one is due or was asked for; called between two batches."""
        if self._store is None or (self._writing is not None and not self._writing.done()):
            return
        if self._pending.empty() and not self._is_due():
            return
        pendings = []
        while not self._pending.empty():
            pendings.append(self._pending.get())
        self._begin(pendings)

    def finish(self) -> None:
        """Write what has changed since the last checkpoint, and wait until it is written."""
        if self._store is not None:
            if self._writing is not None:
                self._writing.exception()
            if self._has_changed() or not self._pending.empty():
                self._next_due = Deadline.after(0.0)
                self.write_if_due()
        self._writer.shutdown(wait=True)

    def abandon(self, error: BaseException) -> None:
        """Write no more, and tell those who asked why."""
        while not self._pending.empty():
            self._pending.get().set_exception(error)
        self._writer.shutdown(wait=True)

    def _is_due(self) -> bool:
        num_fresh = self._state.num_events - self._num_events_taken
        return num_fresh >= self._settings.every_events or (self._next_due.is_over() and self._has_changed())

    def _has_changed(self) -> bool:
        return self._state.position is not self._position_taken

    def _begin(self, pendings: list[Future[Checkpoint]]) -> None:
        assert self._store is not None, "only called with a store"
        snapshot = self._state.snapshot()
        self._next_due = Deadline.after(self._settings.every_s)
        self._num_events_taken, self._position_taken = snapshot.num_events, snapshot.position
        self._writing = self._writer.submit(self._store.write, snapshot)

        def tell(writing: Future[Checkpoint]) -> None:
            error = writing.exception()
            if error is None:
                self.last = writing.result()
                logger.info("checkpoint_written", checkpoint=self.last.name, events=self.last.num_events)
            else:
                # The stream goes on, and the next one writes what this one did not.
                self._position_taken = None
                logger.error("checkpoint_failed", error=str(error), exc_info=error)
            for pending in pendings:
                if error is None:
                    pending.set_result(writing.result())
                else:
                    pending.set_exception(error)

        self._writing.add_done_callback(tell)
