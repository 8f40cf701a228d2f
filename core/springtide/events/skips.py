"""Which events a rebuild leaves out: by offset, by id, or by when they were published, by whom and of which type."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self

from springtide.clock import MS_PER_SECOND
from springtide.errors import SettingsError
from springtide.events.raw import RawEvent
from springtide.v1 import events_pb2

Json = dict[str, Any]
OffsetRange = tuple[int, int, int]  # Partition, first offset, last offset.

_NODE_PAYLOADS = ("node_upsert", "node_delete")


@dataclass(frozen=True, slots=True)
class Skips:
    """Events to leave out: those of any of the offsets, those of any of the ids, and those that were published so.

    An event was published so if its record's time is in the span, its type is one of the types and its user one of the
    users; what is not given does not matter, but at least one of these must be.

    Attributes:
        offsets: Partition, first and last offset of each range.
        event_ids: Ids; one that ends in ``*`` stands for all that begin with what is before it.
        since_ms: Begin of the span of record times, in milliseconds since the Unix epoch; None for no bound.
        until_ms: First time after the span.
        types: Interaction types (``purchase``), or ``node_upsert``, ``relation``, ``node_delete``.
        users: Ids of users: of interactions, and of upserts and deletions of users.

    Raises:
        SettingsError: If a range or the span is empty.
    """

    offsets: tuple[OffsetRange, ...] = ()
    event_ids: tuple[str, ...] = ()
    since_ms: int | None = None
    until_ms: int | None = None
    types: tuple[str, ...] = ()
    users: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for partition, first, last in self.offsets:
            if partition < 0 or not 0 <= first <= last:
                raise SettingsError(
                    "wanted offsets as PARTITION:FIRST-LAST, FIRST not after LAST and none below 0, "
                    f"got {partition}:{first}-{last}"
                )
        if self.since_ms is not None and self.until_ms is not None and self.since_ms >= self.until_ms:
            raise SettingsError("wanted a span of record times that ends after it begins")

    def __bool__(self) -> bool:
        return bool(self.offsets or self.event_ids or self.has_publishing)

    @property
    def has_publishing(self) -> bool:
        """Whether events are left out by how they were published."""
        return bool(self.types or self.users) or self.since_ms is not None or self.until_ms is not None

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Self:
        """Return what ``to_json`` wrote."""
        return cls(
            tuple((partition, first, last) for partition, first, last in saved["offsets"]),
            tuple(saved["event_ids"]),
            saved["since_ms"],
            saved["until_ms"],
            tuple(saved["types"]),
            tuple(saved["users"]),
        )

    def to_json(self) -> Json:
        """Return it as JSON."""
        return {
            "offsets": [list(offsets) for offsets in self.offsets],
            "event_ids": list(self.event_ids),
            "since_ms": self.since_ms,
            "until_ms": self.until_ms,
            "types": list(self.types),
            "users": list(self.users),
        }

    def describe(self) -> list[str]:
        """Return each of its parts in words."""
        words = [offsets_in_words(offsets) for offsets in self.offsets]
        words += [id_in_words(event_id) for event_id in self.event_ids]
        return [*words, self.publishing_in_words()] if self.has_publishing else words

    def without_users(self, users: Collection[str]) -> "Skips":
        """Return it without some users; without any left, nothing is left out for how it was published."""
        rest = tuple(user for user in self.users if user not in users)
        if rest == self.users:
            return self
        if rest:
            return replace(self, users=rest)
        return Skips(self.offsets, self.event_ids)

    def publishing_in_words(self) -> str:
        """Return how the events were published that are left out for that."""
        parts = []
        if self.types:
            parts.append(f"of type {' or '.join(self.types)}")
        if self.users:
            parts.append(f"of user {' or '.join(self.users)}")
        if self.since_ms is not None:
            parts.append(f"published since {_time(self.since_ms)}")
        if self.until_ms is not None:
            parts.append(f"published before {_time(self.until_ms)}")
        return "events " + ", ".join(parts)


class SkipFilter:
    """Leaves out events, and counts them.

    Args:
        skips: What to leave out; an event is left out if any of them names it.
        until_offsets: For each of the skips, the offset by partition before which it holds; empty for no bound.

    Attributes:
        counts: How many events were left out, by what named them, in words: ``Skips.describe``.
    """

    def __init__(self, skips: Sequence[Skips], until_offsets: Sequence[Mapping[int, int]] = ()) -> None:
        self.counts: Counter[str] = Counter({words: 0 for each in skips for words in each.describe()})
        self._ranges = [offsets for each in skips for offsets in each.offsets]
        bounds = until_offsets or [{}] * len(skips)
        self._sets = [_Bounded.of(each, bound) for each, bound in zip(skips, bounds, strict=True)]

    def records(self, records: Sequence[RawEvent]) -> list[RawEvent]:
        """Return the records without those whose offsets are named."""
        if not self._ranges:
            return list(records)
        kept = []
        for record in records:
            for offsets in self._ranges:
                if record.partition == offsets[0] and offsets[1] <= record.offset <= offsets[2]:
                    self.counts[offsets_in_words(offsets)] += 1
                    break
            else:
                kept.append(record)
        return kept

    def looks_into(self, records: Sequence[RawEvent]) -> bool:
        """Return whether the events of some records must be looked at one by one."""
        return any(each.may_name(record) for each in self._sets for record in records)

    def event(self, event: events_pb2.Event, record: RawEvent) -> events_pb2.Event | None:
        """Return an event without the interactions that are left out; None if nothing is left of it."""
        if event.WhichOneof("payload") == "batch":
            return self._batch(event, record)
        payload, user = _about(event)
        words = self._named(event.event_id, payload, user, record)
        if words:
            self.counts[words] += 1
            return None
        return event

    def _batch(self, event: events_pb2.Event, record: RawEvent) -> events_pb2.Event | None:
        batch = event.batch
        num_rows, dictionary = len(batch.users), batch.dictionary[:]
        types = batch.types[:] if len(batch.types) != 1 else [batch.types[0]] * num_rows
        ids = batch.event_ids[:] if len(batch.event_ids) == num_rows else [""] * num_rows
        if len(types) != num_rows or max([*batch.users, *types], default=0) >= len(dictionary):
            return event  # It is refused.
        kept = []
        for row, (user, type_code, row_id) in enumerate(zip(batch.users, types, ids, strict=True)):
            words = self._named(row_id or event.event_id, dictionary[type_code], dictionary[user], record)
            if words:
                self.counts[words] += 1
            else:
                kept.append(row)
        if len(kept) == num_rows:
            return event
        if not kept:
            return None
        rest = events_pb2.Event(event_id=event.event_id)
        rest.batch.dictionary.extend(dictionary)
        for name in ("users", "items", "types", "event_times_ms", "values", "event_ids", "recommendation_ids"):
            column = getattr(batch, name)
            chosen = [column[row] for row in kept] if len(column) == num_rows else column[:]
            getattr(rest.batch, name).extend(chosen)
        return rest

    def _named(self, event_id: str, payload: str, user: str, record: RawEvent) -> str:
        """Return in words what names an event; an empty string if nothing does."""
        for each in self._sets:
            if each.holds(record) and (words := each.named(event_id, payload, user, record)):
                return words
        return ""


@dataclass(frozen=True, slots=True)
class _Bounded:
    """Skips that hold for the records before some offsets."""

    skips: Skips
    ids: frozenset[str]
    prefixes: tuple[str, ...]
    until_offsets: Mapping[int, int]

    @classmethod
    def of(cls, skips: Skips, until_offsets: Mapping[int, int]) -> Self:
        ids = frozenset(event_id for event_id in skips.event_ids if not event_id.endswith("*"))
        prefixes = tuple(event_id[:-1] for event_id in skips.event_ids if event_id.endswith("*"))
        return cls(skips, ids, prefixes, until_offsets)

    def holds(self, record: RawEvent) -> bool:
        return not self.until_offsets or record.offset < self.until_offsets.get(record.partition, 0)

    def may_name(self, record: RawEvent) -> bool:
        """Return whether events of a record must be looked at."""
        has_ids = bool(self.ids or self.prefixes)
        return self.holds(record) and (has_ids or (self.skips.has_publishing and _is_in_span(record, self.skips)))

    def named(self, event_id: str, payload: str, user: str, record: RawEvent) -> str:
        """Return in words what names an event; an empty string if nothing does."""
        if event_id in self.ids:
            return id_in_words(event_id)
        if event_id.startswith(self.prefixes):
            return next(id_in_words(f"{start}*") for start in self.prefixes if event_id.startswith(start))
        skips = self.skips
        if (
            skips.has_publishing
            and _is_in_span(record, skips)
            and (not skips.types or payload in skips.types)
            and (not skips.users or user in skips.users)
        ):
            return skips.publishing_in_words()
        return ""


def offsets_in_words(offsets: OffsetRange) -> str:
    """Return a range of offsets in words."""
    partition, first, last = offsets
    return f"partition {partition}, offset {first}" if first == last else f"partition {partition}, {first} to {last}"


def id_in_words(event_id: str) -> str:
    """Return an id, or the beginning of ids, in words."""
    return f"event ids that begin with {event_id[:-1]}" if event_id.endswith("*") else f"event id {event_id}"


def _about(event: events_pb2.Event) -> tuple[str, str]:
    """Return the type of an event, and its user; an empty string if it has none."""
    payload = event.WhichOneof("payload") or ""
    if payload == "interaction":
        return event.interaction.type, event.interaction.user
    if payload in _NODE_PAYLOADS:
        node = getattr(event, payload)
        return payload, node.id if node.type == "user" else ""
    return payload, ""


def _is_in_span(record: RawEvent, skips: Skips) -> bool:
    if skips.since_ms is not None and record.timestamp_ms < skips.since_ms:
        return False
    return skips.until_ms is None or record.timestamp_ms < skips.until_ms


def _time(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / MS_PER_SECOND, UTC):%Y-%m-%d %H:%M:%S} UTC"
