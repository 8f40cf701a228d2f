"""A Kafka consumer for topics with many partitions, which also knows which brokers do not answer."""

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import CompletedFetch, Fetcher, FetchRequestData
from kafka.errors import CorruptRecordError, KafkaError, UnknownError, for_code
from kafka.protocol.consumer import FetchRequest

from springtide.clock import Deadline
from springtide_services.stream.network import make_client
from springtide_services.stream.record_batches import Damage, EventRecords

_SCAN_S = 10.0  # Between two looks at every partition while nothing changes: each takes 10 to 50 ms with 1,000.
_UNSETTLED_SCAN_S = 1.0  # The same after an error or a change of leaders: what is still open is tried again.
_UNSETTLED_S = 15.0
_NO_LEADER = -1
_CORRUPT, _UNKNOWN = CorruptRecordError.errno, UnknownError.errno
_NO_WHOLE_BATCH = "no complete records were found"  # kafka-python's message, of a KafkaError.
_FETCH_VERSION = 12  # The newest that kafka-python 3.0 reads.


class EventConsumer(KafkaConsumer):  # type: ignore[misc]  # kafka-python has no types.
    """A KafkaConsumer for many partitions that were assigned and sought.

    kafka-python 3.0 looks at every assigned partition several times in each ``poll``, and builds each fetch request
    from all of them: with 1,000 partitions 10 to 20 ms of CPU a turn. This class does so after an error and after new
    metadata, then once a second for a while, then every 10 s; the turns between look at what was fetched. ``poll``
    returns RawEvent instead of kafka-python's records.

    It overrides private methods of kafka-python, which is why that is pinned below 3.1. The tests marked ``kafka`` show
    that partitions may change their leaders, and that nothing is lost.
    """

    def __init__(self, **config: Any) -> None:
        super().__init__(**config, kafka_client=make_client, metrics_enabled=False)
        # A consumer makes its fetcher itself; there is no option for it.
        self._fetcher.__class__ = _SparingFetcher
        self._fetcher.prepare()
        self._next_scan = Deadline.after(0.0)
        self._settled = Deadline.after(_UNSETTLED_S)
        self._has_new_metadata = False
        self._cluster.add_listener(self._note_metadata)

    def is_connected(self) -> bool:
        """Return whether there is a connection to any broker."""
        return any(self._client.connected(broker.node_id) for broker in self._cluster.brokers())

    def take_fetched(self) -> set[TopicPartition]:
        """Return the partitions of which a response was read since the last call, with or without records."""
        fetched: set[TopicPartition] = self._fetcher.fetched
        self._fetcher.fetched = set()
        return fetched

    def take_damage(self) -> list[Damage]:
        """Return what could not be read since the last call; its partitions are paused."""
        damage: list[Damage] = self._fetcher.damage
        self._fetcher.damage = []
        return damage

    def next_offset(self, partition: TopicPartition) -> int:
        """Return ``position(partition)``, but without looking at the other partitions."""
        return int(self._subscription.assignment[partition].position.offset)

    def stable_end(self, partition: TopicPartition) -> int:
        """Return the offset up to which no transaction is open, as the last response said; 0 if none did."""
        return int(self._fetcher.stable_ends.get(partition, 0))

    def longest_silence_s(self) -> float:
        """Return for how long the slowest leader has not answered a fetch, in seconds; 0 if none owes an answer."""
        unanswered: dict[int, float] = self._fetcher.unanswered_since
        return max(0.0, time.monotonic() - min(list(unanswered.values()), default=time.monotonic()))

    def silent_partitions(self, longer_than_s: float) -> list[int]:
        """Return the partitions whose leader has not answered for longer than a time, or that have no leader."""
        unanswered: dict[int, float] = self._fetcher.unanswered_since
        before = time.monotonic() - longer_than_s
        silent = {node for node, since in list(unanswered.items()) if since < before}
        return sorted(
            partition.partition for partition in self.assignment() if _leader(self._cluster, partition) in silent
        )

    def _poll_once(self, timer: Any, max_records: int, update_offsets: bool = True) -> Mapping[TopicPartition, Any]:
        fetcher = self._fetcher
        if fetcher.has_failed or self._has_new_metadata:
            self._has_new_metadata = False
            self._settled = Deadline.after(_UNSETTLED_S)
            self._next_scan = Deadline.after(0.0)
        if self._next_scan.is_over() or self.config["group_id"] is not None:
            self._next_scan = Deadline.after(_SCAN_S if self._settled.is_over() else _UNSETTLED_SCAN_S)
            fetcher.look_at_leaders()
        else:
            records, is_idle = fetcher.fetch_records(
                max_records, update_offsets=update_offsets, timeout_ms=timer.timeout_ms
            )
            if records or not is_idle:
                return dict(records)
        return dict(super()._poll_once(timer, max_records, update_offsets))

    def _note_metadata(self, cluster: Any) -> None:
        """Note that partitions may have other leaders; called when the network runs."""
        self._has_new_metadata = True


