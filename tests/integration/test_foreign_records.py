"""Records as other tools write them, through a broker into the graph; and what cannot be read, in the dead letters."""

import json
from collections.abc import Callable

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from springtide.clock import Deadline
from springtide.plugins.loading import load_checked_plugins
from springtide.settings.model import KafkaSettings, Settings
from springtide.state import LiveState
from springtide.v1 import events_pb2
from springtide_services.stream.dead_letters import MESSAGE
from springtide_services.stream.ingest import IngestLoop
from springtide_services.stream.topics import client_config

AT_MS = 1_706_725_800_000
PURCHASES = ("user", "purchase", "item")
DECODERS = {
    "confluent": {},
    "cloudevents": {},
    "debezium": {
        "tables": {
            "orders": {"event": "interaction", "user": "customer", "item": "product", "type": "purchase"},
            "products": {"event": "node_upsert", "node_type": "item", "id": "id", "categories": ["brand"]},
        }
    },
}


def change(table: str, op: str, before: object, after: object) -> bytes:
    source = {"name": "shop", "db": "shop", "schema": "public", "table": table, "ts_ms": AT_MS, "lsn": 7}
    return json.dumps({"before": before, "after": after, "source": source, "op": op, "ts_ms": AT_MS}).encode()


def letters(kafka: KafkaSettings, count: int) -> list[str]:
    consumer = KafkaConsumer(**client_config(kafka), auto_offset_reset="earliest", enable_auto_commit=False)
    consumer.assign([TopicPartition(kafka.dead_letter_topic, 0)])
    found: list[str] = []
    deadline = Deadline.after(60.0)
    while len(found) < count and not deadline.is_over():
        for records in consumer.poll(100).values():
            found += [dict(record.headers)[MESSAGE].decode() for record in records]
    consumer.close()
    return found


def test_every_producer_reaches_the_graph(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    settings = Settings(kafka=fresh_kafka(num_partitions=1), events={"decoders": DECODERS})
    event = events_pb2.Event(interaction={"user": "plain", "item": "bread", "type": "purchase"})
    event.event_time.FromMilliseconds(AT_MS)

    def as_json(user: str) -> bytes:
        inner = {"user": user, "item": "bread", "type": "purchase"}
        return json.dumps({"interaction": inner, "eventTime": "2024-01-31T18:30:00Z"}).encode()

    about = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order"}
    structured = json.dumps({**about, "data": json.loads(as_json("structured"))}).encode()
    binary = [(f"ce_{name}", text.encode()) for name, text in about.items()]
    is_json = ("content-type", b"application/json")
    order = {"customer": 42, "product": "bread"}
    records: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]] = [
        (None, event.SerializeToString(), []),
        (None, as_json("json"), [is_json]),
        (None, b"\0\0\0\0\5\0" + event.SerializeToString().replace(b"plain", b"proto"), []),
        (None, b"\0\0\0\0\6" + as_json("schema"), []),
        (None, structured, [("content-type", b"application/cloudevents+json; charset=UTF-8")]),
        (None, as_json("binary"), [*binary, is_json]),
        (b'{"id":1}', change("orders", "c", None, order), []),
        (b'{"id":"milk"}', change("products", "r", None, {"id": "milk", "brand": "b"}), []),
        (b'{"id":"oats"}', change("products", "c", None, {"id": "oats", "brand": "b"}), []),
        (b'{"id":"milk"}', change("products", "d", {"id": "milk", "brand": "b"}, None), []),
        (b'{"id":"milk"}', None, []),
        (None, as_json("no header"), []),
        (None, change("baskets", "c", None, order), []),
        (None, b"\0\0\0\0\7\x02\x0c" + event.SerializeToString(), []),
    ]
    producer = KafkaProducer(**client_config(settings.kafka))
    for key, value, headers in records:
        producer.send(settings.kafka.topic, value, key, headers, partition=0)
    producer.close()

    state = LiveState(settings, {})
    plugins = load_checked_plugins(settings)
    loop = IngestLoop(settings, state, None, decoders=plugins.make_decoders(settings.events))
    loop.start()
    assert loop.wait_for({0: len(records)}, Deadline.after(60.0)), loop.status()
    refused, num_ignored = loop.status().dead_letters, loop.status().num_ignored
    loop.stop()

    view = state.graph.view()
    edges = view.edges(PURCHASES)
    users = view.nodes("user").ids.ids(edges.source)
    assert sorted(users) == sorted(["plain", "json", "proto", "schema", "structured", "binary", "42"])
    assert edges.timestamps_ms.tolist() == [AT_MS] * 7
    assert "oats" in state.graph.nodes("item").ids.all_ids()
    assert num_ignored == 1, "the tombstone"
    assert refused == {"undecodable": 3}
    no_header, other_table, other_message = letters(settings.kafka, 3)
    assert "send the header content-type: application/json" in no_header
    assert "table shop.public.baskets is not in tables" in other_table
    assert "wanted message [0] of the proto file" in other_message
