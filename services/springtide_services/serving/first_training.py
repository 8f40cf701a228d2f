"""The first model: a training is requested as soon as there is enough to learn from."""

import time
from collections.abc import Callable

import structlog

from springtide.clock import MS_PER_SECOND, wall_ms
from springtide.model.manifest import ModelManifest
from springtide.model.registry import ModelStore
from springtide.settings.model import TrainingSettings
from springtide.state import LiveState
from springtide_services.stream.ingest import IngestLoop
from springtide_services.training.schedule import PastTrainings, TrainingRequest
from springtide_services.training.training_folder import TrainingFolder

logger = structlog.stdlib.get_logger(__name__)

_QUIET_SHARE = 0.01  # A burst has paused when the graph grows by less than that: a trickle goes on for ever.
_BEGUN_MS = 5 * MS_PER_SECOND  # On a checkpoint of this age, a training by the schedule may be about to begin.
_LOOK_EVERY_S = 5.0  # At registry and requests, while another training may make the first model.
_LONGEST_SILENCE_MS = 600 * MS_PER_SECOND  # A training that has shown no progress for that long has died.


class FirstTraining:
    """Requests the first training, at most once.

    It is due when the graph holds ``training.min_interactions`` positive interactions and has hardly grown for
    ``training.first_model_pause_s``, or has grown for ``training.first_model_max_wait_s``. None is requested if there
    is a model, if one is being trained or requested, or if the newest checkpoint holds everything: the trainer begins
    on such a checkpoint by itself.

    Args:
        settings: How much is enough, and how long to wait.
        state: Returns the state that answers.
        ingest: Writes the checkpoint to train on.
        models: The registry.
        trainings: The folder that the trainer reads requests from.
        clock_s: Returns monotonic seconds.

    Attributes:
        is_done: Whether nothing is requested any more.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        state: Callable[[], LiveState],
        ingest: IngestLoop,
        models: ModelStore,
        trainings: TrainingFolder,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._state = state
        self._ingest = ingest
        self._models = models
        self._trainings = trainings
        self._clock_s = clock_s
        self._enough_s: float | None = None  # When there was enough.
        self._grown_s, self._num_then = 0.0, 0  # When it had last grown by much, and to how many.
        self._next_look_s = 0.0
        self.is_done = settings.first_model_pause_s is None

    def ask(self) -> TrainingRequest | None:
        """Request the first training if it is due now; to be called a few times a second, by one thread.

        Returns:
            The request; None if there was no need for one.

        Raises:
            CheckpointError: If no checkpoint can be written.
        """
        if self.is_done or not self._has_paused() or self._clock_s() < self._next_look_s:
            return None
        self._next_look_s = self._clock_s() + _LOOK_EVERY_S
        state = self._state()
        self.is_done = self._is_answered()
        if self.is_done or self._is_begun(state):
            return None
        num, checkpoint = _num_positive(state), self._ingest.checkpoint_now()
        request = self._trainings.ask(None, checkpoint.name, f"the first model, from {num:,} interactions")
        self.is_done = True
        logger.info("first_training_requested", interactions=num, request_id=request.request_id)
        return request

    def _has_paused(self) -> bool:
        """Return whether there is enough, and the burst has paused or lasted too long."""
        pause_s, max_wait_s = self._settings.first_model_pause_s, self._settings.first_model_max_wait_s
        num, now_s = _num_positive(self._state()), self._clock_s()
        if pause_s is None or num < self._settings.min_interactions:
            self._enough_s = None
            return False
        if self._enough_s is None:
            self._enough_s, self._num_then = now_s, 0
        if num - self._num_then > _QUIET_SHARE * num:
            self._grown_s, self._num_then = now_s, num
        return now_s - self._grown_s >= pause_s or now_s - self._enough_s >= max_wait_s

    def _is_answered(self) -> bool:
        """Return whether there is a model, good or rejected, or an open request for one."""
        manifests = [found for found in self._models.manifests() if isinstance(found, ModelManifest)]
        return PastTrainings.of(manifests).latest is not None or bool(self._trainings.requests())

    def _is_begun(self, state: LiveState) -> bool:
        """Return whether a training is under way, or about to begin by the schedule."""
        now_ms, training, last = wall_ms(), self._trainings.status(), self._ingest.last_checkpoint
        if training is not None and training.stage not in ("done", "failed"):
            return abs(now_ms - training.updated_ms) < _LONGEST_SILENCE_MS  # The clock may have been set back.
        if last is None or last.num_events < self._settings.min_interactions:
            return False
        return last.num_events == state.num_events or abs(now_ms - last.created_ms) < _BEGUN_MS


def _num_positive(state: LiveState) -> int:
    view = state.graph.view()
    return sum(len(view.edges(state.rules.edge_type(name))) for name in state.rules.positive_relations)
