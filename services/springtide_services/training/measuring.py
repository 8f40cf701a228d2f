"""What a trainer counts of its trainings, for Prometheus; it imports nothing for that."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Literal

from springtide.clock import wall_ms
from springtide_services.metrics.samples import Sample

Outcome = Literal["published", "refused", "failed"]


class TrainerCounts:
    """Trainings since the start of the trainer: written by its thread, read by any."""

    def __init__(self) -> None:
        self._num: Counter[tuple[str, str]] = Counter()
        self._took_s: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._begun_ms: int | None = None
        self._begun_s = 0.0
        self._published_ms: int | None = None
        self._failures_in_a_row = 0
        self._looked_ms: int | None = None

    def look(self, now_ms: int) -> None:
        """Note that the trainer looks for work now."""
        self._looked_ms = now_ms

    def begin(self) -> None:
        """Note that a training begins."""
        self._begun_s, self._begun_ms = time.monotonic(), wall_ms()

    def end(self, mode: str, outcome: Outcome | None) -> None:
        """Note that the training has ended.

        Args:
            mode: How it trained.
            outcome: How it ended; None if it was stopped, which counts as nothing.
        """
        self._begun_ms = None
        if outcome is None:
            return
        self._num[mode, outcome] += 1
        self._took_s[mode, outcome] += time.monotonic() - self._begun_s
        self._failures_in_a_row = self._failures_in_a_row + 1 if outcome == "failed" else 0
        if outcome == "published":
            self._published_ms = wall_ms()

    def samples(self) -> Iterator[Sample]:
        """Yield the values of the trainer's metrics."""
        for labels, count in dict(self._num).items():
            yield Sample("springtide_trainer_trainings_total", count, labels)
        for labels, took_s in dict(self._took_s).items():
            yield Sample("springtide_trainer_training_seconds_total", took_s, labels)
        begun_ms = self._begun_ms
        yield Sample("springtide_trainer_running", begun_ms is not None)
        yield Sample("springtide_trainer_failures_in_a_row", self._failures_in_a_row)
        for name, moment_ms in (
            ("springtide_trainer_begun_timestamp_seconds", begun_ms),
            ("springtide_trainer_published_timestamp_seconds", self._published_ms),
            ("springtide_trainer_looked_timestamp_seconds", self._looked_ms),
        ):
            if moment_ms is not None:
                yield Sample(name, moment_ms / 1_000)
