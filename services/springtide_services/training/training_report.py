"""Reporting the progress of a training, and ending it when the trainer must stop."""

import dataclasses
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from springtide.clock import Deadline, wall_ms
from springtide_services.training.schedule import Plan
from springtide_services.training.training_folder import TrainingFolder, TrainingStatus

if TYPE_CHECKING:
    from springtide.training.train import Progress  # It imports torch, which the trainer does without.

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
        on_progress: "Callable[[Progress], None] | None" = None,
    ) -> None:
        self._folder = folder
        self._stopping = stopping
        self._on_progress = on_progress
        self._status = TrainingStatus(stage="", mode=plan.mode, request_id=plan.request_id, started_ms=wall_ms())
        self._next_write = Deadline.after(0)
        self._not_written = ""  # Why.

    def progress(self, progress: "Progress") -> None:
        """Report a step, or that a stage begins.

        Raises:
            TrainingStoppedError: If the trainer must stop.
        """
        self._raise_if_stopping(progress.stage)
        if self._on_progress is not None:
            self._on_progress(progress)
        if progress.stage == self._status.stage and not self._next_write.is_over():
            return
        loss = self._status.loss if progress.loss is None else progress.loss
        self._write(stage=progress.stage, done=progress.done, total=progress.total, loss=loss)
        self._next_write = Deadline.after(_WRITE_EVERY_S)

    def started(self) -> None:
        """Report that a process is started for the training.

        Raises:
            TrainingStoppedError: If the trainer must stop.
        """
        self._raise_if_stopping("start")
        self._write(stage="start")

    def finished(self, version: str) -> None:
        """Report that the training published a version."""
        self._write(stage="done", done=1, total=1, model_version=version)

    def failed(self, failure: str) -> None:
        """Report that the training failed, and why."""
        self._write(stage="failed", done=0, total=0, failure=failure)

    def _raise_if_stopping(self, stage: str) -> None:
        if self._stopping.is_set():
            raise TrainingStoppedError(f"stopped during {stage}")

    def _write(self, **changes: object) -> None:
        self._status = dataclasses.replace(self._status, updated_ms=wall_ms(), **changes)  # type: ignore[arg-type]  # By name.
        try:
            self._folder.write_status(self._status)
        except Exception as error:  # A training must not fail because its progress cannot be shown.
            reason = getattr(error, "strerror", None) or str(error)
            if reason != self._not_written:  # Told once, also where a full disk lasts for all of the training.
                self._not_written = reason
                logger.warning("training_status_not_written", reason=reason)
