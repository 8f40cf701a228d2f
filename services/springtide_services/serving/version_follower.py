"""Following the registry: the current version is loaded in the background, then swapped in by one reference."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from springtide.clock import wall_ms
from springtide.errors import ModelError
from springtide.model.audit import this_actor
from springtide.model.registry import ModelArtifact, ModelStore
from springtide.ranking.serving_baseline import Served
from springtide_services.serving.statuses import NotFoundError

logger = structlog.stdlib.get_logger(__name__)

_POLL_S = 0.25  # A promoted version serves within a second, loading included.
_LOOK_POLLS = 40  # Every ten seconds it is looked whether the served version was rewritten.
_MAX_RETRY_POLLS = 64  # A version that cannot be loaded is tried again after 1, 2, 4 … 64 polls.


@dataclass(frozen=True, slots=True)
class BypassedModel:
    """A current version that cannot be loaded.

    Attributes:
        version: The version.
        fault: Why, in words.
        instead: The version that serves instead; empty if none does.
        found_ms: Since when, in milliseconds since the Unix epoch.
    """

    version: str
    fault: str
    instead: str
    found_ms: int


class VersionFollower:
    """Serves the registry's current version: polls the pointer in a thread of its own.

    A version that cannot be loaded is logged once, and the version before it goes on serving. If none serves yet, as at
    a start, the one promoted before it is loaded. The registry's pointer stays where it is: what this server cannot
    read may be whole for others, and only a person rolls back. The audit log and the status name it, and it is tried
    again.

    Args:
        store: The registry.
        load: Makes a serving model or baseline of an artifact.
        swap: Makes it the one that serves; called by the thread that loaded it, with the loading lock held.
    """

    def __init__(
        self, store: ModelStore, load: Callable[[ModelArtifact], Served], swap: Callable[[Served], None]
    ) -> None:
        self._store = store
        self._load = load
        self._swap = swap
        self._served: str | None = None
        self._parts_with_torch: Sequence[str] = ()
        self._failed: str | None = None
        self._bypass: BypassedModel | None = None
        self._polls_to_skip = 0
        self._next_skip = 1
        self._revision = ""  # Of the served version.
        self._polls_to_look = _LOOK_POLLS
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registry-follower", daemon=True)

    @property
    def served_version(self) -> str:
        """The version that is served; empty when there is none."""
        return self._served or ""

    @property
    def bypassed(self) -> BypassedModel | None:
        """The current version, if it cannot be loaded and another one serves, or none does."""
        return self._bypass

    @property
    def parts_with_torch(self) -> Sequence[str]:
        """Parts of the served version because of which torch is loaded, each in words."""
        return self._parts_with_torch

    def start(self) -> None:
        """Load and serve the current version if there is one, then follow the pointer."""
        self.check()
        self._thread.start()

    def stop(self) -> None:
        """Stop following the pointer."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def check(self) -> None:
        """Load and serve the current version unless it is served already; from any thread."""
        with self._lock:
            self._check()

    def reload(self, version: str) -> None:
        """Load a version again if it is the one that serves: it was rewritten, because nodes were deleted."""
        with self._lock:
            if self._served == version and self._revision != self._store.revision(version):
                self._serve(version)

    @contextmanager
    def serving_on(self, swap: Callable[[Served], None]) -> Iterator[Callable[[], None]]:
        """Serve the current version on another ranker; no version changes meanwhile.

        Args:
            swap: As the argument of this name; it is called with the version that is served, if there is one.

        Yields:
            What to call once the other ranker answers: later versions are served on it.

        Raises:
            ModelError: If the version that is served cannot be loaded any more.
        """
        with self._lock:
            if self._served is not None:
                swap(self._load(self._store.load(self._served)))

            def keep() -> None:
                self._swap = swap

            yield keep

    def promote(self, version: str, *, actor: str = "", reason: str = "") -> None:
        """Serve a version, and make it the current one.

        Args:
            version: Registry version.
            actor: Who wants it, for the audit log; whoever runs this process if empty.
            reason: Why, for the audit log.

        Raises:
            NotFoundError: If the registry has no such version.
            ModelError: If the version is damaged, or does not fit the graph; the current one then stays.
        """
        with self._lock:
            versions = self._store.versions()
            if version not in versions:
                raise NotFoundError(f"no model version {version!r} (choices: {', '.join(versions) or 'none'})")
            self._serve(version)
            # Last: a version that cannot be loaded never becomes current.
            self._store.promote(version, actor=actor, reason=reason)

    def roll_back(self, *, actor: str = "", reason: str = "") -> str:
        """Make the version before the current one current again, serve it, and return it.

        Args:
            actor: Who wants it, for the audit log; whoever runs this process if empty.
            reason: Why, for the audit log.

        Raises:
            ModelError: If there was none before, or it cannot be loaded.
        """
        with self._lock:
            version = self._store.rollback(actor=actor, reason=reason)
            self._polls_to_skip = 0
            self._check()
            if self._served != version:
                raise ModelError(
                    f"model {version} is current now, but cannot be loaded; the server's log has the reason"
                )
            return version

    def _check(self) -> None:
        try:
            current = self._store.current()
            if current is None or current == self._served:
                self._bypass = None
                self._look_again()
                return
        except Exception as error:  # The store may be away for a while.
            self._fail("", error)
            return
        if current == self._failed and self._polls_to_skip > 0:
            self._polls_to_skip -= 1
            return
        try:
            self._serve(current)
        except Exception as error:  # Whatever is wrong with the new version, the one before it goes on serving.
            is_new = current != self._failed
            self._fail(current, error)
            if self._served is None:
                self._serve_one_before(current)
            if is_new or self._bypass is None:
                self._note_bypass(current, error)

    def _look_again(self) -> None:
        """Load the served version again if another process has rewritten it."""
        self._polls_to_look -= 1
        if self._polls_to_look <= 0 and self._served is not None:
            self._polls_to_look = _LOOK_POLLS
            if (revision := self._store.revision(self._served)) and revision != self._revision:
                self._serve(self._served)

    def _serve_one_before(self, current: str) -> None:
        """Serve the latest promoted version that can be loaded, in place of the current one."""
        try:
            earlier = dict.fromkeys(reversed(self._store.promotions()))
        except Exception:  # The registry has gone since.
            return
        for version in earlier:
            if version == current:
                continue
            try:
                self._serve(version)
            except Exception as error:
                logger.error("model_damaged", version=version, fault=str(error))
            else:
                self._failed = current  # It is tried again, as seldom as before.
                return

    def _note_bypass(self, current: str, error: Exception) -> None:
        """Tell a person by the status and the audit log that another version serves than the current one."""
        self._bypass = BypassedModel(current, str(error), self.served_version, wall_ms())
        try:
            self._store.note_bypass(current, self.served_version, actor=f"server {this_actor()}", reason=str(error))
        except Exception as failure:  # Such as a registry that may only be read.
            logger.warning("bypass_not_noted", version=current, error=str(failure))

    def _serve(self, version: str) -> None:
        revision = self._store.revision(version)  # Before it is loaded: a later one is looked for again.
        served = self._load(self._store.load(version))
        if served.parts_with_torch and served.parts_with_torch != self._parts_with_torch:
            logger.warning("torch_loaded", version=version, parts=list(served.parts_with_torch))
        self._swap(served)
        if version == self._served:
            logger.info("model_reloaded", version=version)
        else:
            logger.info("model_swapped", version=version, before=self.served_version)
        self._revision = revision
        self._parts_with_torch = served.parts_with_torch
        self._served, self._failed, self._bypass = version, None, None

    def _fail(self, version: str, error: Exception) -> None:
        if version != self._failed:
            logger.error("model_not_loaded", version=version, served=self.served_version, exc_info=error)
            self._failed, self._next_skip = version, 1
        self._polls_to_skip = self._next_skip
        self._next_skip = min(2 * self._next_skip, _MAX_RETRY_POLLS)

    def _run(self) -> None:
        while not self._stopping.wait(_POLL_S):
            self.check()
