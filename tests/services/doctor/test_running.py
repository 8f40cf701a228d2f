"""What the doctor makes of a server's status."""

import socket

import pytest

from springtide.settings.model import ServerSettings, Settings
from springtide.v1 import admin_pb2 as pb
from springtide_services.doctor.running import port_findings, server_findings
from springtide_services.findings import Finding, Level

WELL = {"model_version": "000003", "stream_health": "reading"}


def not_ok(**status: object) -> list[Finding]:
    answer = pb.GetStatusResponse(**{**WELL, **status})
    return [finding for finding in server_findings(answer, Settings()) if finding.level is not Level.OK]


def test_server_that_is_well_has_no_other_findings() -> None:
    assert not_ok(resident_bytes=10**9, memory_limit_bytes=10**10) == []


@pytest.mark.parametrize(
    ("status", "subject", "level", "words"),
    [
        (
            {"stream_problem": pb.StreamProblem(kind="unreachable", message="no broker answers")},
            *("stream", Level.FAILURE, "no broker answers (unreachable); the server tries again"),
        ),
        (
            {"stream_problem": pb.StreamProblem(kind="offsets_lost", message="gone", is_final=True)},
            *("stream", Level.FAILURE, "ended until a restart"),
        ),
        ({"stream_health": "behind", "lag_events": 200_000}, "stream", Level.WARNING, "200,000 events behind"),
        ({"stream_health": "silent", "silent_partitions": [2]}, "stream", Level.WARNING, "silent partitions: 2"),
        ({"num_dead_letters": {"undecodable": 7}}, "dead letters", Level.WARNING, "7 undecodable"),
        ({"model_version": ""}, "model", Level.WARNING, "none serves"),
        (
            {"bypassed_model": pb.BypassedModel(version="000009", fault="vectors: missing", instead="000008")},
            *("model", Level.FAILURE, "000009 is current and cannot be loaded: vectors: missing; 000008 serves"),
        ),
        ({"training": pb.TrainingStatus(failure="out of memory")}, "training", Level.WARNING, "out of memory"),
        ({"rebuild_reasons": ["Interactions of type `view` lack."]}, "graph", Level.WARNING, "`view`"),
        ({"steering": pb.SteeringStatus(fault="line 3")}, "rules", Level.WARNING, "line 3"),
        (
            {"failing_parts": [pb.FailingPart(part="context weight 'w'", hook="lifts", num_failed=4, is_blocked=True)]},
            *("plugins", Level.WARNING, "does not return now"),
        ),
        ({"resident_bytes": 85, "memory_limit_bytes": 100}, "memory", Level.WARNING, "the system ends it"),
        ({"resident_bytes": 97, "memory_limit_bytes": 100}, "memory", Level.FAILURE, "the system ends it"),
    ],
)
def test_fault_is_named_with_its_weight(status: dict[str, object], subject: str, level: Level, words: str) -> None:
    (finding,) = not_ok(**status)
    assert (finding.subject, finding.level) == (subject, level)
    assert words in finding.message


def test_port_that_another_process_has_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(server=ServerSettings(port=port, admin_port=0))
        found = [finding for finding in port_findings(settings) if "server.port" in finding.message]
    assert [finding.level for finding in found] == [Level.WARNING]
