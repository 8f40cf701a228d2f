"""From a broker's acknowledgement to an answer that holds the event; and what a server costs that nobody uses.

On the Kafka that KAFKA_BOOTSTRAP_SERVERS names, also with a thousand partitions. Without one, on the embedded broker.
The server has no model and few items: what is measured is the way through the stream, not the ranking. librdkafka
publishes, and its acknowledgement starts the clock. Beside it stands, without a server, when a bare poll loop of
kafka-python and of librdkafka has the record: no way through the stream is shorter.
"""

import contextlib
import os
import random
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import confluent_kafka
import grpc
from benches.figures import Figure, Limit, percentile
from benches.serving import child, wait_until_ready
from benches.sizes import Sizes
from google.protobuf.duration_pb2 import Duration
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from springtide.settings.model import CheckpointSettings, KafkaSettings, ModelSettings, ServerSettings, Settings
from springtide.v1 import events_pb2, recommender_pb2_grpc
from springtide.v1 import recommender_pb2 as pb
from springtide_services.local.broker import EmbeddedBroker
from springtide_services.stream.topics import client_config, ensure_topics

FEW, MANY = 4, 1_000  # Partitions.
_RATES = (0, 1_000)  # Events that another process publishes meanwhile, per second.
_NUM_USERS, NUM_ITEMS = 500, 200
_BARE_SHARE = 3  # A bare loop reads one in so many events: it varies less.
_BARE_BUDGET_S = 60.0

Place = tuple[int | None, int | None]  # Partition and offset.


def run(sizes: Sizes) -> list[Figure]:
    with brokers() as servers:
        figures = _measure(servers, FEW, sizes)
        return figures + (_measure(servers, MANY, sizes) if "KAFKA_BOOTSTRAP_SERVERS" in os.environ else [])


@contextlib.contextmanager
def brokers() -> Iterator[str]:
    """Yield the addresses of the Kafka that KAFKA_BOOTSTRAP_SERVERS names, or of an embedded broker."""
    if servers := os.environ.get("KAFKA_BOOTSTRAP_SERVERS", ""):
        yield servers
    else:
        with EmbeddedBroker() as broker:
            yield broker.bootstrap_servers


def _measure(servers: str, num_partitions: int, sizes: Sizes) -> list[Figure]:
    figures = []
    with (
        tempfile.TemporaryDirectory(prefix="springtide-bench-") as folder,
        topic(servers, num_partitions, folder) as settings,
    ):
        for per_s in _RATES:
            with published(settings, per_s, sizes):
                figures += _bare(settings, f"{num_partitions} partitions, {per_s:,} events/s", sizes)
    with (
        tempfile.TemporaryDirectory(prefix="springtide-bench-") as folder,
        topic(servers, num_partitions, folder) as settings,
        child("serve", settings.model_dump_json()) as server,
        grpc.insecure_channel(server.line) as channel,
    ):
        wait_until_ready(server.line)
        time.sleep(sizes.load_s)
        idle = [_busy_share(server.pid, sizes.load_s) for _ in range(sizes.repetitions)]
        figures.append(Figure(f"idle server, {num_partitions} partitions", "% of a core", idle))
        for per_s in _RATES:
            with published(settings, per_s, sizes):
                figures += _freshness(settings, channel, f"{num_partitions} partitions, {per_s:,} events/s", sizes)
    return figures


@contextlib.contextmanager
def published(settings: Settings, per_s: int, sizes: Sizes) -> Iterator[None]:
    """Publish so many events a second meanwhile, in another process."""
    publisher = child("publish", settings.model_dump_json(), str(per_s))
    with publisher if per_s else contextlib.nullcontext():
        time.sleep(sizes.load_s if per_s else 0.0)
        yield


@contextlib.contextmanager
def topic(servers: str, num_partitions: int, folder: str) -> Iterator[Settings]:
    """Yield settings for a new topic, which is deleted at the end."""
    kafka = KafkaSettings(
        bootstrap_servers=servers, num_partitions=num_partitions, topic=f"springtide.bench-{uuid.uuid4().hex[:12]}"
    )
    settings = Settings(
        kafka=kafka,
        checkpoint=CheckpointSettings(url=f"{folder}/checkpoints"),
        model=ModelSettings(url=f"{folder}/models"),
        server=ServerSettings(port=0),
    )
    ensure_topics(settings)
    try:
        yield settings
    finally:
        with KafkaAdminClient(**client_config(kafka)) as admin:
            admin.delete_topics([kafka.topic])


def _freshness(settings: Settings, channel: grpc.Channel, name: str, sizes: Sizes) -> list[Figure]:
    """Publish events one by one, and ask for an answer that holds each as soon as it is acknowledged."""
    recommend = recommender_pb2_grpc.RecommenderServiceStub(channel).Recommend
    chance = random.Random(3)
    producer = make_producer(settings.kafka)
    fresh_ms, plain_ms = [], []
    for number in range(sizes.freshness_events):
        time.sleep(chance.uniform(0.0, 0.02))  # At any moment between two fetches.
        event = random_event(chance)
        user = event.interaction.user
        partition, offset = publish(producer, settings.kafka.topic, event)
        acknowledged = time.perf_counter()
        answer = ask_for(recommend, user, partition, offset)
        answered = time.perf_counter()
        assert not answer.is_behind_min_position
        recommend(pb.RecommendRequest(user=user))
        if number > sizes.freshness_events // 10:  # The first ones warm caches up.
            fresh_ms.append(1_000 * (answered - acknowledged))
            plain_ms.append(1_000 * (time.perf_counter() - answered))
    plain = "an answer that waits for nothing"
    return [
        Figure(f"acknowledgement to answer, {name}", "ms", fresh_ms, Limit(plain, plain_ms)),
        Figure(
            f"the same, p99, {name}", "ms", [percentile(fresh_ms, 0.99)], Limit(plain, [percentile(plain_ms, 0.99)])
        ),
    ]


