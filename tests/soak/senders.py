"""What is sent during the soak: single events, packed batches in every codec, and transactions."""

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import confluent_kafka
from kafka import KafkaProducer
from kafka.codec import has_lz4, has_snappy, has_zstd
from kafka.errors import KafkaError
from kafka.producer.future import FutureRecordMetadata

from springtide.clock import MS_PER_DAY, wall_ms
from springtide.settings.model import KafkaSettings
from springtide.v1 import events_pb2
from springtide_services.stream.topics import client_config

CODECS: tuple[str | None, ...] = (
    None,
    "gzip",
    *(codec for codec, is_there in (("lz4", has_lz4), ("snappy", has_snappy), ("zstd", has_zstd)) if is_there()),
)
_NUM_USERS = 400
_NUM_ITEMS = 150
_ACK_TIMEOUT_S = 150.0
_TRANSACTION_CALL_S = 15.0  # For one call of a transactional producer.
_EVERY_REFUSED = 97  # One single event in so many is not an event, and must become a dead letter.
_EVERY_UPSERT = 53


@dataclass
class Sent:
    """What was sent, and what came of it; each sender has its own.

    Attributes:
        acknowledged: Partition and offset of each record that Kafka took, and that was not in an aborted transaction.
        aborted: Partition and offset of each record in a transaction that was aborted.
        counts: How often each thing was done.
    """

    acknowledged: set[tuple[int, int]] = field(default_factory=set)
    aborted: set[tuple[int, int]] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)