class _SparingFetcher(Fetcher):  # type: ignore[misc]
    """A fetcher that asks no leader while all of them owe an answer, and for no more than has changed.

    Attributes:
        fetched: Partitions of which a response was read.
        damage: What could not be read.
        stable_ends: By partition, the offset up to which no transaction is open.
        has_failed: Whether a partition's response was an error: each partition is to be looked at.
        unanswered_since: By node, ``time.monotonic()`` when the first fetch was sent that it has not answered.
    """

    PartitionRecords = EventRecords

    def prepare(self) -> None:
        """Stand in for ``__init__``: the object was made as a Fetcher."""
        self.fetched: set[TopicPartition] = set()
        self.damage: list[Damage] = []
        self.stable_ends: dict[TopicPartition, int] = {}
        self.has_failed = False
        self.unanswered_since: dict[int, float] = {}
        self._leaders: frozenset[int] = frozenset()
        self._leadership: dict[TopicPartition, tuple[int, int | None]] = {}
        self._changed: set[TopicPartition] = set()  # Their offsets may differ from those in their fetch session.
        self._fetch_futures: deque[Any] = deque()
        self._asked: dict[int, dict[TopicPartition, int]] = {}  # Offsets, by node that was asked for all partitions.

    def look_at_leaders(self) -> None:
        """Read who leads the partitions now. After a change or an error, requests name all partitions once."""
        cluster = self._manager.cluster
        leadership = {
            partition: (_leader(cluster, partition), cluster.leader_epoch_for_partition(partition))
            for partition in self._subscriptions.assigned_partitions()
        }
        if self.has_failed or leadership != self._leadership:
            self.has_failed, self._leadership, self._asked = False, leadership, {}
        self._leaders = frozenset(leader for leader, _ in leadership.values())
        for node in [*self.unanswered_since]:
            if node not in self._leaders:
                self.unanswered_since.pop(node, None)
        if _NO_LEADER in self._leaders:
            self.unanswered_since.setdefault(_NO_LEADER, time.monotonic())

    def fetch_records(
        self, max_records: int | None = None, update_offsets: bool = True, timeout_ms: int | None = None
    ) -> tuple[dict[TopicPartition, Any], bool]:
        """Return records by partition, and whether there was nothing to wait for.

        It waits in the thread that calls, which runs the network meanwhile: always once, so that metadata come.
        """
        deadline = Deadline.after((timeout_ms or 0) / 1_000)
        has_waited = is_idle = False
        while True:
            records, is_partial = self.fetched_records(max_records, update_offsets=update_offsets)
            if records or (has_waited and deadline.is_over()):
                return dict(records), is_idle
            if not is_partial:
                self.send_fetches()
            is_idle = self._wait(deadline)
            has_waited = True

    def _wait(self, deadline: Deadline) -> bool:
        """Run the network until a response to a fetch has come, or an error, or the offset that was asked for.

        Returns:
            Whether none of these could come.
        """
        awaited = [each for each in (*self._fetch_futures, self._reset_task) if each is not None and not each.is_done]
        while True:
            self._net._poll_once(deadline.remaining_s())
            if self._completed_fetches or any(each.is_done for each in awaited) or deadline.is_over():
                return not awaited

    def send_fetches(self) -> list[Any]:
        if (
            self._leaders
            and self._leaders <= self._nodes_with_pending_fetch_requests
            and not self.config["client_rack"]
        ):
            return []
        futures = []
        for node, (request, offsets) in self._create_fetch_requests().items():
            self._nodes_with_pending_fetch_requests.add(node)
            future = self._manager.send(request, node_id=node)
            future.add_callback(self._handle_fetch_response, node, offsets, time.monotonic())
            future.add_errback(self._handle_fetch_error, node)
            future.add_both(self._clear_pending_fetch_request, node)
            futures.append(future)
        self._fetch_futures = deque(future for future in (*self._fetch_futures, *futures) if not future.is_done)
        return futures

    def _create_fetch_requests(self) -> dict[int, Any]:
        nodes = self._leaders - self._nodes_with_pending_fetch_requests
        # With a rack, a partition may be read from a follower, which each response may change.
        if all(self._has_session(node) for node in nodes) and not self.config["client_rack"]:
            requests = self._ask_for_changes(nodes)
        else:
            requests = super()._create_fetch_requests()
            for node, (_, offsets) in requests.items():
                self._asked[node] = offsets
                self._changed.difference_update(offsets)
            # A partition that cannot be asked for yet, such as one whose offset is checked with a new leader, would be
            # forgotten: nothing comes of it that says that it has changed.
            self._changed |= self._subscriptions.assigned_partitions() - set().union(*self._asked.values())
        now = time.monotonic()
        for node in requests:
            self.unanswered_since.setdefault(node, now)
        return requests

    def _has_session(self, node: int) -> bool:
        """Return whether the node knows, from earlier requests, what we want of each of its partitions."""
        handler = self._session_handlers.get(node)
        return node in self._asked and handler is not None and not handler.next_metadata.is_full

    def _ask_for_changes(self, nodes: frozenset[int]) -> dict[int, Any]:
        """Build requests that name only the partitions whose offsets have changed.

        As in kafka-python, a partition is not asked for while records of it wait to be polled. The caller waits, so
        nothing is polled meanwhile.
        """
        waiting = {fetch.topic_partition for fetch in self._completed_fetches.copy()}
        if self._next_partition_records:
            waiting.add(self._next_partition_records.topic_partition)
        cluster = self._manager.cluster
        changes: dict[int, tuple[dict[TopicPartition, Any], set[TopicPartition]]] = {
            node: ({}, set())
            for node in nodes
            if self._manager.connection_delay(node) == 0 and self._client.throttle_delay(node) == 0
        }
        for partition in self._changed | waiting:
            node = _leader(cluster, partition)
            if node not in changes:
                continue
            wanted, forgotten = changes[node]
            session = self._session_handlers[node].session_partitions
            state = self._subscriptions.assignment[partition]
            if partition in waiting or not state.is_fetchable():
                if session.pop(partition, None) is not None:
                    forgotten.add(partition)
                self._changed.add(partition)
                continue
            epoch = cluster.leader_epoch_for_partition(partition)
            info = FetchRequest.FetchTopic.FetchPartition(
                partition=partition.partition,
                current_leader_epoch=-1 if epoch is None else epoch,
                fetch_offset=state.position.offset,
                last_fetched_epoch=state.position.leader_epoch,
                partition_max_bytes=self.config["max_partition_fetch_bytes"],
            )
            if session.get(partition) != info:
                session[partition] = wanted[partition] = info
                self._asked[node][partition] = state.position.offset
            self._changed.discard(partition)
        # Kafka answers at once if nothing is asked for, as when all partitions of a leader are paused.
        return {
            node: self._make_request(node, *change)
            for node, change in changes.items()
            if self._session_handlers[node].session_partitions or change[1]
        }

    def _make_request(
        self, node: int, wanted: dict[TopicPartition, Any], forgotten: set[TopicPartition]
    ) -> tuple[Any, dict[TopicPartition, int]]:
        session = FetchRequestData(wanted, forgotten, self._session_handlers[node].next_metadata)
        request = FetchRequest(
            max_wait_ms=self.config["fetch_max_wait_ms"],
            min_bytes=self.config["fetch_min_bytes"],
            max_bytes=self.config["fetch_max_bytes"],
            isolation_level=self._isolation_level,
            session_id=session.id,
            session_epoch=session.epoch,
            topics=session.to_send,
            forgotten_topics_data=session.to_forget,
            rack_id=self.config["client_rack"],
            min_version=FetchRequest.min_version_for_isolation_level(self._isolation_level),
            max_version=_FETCH_VERSION,
        )
        return request, self._asked[node]

    def _handle_fetch_response(self, node_id: int, fetch_offsets: Any, send_time: float, response: Any) -> None:
        self.unanswered_since.pop(node_id, None)
        handler = self._session_handlers.get(node_id)
        fetched = [
            CompletedFetch(TopicPartition(of_topic.topic, data.partition_index), None, response.API_VERSION, data, None)
            for of_topic in response.responses
            for data in of_topic.partitions
        ]
        if (
            handler is None
            or handler.next_metadata.is_full
            or response.error_code
            or response.session_id != handler.next_metadata.session_id
            or any(each.topic_partition not in handler.session_partitions for each in fetched)
        ):
            super()._handle_fetch_response(node_id, fetch_offsets, send_time, response)
            return
        # As kafka-python does, which compares each response with all partitions of the session.
        handler.next_metadata = handler.next_metadata.next_incremental()
        self._completed_fetches.extend(
            each._replace(fetched_offset=fetch_offsets[each.topic_partition]) for each in fetched
        )

    def _parse_fetched_data(self, completed_fetch: Any) -> Any:
        self.fetched.add(completed_fetch.topic_partition)
        self._changed.add(completed_fetch.topic_partition)
        error_code = completed_fetch.partition_data.error_code
        self.stable_ends[completed_fetch.topic_partition] = completed_fetch.partition_data.last_stable_offset
        if error_code:
            self.has_failed = True
        if error_code in (_CORRUPT, _UNKNOWN):  # The broker cannot read its own log, and kafka-python says nothing.
            self._note_damage(completed_fetch, for_code(error_code)("the broker cannot read its log there"))
            return None
        try:
            parsed = super()._parse_fetched_data(completed_fetch)
        except CorruptRecordError as error:
            self._note_damage(completed_fetch, error)
            return None
        except KafkaError as error:
            if _NO_WHOLE_BATCH not in str(error):
                raise
            self._note_damage(completed_fetch, CorruptRecordError("a batch whose length is wrong"))
            return None
        if parsed is not None:
            parsed.on_damage = self._pause
        return parsed

    def _note_damage(self, completed_fetch: Any, error: Exception) -> None:
        offset = completed_fetch.fetched_offset
        self._pause(Damage(completed_fetch.topic_partition.partition, offset, offset + 1, error))

    def _pause(self, damage: Damage) -> None:
        """Read nothing more of a partition until it is resumed; the others go on."""
        self.damage.append(damage)
        for partition in self._subscriptions.assigned_partitions():
            if partition.partition == damage.partition:
                self._subscriptions.pause(partition)


def _leader(cluster: Any, partition: TopicPartition) -> int:
    leader = cluster.leader_for_partition(partition)
    return _NO_LEADER if leader is None else int(leader)
