import json
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition

from springtide.evaluation.data.datasets import fetch
from springtide.settings.model import KafkaSettings, Settings
from springtide.v1 import events_pb2 as pb
from springtide_services.cli.publish import publish_file
from springtide_services.stream.dataset_events import interaction_events, upsert_events
from springtide_services.stream.event_files import EventFileError


def published(kafka: KafkaSettings, count: int) -> list[pb.Event]:
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, enable_auto_commit=False)
    try:
        partitions = [TopicPartition(kafka.topic, number) for number in range(kafka.num_partitions)]
        consumer.assign(partitions)
        consumer.seek_to_beginning()
        events: list[pb.Event] = []
        while len(events) < count:
            for records in consumer.poll(timeout_ms=500).values():
                events += [pb.Event.FromString(record.value) for record in records]
        return events
    finally:
        consumer.close()


def test_events_of_a_file_reach_the_topic(
    fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kafka = fresh_kafka()
    path = tmp_path / "events.jsonl"
    lines = [
        {"eventTime": "2017-07-02T12:53:20Z", "interaction": {"user": f"u{n}", "item": "i", "type": "purchase"}}
        for n in range(3)
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines))

    publish_file(Settings(kafka=kafka), path)

    assert sorted(event.interaction.user for event in published(kafka, 3)) == ["u0", "u1", "u2"]
    assert f"published 3 events to {kafka.topic}: 3 interaction" in capsys.readouterr().out


def test_missing_file_is_refused_before_a_broker_is_asked(tmp_path: Path) -> None:
    settings = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"))

    with pytest.raises(EventFileError, match="no such file"):
        publish_file(settings, tmp_path / "none.csv")


def test_data_set_as_events_keeps_what_it_says() -> None:
    films = fetch("movielens-100k")

    first = next(interaction_events(films.interactions))
    node = next(upsert_events(films.upserts))

    assert first.interaction == pb.Interaction(user="259", item="255", type="rating", value=4.0)
    assert first.event_time.ToMilliseconds() == films.interactions.timestamps_ms[0]
    assert list(node.node_upsert.categories["genre"].values) == ["Animation", "Children's", "Comedy"]
    assert node.node_upsert.texts["title"] == "Toy Story (1995)"
    assert node.node_upsert.numbers["year"] == 1995.0
