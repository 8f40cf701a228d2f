"""The trainer process: sees when a training is due, and has it run in a process of its own; imports no torch."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import structlog

from springtide.checkpoint.manifest_files import ManifestFiles
from springtide.clock import Deadline, wall_ms
from springtide.errors import TrainingError
from springtide.model.manifest import ModelManifest, UnreadableManifest
from springtide.model.registry import ModelStore
from springtide.settings.model import Settings
from springtide.storage import Storage
from springtide_services.logs import log_settings
from springtide_services.metrics.catalogue import TRAINER
from springtide_services.priorities import give_way
from springtide_services.termination import STOP_SIGNALS, ignore_signals
from springtide_services.training.measuring import Outcome, TrainerCounts
from springtide_services.training.processes import TrainingProcesses
from springtide_services.training.schedule import PastTrainings, Plan, decide
from springtide_services.training.training_folder import TrainingFolder
from springtide_services.training.training_report import TrainingStoppedError

logger = structlog.stdlib.get_logger(__name__)

_POLL_S = 0.5
_FIRST_RETRY_S = 2.0
_MAX_RETRY_S = 600.0
_MAX_ATTEMPTS = 3  # A request that failed this often is answered with its failure.
_FRESH_MS = 1_000  # A checkpoint is written before the request that names it: for that long, it waits for one.

RunTraining = Callable[[Plan, str, threading.Event], str]
"""Trains on the checkpoint of a name, and returns the version published: ``TrainingProcesses.run``, or
``TrainingRun.run`` to train in this process."""


class Trainer:
    """Trains when a training is due by the schedule or requested, one training at a time.

    Attributes:
        counts: The trainings so far.

    Args:
        settings: Where checkpoints and models are kept, and when to train.
        run: Runs a training.
        stopping: Once it is set, the trainer stops at its next step.
    """

    def __init__(self, settings: Settings, run: RunTraining, stopping: threading.Event | None = None) -> None:
        self.counts = TrainerCounts()
        self._settings = settings
        self._run_training = run
        self._stopping = stopping or threading.Event()
        self._checkpoints = ManifestFiles(Storage(settings.checkpoint.url))
        self._models = ModelStore(settings.model.url, settings.model.keep)
        self._folder = TrainingFolder.beside_models(settings)
        self._unreadable: set[str] = set()  # Versions that a warning has been logged for.
        self._failures: dict[str, _Failures] = {}  # By request id; those of the schedule under the empty id.
        self._done_checkpoint = ""  # Trained on, or nothing in it to train on: not tried again by the schedule.
        self._damaged: set[str] = set()  # Checkpoints that an error has been logged for.

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
        self.counts.look(now_ms)
        manifests = self._readable_manifests()
        answered = {manifest.request_id for manifest in manifests}
        requests = []
        for request in self._folder.requests():
            if request.request_id in answered:  # The trainer died between publishing and closing it.
                self._folder.close(request.request_id)
            elif self._may_try(request.request_id):
                requests.append(request)
        checkpoint = self._checkpoints.newest(self._tell_damaged)
        if checkpoint is None:
            return None
        name, num_events = checkpoint["name"], checkpoint["num_events"]
        plan = decide(self._settings.training, now_ms, num_events, PastTrainings.of(manifests), requests)
        if plan is None or (not plan.request_id and plan.mode == "refit" and self._serves_baseline()):
            return None
        is_fresh = 0 <= now_ms - checkpoint["created_ms"] < _FRESH_MS
        if not plan.request_id and (is_fresh or name == self._done_checkpoint or not self._may_try("")):
            return None
        outcome: Outcome | None = None
        self.counts.begin()
        try:
            version = self._run_training(plan, name, self._stopping)
            outcome = "published"
        except TrainingStoppedError:
            raise
        except Exception as error:
            outcome = "refused" if isinstance(error, TrainingError) else "failed"
            self._note_failure(plan, name, error)
            return None
        finally:
            self.counts.end(plan.mode, outcome)
        self._failures.pop(plan.request_id, None)
        self._done_checkpoint = name  # If it was damaged, an older one was trained on, and it would seem due again.
        if plan.request_id:
            self._folder.close(plan.request_id)
        return version

    def _tell_damaged(self, name: str, fault: str) -> None:
        if name not in self._damaged:
            self._damaged.add(name)
            logger.error("checkpoint_damaged", checkpoint=name, fault=fault, instead="the one before it")

    def _serves_baseline(self) -> bool:
        """Return whether the current version is a baseline, which has no exponents to refit."""
        current = self._models.current()
        manifests = [] if current is None else self._models.manifests([current])
        return any(isinstance(found, ModelManifest) and found.training == "baseline" for found in manifests)

    def _note_failure(self, plan: Plan, checkpoint: str, error: Exception) -> None:
        failures = self._failures.setdefault(plan.request_id, _Failures())
        retry_s = failures.add()
        is_refused = isinstance(error, TrainingError)  # The same graph would be refused again.
        if is_refused:
            logger.warning("training_refused", mode=plan.mode, request_id=plan.request_id, reason=str(error))
            self._done_checkpoint = checkpoint
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


@contextlib.contextmanager
def _measured(settings: Settings, counts: TrainerCounts) -> Iterator[None]:
    """Let Prometheus read what the trainer counts, if the settings name a port.

    Raises:
        SettingsError: If the port cannot be listened on, or the settings would let anybody in.
    """
    if settings.metrics.trainer_port is None:
        yield
        return
    from springtide_services.metrics.endpoint import MetricsEndpoint  # It imports the client library.

    endpoint = MetricsEndpoint(settings, "trainer_port", TRAINER, counts.samples)
    endpoint.start()
    try:
        yield
    finally:
        endpoint.stop()


def run_trainer(settings: Settings) -> None:
    """Run the trainer process, at a low priority, until a stop signal comes.

    Raises:
        SettingsError: If a part that the settings name cannot work.
        PluginError: If a plugin cannot be loaded.
        UnexpectedTrainingError: If what a training needs cannot be imported.
    """
    log_settings(settings)
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    for number in STOP_SIGNALS:
        signal.signal(number, stop)
    give_way(settings.training.niceness)  # The processes of trainings inherit it.
    with TrainingProcesses(settings) as processes:
        processes.check(stopping)
        trainer = Trainer(settings, processes.run, stopping)
        with _measured(settings, trainer.counts):
            trainer.run()
    ignore_signals()  # Nothing is under way; only the interpreter is still to exit.
