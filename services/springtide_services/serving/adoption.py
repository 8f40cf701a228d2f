"""Taking over a state that `springtide rebuild` made beside the server, while the server answers."""

import gc
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from springtide.checkpoint import CheckpointStore
from springtide.clock import wall_ms
from springtide.errors import RebuildError
from springtide.interactions import Moment
from springtide.plugins.loading import Plugins
from springtide.ranking.indexing import index_maker
from springtide.ranking.query import Query, Ranking
from springtide.ranking.ranker import Ranker
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide_services.serving.batching import MicroBatcher
from springtide_services.serving.recommender_service import work_of
from springtide_services.serving.statuses import NotFoundError
from springtide_services.serving.version_follower import VersionFollower
from springtide_services.stream.ingest import IngestLoop
from springtide_services.stream.rebuilding import rebuilt_url
from springtide_services.stream.replay import Replay

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answering:
    """A state that is served, and what answers from it.

    Attributes:
        state: The state.
        ranker: Ranks over it.
        batcher: Ranks the waiting queries in batches.
    """

    state: LiveState
    ranker: Ranker
    batcher: MicroBatcher[Query, Ranking]


@dataclass(frozen=True, slots=True)
class AdoptionStatus:
    """How far the last takeover is.

    Attributes:
        rebuilt: Name of the rebuilt checkpoint.
        stage: ``restore``, ``catch_up``, ``swap``, ``checkpoint``, then ``done`` or ``failed``.
        checkpoint: The checkpoint that holds the state that is served; empty until it is written.
        failure: Why it failed; empty if it did not.
        updated_ms: When the stage began, in milliseconds since the Unix epoch.
    """

    rebuilt: str
    stage: str
    checkpoint: str = ""
    failure: str = ""
    updated_ms: int = 0


class Adoption:
    """Takes over rebuilt states, one at a time, in a thread of its own. Requests are answered from the former state.

    While it works, both states are in memory.

    Args:
        settings: All settings.
        plugins: The plugins that the server runs on.
        ingest: Reads the stream.
        follower: Serves the registry's current version.
        serve: Makes a state the one that answers, and returns what answered before; called by the ingest thread.
    """

    def __init__(
        self,
        settings: Settings,
        plugins: Plugins,
        ingest: IngestLoop,
        follower: VersionFollower,
        serve: Callable[[Answering], Answering],
    ) -> None:
        self.status: AdoptionStatus | None = None
        self._settings = settings
        self._plugins = plugins
        self._ingest = ingest
        self._follower = follower
        self._serve = serve
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self, rebuilt: str) -> None:
        """Begin to take over a rebuilt state.

        Args:
            rebuilt: Name of its checkpoint, beside the server's own.

        Raises:
            RebuildError: If another one is being taken over.
            NotFoundError: If there is none of that name.
        """
        with self._starting:
            former = self._thread
            if former is not None and former.is_alive() and not self._is_over():
                raise RebuildError("another rebuilt state is being taken over: wait until it is done")
            store = CheckpointStore(rebuilt_url(self._settings))
            if rebuilt not in (names := store.names()):
                raise NotFoundError(
                    f"no rebuilt state {rebuilt!r} in {store.url} (choices: {', '.join(names) or 'none'})"
                )
            self._set(AdoptionStatus(rebuilt, "restore"))
            self._thread = threading.Thread(
                target=self._run, args=(store, rebuilt, former), name="adoption", daemon=True
            )
            self._thread.start()

    def give_up(self) -> None:
        """Stop to read what has not been taken over yet."""
        self._stopping.set()

    def join(self) -> None:
        """Wait until nothing is being taken over; after ``give_up``, and after ingest has stopped."""
        if self._thread is not None:
            self._thread.join()

    def _is_over(self) -> bool:
        """Return whether the last takeover is done or has failed; the state before it may still be there."""
        return self.status is not None and self.status.stage in ("done", "failed")

    def _run(self, store: CheckpointStore, rebuilt: str, former_thread: threading.Thread | None) -> None:
        status = AdoptionStatus(rebuilt, "restore")
        if former_thread is not None:
            former_thread.join()  # No more than two states are in memory.
        try:
            state = LiveState(self._settings, make_context_weights(self._settings.ranking, self._plugins))
            store.restore(store.open(rebuilt), state)
            self._set(replace(status, stage="catch_up"))
            decoders = self._plugins.make_decoders(self._settings.events)
            Replay(self._settings, state, decoders).run(stopping=self._stopping)
            ranker = Ranker(state, self._settings.ranking, index_maker(self._settings.ranking, self._plugins))
            ranker.refresh()
            new = Answering(state, ranker, MicroBatcher(ranker.recommend, self._settings.server.max_batch, work_of))
            with self._follower.serving_on(ranker.swap) as keep:
                as_of = state.clock.read(wall_ms())
                ranker.recommend([Query(Moment(as_of.timestamp_ms))])  # What requests share is computed beforehand.
                self._set(replace(status, stage="swap"))
                former: list[Answering] = []
                self._ingest.succeed(state, lambda: former.append(self._serve(new))).result()
                keep()
            self._set(replace(status, stage="checkpoint"))
            checkpoint = self._ingest.checkpoint_now()
            self._set(replace(status, stage="done", checkpoint=checkpoint.name))
            logger.info("rebuild_served", checkpoint=checkpoint.name, events=state.num_events)
            # Requests that took the former one before the swap may still be about to rank.
            self._stopping.wait(self._settings.server.max_deadline_s)
            former_answering = former.pop()
            former_answering.batcher.close()
            former_answering.ranker.close()
            del former_answering
            # The server froze what it had loaded, which the collector then leaves alone: the former state would stay.
            gc.unfreeze()
            gc.collect()
            gc.freeze()
        except Exception as error:
            logger.error("rebuild_not_served", error=str(error), exc_info=error)
            self._set(replace(status, stage="failed", failure=str(error)))

    def _set(self, status: AdoptionStatus) -> None:
        self.status = replace(status, updated_ms=wall_ms())
