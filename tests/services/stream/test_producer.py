"""Events arrive under the key of their user, and packed columns arrive as the columns they were."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from kafka import KafkaConsumer, TopicPartition

from springtide.errors import BrokerError
from springtide.events import Interactions, RawEvent
from springtide.events.decoding import Decoder
from springtide.settings.model import EventSettings, KafkaSettings, Settings
from springtide.v1 import events_pb2
from springtide_services.stream.producer import EventPublisher, key_of, pack
from springtide_services.stream.topics import client_config

NOW_MS = 1_700_000_000_000


def _interaction(user: str) -> events_pb2.Event:
    event = events_pb2.Event(interaction={"user": user, "item": "bread", "type": "purchase"})
    event.event_time.FromMilliseconds(NOW_MS)
    return event


def _columns(num_rows: int, num_users: int = 7) -> Interactions:
    rows = np.arange(num_rows)
    return Interactions(
        user_ids=[f"user-{number}" for number in range(num_users)],
        user_codes=(rows % num_users).astype(np.int32),
        item_ids=[f"item-{number}" for number in range(num_rows)],
        item_codes=rows[::-1].astype(np.int32),
        relations=("purchase", "click"),
        relation_codes=(rows % 2).astype(np.int16),
        timestamps_ms=NOW_MS + rows,
        values=np.where(rows % 3 == 0, np.nan, rows).astype(np.float32),
    )


def _read(kafka: KafkaSettings, num_records: int) -> list[RawEvent]:
    consumer = KafkaConsumer(**client_config(kafka), auto_offset_reset="none", enable_auto_commit=False)
    partitions = [TopicPartition(kafka.topic, number) for number in range(kafka.num_partitions)]
    consumer.assign(partitions)
    for partition in partitions:
        consumer.seek(partition, 0)
    records: list[RawEvent] = []
    for _ in range(50):
        for polled in consumer.poll(200).values():
            records += [
                RawEvent(r.value, r.key, r.headers, r.topic, r.partition, r.offset, r.timestamp) for r in polled
            ]
        if len(records) >= num_records:
            break
    consumer.close()
    return records


def _rows(interactions: Interactions) -> list[tuple[str, str, str, int, float]]:
    return sorted(
        (
            interactions.user_ids[interactions.user_codes[row]],
            interactions.item_ids[interactions.item_codes[row]],
            interactions.relations[interactions.relation_codes[row]],
            int(interactions.timestamps_ms[row]),
            float(np.nan_to_num(interactions.values[row], nan=-1.0)),
        )
        for row in range(len(interactions))
    )


def test_publish_gives_the_place_of_the_event(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    kafka = fresh_kafka(num_partitions=3)
    with EventPublisher(Settings(kafka=kafka)) as publisher:
        first = publisher.publish(_interaction("ann"))
        second = publisher.publish(_interaction("ann"))
    assert second == (first[0], first[1] + 1), "a user's events share a partition"
    records = _read(kafka, 2)
    assert [(record.partition, record.offset, record.key) for record in records] == [
        (*first, b"ann"),
        (*second, b"ann"),
    ]


def test_publish_many_counts_by_payload(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    kafka = fresh_kafka()
    upsert = events_pb2.Event(node_upsert={"type": "item", "id": "bread"})
    progress: list[int] = []
    with EventPublisher(Settings(kafka=kafka)) as publisher:
        counts = publisher.publish_many([upsert, *map(_interaction, "abc")], progress.append)
    assert counts == {"node_upsert": 1, "interaction": 3}
    assert sum(progress) == 4
    assert sorted(record.key or b"" for record in _read(kafka, 4)) == [b"a", b"b", b"bread", b"c"]


def test_packed_columns_arrive_as_they_were_beside_single_events(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    kafka = fresh_kafka(num_partitions=3)
    columns = _columns(100)
    with EventPublisher(Settings(kafka=kafka)) as publisher:
        place_of = {user: publisher.publish(_interaction(user))[0] for user in columns.user_ids}
        num_records = publisher.publish_interactions(columns, rows_per_batch=40)
    records = _read(kafka, num_records + len(place_of))
    decoder = Decoder(Settings().interaction_rules(), EventSettings())
    got = []
    for record in records:
        (batch,), refusals = decoder.decode([record], NOW_MS)
        assert refusals == []
        assert {place_of[user] for user in batch.interactions.user_ids} == {record.partition}
        if record.key is None:
            got += _rows(batch.interactions)
    assert sorted(got) == _rows(columns)


def test_batch_too_large_is_halved(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    settings = Settings(kafka=fresh_kafka(num_partitions=1), events=EventSettings(max_event_bytes=1_000))
    with EventPublisher(settings) as publisher:
        assert publisher.publish_interactions(_columns(100)) > 1
    records = _read(settings.kafka, 4)
    assert max(len(record.value or b"") for record in records) <= 1_000


def test_pack_writes_one_type_and_no_values_where_it_can() -> None:
    columns = _columns(10)
    packed = pack(columns, np.array([0, 6]))
    assert list(packed.types) == [packed.types[0]]
    assert packed.dictionary[packed.types[0]] == "purchase"
    assert list(packed.values) == []
    assert sorted(packed.dictionary) == ["item-3", "item-9", "purchase", "user-0", "user-6"]


def test_pack_says_of_which_answers_events_came() -> None:
    columns = replace(_columns(3), recommendation_ids=["r1", "", "r2"])
    assert list(pack(columns, np.array([0, 2])).recommendation_ids) == ["r1", "r2"]
    assert list(pack(_columns(3), np.array([0, 2])).recommendation_ids) == []


def test_interactions_with_contexts_cannot_be_packed(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    columns = _columns(1)
    with_context = Interactions(
        columns.user_ids,
        columns.user_codes,
        columns.item_ids,
        columns.item_codes,
        columns.relations,
        columns.relation_codes,
        columns.timestamps_ms,
        columns.values,
        [{"place": "7"}],
    )
    with EventPublisher(Settings(kafka=fresh_kafka())) as publisher, pytest.raises(ValueError, match="contexts"):
        publisher.publish_interactions(with_context)


def test_event_too_large_for_the_client_is_a_broker_error(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    event = _interaction("ann")
    event.interaction.context["x"] = "x" * 2_000_000
    with EventPublisher(Settings(kafka=fresh_kafka())) as publisher, pytest.raises(BrokerError, match="not taken"):
        publisher.publish(event)


@pytest.mark.parametrize(
    ("event", "key"),
    [
        (events_pb2.Event(interaction={"user": "ann"}), "ann"),
        (events_pb2.Event(node_upsert={"id": "bread"}), "bread"),
        (events_pb2.Event(node_delete={"id": "bob"}), "bob"),
        (events_pb2.Event(relation={"source_id": "bread", "target_id": "1"}), "bread"),
        (events_pb2.Event(batch={}), ""),
    ],
)
def test_key_is_the_user_or_the_node(event: events_pb2.Event, key: str) -> None:
    assert key_of(event) == key
