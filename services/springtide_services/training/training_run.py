"""One training, in this process: restore the newest checkpoint, train, judge, publish."""

import dataclasses
import threading
import time
from collections.abc import Callable

import structlog
import torch

from springtide.checkpoint import Checkpoint, CheckpointStore
from springtide.checkpoint.fallback import restore_newest
from springtide.errors import TrainingError
from springtide.evaluation.gate import Verdict, fit_baseline, judge, vectors_by
from springtide.model.audit import this_actor
from springtide.model.forgetting import Living, without
from springtide.model.manifest import TrainingMode
from springtide.model.registry import ModelArtifact, ModelStore
from springtide.plugins.loading import load_checked_plugins
from springtide.ranking.serving_baseline import forget_users_by
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.training.artifact import fits_settings
from springtide.training.exponents.refit import refit_exponents
from springtide.training.train import Progress, train
from springtide_services.logs import log_plugins
from springtide_services.training.schedule import Plan
from springtide_services.training.training_folder import TrainingFolder
from springtide_services.training.training_report import TrainingReport

logger = structlog.stdlib.get_logger(__name__)


class TrainingRun:
    """Runs trainings in this process, one at a time.

    Args:
        settings: Where checkpoints and models are kept, and how to train.

    Raises:
        SettingsError: If a part that the settings name cannot work.
        PluginError: If a plugin cannot be loaded.
    """

    def __init__(self, settings: Settings) -> None:
        self._plugins = load_checked_plugins(settings)
        self._settings = self._plugins.resolved(settings)
        log_plugins(self._plugins)
        self._checkpoints = CheckpointStore(settings.checkpoint.url, settings.checkpoint.keep)
        self._models = ModelStore(settings.model.url, settings.model.keep)
        self._folder = TrainingFolder.beside_models(settings)

    def run(
        self,
        plan: Plan,
        checkpoint: str,
        stopping: threading.Event,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> str:
        """Train, publish the model, and return its version.

        Args:
            plan: How to train, and for whom.
            checkpoint: Name of the checkpoint to train on; the newest one that is whole takes its
                place if it has been pruned or is damaged.
            stopping: Once it is set, the training ends at its next step.
            on_progress: Called at every step, if given.

        Raises:
            TrainingError: If there is nothing in the checkpoint to train on.
            TrainingStoppedError: If ``stopping`` was set.
        """
        if self._settings.training.num_threads is not None:
            torch.set_num_threads(self._settings.training.num_threads)
        report = TrainingReport(self._folder, plan, stopping, on_progress)
        try:
            return self._run(plan, checkpoint, report)
        except Exception as error:
            report.failed(f"{type(error).__name__}: {error}")
            raise

    def run_on_newest(
        self, mode: TrainingMode | None = None, on_progress: Callable[[Progress], None] | None = None
    ) -> str:
        """Train once on the newest checkpoint, whether or not a training is due, and return the version published.

        Args:
            mode: How to train; None fine-tunes if there is a model, and retrains if not.
            on_progress: Called at every step, if given.

        Raises:
            TrainingError: If there is no checkpoint, or nothing in it to train on.
        """
        checkpoint = self._checkpoints.latest()
        if checkpoint is None:
            raise TrainingError(
                f"no checkpoint in {self._settings.checkpoint.url}: wanted one that a server has written"
            )
        has_model = self._models.current() is not None
        plan = Plan((mode or "fine_tune") if has_model else "retrain")
        return self.run(plan, checkpoint.name, threading.Event(), on_progress)

    def _run(self, plan: Plan, checkpoint_name: str, report: TrainingReport) -> str:
        started = time.monotonic()
        report.progress(Progress("load", 0, 0))
        checkpoint, state = self._restore(checkpoint_name)
        log = logger.bind(mode=plan.mode, request_id=plan.request_id, checkpoint=checkpoint.name)
        log.info("training_started", events=checkpoint.num_events)
        champion = self._champion(state)
        state.compact()
        base = self._base_of(plan, champion)
        candidate, artifact = self._make(plan, checkpoint, state, base, report)
        verdict = self._judge(candidate, champion, state, report)
        report.progress(Progress("publish", 0, 0))
        version = self._publish(_with_facts(artifact, checkpoint, base, verdict), verdict, state, checkpoint)
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
        report.progress(Progress("judge", 0, 0))
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

    def _restore(self, name: str) -> tuple[Checkpoint, LiveState]:
        """Restore a checkpoint, or the newest one that is whole if it is damaged or has been pruned.

        Raises:
            TrainingError: If none is whole.
        """

        def make_state() -> LiveState:
            return LiveState(self._settings, make_context_weights(self._settings.ranking, self._plugins))

        restored = restore_newest(self._checkpoints, make_state, name)
        if restored.checkpoint is None:
            faults = "; ".join(fault for _, fault in restored.damaged)
            raise TrainingError(f"no whole checkpoint in {self._checkpoints.url}" + (f": {faults}" if faults else ""))
        return restored.checkpoint, restored.state

    def _champion(self, state: LiveState) -> ModelArtifact | None:
        """Return the current model, or the one before it that is whole; None if there is none.

        What was deleted is not in it: a model that goes on from it would keep the names of attribute values.
        """
        champion = self._models.load_champion()
        if champion is None or not len(state.graph.tombstones):
            return None if champion is None else champion.artifact
        gone = Living(state.graph.view(), state.graph.tombstones).gone(champion.artifact)
        return without(champion.artifact, gone, forget_users_by(self._plugins)) if gone else champion.artifact

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


def _with_facts(
    artifact: ModelArtifact, checkpoint: Checkpoint, base: ModelArtifact | None, verdict: Verdict | None
) -> ModelArtifact:
    """Add to the manifest the number of events, the training that made the vectors, and the gate's report."""
    manifest = artifact.manifest
    made_by = vectors_by(base) if manifest.training == "refit" and base is not None else manifest.training
    cut = {**manifest.graph_cut, "num_events": checkpoint.num_events, "vectors_by": made_by}
    gate = {} if verdict is None else verdict.report
    return dataclasses.replace(artifact, manifest=dataclasses.replace(manifest, graph_cut=cut, gate=gate))


def train_once(
    settings: Settings, mode: TrainingMode | None = None, on_progress: Callable[[Progress], None] | None = None
) -> str:
    """Train once on the newest checkpoint, publish the model, and return its version.

    Raises:
        TrainingError: If there is no checkpoint, or nothing in it to train on.
    """
    return TrainingRun(settings).run_on_newest(mode, on_progress)
