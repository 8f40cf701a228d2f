"""Following experiments: the versions that their variants name are loaded beside the current one, and let go again."""

import threading
from collections.abc import Callable, Mapping

import structlog

from springtide.clock import wall_ms
from springtide.model.registry import ModelArtifact, ModelStore
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_baseline import Served
from springtide.steering.values import Steering

logger = structlog.stdlib.get_logger(__name__)

MAX_VERSIONS = 4
"""Most versions that are loaded beside the current one: each takes as much memory as that."""

_POLL_S = 0.25
_LOOK_POLLS = 40  # Every ten seconds it is looked whether a version was rewritten.
_MAX_RETRY_POLLS = 64  # A version that cannot be loaded is tried again after 1, 2, 4 … 64 polls.


class VariantFollower:
    """Lets a ranker have the versions that experiments need, which have not ended; polls in a thread of its own.

    A version that cannot be loaded is logged once and tried again; meanwhile its experiment does not count, and all its
    users get what everybody gets.

    Args:
        store: The registry.
        load: Makes a serving model or baseline of an artifact.
        ranker: What answers.
    """

    def __init__(self, store: ModelStore, load: Callable[[ModelArtifact], Served], ranker: Ranker) -> None:
        self._store = store
        self._load = load
        self._ranker = ranker
        self._revisions: dict[str, str] = {}  # Of the versions that are loaded.
        self._faults: dict[str, str] = {}
        self._waits: dict[str, tuple[int, int]] = {}  # By version: polls until it is tried again, and the next wait.
        self._polls_to_look = _LOOK_POLLS
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="variant-follower", daemon=True)

    @property
    def loaded(self) -> tuple[str, ...]:
        """The versions that are loaded beside the current one, in order."""
        return tuple(sorted(self._ranker.variants.versions))

    @property
    def faults(self) -> Mapping[str, str]:
        """The versions that experiments need and that are not there, and why."""
        return dict(self._faults)

    def start(self) -> None:
        """Load what is needed, then follow."""
        self.check()
        self._thread.start()

    def stop(self) -> None:
        """Stop following."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def serve_on(self, ranker: Ranker) -> None:
        """Let another ranker have the versions, from here on; what the former one has of them, it has at once."""
        with self._lock:
            if ranker is not self._ranker:
                self._ranker, self._revisions, self._waits = ranker, {}, {}

    def check(self) -> None:
        """Load the versions that are needed and let go the others; from any thread."""
        with self._lock:
            ranker = self._ranker
            wanted = needed_versions(ranker.steering, wall_ms())
            current = ranker.model_version
            beside = [version for version in wanted if version != current]
            chosen = beside[:MAX_VERSIONS]
            if ranker.variants.versions - set(chosen):
                ranker.variants.keep(chosen)
            no_room = f"not loaded: at most {MAX_VERSIONS} versions are, beside the current one"
            faults = dict.fromkeys(beside[MAX_VERSIONS:], no_room)
            is_look = self._polls_to_look <= 0
            self._polls_to_look = _LOOK_POLLS if is_look else self._polls_to_look - 1
            for version in chosen:
                if (fault := self._check(version, ranker, is_look=is_look)) is not None:
                    faults[version] = fault
            self._waits = {version: wait for version, wait in self._waits.items() if version in chosen}
            self._faults = faults

    def _check(self, version: str, ranker: Ranker, *, is_look: bool) -> str | None:
        """Load a version unless it is there; return why it cannot be."""
        is_there = version in ranker.variants.versions
        if is_there and not is_look:
            return None
        left, wait = self._waits.get(version, (0, 1))
        if left > 0:
            self._waits[version] = left - 1, wait
            return self._faults.get(version)
        try:
            revision = self._store.revision(version)  # Before it is loaded: a later one is looked for again.
            if is_there and revision == self._revisions.get(version):
                return None
            ranker.variants.put(self._load(self._store.load(version)), ranker.scorer().view)
        except Exception as error:  # Whatever is wrong with it, the current version goes on serving.
            if version not in self._faults:
                logger.error("variant_not_loaded", version=version, exc_info=error)
            self._waits[version] = wait, min(2 * wait, _MAX_RETRY_POLLS)
            return str(error) or type(error).__name__
        self._revisions[version] = revision
        self._waits.pop(version, None)
        logger.info("variant_loaded", version=version)
        return None

    def _run(self) -> None:
        while not self._stopping.wait(_POLL_S):
            self.check()


def needed_versions(steering: Steering, now_ms: int) -> list[str]:
    """Return the versions that experiments need which have not ended, in the order of the experiments."""
    versions = [
        variant.model_version
        for experiment in steering.experiments
        if experiment.end_ms is None or now_ms < experiment.end_ms
        for variant in experiment.variants
        if variant.model_version
    ]
    return list(dict.fromkeys(versions))
