"""Keeping the served model the registry's current one: loaded aside, swapped by one reference."""

import threading
from collections.abc import Callable

import structlog

from springtide.errors import ModelError
from springtide.model.registry import ModelArtifact, ModelStore
from springtide.ranking.serving_baseline import Served
from springtide_services.serving.statuses import NotFoundError

logger = structlog.stdlib.get_logger(__name__)

_POLL_S = 0.25  # A new version answers within a second of its promotion, the time to load it included.
_MAX_RETRY_POLLS = 64  # A version that cannot be loaded is tried again after 1, 2, 4 … 64 polls.


class RegistryWatcher:
    """Follows a registry's current pointer in a thread of its own.

    A version that cannot be loaded is logged once, and the model before it goes on serving.

    Args:
        store: The registry.
        load: Makes what serves, a model or a baseline, of an artifact.
        swap: Takes it up; called with the loading lock held, by whichever thread loaded it.
    """

    def __init__(
        self, store: ModelStore, load: Callable[[ModelArtifact], Served], swap: Callable[[Served], None]
    ) -> None:
        self._store = store
        self._load = load
        self._swap = swap
        self._served: str | None = None
        self._failed: str | None = None
        self._polls_to_skip = 0
        self._next_skip = 1
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registry-watcher", daemon=True)

    @property
    def served_version(self) -> str:
        """The version that is served; empty when there is none."""
        return self._served or ""

    def start(self) -> None:
        """Take up the current model if there is one, then watch for the next."""
        self.check()
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def check(self) -> None:
        """Take up the current model if it is not the one that is served. To be called from any thread."""
        with self._lock:
            self._check()

    def promote(self, version: str, *, actor: str = "") -> None:
        """Make a version the current one and serve it at once.

        Args:
            version: The version.
            actor: Who wants it, for the registry's record; whoever runs this process if empty.

        Raises:
            NotFoundError: If the registry has no such version.
            ModelError: If the version is damaged or does not fit; the current one then stays.
        """
        with self._lock:
            versions = self._store.versions()
            if version not in versions:
                raise NotFoundError(f"no model version {version!r} (choices: {', '.join(versions) or 'none'})")
            self._take_up(version)
            self._store.promote(
                version, actor=actor
            )  # Once it serves: what cannot be loaded never becomes the current one.

    def roll_back(self, *, actor: str = "") -> str:
        """Make the version before the current one the current one, serve it at once, and return its name.

        Args:
            actor: Who wants it, for the registry's record; whoever runs this process if empty.

        Raises:
            ModelError: If there was none before, or it cannot be loaded.
        """
        with self._lock:
            version = self._store.rollback(actor=actor)
            self._polls_to_skip = 0
            self._check()
            if self._served != version:
                raise ModelError(f"model {version} is current now but cannot be loaded: the log says why")
            return version

    def _check(self) -> None:
        try:
            current = self._store.current()
            if current is None or current == self._served:
                return
        except Exception as error:  # The store may be away for a while.
            self._fail("", error)
            return
        if current == self._failed and self._polls_to_skip > 0:
            self._polls_to_skip -= 1
            return
        try:
            self._take_up(current)
        except Exception as error:  # Whatever is wrong with a model, the one before it is still right.
            self._fail(current, error)

    def _take_up(self, version: str) -> None:
        self._swap(self._load(self._store.load(version)))
        logger.info("model_swapped", version=version, before=self.served_version)
        self._served, self._failed = version, None

    def _fail(self, version: str, error: Exception) -> None:
        if version != self._failed:
            logger.error("model_not_loaded", version=version, served=self.served_version, exc_info=error)
            self._failed, self._next_skip = version, 1
        self._polls_to_skip = self._next_skip
        self._next_skip = min(2 * self._next_skip, _MAX_RETRY_POLLS)

    def _run(self) -> None:
        while not self._stopping.wait(_POLL_S):
            self.check()
