"""When to train, and how: a pure function of settings, time, the newest checkpoint and what was trained before."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from springtide.clock import MS_PER_SECOND
from springtide.model.manifest import ModelManifest
from springtide.settings.model import TrainingSettings

Mode = Literal["retrain", "fine_tune", "refit"]


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """Somebody's wish for a training, beside the schedule.

    Attributes:
        request_id: Unique; the model's manifest carries it.
        mode: How to train; None leaves it to the trainer.
        checkpoint: The name of the checkpoint that was written for it.
        created_ms: When it was asked for, milliseconds since the Unix epoch.
        reason: Why, in words; empty when somebody asked without saying.
    """

    request_id: str
    mode: Mode | None
    checkpoint: str
    created_ms: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PastTraining:
    """A training that gave a model.

    Attributes:
        created_ms: When the model was made, milliseconds since the Unix epoch.
        num_events: How many interactions the graph had been given when it was cut.
    """

    created_ms: int
    num_events: int


@dataclass(frozen=True, slots=True)
class PastTrainings:
    """What was trained before; None where there was nothing.

    Attributes:
        latest: The latest training of vectors.
        latest_retrain: The latest one from scratch.
        latest_fit: The latest time that exponents were learned, with vectors or alone.
        fine_tune_gap: How far fine-tuned vectors had fallen behind, as the latest training of vectors measured it: a
            share of what the one from scratch reached. 0 where it did not.
    """

    latest: PastTraining | None = None
    latest_retrain: PastTraining | None = None
    latest_fit: PastTraining | None = None
    fine_tune_gap: float = 0.0

    @classmethod
    def of(cls, manifests: Iterable[ModelManifest]) -> "PastTrainings":
        """Return what the manifests of a registry tell, in any order.

        A baseline is no training: it is published beside a model that lost to it, which counts, or by somebody's hand,
        and neither puts a training off nor calls for one.
        """
        latest = latest_retrain = latest_fit = None
        gap = 0.0
        trainings = (manifest for manifest in manifests if manifest.training != "baseline")
        for manifest in sorted(trainings, key=lambda manifest: (manifest.created_ms, manifest.version)):
            latest_fit = PastTraining(manifest.created_ms, int(manifest.graph_cut.get("num_events", 0)))
            if manifest.training != "refit":
                latest, gap = latest_fit, float(manifest.gate.get("fine_tune_gap", 0.0))
            if manifest.training == "retrain":
                latest_retrain = latest
        return cls(latest, latest_retrain, latest_fit, gap)


@dataclass(frozen=True, slots=True)
class Plan:
    """A training to be made now.

    Attributes:
        mode: How to train.
        request_id: Who asked for it; empty when the schedule did.
    """

    mode: Mode
    request_id: str = ""


def decide(
    settings: TrainingSettings,
    now_ms: int,
    num_events: int | None,
    past: PastTrainings,
    requests: Sequence[TrainingRequest] = (),
) -> Plan | None:
    """Return what to train now, or None.

    A request wins over the schedule, the oldest first. Without one, the first model is made as soon as the checkpoint
    holds ``min_interactions``; after that a training is due when enough time has passed or enough events have come
    since the last one of its kind, retraining before fine-tuning before learning the exponents alone, and never on a
    graph that has not changed. After a training that found fine-tuned vectors too far behind, the next one is from
    scratch again, unless a request says how.

    Args:
        settings: When trainings are due.
        now_ms: The time now, milliseconds since the Unix epoch.
        num_events: How many interactions the newest checkpoint's graph was given; None if there is no checkpoint, and
            so nothing to train on.
        past: What was trained before.
        requests: Those not yet answered, in any order.
    """
    if num_events is None:
        return None
    on_from_latest: Mode = "retrain" if past.fine_tune_gap > settings.max_fine_tune_gap else "fine_tune"
    if requests:
        oldest = min(requests, key=lambda request: (request.created_ms, request.request_id))
        wanted = oldest.mode or on_from_latest
        return Plan(wanted if past.latest is not None else "retrain", oldest.request_id)
    if past.latest is None:
        return Plan("retrain") if num_events >= settings.min_interactions else None
    if _num_new_events(num_events, past.latest) == 0:
        return None
    if past.latest_retrain is None or _is_due(
        now_ms, num_events, past.latest_retrain, settings.retrain_every_s, settings.retrain_after_events
    ):
        return Plan("retrain")
    if _is_due(now_ms, num_events, past.latest, settings.fine_tune_every_s, settings.fine_tune_after_events):
        return Plan(on_from_latest)
    last_fit = past.latest_fit or past.latest
    has_enough = num_events - past.latest.num_events >= settings.min_refit_events  # Not if it was begun anew.
    if (
        has_enough
        and _num_new_events(num_events, last_fit)
        and _is_due(now_ms, num_events, last_fit, settings.refit_every_s, settings.refit_after_events)
    ):
        return Plan("refit")
    return None


def _is_due(now_ms: int, num_events: int, last: PastTraining, every_s: float | None, after_events: int | None) -> bool:
    is_time = every_s is not None and now_ms - last.created_ms >= every_s * MS_PER_SECOND
    return is_time or (after_events is not None and _num_new_events(num_events, last) >= after_events)


def _num_new_events(num_events: int, last: PastTraining) -> int:
    """Return how many interactions came since a training; all of them if the stream was begun anew in between."""
    new = num_events - last.num_events
    return new if new >= 0 else num_events
