"""When to train, and how: a pure function of settings, time, the newest checkpoint and what was trained before."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from springtide.clock import MS_PER_SECOND
from springtide.errors import InvalidRequestError
from springtide.model.manifest import TRAINING_MODES, ModelManifest, TrainingMode
from springtide.settings.model import TrainingSettings


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """A request for a training, beside the schedule.

    Attributes:
        request_id: Unique id; the model's manifest carries it.
        mode: How to train; None leaves it to the trainer.
        checkpoint: Name of the checkpoint that was written for it.
        created_ms: When it was made, milliseconds since the Unix epoch.
        reason: Why, in words; empty if none was given.

    Raises:
        InvalidRequestError: If there is no such mode, or a field is not of its type.
    """

    request_id: str
    mode: TrainingMode | None
    checkpoint: str
    created_ms: int
    reason: str = ""

    def __post_init__(self) -> None:
        for name in ("request_id", "checkpoint", "reason"):
            if not isinstance(getattr(self, name), str):
                raise InvalidRequestError(name, f"wanted a string, got {getattr(self, name)!r}")
        if not isinstance(self.created_ms, int):
            raise InvalidRequestError("created_ms", f"wanted a whole number, got {self.created_ms!r}")
        if self.mode is not None and self.mode not in TRAINING_MODES:
            raise InvalidRequestError(
                "mode", f"no training mode {self.mode!r} (choices: {', '.join(sorted(TRAINING_MODES))})"
            )


@dataclass(frozen=True, slots=True)
class PastTraining:
    """A training that made a model.

    Attributes:
        created_ms: When the model was made, milliseconds since the Unix epoch.
        num_events: Number of interactions that had been applied to the graph it was trained on.
    """

    created_ms: int
    num_events: int


@dataclass(frozen=True, slots=True)
class PastTrainings:
    """The trainings that made the models of the registry; None where there was none.

    Attributes:
        latest: The latest training of vectors.
        latest_retrain: The latest training from scratch.
        latest_fit: The latest training of exponents, with vectors or alone.
        fine_tune_gap: How much worse fine-tuned vectors were than vectors trained from scratch, as a share of the
            latter's NDCG, measured by the latest training of vectors; 0 if it did not measure it.
    """

    latest: PastTraining | None = None
    latest_retrain: PastTraining | None = None
    latest_fit: PastTraining | None = None
    fine_tune_gap: float = 0.0

    @classmethod
    def of(cls, manifests: Iterable[ModelManifest]) -> "PastTrainings":
        """Return the past trainings that manifests, in any order, record.

        A baseline does not count as a training: it is published beside a model that was worse, and that model counts.
        """
        latest = latest_retrain = latest_fit = None
        gap = 0.0
        trainings = (manifest for manifest in manifests if manifest.training != "baseline")
        # By version, not by time: a clock may have been set back in between.
        for manifest in sorted(trainings, key=lambda manifest: (len(manifest.version), manifest.version)):
            latest_fit = PastTraining(manifest.created_ms, int(manifest.graph_cut.get("num_events", 0)))
            if manifest.training != "refit":
                latest, gap = latest_fit, float(manifest.gate.get("fine_tune_gap", 0.0))
            if manifest.training == "retrain":
                latest_retrain = latest
        return cls(latest, latest_retrain, latest_fit, gap)


@dataclass(frozen=True, slots=True)
class Plan:
    """A training to be run now.

    Attributes:
        mode: How to train.
        request_id: The request that it answers; empty if it is due by the schedule.

    Raises:
        ValueError: If there is no such mode.
    """

    mode: TrainingMode
    request_id: str = ""

    def __post_init__(self) -> None:
        if self.mode not in TRAINING_MODES:
            raise ValueError(f"no training mode {self.mode!r} (choices: {', '.join(sorted(TRAINING_MODES))})")


def decide(
    settings: TrainingSettings,
    now_ms: int,
    num_events: int | None,
    past: PastTrainings,
    requests: Sequence[TrainingRequest] = (),
) -> Plan | None:
    """Return what to train now, or None.

    Requests come before the schedule, the oldest first. Without a request, the first model is trained as soon as the
    checkpoint holds ``min_interactions``. After that, a training is due when enough time has passed, or enough events
    have come, since the last one of its kind: retraining before fine-tuning before learning the exponents alone. No
    training is due while the graph has not changed. If the latest training found fine-tuned vectors too much worse,
    the next one is from scratch, unless a request names the mode.

    Args:
        settings: When trainings are due.
        now_ms: The time now, milliseconds since the Unix epoch.
        num_events: Number of interactions applied to the graph of the newest checkpoint; None if there is no
            checkpoint, and so nothing to train on.
        past: The trainings before.
        requests: The open requests, in any order.
    """
    if num_events is None:
        return None
    mode: TrainingMode = "retrain" if past.fine_tune_gap > settings.max_fine_tune_gap else "fine_tune"
    if requests:
        oldest = min(requests, key=lambda request: (request.created_ms, request.request_id))
        return Plan(oldest.mode or mode if past.latest is not None else "retrain", oldest.request_id)
    if past.latest is None:
        return Plan("retrain") if num_events >= settings.min_interactions else None
    if _num_new_events(num_events, past.latest) == 0:
        return None
    if past.latest_retrain is None or _is_due(
        now_ms, num_events, past.latest_retrain, settings.retrain_every_s, settings.retrain_after_events
    ):
        return Plan("retrain")
    if _is_due(now_ms, num_events, past.latest, settings.fine_tune_every_s, settings.fine_tune_after_events):
        return Plan(mode)
    last_fit = past.latest_fit or past.latest
    has_enough = num_events - past.latest.num_events >= settings.min_refit_events  # False if the stream began anew.
    if (
        has_enough
        and _num_new_events(num_events, last_fit)
        and _is_due(now_ms, num_events, last_fit, settings.refit_every_s, settings.refit_after_events)
    ):
        return Plan("refit")
    return None


def _is_due(now_ms: int, num_events: int, last: PastTraining, every_s: float | None, after_events: int | None) -> bool:
    # The last one may lie ahead: a clock that was set back by a year must not hold up the next training for a year.
    is_time = every_s is not None and abs(now_ms - last.created_ms) >= every_s * MS_PER_SECOND
    return is_time or (after_events is not None and _num_new_events(num_events, last) >= after_events)


def _num_new_events(num_events: int, last: PastTraining) -> int:
    """Return the number of interactions since a training; all of them if the stream began anew in between."""
    new = num_events - last.num_events
    return new if new >= 0 else num_events
