"""The schedule: when a training is due, and which."""

import dataclasses

import pytest

from springtide.clock import MS_PER_SECOND
from springtide.model.manifest import ModelManifest
from springtide.settings.model import TrainingSettings
from springtide_services.training.schedule import PastTraining, PastTrainings, Plan, TrainingRequest, decide

SETTINGS = TrainingSettings(
    retrain_every_s=1_000,
    retrain_after_events=10_000,
    fine_tune_every_s=100,
    fine_tune_after_events=1_000,
    refit_every_s=50,
    refit_after_events=400,
    min_refit_events=200,
)
NOW_MS = 1_700_000_000_000


def past(seconds_ago: float, num_events: int, retrain_seconds_ago: float | None = None) -> PastTrainings:
    """A latest training, and the latest from scratch: the same one if no other age is given."""
    latest = PastTraining(NOW_MS - round(seconds_ago * MS_PER_SECOND), num_events)
    if retrain_seconds_ago is None:
        return PastTrainings(latest, latest, latest)
    retrain = PastTraining(NOW_MS - round(retrain_seconds_ago * MS_PER_SECOND), num_events)
    return PastTrainings(latest, retrain, latest)


def refitted(seconds_ago: float, num_events: int) -> PastTrainings:
    """Vectors of 500 events, 90 s old, and exponents learned since."""
    vectors = PastTraining(NOW_MS - 90 * MS_PER_SECOND, 500)
    return PastTrainings(vectors, vectors, PastTraining(NOW_MS - round(seconds_ago * MS_PER_SECOND), num_events))


def request(request_id: str, mode: str | None = None, created_ms: int = 0) -> TrainingRequest:
    return TrainingRequest(request_id, mode, "00000001", created_ms)


def test_nothing_is_trained_without_a_checkpoint() -> None:
    assert decide(SETTINGS, NOW_MS, None, PastTrainings(), [request("a")]) is None


def test_the_first_model_is_made_as_soon_as_there_are_enough_interactions() -> None:
    assert decide(SETTINGS, NOW_MS, 99, PastTrainings()) is None
    assert decide(SETTINGS, NOW_MS, 100, PastTrainings()) == Plan("retrain")


@pytest.mark.parametrize(
    ("before", "num_events", "plan"),
    [
        pytest.param(past(99, 500), 501, None, id="too soon, too few"),
        pytest.param(past(100, 500), 501, Plan("fine_tune"), id="time to fine-tune"),
        pytest.param(past(1, 500), 899, None, id="one event short of learning the exponents"),
        pytest.param(past(1, 500), 900, Plan("refit"), id="events to learn the exponents"),
        pytest.param(past(50, 500), 700, Plan("refit"), id="time to learn the exponents"),
        pytest.param(past(50, 500), 699, None, id="too few to learn exponents from"),
        pytest.param(refitted(49, 800), 1_199, None, id="exponents were learned lately"),
        pytest.param(refitted(49, 800), 1_200, Plan("refit"), id="exponents again"),
        pytest.param(refitted(1, 1_400), 1_500, Plan("fine_tune"), id="exponents do not put off the vectors"),
        pytest.param(refitted(99, 800), 800, None, id="nothing since the exponents"),
        pytest.param(past(1, 500), 1_500, Plan("fine_tune"), id="events to fine-tune"),
        pytest.param(past(1, 500, retrain_seconds_ago=1_000), 501, Plan("retrain"), id="time to retrain"),
        pytest.param(past(1, 500), 10_500, Plan("retrain"), id="events to retrain"),
        pytest.param(past(99_999, 500), 500, None, id="an unchanged graph"),
        pytest.param(past(1, 500), 499, None, id="a stream begun anew, with few"),
        pytest.param(past(1, 5_000), 1_000, Plan("fine_tune"), id="a stream begun anew, with many"),
    ],
)
def test_a_training_is_due(before: PastTrainings, num_events: int, plan: Plan | None) -> None:
    assert decide(SETTINGS, NOW_MS, num_events, before) == plan


def test_a_schedule_that_is_switched_off_never_trains_again() -> None:
    off = TrainingSettings(
        retrain_every_s=None,
        retrain_after_events=None,
        fine_tune_every_s=None,
        fine_tune_after_events=None,
        refit_every_s=None,
        refit_after_events=None,
    )
    assert decide(off, NOW_MS, 10**9, past(10**6, 500)) is None


def test_a_request_wins_over_the_schedule_and_needs_no_change() -> None:
    assert decide(SETTINGS, NOW_MS, 500, past(1, 500), [request("a", "retrain")]) == Plan("retrain", "a")
    assert decide(SETTINGS, NOW_MS, 500, past(1, 500), [request("a")]) == Plan("fine_tune", "a")


def test_a_request_without_a_model_retrains() -> None:
    assert decide(SETTINGS, NOW_MS, 5, PastTrainings(), [request("a", "fine_tune")]) == Plan("retrain", "a")


def test_the_oldest_request_comes_first() -> None:
    requests = [request("b", created_ms=2), request("c", "retrain", created_ms=1), request("d", created_ms=3)]
    assert decide(SETTINGS, NOW_MS, 500, past(1, 500), requests) == Plan("retrain", "c")


def test_after_a_gap_that_is_too_wide_the_next_training_is_a_full_one() -> None:
    behind = dataclasses.replace(past(100, 500, retrain_seconds_ago=200), fine_tune_gap=0.021)
    assert decide(SETTINGS, NOW_MS, 501, behind) == Plan("retrain")
    assert decide(SETTINGS, NOW_MS, 501, behind, [request("a")]) == Plan("retrain", "a")
    assert decide(SETTINGS, NOW_MS, 501, behind, [request("a", "fine_tune")]) == Plan("fine_tune", "a")
    assert decide(SETTINGS, NOW_MS, 501, dataclasses.replace(behind, fine_tune_gap=0.02)) == Plan("fine_tune")


def test_the_gap_is_that_of_the_latest_training_of_vectors() -> None:
    def made(created_ms: int, training: str, **gate: float) -> ModelManifest:
        return ModelManifest("", created_ms, training, parts={}, settings={}, graph_cut={}, gate=gate)  # type: ignore[arg-type]

    retrained = made(1, "retrain", fine_tune_gap=0.5)
    assert PastTrainings.of([retrained, made(2, "refit"), made(3, "baseline")]).fine_tune_gap == 0.5
    assert PastTrainings.of([retrained, made(2, "retrain")]).fine_tune_gap == 0.0


@pytest.mark.fault("clock set back: trainings by the schedule")
def test_a_clock_that_was_set_back_by_a_year_does_not_hold_up_the_next_training() -> None:
    a_year_s = 365 * 86_400
    assert decide(SETTINGS, NOW_MS, 600, past(-a_year_s, 500)) == Plan("retrain")
    assert decide(SETTINGS, NOW_MS, 600, past(-10, 500)) is None, "clocks of two machines differ by seconds"
    made = ModelManifest("000001", NOW_MS + a_year_s * MS_PER_SECOND, "retrain", {}, {}, {"num_events": 500})
    later = dataclasses.replace(made, version="000002", created_ms=NOW_MS, graph_cut={"num_events": 600})
    assert PastTrainings.of([made, later]).latest == PastTraining(NOW_MS, 600)


def test_plan_refuses_an_unknown_mode():
    with pytest.raises(ValueError, match=r"no training mode 'again' \(choices: fine_tune, refit, retrain\)"):
        Plan("again")
