"""Taking over a state that `springtide rebuild` made beside the server, while the server answers."""

import gc
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import structlog

from springtide.checkpoint import CheckpointStore
from springtide.checkpoint.fallback import restore_newest
from springtide.clock import wall_ms
from springtide.errors import PoisonError, RebuildError
from springtide.events import Refusal
from springtide.interactions import Moment
from springtide.plugins.guarding import Guards
from springtide.plugins.loading import Plugins
from springtide.ranking.indexing import index_maker
from springtide.ranking.query import Query, Ranking
from springtide.ranking.ranker import Ranker
from springtide.ranking.reordering.shortlists import make_rerankers
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide_services.serving.batching import MicroBatcher
from springtide_services.serving.statuses import NotFoundError
from springtide_services.serving.version_follower import VersionFollower
from springtide_services.serving.work import work_of
from springtide_services.stream.dead_letters import DeadLetterWriter
from springtide_services.stream.ingest import IngestLoop
from springtide_services.stream.rebuilding import rebuilt_url
from springtide_services.stream.replay import PoisonedRecordError, PoisonedRecordsError, Replay

logger = structlog.stdlib.get_logger(__name__)

_MAX_POISON = 100  # More than that at once is a plugin or a mistake that fails at each event.


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


def batcher_of(ranker: Ranker, settings: Settings, guards: Guards | None) -> MicroBatcher[Query, Ranking]:
    """Return what answers queries by a ranker; not in the event loop where it asks what others wrote."""
    may_block = (lambda: False) if guards is None else (lambda: guards.may_hold_up)
    return MicroBatcher(ranker.recommend, settings.server.max_batch, work_of, may_block)


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
            RebuildError: If another one is being taken over, events were read that no log has any more, or another
                server writes the checkpoints.
            NotFoundError: If there is none of that name.
        """
        if not self._ingest.is_writer:
            raise RebuildError("this server only reads checkpoints: rebuild beside the server that writes them")
        if self._ingest.has_earlier_events:
            raise RebuildError(
                "the embedded broker has only the events since its start, and of the earlier ones there is no log: "
                "a rebuilt state would lack them"
            )
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

    def make_whole(self, store: CheckpointStore, poisoned_until: Mapping[int, int]) -> None:
        """Begin to put a whole state in the place of the one that events have broken; called by the ingest thread.

        The last whole checkpoint and the stream after it are read again beside the state that is served. Records before
        ``poisoned_until`` are applied one by one. One that fails is a dead letter, and all is read again without it.
        """
        thread = threading.Thread(target=self._make_whole, args=(store, poisoned_until), name="make-whole", daemon=True)
        self._thread = thread
        thread.start()

    def _make_whole(self, store: CheckpointStore, poisoned_until: Mapping[int, int]) -> None:
        poison: dict[tuple[int, int], Refusal] = {}
        careful = dict(poisoned_until)
        try:
            while len(poison) <= _MAX_POISON:
                state = self._restored(store)
                replay = Replay(
                    *(self._settings, state, self._plugins.make_decoders(self._settings.events)),
                    careful_until=careful,
                    left_out=poison.keys(),
                )
                try:
                    replay.run(stopping=self._stopping, from_what_is_left=state.position is None)
                    break
                except PoisonedRecordsError as error:  # There is another one behind those that are applied one by one.
                    behind = {number: max(offset, careful.get(number, 0)) for number, offset in error.until.items()}
                    careful = {**careful, **behind}
                except PoisonedRecordError as error:
                    record = error.record
                    poison[record.partition, record.offset] = Refusal(record, "poison", str(error))
                    what = str(error).partition(":")[0]  # Its kind: the rest may show an id, and is in the dead letter.
                    logger.error("event_quarantined", partition=record.partition, offset=record.offset, error=what)
            else:
                raise PoisonError(f"more than {_MAX_POISON} events cannot be applied: the events are not what is wrong")
            if poison and self._ingest.is_writer:
                with DeadLetterWriter(self._settings.kafka) as writer:
                    writer.write([*poison.values()])
            self._ingest.count_dead_letters({"poison": len(poison)})
            former = self._swap_in(state)
            checkpoint = self._ingest.checkpoint_now().name if self._ingest.is_writer else ""
            logger.info("state_made_whole", checkpoint=checkpoint, quarantined=len(poison))
            self._let_go(former)
        except Exception as error:
            logger.error("state_not_made_whole", error=str(error), exc_info=error)
            self._ingest.poison.give_up(error)

    def _restored(self, store: CheckpointStore) -> LiveState:
        return restore_newest(
            store, lambda: LiveState(self._settings, make_context_weights(self._settings.ranking, self._plugins))
        ).state

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
            former = self._swap_in(state, lambda: self._set(replace(status, stage="swap")))
            self._set(replace(status, stage="checkpoint"))
            checkpoint = self._ingest.checkpoint_now()
            self._set(replace(status, stage="done", checkpoint=checkpoint.name))
            logger.info("rebuild_served", checkpoint=checkpoint.name, events=state.num_events)
            self._let_go(former)
        except Exception as error:
            logger.error("rebuild_not_served", error=str(error), exc_info=error)
            self._set(replace(status, stage="failed", failure=str(error)))

    def _swap_in(self, state: LiveState, on_swap: Callable[[], object] = lambda: None) -> list[Answering]:
        """Let a state be served, and return what answered before, alone in a list, so that it can be let go."""
        ranking = self._settings.ranking
        rerankers = make_rerankers(ranking, self._plugins)
        ranker = Ranker(state, ranking, index_maker(ranking, self._plugins), rerankers=rerankers)
        ranker.refresh()
        new = Answering(state, ranker, batcher_of(ranker, self._settings, self._plugins.guards))
        former: list[Answering] = []
        with self._follower.serving_on(ranker.swap) as keep:
            as_of = state.clock.read(wall_ms())
            ranker.recommend([Query(Moment(as_of.timestamp_ms))])  # What requests share is computed beforehand.
            on_swap()
            self._ingest.succeed(state, lambda: former.append(self._serve(new))).result()
            keep()
        return former

    def _let_go(self, former: list[Answering]) -> None:
        """Free what answered before."""
        # Requests that took it before the swap may still be about to rank.
        self._stopping.wait(self._settings.server.max_deadline_s)
        answering = former.pop()
        answering.batcher.close()
        answering.ranker.close()
        del answering
        # The server froze what it had loaded, which the collector then leaves alone: the former state would stay.
        gc.unfreeze()
        gc.collect()
        gc.freeze()

    def _set(self, status: AdoptionStatus) -> None:
        self.status = replace(status, updated_ms=wall_ms())
