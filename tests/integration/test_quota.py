"""A broker that throttles our reading: the status says how far behind we are, and nothing is lost."""

import time
from collections.abc import Callable

import pytest
from kafka import KafkaProducer

from springtide.clock import Deadline
from springtide.settings.model import KafkaSettings, Settings
from springtide.state import LiveState
from springtide.v1 import events_pb2
from springtide_services.stream.ingest import IngestLoop
from springtide_services.stream.topics import client_config

RATE = 100_000  # Bytes a second.
NUM_EVENTS, PADDING = 500, 2_000  # 1 MB: 10 s at this rate, and less than one without a limit.


def event(number: int) -> bytes:
    event = events_pb2.Event(interaction={"user": f"u{number}", "item": "bread", "type": "purchase"})
    event.interaction.context["note"] = "x" * PADDING
    event.event_time.FromMilliseconds(1_000 + number)
    return event.SerializeToString()


@pytest.mark.kafka
def test_reading_within_a_byte_quota_loses_nothing_and_says_how_far_behind_it_is(
    fresh_kafka: Callable[..., KafkaSettings], run_kafka_command: Callable[[str], None]
) -> None:
    kafka = fresh_kafka(num_partitions=2)
    client_id = f"quota-{kafka.topic}"
    limited = kafka.model_copy(update={"client_options": {"client_id": client_id, "max_partition_fetch_bytes": 65_536}})
    producer = KafkaProducer(**client_config(kafka))
    for number in range(NUM_EVENTS):
        producer.send(kafka.topic, event(number), partition=number % 2)
    producer.close()
    alter = f"kafka-configs --bootstrap-server {kafka.bootstrap_servers} --alter --entity-type clients "
    alter += f"--entity-name {client_id} "
    run_kafka_command(f"{alter} --add-config consumer_byte_rate={RATE}")
    try:
        settings = Settings(kafka=limited)
        state = LiveState(settings, {})
        loop = IngestLoop(settings, state, None)
        start_s = time.monotonic()
        loop.start()
        deadline, lags, problems = Deadline.after(90.0), [], []
        while state.num_events < NUM_EVENTS:
            assert not deadline.is_over(), loop.status()
            status = loop.status()
            lags.append(status.lag_events)
            problems.append(status.problem)
            time.sleep(0.1)
        took_s = time.monotonic() - start_s
        loop.wait_for({0: NUM_EVENTS // 2, 1: NUM_EVENTS // 2}, Deadline.after(60.0))
        time.sleep(1.0)  # What was read twice would come now.
        loop.stop()
    finally:
        run_kafka_command(f"{alter} --delete-config consumer_byte_rate")
    assert took_s > 5.0, f"{took_s} s: the quota does not hold"
    known = [lag for lag in lags if lag >= 0]
    assert any(0 < lag < NUM_EVENTS for lag in known), lags
    assert known == sorted(known, reverse=True), "the lag only falls"
    assert len(known) > len(lags) / 2, f"known most of the time: {lags}"
    assert not any(problems), "a quota is no problem"
    assert state.num_events == NUM_EVENTS, "and none was read twice"
    assert state.next_offsets == {0: NUM_EVENTS // 2, 1: NUM_EVENTS // 2}
    assert len(state.graph.nodes("user").ids.all_ids()) == NUM_EVENTS
