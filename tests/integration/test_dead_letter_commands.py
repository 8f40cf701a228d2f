"""The `dead-letters` commands on a broker: counted by reason, shown, replayed once after a fix."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaProducer
from typer.testing import CliRunner

from springtide.clock import Deadline, wall_ms
from springtide.settings.model import EventSettings, KafkaSettings, Settings
from springtide.state import LiveState
from springtide.v1 import events_pb2
from springtide_services.cli.app import app
from springtide_services.stream.ingest import IngestLoop
from springtide_services.stream.topics import client_config


def purchase(user: str) -> bytes:
    event = events_pb2.Event(interaction={"user": user, "item": "bread", "type": "purchase"})
    event.event_time.FromMilliseconds(1_000)
    return event.SerializeToString()


@pytest.fixture
def kafka(fresh_kafka: Callable[..., KafkaSettings]) -> KafkaSettings:
    kafka = fresh_kafka(num_partitions=2)
    producer = KafkaProducer(**client_config(kafka))
    long = "x" * 300
    for number, (value, headers) in enumerate(
        [(purchase(long), [("trace", b"1")]), (b"\xff\xff", []), (purchase("ann"), []), (purchase(f"{long}y"), [])]
    ):
        producer.send(kafka.topic, value, b"key", headers, partition=number % 2, timestamp_ms=wall_ms() - 5_000)
    producer.flush()
    producer.close()
    return kafka


def read(kafka: KafkaSettings, events: EventSettings, num_records: int) -> LiveState:
    settings = Settings(kafka=kafka, events=events)
    state = LiveState(settings, {})
    loop = IngestLoop(settings, state, None)
    loop.start()
    deadline = Deadline.after(60)
    while sum(loop.status().next_offsets.values()) < num_records:
        assert not deadline.is_over()
    loop.stop()
    return state


def test_letters_are_listed_shown_and_replayed_once(kafka: KafkaSettings, tmp_path: Path) -> None:
    def run(*words: str) -> str:
        environment = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "SPRINGTIDE_KAFKA__TOPIC": kafka.topic,
            "SPRINGTIDE_KAFKA__DEAD_LETTER_TOPIC": kafka.dead_letter_topic,
            "COLUMNS": "200",
        }
        result = CliRunner().invoke(app, ["dead-letters", *words], env=environment, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    read(kafka, EventSettings(max_id_bytes=256), 4)

    assert re.search(r"id_too_long +2 +0 .*\n?undecodable +1 +0 ", run("list"))
    listed = run("list", "--reason", "id_too_long")
    place = next(line.split()[0] for line in listed.splitlines() if f"{kafka.topic} 0:0" in line)
    shown = run("show", place, "--output", str(tmp_path / "value"))
    assert "header trace" in shown
    assert (tmp_path / "value").read_bytes() == purchase("x" * 300)

    assert "published 1 events again" in run("replay", "--place", place, "--yes")
    told = run("replay", "--reason", "id_too_long", "--yes")
    assert "1 were replayed before" in told
    assert "published 1 events again" in told
    assert "nothing to replay" in run("replay", "--reason", "id_too_long", "--yes")
    assert re.search(r"id_too_long +2 +2 ", run("list"))

    state = read(kafka, EventSettings(max_id_bytes=512), 6)
    view = state.graph.view()
    assert len(view.edges(("user", "purchase", "item"))) == 5, "2 read with the new limit, ann, and 2 replayed"
    assert state.next_offsets == {0: 3, 1: 3}, "each in the partition that it was in"
