"""The loss of each step of a training, kept in few points."""

import numpy as np

from springtide.model.curves import Curve
from springtide.training.loop import Progress

MAX_POINTS = 200
"""Points of a curve: more than a chart has room for, and few kilobytes."""

_DIGITS = 6


class LossCurves:
    """Keeps the losses that the stages of a training report."""

    def __init__(self) -> None:
        self._losses: dict[str, list[tuple[int, float]]] = {}

    def note(self, progress: Progress) -> None:
        """Keep the loss of a step, if it has one; a stage of a single step has no curve."""
        if progress.loss is not None and progress.total > 1:
            self._losses.setdefault(progress.stage, []).append((progress.done, progress.loss))

    def curves(self) -> tuple[Curve, ...]:
        """Return a curve for each stage; where it has more than 200 steps, a point is the mean of some."""
        curves = []
        for stage, losses in self._losses.items():
            parts = np.array_split(np.array(losses), min(len(losses), MAX_POINTS))
            means = [(float(part[-1, 0]), round(float(part[:, 1].mean()), _DIGITS)) for part in parts]
            steps, values = zip(*means, strict=True)
            curves.append(Curve(f"loss of {stage}", "step", steps, values))
        return tuple(curves)
