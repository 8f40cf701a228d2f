"""What the health of the stream says of it."""

import dataclasses
from typing import Any

import pytest

from springtide_services.stream.broker_errors import Problem
from springtide_services.stream.checkpointing import CheckpointCounts
from springtide_services.stream.current_problem import LastingProblem
from springtide_services.stream.ingest_status import IngestStatus

READING = IngestStatus(
    next_offsets={0: 5},
    lag_events=0,
    lag_age_s=0.1,
    silent_partitions=(),
    is_connected=True,
    problem=None,
    gaps=(),
    dead_letters={},
    num_letters_not_written=0,
    num_duplicates=0,
    num_changed_duplicates=0,
    num_applied=0,
    checkpoints=CheckpointCounts(),
    num_ignored=0,
    last_checkpoint_ms=None,
    failure=None,
)
AWAY = LastingProblem(Problem("unreachable", "no broker answers"), since_ms=0, is_final=False)


@pytest.mark.parametrize(
    ("changes", "has_caught_up", "health"),
    [
        ({}, True, "reading"),
        ({"lag_events": 100}, True, "reading"),
        ({"lag_events": 101}, True, "behind"),
        ({"lag_events": 101}, False, "catching_up"),
        ({"lag_events": -1, "lag_age_s": 4.0}, True, "reading"),
        ({"lag_events": -1, "lag_age_s": 31.0}, True, "silent"),
        ({"is_connected": False}, True, "waiting"),
        ({"problem": AWAY}, True, "waiting"),
        ({"problem": dataclasses.replace(AWAY, is_final=True)}, True, "ended"),
        ({"failure": ValueError("bad")}, True, "ended"),
    ],
)
def test_the_health_of_the_stream_is_what_it_does(changes: dict[str, Any], has_caught_up: bool, health: str) -> None:
    status = dataclasses.replace(READING, **changes)
    assert status.health(has_caught_up=has_caught_up, max_lag_events=100) == health


def test_any_lag_is_allowed_where_the_settings_say_so() -> None:
    status = dataclasses.replace(READING, lag_events=10**9)
    assert status.health(has_caught_up=True, max_lag_events=None) == "reading"
