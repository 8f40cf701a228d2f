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
from springtide.errors import CheckpointError, ModelError, TrainingError
from springtide.evaluation.gate import Verdict, fit_baseline, judge, vectors_by
from springtide.model.audit import this_actor
from springtide.model.manifest import ModelManifest, TrainingMode, UnreadableManifest
from springtide.model.registry import ModelArtifact, ModelStore
from springtide.plugins.loading import load_checked_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.training.artifact import fits_settings
from springtide.training.exponents.refit import refit_exponents
from springtide.training.train import Progress, train
from springtide_services.logs import log_failures, log_settings
from springtide_services.termination import STOP_SIGNALS, ignore_signals
from springtide_services.training.schedule import PastTrainings, Plan, decide
from springtide_services.training.training_folder import TrainingFolder
from springtide_services.training.training_report import TrainingReport, TrainingStoppedError

logger = structlog.stdlib.get_logger(__name__)

_POLL_S = 0.5
_FIRST_RETRY_S = 2.0
_MAX_RETRY_S = 600.0
_MAX_ATTEMPTS = 3  # A request that failed this often is answered with its failure.


class Trainer:
    """Trains when a training is due by the schedule or requested, one training at a time.

    Args:
        settings: Where checkpoints and models are kept, and when and how to train.
        stopping: Once it is set, the trainer stops at its next step.
    """

    def __init__(self, settings: Settings, stopping: threading.Event | None = None) -> None:
        self._stopping = stopping or threading.Event()
        self._plugins = load_checked_plugins(settings)
        self._settings = self._plugins.resolved(settings)
        log_failures(self._plugins)
        self._checkpoints = CheckpointStore(settings.checkpoint.url, settings.checkpoint.keep)
        self._models = ModelStore(settings.model.url, settings.model.keep)
        self._folder = TrainingFolder.beside_models(settings)
        self._unreadable: set[str] = set()  # Versions that a warning has been logged for.
        self._failures: dict[str, _Failures] = {}  # By request id; those of the schedule under the empty id.
        self._refused_checkpoint = ""  # Nothing in it to train on: not tried again by the schedule.

    def run(self) -> None:
        """Train whenever a training is due, until ``stopping`` is set; a failure is logged, and tried again later."""
        failure = ""
        while not self._stopping.wait(_POLL_S):
            try:
                self.step(wall_ms())
                failure = ""
            except TrainingStoppedError:
                break
            except Exception as error:  # A store that is away for a while must not end the trainer.
                if repr(error) != failure:  # Once, not at every try.
                    logger.error("trainer_step_failed", exc_info=error)
                failure = repr(error)
                self._stopping.wait(_FIRST_RETRY_S)
        logger.info("trainer_stopped")

    def step(self, now_ms: int) -> str | None:
        """Train if a training is due now.

        Returns:
            The version published, or None.

        Raises:
            TrainingStoppedError: If ``stopping`` was set during the training.
        """
        manifests = self._readable_manifests()
        answered = {manifest.request_id for manifest in manifests}
        requests = []
        for request in self._folder.requests():
            if request.request_id in answered:  # The trainer died between publishing and closing it.
                self._folder.close(request.request_id)
            elif self._may_try(request.request_id):
                requests.append(request)
        checkpoint = self._checkpoints.latest()
        if checkpoint is None:
            return None
        plan = decide(self._settings.training, now_ms, checkpoint.num_events, PastTrainings.of(manifests), requests)
        if plan is None or (not plan.request_id and plan.mode == "refit" and self._serves_baseline()):
            return None
        if not plan.request_id and (checkpoint.name == self._refused_checkpoint or not self._may_try("")):
            return None
        try:
            version = self._train(plan, checkpoint)
        except TrainingStoppedError:
            raise
        except Exception as error:
            self._note_failure(plan, checkpoint, error)
            return None
        self._failures.pop(plan.request_id, None)
        if plan.request_id:
            self._folder.close(plan.request_id)
        return version

    def train_now(self, mode: TrainingMode | None = None, on_progress: Callable[[Progress], None] | None = None) -> str:
        """Train once on the newest checkpoint, whether or not a training is due.

        Args:
            mode: How to train; None fine-tunes if there is a model, and retrains if not.
            on_progress: Called at every step, if given.

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
            champion = self._champion()
            base = self._base_of(plan, champion)
            candidate, artifact = self._make(plan, checkpoint, state, base, report)
            verdict = self._judge(candidate, champion, state, report)
            report.stage("publish")
            version = self._publish(_with_facts(artifact, checkpoint, base, verdict), verdict, state, checkpoint)
        except Exception as error:
            report.failed(error)
            raise
        report.finished(version)
        took_ms = round((time.monotonic() - started) * 1_000)
        log.info("training_finished", version=version, took_ms=took_ms, metrics=artifact.manifest.metrics)
        return version

    def _make(
        self,
        plan: Plan,
        checkpoint: Checkpoint,
        state: LiveState,
        base: ModelArtifact | None,
        report: TrainingReport,
    ) -> tuple[ModelArtifact, ModelArtifact]:
        """Return the candidate, which has not seen the interactions that the gate asks for, and the finished model."""
        if plan.mode == "refit" and base is not None:
            refitted = refit_exponents(
                state,
                base,
                self._settings,
                self._plugins,
                request_id=plan.request_id,
                on_progress=report.progress,
            )
            return refitted, refitted  # Its vectors have not seen the interactions of the gate.
        candidates: list[ModelArtifact] = []
        artifact = train(
            state,
            self._settings,
            self._plugins,
            mode="retrain" if base is None else "fine_tune",
            base=base,
            checkpoint=checkpoint,
            request_id=plan.request_id,
            on_progress=report.progress,
            on_candidate=candidates.append,
        )
        return candidates[0], artifact

    def _judge(
        self, candidate: ModelArtifact, champion: ModelArtifact | None, state: LiveState, report: TrainingReport
    ) -> Verdict | None:
        """Return the gate's verdict; None if the gate is off."""
        if not self._settings.gate.is_on:
            return None
        report.stage("judge")
        return judge(state, candidate, champion, self._settings, self._plugins, on_progress=report.progress)

    def _publish(
        self, artifact: ModelArtifact, verdict: Verdict | None, state: LiveState, checkpoint: Checkpoint
    ) -> str:
        """Publish the model, promoted or rejected, and return its version; also a baseline, if that is the best."""
        actor = f"trainer {this_actor()}"
        if verdict is None or verdict.is_promoted:
            training = artifact.manifest.training
            reason = training if verdict is None else f"{training}: {verdict.reason}"
            return self._models.publish(artifact, actor=actor, reason=reason)
        version = self._models.publish(artifact, promote=False)
        self._models.reject(version, actor=actor, reason=verdict.reason)
        logger.warning("model_rejected", version=version, reason=verdict.reason)
        if verdict.baseline is not None:
            fitted = fit_baseline(state, verdict.baseline, self._settings, self._plugins, checkpoint)
            reason = f"{verdict.baseline} is the best there is: {version} was rejected"
            serving = self._models.publish(fitted, actor=actor, reason=reason)
            logger.warning("baseline_serves", version=serving, baseline=verdict.baseline)
        return version

    def _restore(self, checkpoint: Checkpoint) -> tuple[Checkpoint, LiveState]:
        """Restore a checkpoint, or the newest one if it is pruned while it is read."""
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
                state.compact()
                return checkpoint, state

    def _champion(self) -> ModelArtifact | None:
        """Return the current model; None if there is none, or it cannot be read."""
        current = self._models.current()
        try:
            return None if current is None else self._models.load(current)
        except ModelError as error:
            logger.warning("champion_unreadable", model=current, reason=str(error))
            return None

    def _serves_baseline(self) -> bool:
        """Return whether the current version is a baseline, which has no exponents to refit."""
        current = self._models.current()
        manifests = [] if current is None else self._models.manifests([current])
        return any(isinstance(found, ModelManifest) and found.training == "baseline" for found in manifests)

    def _base_of(self, plan: Plan, champion: ModelArtifact | None) -> ModelArtifact | None:
        """Return the model to start from; None to train from scratch, as planned or because no model fits."""
        if plan.mode == "retrain" or champion is None:
            return None
        if not fits_settings(champion, self._settings):
            logger.warning(
                "retrains_instead",
                model=champion.manifest.version,
                reason="the settings want other parts or another width, or a baseline serves",
            )
            return None
        return champion

    def _note_failure(self, plan: Plan, checkpoint: Checkpoint, error: Exception) -> None:
        failures = self._failures.setdefault(plan.request_id, _Failures())
        retry_s = failures.add()
        is_refused = isinstance(error, TrainingError)  # The same graph would be refused again.
        if is_refused:
            logger.warning("training_refused", mode=plan.mode, request_id=plan.request_id, reason=str(error))
            self._refused_checkpoint = checkpoint.name
        else:
            logger.error("training_failed", mode=plan.mode, request_id=plan.request_id, retry_s=retry_s, exc_info=error)
        if is_refused or (plan.request_id and failures.num >= _MAX_ATTEMPTS):
            del self._failures[plan.request_id]
            if plan.request_id:
                self._folder.close(plan.request_id)

    def _may_try(self, request_id: str) -> bool:
        failures = self._failures.get(request_id)
        return failures is None or failures.retry_at.is_over()

    def _readable_manifests(self) -> list[ModelManifest]:
        """Return the manifests that can be read; the others are logged, each version once."""
        readable, unreadable = [], set()
        for found in self._models.manifests():
            if isinstance(found, UnreadableManifest):
                unreadable.add(found.version)
                if found.version not in self._unreadable:
                    logger.warning("manifest_unreadable", version=found.version, reason=found.reason)
            else:
                readable.append(found)
        self._unreadable = unreadable
        return readable