class EventMaker:
    """Makes events whose times are all different, so that each can be found again in the graph.

    Args:
        sender: Number of the sender, 0 to 9; two senders never make the same time.
        seed: Seed of users, items and values.
    """

    def __init__(self, sender: int, seed: int) -> None:
        self._random = random.Random(f"{seed}/{sender}")
        start_ms = (wall_ms() // 100_000 * 100_000) - 20 * MS_PER_DAY  # The same for all senders.
        self._times_ms = iter(range(start_ms + sender, wall_ms(), 10))
        self._num_nodes = 0
        self._sender = sender

    def interaction(self) -> events_pb2.Event:
        event = events_pb2.Event(
            interaction={"user": self._user(), "item": self._item(), "type": "purchase"},
        )
        event.event_time.FromMilliseconds(next(self._times_ms))
        return event

    def upsert(self) -> events_pb2.Event:
        """Make the upsert of a new node: the order of two upserts of one node is not kept across partitions."""
        self._num_nodes += 1
        node = events_pb2.NodeUpsert(type="item", id=f"new-{self._sender}-{self._num_nodes}")
        node.numbers["price"] = float(self._num_nodes)
        event = events_pb2.Event(node_upsert=node)
        event.event_time.FromMilliseconds(next(self._times_ms))
        return event

    def batch(self) -> events_pb2.Event:
        num_rows = self._random.randint(5, 200)
        names = [self._user() for _ in range(num_rows)] + [self._item() for _ in range(num_rows)] + ["purchase"]
        return events_pb2.Event(
            batch=events_pb2.EventBatch(
                dictionary=names,
                users=range(num_rows),
                items=range(num_rows, 2 * num_rows),
                types=[2 * num_rows],
                event_times_ms=[next(self._times_ms) for _ in range(num_rows)],
            )
        )

    def choose(self, most: int) -> int:
        return self._random.randint(1, most)

    def chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def _user(self) -> str:
        return f"u{self._random.randrange(_NUM_USERS)}"

    def _item(self) -> str:
        return f"i{min(self._random.randrange(_NUM_ITEMS), self._random.randrange(_NUM_ITEMS))}"


class Sender(threading.Thread):
    """Sends in a thread of its own until it is stopped, or has sent enough.

    Args:
        what: Name of what it sends: a function of this module.
        send: Sends until ``stopping`` is set.
    """

    def __init__(self, what: str, send: Callable[[threading.Event, Sent], None]) -> None:
        super().__init__(name=what, daemon=True)
        self.sent = Sent()
        self.failure: BaseException | None = None
        self._send = send
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        try:
            self._send(self._stopping, self.sent)
        except BaseException as error:
            self.failure = error


def singles(kafka: KafkaSettings, seed: int, per_s: float, most: int) -> Sender:
    """Send events one by one, each as a record and a batch of its own."""

    def send(stopping: threading.Event, sent: Sent) -> None:
        maker = EventMaker(0, seed)
        with _producer(kafka, linger_ms=0) as producer:
            futures: list[FutureRecordMetadata] = []
            for number in _paced(stopping, per_s, most):
                if number % _EVERY_REFUSED == 0:
                    value, key, what = b"not an event %d" % number, b"x%d" % number, "refused events"
                elif number % _EVERY_UPSERT == 0:
                    event = maker.upsert()
                    value, key, what = event.SerializeToString(), event.node_upsert.id.encode(), "upserts"
                else:
                    event = maker.interaction()
                    value, key, what = event.SerializeToString(), event.interaction.user.encode(), "single events"
                futures.append(producer.send(kafka.topic, value, key))
                sent.counts[what] += 1
            _settle(futures, sent)

    return Sender("singles", send)


def batches(kafka: KafkaSettings, seed: int, per_s: float, number: int, codec: str | None) -> Sender:
    """Send packed batches, several in a compressed batch of records."""

    def send(stopping: threading.Event, sent: Sent) -> None:
        maker = EventMaker(1 + number, seed)
        with _producer(kafka, linger_ms=100, compression_type=codec) as producer:
            futures = []
            for _ in _paced(stopping, per_s):
                futures.append(producer.send(kafka.topic, maker.batch().SerializeToString()))
                sent.counts[f"packed batches, {codec or 'plain'}"] += 1
            _settle(futures, sent)

    return Sender(f"batches-{codec or 'plain'}", send)


def transactions(kafka: KafkaSettings, seed: int, per_s: float) -> Sender:
    """Begin transactions, and commit or abort them; some stay open for a while.

    librdkafka sends them, since every call of its producer takes a time limit: the ``commit_transaction`` of
    kafka-python 3.0 waits without one, and was seen to wait for ever after a coordinator was killed.
    """

    def send(stopping: threading.Event, sent: Sent) -> None:
        maker = EventMaker(9, seed)
        paces = _paced(stopping, per_s)
        while not stopping.is_set():
            # A new producer of the same id ends what the former left open.
            with contextlib.suppress(confluent_kafka.KafkaException):
                producer = _transactional(kafka)
                for _ in paces:
                    _transact(producer, kafka.topic, maker, sent, stopping)
            sent.counts["transactional producers"] += 1
        for _ in range(10):
            with contextlib.suppress(confluent_kafka.KafkaException):
                _transactional(kafka)
                return
        raise TimeoutError("the last transaction could not be ended: no producer could be made")

    return Sender("transactions", send)


def _transact(
    producer: confluent_kafka.Producer, topic: str, maker: EventMaker, sent: Sent, stopping: threading.Event
) -> None:
    places: set[tuple[int, int]] = set()

    def note(error: confluent_kafka.KafkaError | None, message: confluent_kafka.Message) -> None:
        partition, offset = message.partition(), message.offset()
        if error is None and partition is not None and offset is not None:
            places.add((partition, offset))

    producer.begin_transaction()
    num_events = maker.choose(20)
    for _ in range(num_events):
        event = maker.interaction()
        producer.produce(topic, event.SerializeToString(), event.interaction.user.encode(), on_delivery=note)
    producer.flush(_TRANSACTION_CALL_S)
    if maker.chance(0.1):
        sent.counts["transactions left open for a while"] += 1
        stopping.wait(2.0)
    if maker.chance(0.4) or len(places) < num_events:
        producer.abort_transaction(_TRANSACTION_CALL_S)
        sent.aborted |= places
        sent.counts["transactions aborted"] += 1
    else:
        try:
            producer.commit_transaction(_TRANSACTION_CALL_S)
        except confluent_kafka.KafkaException:
            sent.counts["transactions of unknown end"] += 1
            raise
        sent.acknowledged |= places
        sent.counts["transactions committed"] += 1


def _transactional(kafka: KafkaSettings) -> confluent_kafka.Producer:
    """Make a producer that may begin transactions; it ends the open transaction of the one before it.

    Raises:
        confluent_kafka.KafkaException: If the brokers do not answer in time.
    """
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "transactional.id": f"{kafka.topic}-tx",
            "transaction.timeout.ms": 10_000,
            "message.timeout.ms": 10_000,
            "log_level": 0,
        }
    )
    producer.init_transactions(_TRANSACTION_CALL_S)
    return producer


@contextlib.contextmanager
def _producer(kafka: KafkaSettings, **options: object) -> Iterator[KafkaProducer]:
    producer = KafkaProducer(
        **client_config(kafka), acks="all", delivery_timeout_ms=120_000, max_block_ms=60_000, **options
    )
    try:
        yield producer
    finally:
        producer.close(timeout=10.0)


def _paced(stopping: threading.Event, per_s: float, most: int = 2**62) -> Iterator[int]:
    """Count up from 1, so many times a second, until stopped."""
    start_s = time.monotonic()
    for number in range(1, most + 1):
        if stopping.is_set():
            return
        yield number
        ahead_s = start_s + number / per_s - time.monotonic()
        if ahead_s > 0:
            stopping.wait(ahead_s)


def _settle(futures: list[FutureRecordMetadata], sent: Sent) -> None:
    for future in futures:
        try:
            written = future.get(_ACK_TIMEOUT_S)
        except KafkaError as error:
            sent.counts[f"records not acknowledged ({type(error).__name__})"] += 1
            continue
        sent.acknowledged.add((written.partition, written.offset))
