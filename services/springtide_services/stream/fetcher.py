"""What a Kafka consumer asks brokers for, and what it takes from their responses, without looking at each partition."""

import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from kafka import TopicPartition
from kafka.consumer.fetcher import CompletedFetch, Fetcher
from kafka.errors import CorruptRecordError, KafkaError, UnknownError, for_code
from kafka.structs import OffsetAndMetadata

from springtide.clock import Deadline
from springtide.events import RawEvent
from springtide_services.stream import fetch_wire
from springtide_services.stream.broken_records import BrokenRecords
from springtide_services.stream.fetch_wire import PlainFetch, PlainPartition, PlainResponse
from springtide_services.stream.network import DirectTCP
from springtide_services.stream.record_batches import Damage, EventRecords, read_plain_batches

_NO_LEADER = -1
_CORRUPT, _UNKNOWN = CorruptRecordError.errno, UnknownError.errno
_NO_WHOLE_BATCH = "no complete records were found"  # kafka-python's message, of a KafkaError.


class SparingFetcher(Fetcher):  # type: ignore[misc]
    """A fetcher that asks no leader while all of them owe an answer, and for no more than has changed.

    Attributes:
        fetched: Partitions of which a response was read.
        damage: What could not be read.
        broken: What was broken for good, and passed over.
        given_up: By partition, the offset up to which a batch with a wrong checksum is passed over.
        stable_ends: By partition, the offset up to which no transaction is open.
        has_failed: Whether a partition's response was an error: each partition is to be looked at.
        unanswered_since: By node, ``time.monotonic()`` when the first fetch was sent that it has not answered.
    """

    PartitionRecords = EventRecords

    def prepare(self) -> None:
        """Stand in for ``__init__``: the object was made as a Fetcher."""
        self.fetched: set[TopicPartition] = set()
        self.damage: list[Damage] = []
        self.broken: list[BrokenRecords] = []
        self.given_up: dict[TopicPartition, int] = {}
        self.stable_ends: dict[TopicPartition, int] = {}
        self.has_failed = False
        self.unanswered_since: dict[int, float] = {}
        self._leaders: frozenset[int] = frozenset()
        self._leadership: dict[TopicPartition, tuple[int, int | None]] = {}
        self._changed: set[TopicPartition] = set()  # Their offsets may differ from those in their fetch session.
        self._fetch_futures: deque[Any] = deque()
        self._asked: dict[int, dict[TopicPartition, int]] = {}  # Offsets, by node that was asked for all partitions.
        self._versions: dict[int, int] = {}  # Of each node's latest response.
        self._without_sessions: set[int] = set()  # Nodes that keep no fetch session, such as the embedded broker.
        self._asked_ahead: set[int] = set()  # Nodes whose answers nobody has waited for yet.

    def look_at_leaders(self) -> None:
        """Read who leads the partitions now. After a change or an error, requests name all partitions once."""
        cluster = self._manager.cluster
        leadership = {
            partition: (leader_of(cluster, partition), cluster.leader_epoch_for_partition(partition))
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
        for node in self._asked_ahead & self._leaders & self._nodes_with_pending_fetch_requests:
            self.unanswered_since.setdefault(node, time.monotonic())
        self._asked_ahead.clear()
        while True:
            records, is_partial = self.fetched_records(max_records, update_offsets=update_offsets)
            if records or (has_waited and deadline.is_over()):
                if update_offsets and not is_partial and any(map(self._has_more, records)):
                    self._ask_ahead()
                return dict(records), is_idle
            if not is_partial:
                self.send_fetches()
            is_idle = self._wait(deadline)
            has_waited = True

    def _has_more(self, partition: TopicPartition) -> bool:
        """Return whether the broker has more of a partition, as its last response said."""
        state = self._subscriptions.assignment.get(partition)
        return state is not None and state.highwater is not None and state.highwater > state.position.offset

    def _ask_ahead(self) -> None:
        """Ask for what comes next before what has come is applied: the broker answers into the socket meanwhile.

        Only where there is more: a fetch that finds nothing is held by the broker for as long as was said before. How
        long the caller takes is not the broker's silence.
        """
        silent = set(self.unanswered_since)
        self.send_fetches()
        self._asked_ahead = set(self.unanswered_since) - silent
        for node in self._asked_ahead:
            del self.unanswered_since[node]

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
        """Send fetch requests to the leaders that owe no answer; return a future of each."""
        if (
            self._leaders
            and self._leaders <= self._nodes_with_pending_fetch_requests
            and not self.config["client_rack"]
        ):
            return []
        futures = []
        for node, (request, offsets) in self._create_fetch_requests().items():
            self._nodes_with_pending_fetch_requests.add(node)
            future = self._send_plain(node, request) if type(request) is PlainFetch else None
            if future is None:
                future = self._manager.send(request, node_id=node)
            future.add_callback(self._handle_fetch_response, node, offsets, time.monotonic())
            future.add_errback(self._handle_fetch_error, node)
            future.add_both(self._clear_pending_fetch_request, node)
            futures.append(future)
        self._fetch_futures = deque(future for future in (*self._fetch_futures, *futures) if not future.is_done)
        return futures

    def _send_plain(self, node: int, request: PlainFetch) -> Any:
        """Send a packed request; None if the connection must send it, or be made first."""
        connection = self._manager._conns.get(node)
        transport = None if connection is None else connection.transport
        return transport.send_fetch(request) if isinstance(transport, DirectTCP) else None

    def _create_fetch_requests(self) -> dict[int, Any]:
        nodes = self._leaders - self._nodes_with_pending_fetch_requests
        # With a rack, a partition may be read from a follower, which each response may change.
        if all(self._can_be_packed(node) for node in nodes) and not self.config["client_rack"]:
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

    def _can_be_packed(self, node: int) -> bool:
        """Return whether the node knows from earlier requests what we want of each of its partitions, or never does."""
        handler = self._session_handlers.get(node)
        return (
            node in self._asked
            and handler is not None
            and (node in self._without_sessions or not handler.next_metadata.is_full)
            and self._versions.get(node) == fetch_wire.VERSION
        )

    def _ask_for_changes(self, nodes: frozenset[int]) -> dict[int, Any]:
        """Build requests that name only the partitions whose offsets have changed; all to a node without a session.

        As in kafka-python, a partition is not asked for while records of it wait to be polled. The caller waits, so
        nothing is polled meanwhile.
        """
        waiting = {fetch.topic_partition for fetch in self._completed_fetches.copy()}
        if self._next_partition_records:
            waiting.add(self._next_partition_records.topic_partition)
        cluster = self._manager.cluster
        changes: dict[int, tuple[list[bytes], list[int]]] = {
            node: ([], [])
            for node in nodes
            if self._manager.connection_delay(node) == 0 and self._client.throttle_delay(node) == 0
        }
        for partition in self._changed | waiting | self._not_packed(changes):
            node = leader_of(cluster, partition)
            if node not in changes:
                continue
            wanted, forgotten = changes[node]
            session = self._session_handlers[node].session_partitions
            state = self._subscriptions.assignment[partition]
            if partition in waiting or not state.is_fetchable():
                if session.pop(partition, None) is not None:
                    forgotten.append(partition.partition)
                self._changed.add(partition)
                continue
            epoch, position = cluster.leader_epoch_for_partition(partition), state.position
            packed = fetch_wire.pack_wanted(
                partition.partition,
                -1 if epoch is None else epoch,
                position.offset,
                position.leader_epoch,
                self.config["max_partition_fetch_bytes"],
            )
            if session.get(partition) != packed:  # Unlike all that kafka-python puts there.
                session[partition] = packed
                wanted.append(packed)
                self._asked[node][partition] = position.offset
            self._changed.discard(partition)
        for node in changes:
            if self._session_handlers[node].next_metadata.is_full:
                changes[node] = ([*self._session_handlers[node].session_partitions.values()], [])
        # Kafka answers at once if nothing is asked for, as when all partitions of a leader are paused.
        return {
            node: (self._make_request(node, *change), self._asked[node])
            for node, change in changes.items()
            if self._session_handlers[node].session_partitions or change[1]
        }

    def _not_packed(self, nodes: Iterable[int]) -> set[TopicPartition]:
        """Return the partitions that a whole request to a node is to name, and kafka-python was the last to name."""
        return {
            partition
            for node in nodes
            if self._session_handlers[node].next_metadata.is_full
            for partition, wanted in self._session_handlers[node].session_partitions.items()
            if type(wanted) is not bytes
        }

    def _make_request(self, node: int, wanted: list[bytes], forgotten: list[int]) -> PlainFetch:
        session = self._session_handlers[node].next_metadata
        body = fetch_wire.pack_request(
            next(iter(self._leadership)).topic,  # All partitions are of one topic.
            wanted,
            forgotten,
            (session.session_id, session.epoch),
            max_wait_ms=self.config["fetch_max_wait_ms"],
            min_bytes=self.config["fetch_min_bytes"],
            max_bytes=self.config["fetch_max_bytes"],
            isolation_level=int(self._isolation_level),
        )
        return PlainFetch(body)

    def _handle_fetch_response(self, node_id: int, fetch_offsets: Any, send_time: float, response: Any) -> None:
        self.unanswered_since.pop(node_id, None)
        self._versions[node_id] = response.API_VERSION
        handler = self._session_handlers.get(node_id)
        if type(response) is PlainResponse and self._take_response(handler, fetch_offsets, response):
            return
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
            has_none = handler is not None and handler.next_metadata.is_full and not response.error_code
            (self._without_sessions.add if has_none else self._without_sessions.discard)(node_id)
            return
        # As kafka-python does, which compares each response with all partitions of the session.
        handler.next_metadata = handler.next_metadata.next_incremental()
        self._completed_fetches.extend(
            each._replace(fetched_offset=fetch_offsets[each.topic_partition]) for each in fetched
        )

    def _take_response(self, handler: Any, fetch_offsets: Any, response: PlainResponse) -> bool:
        """Take what a response of the current session says, or of a node that keeps none; return whether it is one."""
        if handler is None or response.session_id != handler.next_metadata.session_id:
            return False
        is_whole = handler.next_metadata.is_full
        num_partitions = sum(len(topic.partitions) for topic in response.responses)
        if is_whole and (response.session_id or num_partitions != len(handler.session_partitions)):
            return False
        completed = []
        for topic in response.responses:
            for data in topic.partitions:
                partition = TopicPartition(topic.topic, data.partition_index)
                if partition not in handler.session_partitions:
                    return False
                offset = fetch_offsets[partition]
                completed.append(CompletedFetch(partition, offset, fetch_wire.VERSION, data, None))
        if not is_whole:
            handler.next_metadata = handler.next_metadata.next_incremental()
        self._completed_fetches.extend(completed)
        return True

    def fetched_records(
        self, max_records: int | None = None, update_offsets: bool = True
    ) -> tuple[dict[TopicPartition, list[RawEvent]], bool]:
        """Return records that have come, by partition, and whether there are more; a few plain ones without a detour.

        kafka-python's way through its own classes takes a quarter of a millisecond of CPU with cold caches.
        """
        has_leftovers = self._has_leftovers()
        if not (self._completed_fetches or has_leftovers):
            return {}, False
        if update_offsets and not has_leftovers:
            records = self._take_plain(max_records or self.config["max_poll_records"])
            if records or not self._completed_fetches:
                return records, bool(self._completed_fetches)
        found: tuple[dict[TopicPartition, list[RawEvent]], bool] = super().fetched_records(max_records, update_offsets)
        return found

    def _has_leftovers(self) -> bool:
        """Return whether kafka-python has something to give first, or to look after."""
        return bool(
            self._next_partition_records
            or self._next_in_line_exception_metadata
            or self._paused_completed_fetches
            or self._paused_partition_records
        )

    def _take_plain(self, max_records: int) -> dict[TopicPartition, list[RawEvent]]:
        """Take fetches with a few plain records, up to the first that is unusual."""
        taken: dict[TopicPartition, list[RawEvent]] = {}
        while self._completed_fetches and max_records > 0:
            fetch = self._completed_fetches[0]
            data, partition = fetch.partition_data, fetch.topic_partition
            state = self._subscriptions.assignment.get(partition)
            if (
                type(data) is not PlainPartition
                or state is None
                or not state.is_fetchable()
                or state.position.offset != fetch.fetched_offset
                or partition in taken
            ):
                break
            found = read_plain_batches(data.records, partition.topic, partition.partition, fetch.fetched_offset)
            if found is None or len(found[0]) > max_records:
                break
            self._completed_fetches.popleft()
            events, next_offset, epoch = found
            if data.high_watermark >= 0:
                state.highwater = data.high_watermark
            self._note_fetched(partition, data)
            if next_offset is not None:
                state.position = OffsetAndMetadata(next_offset, "", epoch)
            if events:
                taken[partition] = events
                max_records -= len(events)
        return taken

    def _note_fetched(self, partition: TopicPartition, data: Any) -> None:
        self.fetched.add(partition)
        self._changed.add(partition)
        self.stable_ends[partition] = data.last_stable_offset

    def _parse_fetched_data(self, completed_fetch: Any) -> Any:
        self._note_fetched(completed_fetch.topic_partition, completed_fetch.partition_data)
        error_code = completed_fetch.partition_data.error_code
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
            parsed.on_damage, parsed.on_broken = self._pause, self.broken.append
            parsed.gives_up_at = self.given_up.get(completed_fetch.topic_partition)
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


def leader_of(cluster: Any, partition: TopicPartition) -> int:
    """Return the node that leads a partition; -1 if none does."""
    leader = cluster.leader_for_partition(partition)
    return _NO_LEADER if leader is None else int(leader)