class _Failures:
    """How often one training failed in a row, and when it may be tried again."""

    def __init__(self) -> None:
        self.num = 0
        self.retry_at = Deadline.after(0)

    def add(self) -> float:
        """Count one more failure, and return the seconds until the next try, which double each time."""
        retry_s = min(_FIRST_RETRY_S * 2.0**self.num, _MAX_RETRY_S)
        self.num += 1
        self.retry_at = Deadline.after(retry_s)
        return retry_s


def _with_facts(
    artifact: ModelArtifact, checkpoint: Checkpoint, base: ModelArtifact | None, verdict: Verdict | None
) -> ModelArtifact:
    """Add to the manifest the number of events, the training that made the vectors, and the gate's report."""
    manifest = artifact.manifest
    made_by = vectors_by(base) if manifest.training == "refit" and base is not None else manifest.training
    cut = {**manifest.graph_cut, "num_events": checkpoint.num_events, "vectors_by": made_by}
    gate = {} if verdict is None else verdict.report
    return dataclasses.replace(artifact, manifest=dataclasses.replace(manifest, graph_cut=cut, gate=gate))


def run_trainer(settings: Settings) -> None:
    """Run the trainer process, at a low priority, until a stop signal comes."""
    log_settings(settings)
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    for number in STOP_SIGNALS:
        signal.signal(number, stop)
    os.nice(settings.training.niceness)
    if settings.training.num_threads is not None:
        torch.set_num_threads(settings.training.num_threads)
    Trainer(settings, stopping).run()
    ignore_signals()  # Nothing is under way; only the interpreter is still to exit.


def train_once(
    settings: Settings, mode: TrainingMode | None = None, on_progress: Callable[[Progress], None] | None = None
) -> str:
    """Train once on the newest checkpoint, publish the model, and return its version.

    Raises:
        TrainingError: If there is no checkpoint, or nothing in it to train on.
    """
    return Trainer(settings).train_now(mode, on_progress)
