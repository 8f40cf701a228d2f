"""Following rules, scenarios and experiments: a new version is read in the background, and set by one reference."""

import threading
from collections.abc import Callable

import structlog

from springtide.ranking.ranker import Ranker
from springtide.steering.store import SteeringStore, StoredSteering
from springtide.steering.values import NO_STEERING, Steering

logger = structlog.stdlib.get_logger(__name__)

_POLL_S = 0.25  # What another server has changed holds here within a second, reading included.
_LOOK_POLLS = 40  # Every ten seconds all versions are listed: the one after the last may have been deleted already.


class SteeringFollower:
    """Lets a ranker answer by the newest version of a store, which it polls in a thread of its own.

    A version that is damaged is logged once, and the one before it holds. If the store is away, what holds stays.

    Attributes:
        fault: Why the newest version does not hold; empty if it does.
        is_from_file: Whether a file is the source, and changes by calls are refused.
        store: The store.

    Args:
        store: The store.
        ranker: What answers.
    """

    def __init__(self, store: SteeringStore, ranker: Ranker) -> None:
        self.fault = ""
        self.is_from_file = False
        self.store = store
        self._ranker = ranker
        self._steering = NO_STEERING
        self._newest = 0  # Number of the newest version that was seen, read or not.
        self._polls_to_look = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="steering-follower", daemon=True)

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
        with self._lock:
            try:
                if self._polls_to_look > 0 and not self.store.has(self._newest + 1):
                    self._polls_to_look -= 1
                    return
                self._take(self.store.load())
                self._polls_to_look = _LOOK_POLLS
            except Exception as error:  # The store may be away for a while.
                self._fail(error)

    def serve_on(self, ranker: Ranker) -> None:
        """Let another ranker answer by what holds, from here on."""
        with self._lock:
            ranker.steering = self._steering
            self._ranker = ranker

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

    def _take(self, stored: StoredSteering) -> None:
        self.fault, self._newest = stored.fault, max(self._newest, stored.newest)
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
        if not self.fault:
            logger.error("steering_not_read", version=self._steering.version, exc_info=error)
        self.fault = str(error) or type(error).__name__
        self._polls_to_look = 0  # It is read whole when it is back.

    def _run(self) -> None:
        while not self._stopping.wait(_POLL_S):
            self.check()
