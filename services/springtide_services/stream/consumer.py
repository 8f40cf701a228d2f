"""A Kafka consumer for topics with many partitions, which also knows which brokers do not answer."""

import time
from collections.abc import Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from springtide.clock import Deadline
from springtide_services.stream.broken_records import BrokenRecords
from springtide_services.stream.fetcher import SparingFetcher, leader_of
from springtide_services.stream.network import make_client
from springtide_services.stream.record_batches import Damage

_SCAN_S = 10.0  # Between two looks at every partition while nothing changes: each takes 10 to 50 ms with 1,000.
_UNSETTLED_SCAN_S = 1.0  # The same after an error or a change of leaders: what is still open is tried again.
_UNSETTLED_S = 15.0


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
        self._fetcher.__class__ = SparingFetcher
        self._fetcher.prepare()
        self._next_scan = Deadline.after(0.0)
        self._settled = Deadline.after(_UNSETTLED_S)
        self._has_new_metadata = False
        self._cluster.add_listener(self._note_metadata)

    def is_connected(self) -> bool:
        """Return whether there is a connection to any broker."""
        return any(self._client.connected(broker.node_id) for broker in self._cluster.brokers())

    def set_fetch_wait(self, wait_ms: int) -> None:
        """Let the broker hold the next fetches for so many milliseconds while it has no records."""
        self._fetcher.config["fetch_max_wait_ms"] = wait_ms

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

    def take_broken(self) -> list[BrokenRecords]:
        """Return what was broken for good and passed over since the last call, in the order of each partition."""
        broken: list[BrokenRecords] = self._fetcher.broken
        self._fetcher.broken = []
        return broken

    def give_up(self, partition: TopicPartition, offset: int) -> None:
        """Pass a batch with a wrong checksum over from now on, if it is at an offset or before it."""
        self._fetcher.given_up[partition] = offset

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
            partition.partition for partition in self.assignment() if leader_of(self._cluster, partition) in silent
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
            # The timer rounds down: without what is left of the last millisecond, that would be spent asking again and
            # again without a wait.
            timeout_ms = 0 if timer.expired else timer.timeout_ms + 1
            records, is_idle = fetcher.fetch_records(max_records, update_offsets=update_offsets, timeout_ms=timeout_ms)
            if records or not is_idle:
                return dict(records)
        return dict(super()._poll_once(timer, max_records, update_offsets))

    def _note_metadata(self, cluster: Any) -> None:
        """Note that partitions may have other leaders; called when the network runs."""
        self._has_new_metadata = True