def ask_for(
    recommend: "grpc.UnaryUnaryMultiCallable[pb.RecommendRequest, pb.RecommendResponse]",
    user: str,
    partition: int,
    offset: int,
) -> pb.RecommendResponse:
    """Ask for an answer that holds the event of an offset."""
    position = pb.GraphPosition(next_offsets={partition: offset + 1})
    return recommend(pb.RecommendRequest(user=user, min_position=position, wait=Duration(seconds=5)))


def _bare(settings: Settings, name: str, sizes: Sizes) -> list[Figure]:
    """Publish events one by one, and poll for each as soon as it is acknowledged."""
    producer = make_producer(settings.kafka)
    figures = []
    for client, reading in (("kafka-python", _kafka_python), ("librdkafka", librdkafka_loop)):
        chance, read_ms = random.Random(4), []
        with reading(settings.kafka) as poll:
            for number in range(max(2, sizes.freshness_events // _BARE_SHARE)):
                time.sleep(chance.uniform(0.0, 0.02))
                poll(0.0)  # What others published; and kafka-python asks for the next records.
                place = publish(producer, settings.kafka.topic, random_event(chance))
                acknowledged = time.perf_counter()
                while place not in poll(1.0):
                    assert time.perf_counter() < acknowledged + _BARE_BUDGET_S, f"{client} did not read {place}"
                if number > sizes.freshness_events // _BARE_SHARE // 10:
                    read_ms.append(1_000 * (time.perf_counter() - acknowledged))
        what = f"acknowledgement to record, {client}'s bare loop, {name}"
        figures.append(Figure(what, "ms", read_ms))
        figures.append(Figure(f"the same, p99, {client}'s bare loop, {name}", "ms", [percentile(read_ms, 0.99)]))
    return figures


@contextlib.contextmanager
def _kafka_python(kafka: KafkaSettings) -> Iterator[Callable[[float], list[Place]]]:
    """Yield a function that polls the topic for at most so many seconds."""
    consumer = KafkaConsumer(
        **client_config(kafka), enable_auto_commit=False, auto_offset_reset="none", isolation_level="read_committed"
    )
    partitions = [TopicPartition(kafka.topic, number) for number in range(kafka.num_partitions)]
    consumer.assign(partitions)
    for partition in partitions:
        consumer.seek(partition, 0)

    def poll(at_most_s: float) -> list[Place]:
        polled = consumer.poll(int(1_000 * at_most_s))
        return [(record.partition, record.offset) for records in polled.values() for record in records]

    yield poll
    consumer.close()


@contextlib.contextmanager
def librdkafka_loop(kafka: KafkaSettings) -> Iterator[Callable[[float], list[Place]]]:
    """Yield a function that polls the topic for at most so many seconds."""
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": "bench",
            "enable.auto.commit": False,
            # The embedded broker waits the whole time, as in `stream.source`.
            "fetch.wait.max.ms": 500 if "KAFKA_BOOTSTRAP_SERVERS" in os.environ else 10,
        }
    )
    consumer.assign([confluent_kafka.TopicPartition(kafka.topic, number, 0) for number in range(kafka.num_partitions)])

    def poll(at_most_s: float) -> list[Place]:
        first = consumer.poll(at_most_s)
        messages = [] if first is None else [first, *consumer.consume(10_000, 0)]
        return [(message.partition(), message.offset()) for message in messages if not message.error()]

    yield poll
    consumer.close()


def make_producer(kafka: KafkaSettings, linger_ms: int = 0) -> confluent_kafka.Producer:
    """Return a producer of librdkafka: with 1,000 partitions that of kafka-python takes a core by itself."""
    return confluent_kafka.Producer(
        {"bootstrap.servers": kafka.bootstrap_servers, "acks": "all", "linger.ms": linger_ms}
    )


def publish(producer: confluent_kafka.Producer, topic: str, event: events_pb2.Event) -> tuple[int, int]:
    """Publish an event, and return its partition and offset once they are acknowledged."""
    places: list[tuple[int | None, int | None]] = []

    def note(error: confluent_kafka.KafkaError | None, message: confluent_kafka.Message) -> None:
        assert error is None, error
        places.append((message.partition(), message.offset()))

    producer.produce(topic, event.SerializeToString(), event.interaction.user.encode(), on_delivery=note)
    while not places:
        producer.poll(1.0)
    (partition, offset), *_ = places
    assert partition is not None
    assert offset is not None
    return partition, offset


def random_event(chance: random.Random) -> events_pb2.Event:
    """Return a purchase of now."""
    event = events_pb2.Event(
        interaction={
            "user": f"u{chance.randrange(_NUM_USERS)}",
            "item": f"i{chance.randrange(NUM_ITEMS)}",
            "type": "purchase",
        }
    )
    event.event_time.GetCurrentTime()
    return event


def _busy_share(pid: int, seconds: float) -> float:
    """Return the share of a core that a process takes over some seconds, in percent."""
    before_s, started = _cpu_s(pid), time.perf_counter()
    time.sleep(seconds)
    return 100 * (_cpu_s(pid) - before_s) / (time.perf_counter() - started)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
