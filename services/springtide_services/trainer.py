"""The trainer process: reads the newest checkpoint, trains when a training is due, publishes the model."""

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

import structlog
import torch

from springtide.checkpoint import Checkpoint, CheckpointStore
from springtide.clock import Deadline, wall_ms
from springtide.config import Settings
from springtide.errors import CheckpointError, ModelError, TrainingError
from springtide.models import ModelArtifact, ModelManifest, ModelStore
from springtide.plugins.loading import load_checked_plugins
from springtide.ranking.weights import make_context_weights
from springtide.state import LiveState
from springtide.training.artifact import fits_settings
from springtide.training.refit import refit_exponents
from springtide.training.train import Progress, train
from springtide_services.logs import log_failures, log_settings
from springtide_services.schedule import Mode, PastTrainings, Plan, decide
from springtide_services.training_folder import TrainingFolder
from springtide_services.training_report import TrainingReport, TrainingStoppedError

logger = structlog.stdlib.get_logger(__name__)

_POLL_S = 0.5
_FIRST_RETRY_S = 2.0
_MAX_RETRY_S = 600.0
_MAX_ATTEMPTS = 3  # A request that failed this often is answered with its failure.


class Trainer:
    """Trains when the schedule or a request wants it, one training at a time.

    Args:
        settings: Where checkpoints and models are kept, and when and how to train.
        stopping: Set it from anywhere, and the trainer ends at its next step.
    """

    def __init__(self, settings: Settings, stopping: threading.Event | None = None) -> None:
        self._stopping = stopping or threading.Event()
        self._plugins = load_checked_plugins(settings)
        self._settings = self._plugins.resolved(settings)
        log_failures(self._plugins)
        self._checkpoints = CheckpointStore(settings.checkpoint.url, settings.checkpoint.keep)
        self._models = ModelStore(settings.model.url, settings.model.keep)
        self._folder = TrainingFolder.beside_models(settings)
        self._manifests: dict[str, ModelManifest] = {}
        self._failures: dict[str, _Failures] = {}  # By request id; the schedule's own under the empty one.
        self._hopeless_checkpoint = ""

    def run(self) -> None:
        """Train whenever a training is due, until told to stop; a failure is logged, and tried again later."""
        while not self._stopping.wait(_POLL_S):
            try:
                self.step(wall_ms())
            except TrainingStoppedError:
                break
            except Exception as error:  # A store that is away for a while must not end the trainer.
                logger.error("trainer_step_failed", exc_info=error)
                self._stopping.wait(_FIRST_RETRY_S)
        logger.info("trainer_stopped")

    def step(self, now_ms: int) -> str | None:
        """Train if a training is due now.

        Returns:
            The version published, or None.

        Raises:
            TrainingStoppedError: If told to stop in the midst of it.
        """
        manifests = self._known_manifests()
        answered = {manifest.request_id for manifest in manifests}
        requests = []
        for request in self._folder.requests():
            if request.request_id in answered:  # A crash came between publishing and closing it.
                self._folder.close(request.request_id)
            elif self._may_try(request.request_id):
                requests.append(request)
        checkpoint = self._checkpoints.latest()
        if checkpoint is None:
            return None
        plan = decide(self._settings.training, now_ms, checkpoint.num_events, PastTrainings.of(manifests), requests)
        if plan is None:
            return None
        if not plan.request_id and (checkpoint.name == self._hopeless_checkpoint or not self._may_try("")):
            return None
        try:
            version = self._train(plan, checkpoint)
        except TrainingStoppedError:
            raise
        except Exception as error:
            self._failed(plan, checkpoint, error)
            return None
        self._failures.pop(plan.request_id, None)
        if plan.request_id:
            self._folder.close(plan.request_id)
        return version

    def train_now(self, mode: Mode | None = None, on_progress: Callable[[Progress], None] | None = None) -> str:
        """Train once on the newest checkpoint, whatever the schedule says.

        Args:
            mode: How; None fine-tunes if there is a model, and retrains if not.
            on_progress: Told how far it is.

        Returns:
            The version published.

        Raises:
            TrainingError: If there is no checkpoint, or nothing in it to train on.
        """
        checkpoint = self._checkpoints.latest()
        if checkpoint is None:
            raise TrainingError(
                f"no checkpoint in {self._settings.checkpoint.url}: wanted one that a server has written"
            )
        has_model = self._models.current() is not None
        return self._train(Plan((mode or "fine_tune") if has_model else "retrain"), checkpoint, on_progress)

    def _train(self, plan: Plan, checkpoint: Checkpoint, on_progress: Callable[[Progress], None] | None = None) -> str:
        started = time.monotonic()
        report = TrainingReport(self._folder, plan, self._stopping, on_progress)
        log = logger.bind(mode=plan.mode, request_id=plan.request_id, checkpoint=checkpoint.name)
        log.info("training_started", events=checkpoint.num_events)
        try:
            report.stage("load")
            checkpoint, state = self._restore(checkpoint)
            base = self._base_of(plan)
            artifact = self._made(plan, checkpoint, state, base, report)
            report.stage("publish")
            version = self._models.publish(_with_num_events(artifact, checkpoint))
        except Exception as error:
            report.failed(error)
            raise
        report.finished(version)
        took_ms = round((time.monotonic() - started) * 1_000)
        log.info("training_finished", version=version, took_ms=took_ms, metrics=artifact.manifest.metrics)
        return version

    def _made(
        self,
        plan: Plan,
        checkpoint: Checkpoint,
        state: LiveState,
        base: ModelArtifact | None,
        report: TrainingReport,
    ) -> ModelArtifact:
        if plan.mode == "refit" and base is not None:
            return refit_exponents(
                state,
                base,
                self._settings,
                self._plugins,
                request_id=plan.request_id,
                on_progress=report.progress,
            )
        return train(
            state,
            self._settings,
            self._plugins,
            mode="retrain" if base is None else "fine_tune",
            base=base,
            checkpoint=checkpoint,
            request_id=plan.request_id,
            on_progress=report.progress,
        )

    def _restore(self, checkpoint: Checkpoint) -> tuple[Checkpoint, LiveState]:
        """Restore a checkpoint, or the newest one if it goes while it is read."""
        while True:
            state = LiveState(self._settings, make_context_weights(self._settings.ranking, self._plugins))
            try:
                self._checkpoints.restore(checkpoint, state)
            except CheckpointError:
                newest = self._checkpoints.latest()
                if newest is None or newest.name == checkpoint.name:
                    raise
                checkpoint = newest
            else:
                return checkpoint, state

    def _base_of(self, plan: Plan) -> ModelArtifact | None:
        """Return the model to fine-tune; None to retrain, as planned or for want of one that fits."""
        current = self._models.current()
        if plan.mode == "retrain" or current is None:
            return None
        try:
            base = self._models.load(current)
        except ModelError as error:
            logger.warning("retrains_instead", model=current, reason=str(error))
            return None
        if not fits_settings(base, self._settings):
            logger.warning("retrains_instead", model=current, reason="the settings want other parts or another width")
            return None
        return base

    def _failed(self, plan: Plan, checkpoint: Checkpoint, error: Exception) -> None:
        failures = self._failures.setdefault(plan.request_id, _Failures())
        retry_s = failures.add()
        is_hopeless = isinstance(error, TrainingError)  # The same graph would give the same again.
        if is_hopeless:
            logger.warning("training_refused", mode=plan.mode, request_id=plan.request_id, reason=str(error))
            self._hopeless_checkpoint = checkpoint.name
        else:
            logger.error("training_failed", mode=plan.mode, request_id=plan.request_id, retry_s=retry_s, exc_info=error)
        if is_hopeless or (plan.request_id and failures.num >= _MAX_ATTEMPTS):
            del self._failures[plan.request_id]
            if plan.request_id:
                self._folder.close(plan.request_id)

    def _may_try(self, request_id: str) -> bool:
        failures = self._failures.get(request_id)
        return failures is None or failures.retry_at.is_over()

    def _known_manifests(self) -> list[ModelManifest]:
        versions = self._models.versions()
        self._manifests = {
            version: self._manifests.get(version) or self._models.manifest(version) for version in versions
        }
        return list(self._manifests.values())


