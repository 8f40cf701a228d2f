"""Publishing events: one by one, many in a stream, or columns as packed batches; all are acknowledged."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from kafka import KafkaProducer
from kafka.errors import KafkaError
from kafka.producer.future import FutureRecordMetadata

from springtide.errors import BrokerError
from springtide.events import Interactions
from springtide.events.kernels import hash_keys
from springtide.packed_texts import pack as pack_texts
from springtide.settings.model import KafkaSettings, Settings
from springtide.v1 import events_pb2
from springtide_services.stream.broker_errors import BrokerProblemError, Need, Problem, explain
from springtide_services.stream.topics import client_config, wait_for_broker, with_client_id

OnProgress = Callable[[int], None]
Send = Callable[[list[tuple[str, bytes]]], FutureRecordMetadata]
"""Sends a record with these headers."""
SendTraced = Callable[[Send], FutureRecordMetadata]

_ACK_TIMEOUT_S = 30.0
_GIVE_UP_TIMEOUT_S = 1.0  # For closing after an error.
_ROWS_PER_BATCH = 5_000  # About 80 KB; larger batches are not faster.
_MAX_IN_FLIGHT = 10_000  # Single events that wait for their acknowledgement at a time.


class EventPublisher:
    """Publishes events to the events topic as protobuf, keyed so that a user's events share a partition.

    Args:
        settings: The broker and the topic, which must exist.
        send_traced: Sends a record by the function that it gets, which takes headers; None for no traces. See
            ``tracing.records.TracedPublishing.send``.
        patience_s: How long a broker may take to acknowledge an event, in seconds, before it is given up; None for 30
            s, in which a late one may still be stored.

    Attributes:
        next_offsets: For each partition, the offset after the last record that was acknowledged.

    Raises:
        BrokerError: If no broker answers. Every method raises it if the broker does not take an event.
    """

    def __init__(
        self, settings: Settings, send_traced: SendTraced | None = None, patience_s: float | None = None
    ) -> None:
        kafka = with_client_id(settings.kafka, "publisher")
        wait_for_broker(kafka, patience_s or _ACK_TIMEOUT_S)
        self.next_offsets: dict[int, int] = {}
        self._send_traced = send_traced
        self._kafka = kafka
        self._topic = kafka.topic
        self._max_event_bytes = settings.events.max_event_bytes
        options = {"acks": "all", "linger_ms": 0, "compression_type": None, "max_block_ms": int(_ACK_TIMEOUT_S * 1_000)}
        if patience_s is not None:
            options |= _impatient(patience_s, kafka)
        self._ack_timeout_s = _ACK_TIMEOUT_S if patience_s is None else patience_s + _GIVE_UP_TIMEOUT_S
        try:
            self._producer = KafkaProducer(**{**options, **client_config(kafka, KafkaProducer)})
        except KafkaError as error:
            raise BrokerError(f"no producer for {kafka.bootstrap_servers}: {error}") from error

    def publish(self, event: events_pb2.Event) -> tuple[int, int]:
        """Publish an event, wait until the broker has it, and return its partition and offset."""
        return self._settled(self._send(event))

    def publish_together(
        self, events: Sequence[events_pb2.Event], send_traced: SendTraced | None = None
    ) -> dict[int, int]:
        """Publish events, wait until the broker has all, and return the offset after the last of each partition.

        Unlike the other methods it may be called from several threads at once.

        Args:
            events: The events.
            send_traced: In place of that of the constructor.
        """
        sent = [self._send(event, send_traced) for event in events]
        next_offsets: dict[int, int] = {}
        for acknowledgement in sent:
            partition, offset = _acknowledged(acknowledgement, self._kafka, self._ack_timeout_s)
            next_offsets[partition] = max(offset + 1, next_offsets.get(partition, 0))
        return next_offsets

    def publish_many(self, events: Iterable[events_pb2.Event], on_progress: OnProgress | None = None) -> Counter[str]:
        """Publish events in order, wait until the broker has all of them, and return their number by payload.

        Args:
            events: Read while they are sent, so they need not fit in memory.
            on_progress: Called from time to time with the number of events acknowledged since the last call; they are
                the next ones in order, also when an event fails.
        """
        counts: Counter[str] = Counter()
        in_flight: list[FutureRecordMetadata] = []
        try:
            for event in events:
                in_flight.append(self._send(event))
                counts[event.WhichOneof("payload") or "nothing"] += 1
                if len(in_flight) >= _MAX_IN_FLIGHT:
                    self._settle(in_flight, on_progress)
        finally:  # What was sent before an error is counted, too.
            self._settle(in_flight, on_progress)
        return counts

    def publish_interactions(
        self,
        interactions: Interactions,
        on_progress: OnProgress | None = None,
        rows_per_batch: int = _ROWS_PER_BATCH,
        event_ids: Sequence[str] | None = None,
    ) -> int:
        """Publish columns as packed batches, wait until the broker has all of them, and return the number of records.

        Args:
            interactions: The columns, with interaction types as ``relations``. The order is kept within each
                partition.
            on_progress: Called from time to time with the number of interactions acknowledged since the last call.
            rows_per_batch: Number of rows, over all partitions, that are sent and acknowledged before the next ones;
                the rows of one partition are one record.
            event_ids: Their ids, ``[n]``, each of which may be empty; None if none has one.

        Raises:
            ValueError: If the interactions have contexts, which packed batches cannot carry.
        """
        if interactions.contexts is not None:
            raise ValueError(
                "wanted interactions without contexts, which packed batches cannot carry: use publish_many"
            )
        partition_of_user = self._partitions_of(interactions.user_ids)
        num_records = 0
        for start in range(0, len(interactions), rows_per_batch):
            rows = np.arange(start, min(start + rows_per_batch, len(interactions)))
            partitions = partition_of_user[interactions.user_codes[rows]]
            sent = [
                self._send_packed(value, int(partition))
                for partition in np.unique(partitions)
                for value in self._pack(interactions, rows[partitions == partition], event_ids)
            ]
            num_records += len(sent)
            for acknowledgement in sent:
                self._settled(acknowledgement)
            if on_progress is not None:
                on_progress(len(rows))
        return num_records

    def close(self) -> None:
        """Close the connection; events that no broker has acknowledged by now are given up."""
        self._close(_ACK_TIMEOUT_S)

    def _close(self, timeout_s: float) -> None:
        try:
            self._producer.close(timeout=timeout_s)
        except KafkaError:
            # kafka-python closes only after a flush, which raises while a broker that is gone has events to take.
            self._producer._sender.force_close()
            with contextlib.suppress(KafkaError):
                self._producer.close(timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(_ACK_TIMEOUT_S if error is None else _GIVE_UP_TIMEOUT_S)

    def _send(self, event: events_pb2.Event, send_traced: SendTraced | None = None) -> FutureRecordMetadata:
        key = key_of(event)
        send_traced = send_traced or self._send_traced

        def send(headers: list[tuple[str, bytes]]) -> FutureRecordMetadata:
            return self._producer.send(self._topic, event.SerializeToString(), key.encode() if key else None, headers)

        try:
            return send([]) if send_traced is None else send_traced(send)
        except KafkaError as error:
            raise _not_taken(error, self._kafka) from error

    def _send_packed(self, value: bytes, partition: int) -> FutureRecordMetadata:
        try:
            return self._producer.send(self._topic, value=value, partition=partition)
        except KafkaError as error:
            raise _not_taken(error, self._kafka) from error

    def _settle(self, in_flight: list[FutureRecordMetadata], on_progress: OnProgress | None) -> None:
        num_acknowledged = 0
        try:
            for acknowledgement in in_flight:
                self._settled(acknowledgement)
                num_acknowledged += 1
        finally:
            in_flight.clear()  # After the first that failed, none is waited for.
            if on_progress is not None and num_acknowledged:
                on_progress(num_acknowledged)

    def _settled(self, acknowledgement: FutureRecordMetadata) -> tuple[int, int]:
        partition, offset = _acknowledged(acknowledgement, self._kafka, self._ack_timeout_s)
        self.next_offsets[partition] = offset + 1
        return partition, offset

    def _partitions_of(self, user_ids: Sequence[str]) -> npt.NDArray[np.int32]:
        """Return each user's partition, int32 ``[num_users]``, as Kafka's clients choose it from the key."""
        try:
            num_partitions = len(self._producer.partitions_for(self._topic))
        except KafkaError as error:
            raise _not_taken(error, self._kafka) from error
        hashes = np.empty(len(user_ids), np.uint32)
        hash_keys(*pack_texts(user_ids), hashes)
        return ((hashes & 0x7FFFFFFF) % num_partitions).astype(np.int32)

    def _pack(
        self, interactions: Interactions, rows: npt.NDArray[np.int64], event_ids: Sequence[str] | None
    ) -> Iterator[bytes]:
        """Yield the rows as serialized events: one, or several if one would be larger than ``max_event_bytes``."""
        value = events_pb2.Event(batch=pack(interactions, rows, event_ids)).SerializeToString()
        if len(value) <= self._max_event_bytes or len(rows) == 1:
            yield value
        else:
            half = len(rows) // 2
            yield from self._pack(interactions, rows[:half], event_ids)
            yield from self._pack(interactions, rows[half:], event_ids)


def key_of(event: events_pb2.Event) -> str:
    """Return the record key of an event: its user or node id; empty for a packed batch."""
    payload = event.WhichOneof("payload")
    if payload == "interaction":
        return event.interaction.user
    if payload == "node_upsert":
        return event.node_upsert.id
    if payload == "node_delete":
        return event.node_delete.id
    if payload == "relation":
        return event.relation.source_id
    return ""


def pack(
    interactions: Interactions, rows: npt.NDArray[Any], event_ids: Sequence[str] | None = None
) -> events_pb2.EventBatch:
    """Return rows of the columns as a packed batch.

    Args:
        interactions: ``relations`` holds interaction types.
        rows: int ``[num_rows]``, the rows to pack.
        event_ids: Ids of all interactions, each of which may be empty; None if none has one.
    """
    dictionary: list[str] = []

    def recode(names: Sequence[str], codes: npt.NDArray[Any]) -> list[int]:
        used, new_codes = np.unique(codes[rows], return_inverse=True)
        start = len(dictionary)
        dictionary.extend(names[code] for code in used.tolist())
        return (new_codes + start).tolist()  # type: ignore[no-any-return]  # numpy types tolist() as Any.

    users = recode(interactions.user_ids, interactions.user_codes)
    items = recode(interactions.item_ids, interactions.item_codes)
    types = recode(interactions.relations, interactions.relation_codes)
    values = interactions.values[rows]
    answers = interactions.recommendation_ids
    return events_pb2.EventBatch(
        dictionary=dictionary,
        users=users,
        items=items,
        types=types[:1] if len(set(types)) == 1 else types,
        event_times_ms=interactions.timestamps_ms[rows].tolist(),
        values=[] if np.isnan(values).all() else values.tolist(),
        event_ids=[] if event_ids is None else [event_ids[row] for row in rows.tolist()],
        recommendation_ids=[] if answers is None else [answers[row] for row in rows.tolist()],
    )


def _impatient(patience_s: float, kafka: KafkaSettings) -> dict[str, Any]:
    """Return options that give an event up in time: one that was given up is not sent later."""
    patience_ms = int(patience_s * 1_000)
    options = {"max_block_ms": patience_ms}
    if kafka.client_options.keys().isdisjoint(("delivery_timeout_ms", "request_timeout_ms")):
        options |= {"delivery_timeout_ms": patience_ms, "request_timeout_ms": patience_ms // 2}
    return options


def _acknowledged(future: FutureRecordMetadata, kafka: KafkaSettings, timeout_s: float) -> tuple[int, int]:
    try:
        written = future.get(timeout_s)
    except KafkaError as error:
        raise _not_taken(error, kafka) from error
    return written.partition, written.offset


def _not_taken(error: KafkaError, kafka: KafkaSettings) -> BrokerProblemError:
    problem = explain(error, kafka, Need("topic", kafka.topic, ("Write", "Describe")))
    return BrokerProblemError(Problem(problem.kind, f"an event was not taken: {problem.message}"))
