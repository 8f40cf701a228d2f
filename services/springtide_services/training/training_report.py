"""Reporting the progress of a training, and ending it when the trainer must stop."""

import dataclasses
import threading
from collections.abc import Callable

import structlog

from springtide.clock import Deadline, wall_ms
from springtide.training.train import Progress
from springtide_services.training.schedule import Plan
from springtide_services.training.training_folder import TrainingFolder, TrainingStatus

logger = structlog.stdlib.get_logger(__name__)

_WRITE_EVERY_S = 0.5  # Often enough for a progress bar that moves, seldom enough for an object store.


class TrainingStoppedError(Exception):
    """Raised when the trainer must stop during a training; the request, if any, stays open."""


class TrainingReport:
    """Reports the progress of one training, and ends it when the trainer must stop.

    Args:
        folder: Where the status is written, at each new stage and every half second in between.
        plan: The training.
        stopping: Once it is set, the training ends at its next step.
        on_progress: Called at every step, if given.
    """

    def __init__(
        self,
        folder: TrainingFolder,
        plan: Plan,
        stopping: threading.Event,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self._folder = folder
        self._stopping = stopping
        self._on_progress = on_progress
        self._status = TrainingStatus(stage="", mode=plan.mode, request_id=plan.request_id, started_ms=wall_ms())
        self._next_write = Deadline.after(0)

    def stage(self, stage: str) -> None:
        """Report that a stage without steps begins.

        Raises:
            TrainingStoppedError: If the trainer must stop.
        """
        self.progress(Progress(stage, 0, 0, None))

    def progress(self, progress: Progress) -> None:
        """Report a step.

        Raises:
            TrainingStoppedError: If the trainer must stop.
        """
        if self._stopping.is_set():
            raise TrainingStoppedError(f"stopped during {progress.stage}")
        if self._on_progress is not None:
            self._on_progress(progress)
        if progress.stage == self._status.stage and not self._next_write.is_over():
            return
        loss = self._status.loss if progress.loss is None else progress.loss
        self._write(stage=progress.stage, done=progress.done, total=progress.total, loss=loss)
        self._next_write = Deadline.after(_WRITE_EVERY_S)

    def finished(self, version: str) -> None:
        """Report that the training published a version."""
        self._write(stage="done", done=1, total=1, model_version=version)

    def failed(self, error: Exception) -> None:
        """Report that the training failed."""
        self._write(stage="failed", done=0, total=0, failure=f"{type(error).__name__}: {error}")

    def _write(self, **changes: object) -> None:
        self._status = dataclasses.replace(self._status, updated_ms=wall_ms(), **changes)  # type: ignore[arg-type]  # By name.
        try:
            self._folder.write_status(self._status)
        except Exception as error:  # A training must not fail because its progress cannot be shown.
            logger.warning("training_status_not_written", exc_info=error)
