"""Live quality: new events are first asked for, as the server would have answered, and only then applied."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import structlog

from springtide.checkpoint import Checkpoint
from springtide.clock import MS_PER_DAY
from springtide.events.model import EventBatch, Interactions
from springtide.graph.applying import USER
from springtide.graph.view import GraphView
from springtide.interactions import Moment
from springtide.ranking.measuring import item_ranks
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.settings.model import LiveQualitySettings
from springtide.state import LiveState
from springtide_services.serving.quality_window import MISSED, Drop, QualityWindows, WindowQuality
from springtide_services.training.schedule import TrainingRequest
from springtide_services.training.training_folder import TrainingFolder

logger = structlog.stdlib.get_logger(__name__)

_MAX_SHARE = 0.02  # Of the ingest thread's time: where ranking is slow, fewer events are asked for.
_LOG_EVERY_S = 60.0
# An event that comes later than this is not asked for: the weights of the moment have learned what came after it.
_MAX_LATENESS_MS = MS_PER_DAY


@dataclass(frozen=True, slots=True)
class LiveQualityStatus:
    """What was measured so far, since the start of the server.

    Attributes:
        recent: Of the last questions, whichever version was asked.
        versions: Of the last questions to each of the latest versions, the one asked last first.
        drop: The last drop, or None.
        request_id: The training that it asked for; empty until that is filed.
    """

    recent: WindowQuality
    versions: tuple[WindowQuality, ...]
    drop: Drop | None
    request_id: str


class LiveQuality:
    """Measures what is served by how it ranks the items of new events before it knows of them (prequentially).

    The ingest thread lets it look at each batch before it is applied, once the stream is caught up: what a server reads
    again after a restart is no news. A sample of the positive interactions is asked for, at most so many a second and
    at most so much of the thread's time. An item that is not ranked, such as one that nobody had before, counts as
    missed.

    Args:
        settings: How many, and what counts as a drop.
        ranker: Ranks as it does for clients.
        state: What the stream has made so far.
        clock_s: Monotonic seconds.
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
        self._edge_types = [state.rules.edge_type(relation) for relation in state.rules.positive_relations]
        self._allowance = 1.0
        self._looked_s = self._logged_s = clock_s()
        self._rests_until_s = -np.inf
        self._is_failing = False
        self._lock = threading.Lock()  # Over what is measured: one thread measures, others ask.
        self._windows = QualityWindows(settings.window, settings.max_drop)
        self._drop: Drop | None = None
        self._request_id = ""

    def status(self) -> LiveQualityStatus:
        """Return what was measured; from any thread."""
        version = self._ranker.model_version
        with self._lock:
            return LiveQualityStatus(
                self._windows.recent(version), self._windows.versions(), self._drop, self._request_id
            )

    def note_request(self, drop: Drop, request_id: str) -> None:
        """Note the training that a drop has asked for; from any thread."""
        with self._lock:
            if self._drop is drop:  # Else another version has dropped since, and asks for one of its own.
                self._request_id = request_id

    def measure(self, batch: EventBatch) -> None:
        """Ask for a sample of a batch that is about to be applied. Called by the thread that applies; never raises."""
        now_s = self._clock_s()
        self._allowance = min(self._allowance + (now_s - self._looked_s) * self._rate, max(1.0, self._rate))
        self._looked_s = now_s
        if self._rate == 0 or self._allowance < 1 or now_s < self._rests_until_s:
            return
        try:
            chosen = self._sample(batch.interactions, int(self._allowance))
            if len(chosen):
                self._allowance -= len(chosen)
                self._ask(batch.interactions, chosen)
                self._rests_until_s = now_s + (self._clock_s() - now_s) / _MAX_SHARE
            self._is_failing = False
        except Exception as error:  # A part that cannot rank must not stop the stream.
            if not self._is_failing:  # Once, not for every batch.
                logger.error("live_quality_failed", exc_info=error)
            self._is_failing = True
        if now_s - self._logged_s >= _LOG_EVERY_S:
            self._logged_s = now_s
            self._log()

    def _sample(self, interactions: Interactions, max_events: int) -> npt.NDArray[np.int64]:
        """Return places of positive interactions that are not late, in their order."""
        is_positive = np.array([name in self._positive for name in interactions.relations], bool)
        newest_ms = self._state.graph.view().newest_ms
        is_asked = is_positive[interactions.relation_codes]
        if newest_ms is not None:
            is_asked &= interactions.timestamps_ms >= newest_ms - _MAX_LATENESS_MS
        places = np.flatnonzero(is_asked)
        if len(places) > max_events:
            places = np.sort(self._generator.choice(places, max_events, replace=False))
        return places

    def _ask(self, interactions: Interactions, chosen: npt.NDArray[np.int64]) -> None:
        user_ids = [interactions.user_ids[code] for code in interactions.user_codes[chosen].tolist()]
        item_ids = [interactions.item_ids[code] for code in interactions.item_codes[chosen].tolist()]
        times_ms = interactions.timestamps_ms[chosen].tolist()
        contexts = [{} if interactions.contexts is None else interactions.contexts[place] for place in chosen.tolist()]
        queries = [
            Query(Moment(time_ms, attributes=context), user_id)
            for time_ms, context, user_id in zip(times_ms, contexts, user_ids, strict=True)
        ]
        view = self._state.graph.view()
        user_rows = view.nodes(USER).ids.rows(user_ids)
        item_rows = view.nodes(self._state.rules.item_type).ids.rows(item_ids)
        is_new = self._are_new(view, user_rows, item_rows)
        scorer = self._ranker.scorer()
        version = scorer.version
        ranks = np.where(item_rows < 0, MISSED, item_ranks(scorer, queries, item_ids))
        if self._ranker.model_version != version:
            return  # Swapped meanwhile: the figures of a version that is no longer served are closed.
        with self._lock:
            drop = self._windows.add(version, ranks, is_new)
            if drop is not None:
                self._drop, self._request_id = drop, ""

    def _are_new(
        self, view: GraphView, user_rows: npt.NDArray[np.int32], item_rows: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.bool_]:
        """Return whether each item was new to its user, bool ``[n]``; rows are -1 where somebody or something is."""
        known = np.flatnonzero((user_rows >= 0) & (item_rows >= 0))
        is_new = np.ones(len(user_rows), bool)
        for edge_type in self._edge_types:
            is_new[known] &= ~view.edges(edge_type).has(user_rows[known], item_rows[known])
        return is_new

    def _log(self) -> None:
        recent = self.status().recent
        logger.info(
            "live_quality",
            version=recent.version,
            questions=recent.all.num_questions,
            ndcg=round(recent.all.ndcg, 4),
            hit_rate=round(recent.all.hit_rate, 4),
            mrr=round(recent.all.mrr, 4),
            new_questions=recent.new.num_questions,
            new_ndcg=round(recent.new.ndcg, 4),
        )


def ask_for_training(
    quality: LiveQuality, checkpoint_now: Callable[[], Checkpoint], trainings: TrainingFolder
) -> TrainingRequest | None:
    """File a training request if quality has dropped and none was filed for it.

    Args:
        quality: What was measured.
        checkpoint_now: Writes the checkpoint to train on; not to be called by the ingest thread.
        trainings: Where the trainer finds its requests.

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
