"""Following rules, scenarios and experiments: a new version is read in the background, and set by one reference."""

import threading
from collections.abc import Callable

import structlog

from springtide.expressions import Schema
from springtide.model.audit import this_actor
from springtide.model.registry import ModelStore
from springtide.ranking.ranker import Ranker
from springtide.state import LiveState
from springtide.steering.checks import Known
from springtide.steering.store import SteeringStore, StoredSteering
from springtide.steering.values import NO_STEERING, Steering
from springtide_services.serving.steering_file import SteeringFile

logger = structlog.stdlib.get_logger(__name__)

_POLL_S = 0.25  # What another server has changed holds here within a second, reading included.
_LOOK_POLLS = 40  # Every ten seconds all versions are listed: the one after the last may have been deleted already.

_FILE_POLLS = 2  # The file is looked at every half second.


class SteeringFollower:
    """Lets a ranker answer by the newest version of a store, which it polls in a thread of its own.

    A version that is damaged is logged once, and the one before it holds. If the store is away, what holds stays. A
    file that is the source is followed, too: what it says becomes the next version, which other servers then follow.

    Attributes:
        store: The store.

    Args:
        store: The store.
        models: The model registry, whose versions experiments may name.
        state: The state that answers.
        ranker: What answers from it.
        file: The file that is the source; empty if calls are.
    """

    def __init__(
        self, store: SteeringStore, models: ModelStore, state: LiveState, ranker: Ranker, file: str = ""
    ) -> None:
        self.store = store
        self._models = models
        self._state = state
        self._ranker = ranker
        self._file = SteeringFile(file) if file else None
        self._file_fault = ""
        self._store_fault = ""
        self._polls_to_file = 0
        self._steering = NO_STEERING
        self._newest = 0  # Number of the newest version that was seen, read or not.
        self._polls_to_look = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="steering-follower", daemon=True)

    @property
    def fault(self) -> str:
        """Why the newest version, or the file, does not hold; empty if it does."""
        return "; ".join(filter(None, (self._file_fault, self._store_fault)))

    @property
    def is_from_file(self) -> bool:
        """Whether a file is the source, and changes by calls are refused."""
        return self._file is not None

    @property
    def steering(self) -> Steering:
        """The rules, scenarios and experiments that hold."""
        return self._steering

    def start(self) -> None:
        """Let the newest version hold, then follow the store."""
        self.check()
        self._thread.start()

    def stop(self) -> None:
        """Stop following the store."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def check(self) -> None:
        """Let the newest version hold unless it does already; from any thread."""
        self._check_file()
        with self._lock:
            try:
                if self._polls_to_look > 0 and not self.store.has(self._newest + 1):
                    self._polls_to_look -= 1
                    return
                self._take(self.store.load())
                self._polls_to_look = _LOOK_POLLS
            except Exception as error:  # The store may be away for a while.
                self._fail(error)

    def serve_on(self, state: LiveState, ranker: Ranker) -> None:
        """Let another ranker over another state answer by what holds, from here on."""
        with self._lock:
            ranker.steering = self._steering
            self._state, self._ranker = state, ranker

    def known(self) -> Known:
        """Return what rules and experiments may name."""
        view, item_type = self._state.graph.view(), self._state.rules.item_type
        ids = view.nodes(item_type).ids
        schema = Schema.of(view, item_type) if ids.num_known else None
        return Known(lambda item_id: ids.row(item_id) >= 0, self._models.versions(), schema)

    def change(
        self, choose: Callable[[Steering], Steering], *, actor: str, reason: str
    ) -> tuple[Steering, tuple[str, ...]]:
        """Change what steers; it holds here when this returns.

        Args:
            choose: As in ``SteeringStore.change``.
            actor: Who makes the change.
            reason: Why, in words.

        Returns:
            What steers then, and what has changed, a sentence each.

        Raises:
            SteeringError: If other processes make changes all the time.
        """
        steering, changes = self.store.change(choose, actor=actor, reason=reason, seen=self._steering.version)
        with self._lock:
            self._take(StoredSteering(steering, max(self._newest, steering.version)))
        return steering, changes

    def _check_file(self) -> None:
        """Make what the file says the next version, if it has changed, or could not hold at the last look."""
        if self._file is None:
            return
        self._polls_to_file -= 1
        if self._polls_to_file > 0 or not (self._file_fault or self._file.has_changed()):
            return
        self._polls_to_file = _FILE_POLLS
        try:
            wanted = self._file.read(self.known())
            self.change(lambda before: wanted, actor=f"{this_actor()}, {self._file}", reason="the file has changed")
            self._file_fault = ""
        except Exception as error:  # A wrong file, or a store that is away: what holds stays.
            fault = str(error) or type(error).__name__
            if fault != self._file_fault:
                logger.error("steering_file_refused", version=self._steering.version, fault=fault)
            self._file_fault = fault

    def _take(self, stored: StoredSteering) -> None:
        self._store_fault, self._newest = stored.fault, max(self._newest, stored.newest)
        if stored.steering.version <= self._steering.version:  # A version that is held needs no file any more.
            return
        self._steering = self._ranker.steering = stored.steering
        logger.info(
            "steering_changed",
            version=stored.steering.version,
            rules=len(stored.steering.rules),
            scenarios=len(stored.steering.scenarios),
            experiments=len(stored.steering.experiments),
        )

    def _fail(self, error: Exception) -> None:
        if not self._store_fault:
            logger.error("steering_not_read", version=self._steering.version, exc_info=error)
        self._store_fault = str(error) or type(error).__name__
        self._polls_to_look = 0  # It is read whole when it is back.

    def _run(self) -> None:
        while not self._stopping.wait(_POLL_S):
            self.check()
