"""Live quality: the items of new events are ranked, as the server would answer, before the events are applied."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import structlog

from springtide.checkpoint import Checkpoint
from springtide.clock import MS_PER_DAY, wall_ms
from springtide.events.model import EventBatch, Interactions
from springtide.graph.applying import USER
from springtide.interactions import Moment
from springtide.ranking.item_ranks import item_ranks
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.settings.model import LiveQualitySettings
from springtide.state import LiveState
from springtide_services.serving.quality_drop import MISSED, Drop, QualityWindows, WindowQuality
from springtide_services.serving.quality_history import PointQuality, QualityHistory
from springtide_services.serving.quality_segments import SegmentOfQuality, SegmentWindow
from springtide_services.training.schedule import TrainingRequest
from springtide_services.training.training_folder import TrainingFolder

logger = structlog.stdlib.get_logger(__name__)

_MAX_SHARE = 0.02  # Of the ingest thread's time: where ranking is slow, fewer events are measured.
_LONGEST_S = 0.002  # Of one measurement, for which events wait: after the first, as many as can be ranked meanwhile.
_LOG_EVERY_S = 60.0
_MAX_LATENESS_MS = MS_PER_DAY  # Later events are not measured: the context weights have learned from what came after.


@dataclass(frozen=True, slots=True)
class LiveQualityStatus:
    """The quality measured since the start of the server.

    Attributes:
        recent: Quality over the last events measured, whichever version ranked them.
        versions: Quality over the last events that each of the latest versions ranked; the version that ranked last
            comes first.
        drop: The last drop, or None.
        request_id: Id of the training request for that drop; empty until it is written.
    """

    recent: WindowQuality
    versions: tuple[WindowQuality, ...]
    drop: Drop | None
    request_id: str


class LiveQuality:
    """Measures how well the served model ranks the items of new events before they are applied (prequentially).

    The ingest thread calls ``measure`` with each batch before it applies it, but only once it has caught up with the
    stream: events that are read again after a restart are not new. A sample of the positive interactions is measured,
    limited in events per second and in the share of the thread's time. An item that is not ranked, such as one that
    the graph does not have yet, counts as missed.

    Args:
        settings: How many events to measure, and what counts as a drop.
        ranker: Ranks as it does for clients.
        state: The live state: graph, context weights, stream position.
        clock_s: Returns monotonic seconds.
    """

    def __init__(
        self,
        settings: LiveQualitySettings,
        ranker: Ranker,
        state: LiveState,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = settings.max_events_per_s
        self._ranker = ranker
        self._state = state
        self._clock_s = clock_s
        self._generator = np.random.default_rng(0)
        self._positive = frozenset(state.rules.positive_relations)
        self._allowance = 1.0
        self._measured_s = self._logged_s = clock_s()
        self._paused_until_s = -np.inf
        self._event_s = 0.0  # How long it took to rank each of the last events.
        self._is_failing = False
        self._lock = threading.Lock()  # Guards the attributes below: one thread measures, others read.
        self._windows = QualityWindows(settings.window, settings.max_drop)
        self._history = QualityHistory()
        self._segments = SegmentWindow(settings.window, state.rules.positive_relations)
        self._drop: Drop | None = None
        self._request_id = ""

    def status(self) -> LiveQualityStatus:
        """Return the quality measured so far; from any thread."""
        version = self._ranker.model_version
        with self._lock:
            return LiveQualityStatus(
                self._windows.recent(version), self._windows.versions(), self._drop, self._request_id
            )

    def history(self) -> tuple[Sequence[PointQuality], Sequence[SegmentOfQuality]]:
        """Return the quality over time, oldest first, and by segment of the latest events; from any thread."""
        with self._lock:
            points, segments = self._history.points(), self._segments.segments()
        return points(), segments

    def follow(self, ranker: Ranker, state: LiveState) -> None:
        """Measure another ranker over another state from now on; called by the thread that applies."""
        self._ranker, self._state = ranker, state

    def note_request(self, drop: Drop, request_id: str) -> None:
        """Note the id of the training request for a drop; from any thread."""
        with self._lock:
            if self._drop is drop:  # Else another version has dropped since, which needs a request of its own.
                self._request_id = request_id

    def measure(self, batch: EventBatch) -> None:
        """Measure a sample of a batch that is about to be applied; called by the thread that applies, never raises."""
        now_s = self._clock_s()
        self._allowance = min(self._allowance + (now_s - self._measured_s) * self._rate, max(1.0, self._rate))
        self._measured_s = now_s
        if self._rate == 0 or self._allowance < 1 or now_s < self._paused_until_s:
            return
        try:
            rows = self._sample(batch.interactions, self._num_at_once())
            if len(rows):
                self._allowance -= len(rows)
                self._rank(batch.interactions, rows)
                took_s = self._clock_s() - now_s
                self._event_s = took_s / len(rows)
                self._paused_until_s = now_s + took_s / _MAX_SHARE
            self._is_failing = False
        except Exception as error:  # A failure to rank must not stop the stream.
            if not self._is_failing:  # Once, not for every batch.
                logger.error("live_quality_failed", exc_info=error)
            self._is_failing = True
        if now_s - self._logged_s >= _LOG_EVERY_S:
            self._logged_s = now_s
            self._log()

    def _num_at_once(self) -> int:
        """Return how many events may be measured now: as the rate allows, and in the time that events may wait."""
        num = int(self._allowance)
        return num if num * self._event_s <= _LONGEST_S else max(1, int(_LONGEST_S / self._event_s))

    def _sample(self, interactions: Interactions, max_events: int) -> npt.NDArray[np.int64]:
        """Return the sorted row numbers of a sample of the positive interactions, int64 ``[n]``.

        Left out are those that come late, and those that a deletion holds for: they do not enter the graph.
        """
        is_positive = np.array([name in self._positive for name in interactions.relations], bool)
        newest_ms = self._state.graph.view().newest_ms
        is_candidate = is_positive[interactions.relation_codes]
        if newest_ms is not None:
            is_candidate &= interactions.timestamps_ms >= newest_ms - _MAX_LATENESS_MS
        rows = np.flatnonzero(is_candidate)
        if len(rows) > max_events:
            rows = np.sort(self._generator.choice(rows, max_events, replace=False))
        for node_type, ids, codes in (
            (USER, interactions.user_ids, interactions.user_codes),
            (self._state.rules.item_type, interactions.item_ids, interactions.item_codes),
        ):
            sampled, code_of = np.unique(codes[rows], return_inverse=True)
            _, deleted_ms = self._state.graph.deleted_ms(node_type, [ids[code] for code in sampled.tolist()])
            is_live = interactions.timestamps_ms[rows] > deleted_ms[code_of]
            rows = rows[is_live]
        return rows

    def _rank(self, interactions: Interactions, rows: npt.NDArray[np.int64]) -> None:
        """Rank the items of some interactions, and add their ranks to the windows."""
        user_ids = [interactions.user_ids[code] for code in interactions.user_codes[rows].tolist()]
        item_ids = [interactions.item_ids[code] for code in interactions.item_codes[rows].tolist()]
        # As a client would have asked who names no time: an event that comes late is looked for in what is served now.
        times_ms = self._state.clock.when_it_happened(interactions.timestamps_ms[rows].tolist(), wall_ms())
        contexts = [{} if interactions.contexts is None else interactions.contexts[row] for row in rows.tolist()]
        queries = [
            Query(Moment(time_ms, attributes=context), user_id)
            for time_ms, context, user_id in zip(times_ms, contexts, user_ids, strict=True)
        ]
        view = self._state.graph.view()
        user_rows = view.nodes(USER).ids.rows(user_ids)
        item_rows = view.nodes(self._state.rules.item_type).ids.rows(item_ids)
        is_unseen = ~self._state.has_interacted(view, user_rows, item_rows)
        segments = self._segments.segments_of(self._state, view, user_rows, item_rows)
        relations = [interactions.relations[code] for code in interactions.relation_codes[rows].tolist()]
        scorer = self._ranker.scorer()
        version = scorer.version
        ranks = np.where(item_rows < 0, MISSED, item_ranks(scorer, queries, item_ids))
        if self._ranker.model_version != version:
            return  # Swapped meanwhile: nothing is added any more to the windows of the version before.
        with self._lock:
            drop = self._windows.add(version, ranks, is_unseen)
            self._history.add(version, ranks, is_unseen, wall_ms())
            self._segments.add(ranks, is_unseen, segments, relations)
            if drop is not None:
                self._drop, self._request_id = drop, ""

    def _log(self) -> None:
        recent = self.status().recent
        logger.info(
            "live_quality",
            version=recent.version,
            events=recent.all.num_questions,
            ndcg=round(recent.all.ndcg, 4),
            hit_rate=round(recent.all.hit_rate, 4),
            mrr=round(recent.all.mrr, 4),
            unseen_events=recent.unseen.num_questions,
            unseen_ndcg=round(recent.unseen.ndcg, 4),
        )


def ask_for_training(
    quality: LiveQuality, checkpoint_now: Callable[[], Checkpoint], trainings: TrainingFolder
) -> TrainingRequest | None:
    """Request a training if quality has dropped and none was requested for that drop yet.

    Args:
        quality: The quality measured so far.
        checkpoint_now: Writes the checkpoint to train on, and returns it; must not be called by the ingest thread.
        trainings: The folder that the trainer reads requests from.

    Returns:
        The request; None if there was no need for one.

    Raises:
        CheckpointError: If no checkpoint can be written.
    """
    status = quality.status()
    if status.drop is None or status.request_id:
        return None
    request = trainings.ask(None, checkpoint_now().name, status.drop.reason)
    quality.note_request(status.drop, request.request_id)
    logger.warning("live_quality_dropped", reason=request.reason, request_id=request.request_id)
    return request