class _Failures:
    """How often one training failed in a row, and when it may be tried again."""

    def __init__(self) -> None:
        self.num = 0
        self.retry_at = Deadline.after(0)

    def add(self) -> float:
        """Count one more, and return the seconds until the next try: twice as many as the last time."""
        retry_s = min(_FIRST_RETRY_S * 2.0**self.num, _MAX_RETRY_S)
        self.num += 1
        self.retry_at = Deadline.after(retry_s)
        return retry_s


def _with_num_events(artifact: ModelArtifact, checkpoint: Checkpoint) -> ModelArtifact:
    """Add to the graph cut what the schedule counts new events from."""
    cut = {**artifact.manifest.graph_cut, "num_events": checkpoint.num_events}
    return dataclasses.replace(artifact, manifest=dataclasses.replace(artifact.manifest, graph_cut=cut))


def run_trainer(settings: Settings) -> None:
    """Be the trainer process: polite to its neighbours, until SIGTERM or SIGINT."""
    log_settings(settings)
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    os.nice(settings.training.niceness)
    if settings.training.num_threads is not None:
        torch.set_num_threads(settings.training.num_threads)
    Trainer(settings, stopping).run()


def train_once(
    settings: Settings, mode: Mode | None = None, on_progress: Callable[[Progress], None] | None = None
) -> str:
    """Train once on the newest checkpoint, publish the model, and return its version.

    Raises:
        TrainingError: If there is no checkpoint, or nothing in it to train on.
    """
    return Trainer(settings).train_now(mode, on_progress)
