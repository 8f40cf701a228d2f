"""What a trainer counts of its trainings."""

from springtide_services.training.measuring import TrainerCounts


def values_of(counts: TrainerCounts) -> dict[str, float]:
    return {"|".join((sample.name, *sample.labels)): sample.value for sample in counts.samples()}  # type: ignore[misc]


def test_trainings_count_by_how_they_ended() -> None:
    counts = TrainerCounts()
    for outcome in ("failed", "failed", "published", "failed", "refused", "failed"):
        counts.begin()
        assert values_of(counts)["springtide_trainer_running"] == 1
        counts.end("retrain", outcome)  # type: ignore[arg-type]
    counts.begin()
    counts.end("retrain", None)
    values = values_of(counts)
    name = "springtide_trainer_trainings_total|retrain"
    assert [values[f"{name}|{each}"] for each in ("published", "refused", "failed")] == [1, 1, 4]
    assert values["springtide_trainer_failures_in_a_row"] == 1
    assert values["springtide_trainer_running"] == 0
    assert "springtide_trainer_begun_timestamp_seconds" not in values
    assert values["springtide_trainer_published_timestamp_seconds"] > 1.6e9
