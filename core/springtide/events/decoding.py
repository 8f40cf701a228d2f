"""Decoding records to batches of columns; bad records are refused with a reason."""

import math
import operator
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from springtide.errors import EventRefusedError
from springtide.events.attribute_kinds import AttributeKindCheck
from springtide.events.codecs import BadAttributesError, find_codec, parse_protobuf
from springtide.events.columns import BatchBuilder
from springtide.events.identity import MarkList, content_hash, context_hash
from springtide.events.json_words import describe_unmarked
from springtide.events.known_names import KnownNames
from springtide.events.limits import EARLIEST_MS, MAX_NUMBER, Limits, shorten
from springtide.events.model import EventBatch
from springtide.events.nodes import read_delete, read_relation, read_upsert
from springtide.events.packed import read_packed
from springtide.events.raw import RawEvent, Refusal
from springtide.events.record_decoders import EventDecoder
from springtide.events.row_kernels import WireRules
from springtide.events.skips import SkipFilter
from springtide.settings.interaction_rules import InteractionRules
from springtide.settings.model import EventSettings
from springtide.v1 import events_pb2

_NAN = math.nan
_COMPARISONS = (None, operator.ge, operator.le, operator.gt, operator.lt)  # In the order of the kernels' numbers.
_EVENT_STARTS = frozenset(b"\x0a\x12\x1a\x22\x2a\x32\x3a")  # First bytes that a serialized Event may have.
_MAX_WRAPPINGS = 4


class Decoder:
    """Decodes and checks records; it belongs to one thread.

    Args:
        rules: Interactions that are accepted, and the relation of each.
        settings: Limits of events.
        attribute_kinds: Finds attributes of a wrong kind; None lets an attribute have any.
        decoders: Decoders of other tools' records, by name; the first that recognises a record reads it.
        skips: Leaves out events, so that they are neither accepted nor refused; None leaves out none.
        names: The names that earlier events of each partition had; None for no earlier events.

    Attributes:
        num_ignored: Number of valid interactions of a known type that no rule matched, such as low ratings where the
            only rule is ``rating>=4``; and of records in which a decoder found nothing to keep.
    """

    def __init__(
        self,
        rules: InteractionRules,
        settings: EventSettings,
        attribute_kinds: AttributeKindCheck | None = None,
        decoders: Mapping[str, EventDecoder] | None = None,
        skips: SkipFilter | None = None,
        names: KnownNames | None = None,
    ) -> None:
        self.num_ignored = 0
        self._names = KnownNames(rules.item_type) if names is None else names
        self._decoders = dict(decoders or {})
        self._offers_all = any(decoder.reads_unmarked for decoder in self._decoders.values())
        self._rules = rules
        self._limits = Limits(settings)
        self._kinds = attribute_kinds
        self._skips = skips
        self._types = frozenset(rules.types)
        self._wire_rules = _wire_rules(rules, settings)
        # Types whose first rule matches any value, with the index of that rule: they need no matching.
        self._plain_types: dict[str, int] = {}
        for position in reversed(range(len(rules.rules))):
            type_name, comparison, _ = rules.rules[position].parse()
            if comparison is None:
                self._plain_types[type_name] = position
            else:
                self._plain_types.pop(type_name, None)

    def decode(self, records: Sequence[RawEvent], now_ms: int) -> tuple[list[EventBatch], list[Refusal]]:
        """Decode records.

        Args:
            records: Records in the order of their partition; those of one partition are adjacent.
            now_ms: Wall time, milliseconds since the Unix epoch; event times too far after it are refused.

        Returns:
            A batch, or none if no record holds an event that is accepted; and the refused records.
        """
        decoded = _Decoded(BatchBuilder(self._rules.relations))
        if self._kinds is not None:
            self._kinds.begin()
        if self._skips is not None:
            records = self._skips.records(records)
        looks_into = self._skips is not None and self._skips.looks_into(records)
        if self._offers_all or looks_into:
            self._decode_each(records, now_ms, decoded)
        else:
            self._decode_runs(list(records), now_ms, decoded)
        batches = [] if decoded.builder.is_empty() else [decoded.builder.build()]
        return batches, decoded.refusals

    def _decode_runs(self, records: list[RawEvent], now_ms: int, decoded: "_Decoded") -> None:
        """Read runs of ordinary interactions and packed batches at once, and what stands between them one by one."""
        rows, latest_ms, start = decoded.builder.rows, now_ms + self._limits.max_future_ms, 0
        while (stop := rows.read(records, start, self._wire_rules, latest_ms)) < len(records):
            self._decode_each(records[stop : stop + 1], now_ms, decoded)
            start = stop + 1
        self.num_ignored += rows.num_ignored

    def _decode_each(self, records: Sequence[RawEvent], now_ms: int, decoded: "_Decoded") -> None:
        starts = frozenset() if self._offers_all else _EVENT_STARTS
        for record in records:
            try:
                value = record.value
                if (value and value[0] in starts and not record.headers) or not self._decoders:
                    self._decode_one(record, self._parse(record), now_ms, decoded)
                else:
                    self._decode_foreign(record, now_ms, decoded)
            except BadAttributesError as error:
                self._decode_rest(record, error, now_ms, decoded)
            except EventRefusedError as error:
                decoded.refusals.append(Refusal(record, error.reason, str(error)))

    def _decode_rest(self, record: RawEvent, bad: BadAttributesError, now_ms: int, decoded: "_Decoded") -> None:
        """Decode an upsert without attributes that could not be decoded, which are refused."""
        event = bad.rest
        if self._skips is not None and self._skips.event(event, record) is None:
            return
        event.event_id = ""  # It may come again, corrected, with its id.
        try:
            self._decode_one(record, event, now_ms, decoded)
        except EventRefusedError as error:
            decoded.refusals.append(Refusal(record, error.reason, f"{error}; {bad}"))
            return
        upsert = event.node_upsert
        message = f"{upsert.type} {shorten(upsert.id)}: {bad} (its other attributes are taken)"
        decoded.refusals.append(Refusal(record, bad.reason, message))

    def _decode_foreign(self, record: RawEvent, now_ms: int, decoded: "_Decoded") -> None:
        """Decode a record that a decoder may recognise; of several events only the bad ones are refused."""
        events = self._read_foreign(record)
        if len(events) == 1:
            self._decode_one(record, events[0], now_ms, decoded)
            return
        self.num_ignored += not events
        for position, event in enumerate(events):
            try:
                self._decode_one(record, event, now_ms, decoded)
            except EventRefusedError as error:
                decoded.refusals.append(Refusal(record, error.reason, f"event {position}: {error}", (position,)))

    def _read_foreign(self, record: RawEvent) -> Sequence[events_pb2.Event]:
        """Take wrappings off a record until its events are found; the last reader is ``_parse``."""
        if len(record.value or b"") > self._limits.max_event_bytes:
            return (self._parse(record),)  # It refuses.
        inner, names = record, []
        for _ in range(_MAX_WRAPPINGS):
            for name, decoder in self._decoders.items():
                if _recognises(name, decoder, inner):
                    names.append(name)
                    found = _run_decoder(name, decoder, inner)
                    break
            else:
                break
            if not isinstance(found, RawEvent):
                for event in found:
                    self._check_event_id(event)
                return found
            inner = found
        try:
            return (self._parse(inner),)
        except BadAttributesError:
            raise
        except EventRefusedError as error:
            raise EventRefusedError(error.reason, ", in ".join((str(error), *reversed(names)))) from error

    def _decode_one(self, record: RawEvent, event: events_pb2.Event, now_ms: int, decoded: "_Decoded") -> None:
        if self._skips is not None:
            left = self._skips.event(event, record)
            if left is None:
                return
            event = left
        builder = decoded.builder
        payload = event.WhichOneof("payload")
        if payload == "interaction":
            self._add_interaction(event, now_ms, builder, record.timestamp_ms)
        elif payload == "batch":
            bad_rows, num_ignored = read_packed(event, record.timestamp_ms, now_ms, self._limits, self._rules, builder)
            self.num_ignored += num_ignored
            decoded.refusals += [Refusal(record, reason, text, rows.tolist()) for reason, text, rows in bad_rows]
        elif payload == "node_delete":
            delete = read_delete(event.node_delete, self._read_time(event, now_ms), self._limits)
            self._names.check_type(record.partition, "node_delete.type", delete.node_type, self._limits)
            _mark(builder.delete_marks, len(builder.deletes), event, (delete.node_type, delete.node_id), record)
            builder.deletes.append(delete)
        elif payload == "node_upsert":
            self._add_upsert(record, event, now_ms, decoded)
        elif payload == "relation":
            edge = read_relation(event.relation, self._read_time(event, now_ms), self._limits)
            self._names.check_relation(record.partition, edge, self._limits)
            about = edge.source_type, edge.source_id, edge.relation, edge.target_type, edge.target_id
            _mark(builder.relation_marks, len(builder.other_relations), event, about, record)
            builder.other_relations.append(edge)
        else:
            seen = "" if record.headers else describe_unmarked(record.value or b"")
            raise EventRefusedError(
                "empty_payload",
                "event: wanted one of interaction, node_upsert, relation, node_delete, batch, got none of them"
                + (seen and f"; {seen}"),
            )

    def _parse(self, record: RawEvent) -> events_pb2.Event:
        value = record.value
        if not value:
            raise EventRefusedError("empty_payload", "record: wanted an event as its value, got no value")
        if len(value) > self._limits.max_event_bytes:
            raise EventRefusedError(
                "oversize", f"record: wanted at most {self._limits.max_event_bytes} bytes, got {len(value)}"
            )
        event = find_codec(record.headers)(value) if record.headers else parse_protobuf(value)
        if event.event_id:
            self._check_event_id(event)
        return event

    def _check_event_id(self, event: events_pb2.Event) -> None:
        if len(event.event_id.encode()) > self._limits.max_id_bytes:
            self._limits.check_id("event_id", event.event_id)

    def _add_interaction(self, event: events_pb2.Event, now_ms: int, builder: BatchBuilder, published_ms: int) -> None:
        """Add a single interaction; most never come here. Full checks run only on what fails a quick test."""
        limits = self._limits
        interaction = event.interaction
        user, item, type_name = interaction.user, interaction.item, interaction.type
        if not user or user.isspace() or len(user) > limits.surely_short_id:
            limits.check_id("interaction.user", user)
        if not item or item.isspace() or len(item) > limits.surely_short_id:
            limits.check_id("interaction.item", item)
        timestamp_ms = self._read_time(event, now_ms)
        value = _NAN
        if interaction.HasField("value"):
            value = interaction.value
            if not -MAX_NUMBER <= value <= MAX_NUMBER:
                limits.check_number("interaction.value", value)
        code = self._plain_types.get(type_name)
        if code is None:
            code = self._match(type_name, value)
        context = interaction.context
        if context:
            limits.check_context(context)
        answer_id = interaction.recommendation_id
        if len(answer_id) > limits.surely_short_id and len(answer_id.encode()) > limits.max_id_bytes:
            limits.check_id("interaction.recommendation_id", answer_id)
        if code < 0:
            self.num_ignored += 1
            return
        row = builder.add(user, item, code, timestamp_ms, value, context, answer_id)
        if event.event_id:
            builder.mark(row, (event.event_id, user, item, type_name), context_hash(context), published_ms)

    def _add_upsert(self, record: RawEvent, event: events_pb2.Event, now_ms: int, decoded: "_Decoded") -> None:
        """Add an upsert with its good attributes; the bad ones are refused, with a refusal for each reason."""
        upsert, errors = read_upsert(event.node_upsert, self._read_time(event, now_ms), self._limits)
        if self._kinds is not None:
            upsert, wrong_kinds = self._kinds.check(upsert)
            errors += wrong_kinds
        self._names.check_type(record.partition, "node_upsert.type", upsert.node_type, self._limits)
        upsert, beyond = self._names.check_attributes(record.partition, upsert, self._limits)
        if beyond is not None:
            errors.append(beyond)
        builder = decoded.builder
        if not errors:  # Else it may come again, corrected, with its id.
            _mark(builder.upsert_marks, len(builder.upserts), event, (upsert.node_type, upsert.node_id), record)
        builder.upserts.append(upsert)
        messages: dict[str, list[str]] = {}
        for error in errors:
            messages.setdefault(error.reason, []).append(str(error))
        for reason, texts in messages.items():
            message = (
                f"{upsert.node_type} {shorten(upsert.node_id)}: {'; '.join(texts)} (its other attributes are taken)"
            )
            decoded.refusals.append(Refusal(record, reason, message))

    def _match(self, type_name: str, value: float) -> int:
        """Return the index of the rule that matches the interaction; -1 if its type is known but no rule matches."""
        if type_name not in self._types:
            raise EventRefusedError(
                "unknown_type",
                f"interaction.type: no rule for {shorten(type_name)} (choices: {', '.join(self._rules.types)})",
            )
        code = self._rules.match(type_name, value)
        if code < 0 and math.isnan(value):
            raise EventRefusedError(
                "missing_value",
                f"interaction.value: wanted a number, which the rules of {type_name!r} compare, got none",
            )
        return code

    def _read_time(self, event: events_pb2.Event, now_ms: int) -> int:
        if not event.HasField("event_time"):
            raise EventRefusedError("missing_time", "event_time: wanted the time of the event, got none")
        time = event.event_time
        timestamp_ms: int = time.seconds * 1_000 + time.nanos // 1_000_000
        if timestamp_ms > now_ms + self._limits.max_future_ms or timestamp_ms < EARLIEST_MS:
            self._limits.check_time(timestamp_ms, now_ms)
        return timestamp_ms


def _wire_rules(rules: InteractionRules, settings: EventSettings) -> WireRules:
    """Return what compiled loops must know to read interactions without anything unusual."""
    types = list(rules.types)
    parsed = [rule.parse() for rule in rules.rules]
    wanted = [(types.index(name), _COMPARISONS.index(comparison), bound) for name, comparison, bound in parsed]
    return WireRules(
        *([name.encode() for name in types], wanted, settings.max_id_bytes, settings.max_event_bytes),
        *(settings.max_context_entries, settings.max_text_bytes),
    )


def _mark(marks: MarkList, row: int, event: events_pb2.Event, about: tuple[str, ...], record: RawEvent) -> None:
    """Note what tells an event apart, if it has an id; ``row`` is its index among the batch's events of its kind."""
    if event.event_id:
        marks.add(row, event.event_id, about, content_hash(event), record.timestamp_ms)


@dataclass(slots=True)
class _Decoded:
    """What was decoded so far: the batch that grows, and refused records."""

    builder: BatchBuilder
    refusals: list[Refusal] = field(default_factory=list)


def _run_decoder(name: str, decoder: EventDecoder, record: RawEvent) -> Sequence[events_pb2.Event] | RawEvent:
    """Let a decoder read a record.

    Raises:
        EventRefusedError: If it refuses the record, fails, or returns something else than events or a record.
    """
    try:
        found = decoder.decode(record)
    except EventRefusedError as error:
        raise EventRefusedError(error.reason, f"decoder {name}: {error}") from error
    except Exception as error:  # One record must not end the stream, whatever a plugin does with it.
        raise _failed(name, error) from error
    if isinstance(found, RawEvent):
        return found
    events = tuple(found) if isinstance(found, list | tuple) else (found,)
    if not all(isinstance(event, events_pb2.Event) for event in events):
        raise EventRefusedError("undecodable", f"decoder {name}: wanted a list of events, got {str(found)[:80]!r}")
    return events


def _recognises(name: str, decoder: EventDecoder, record: RawEvent) -> bool:
    """Return whether a record is a decoder's.

    Raises:
        EventRefusedError: If it fails: then nobody knows whose the record is.
    """
    try:
        return bool(decoder.recognises(record))
    except Exception as error:
        raise _failed(name, error) from error


def _failed(name: str, error: Exception) -> EventRefusedError:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    said = f"{type(error).__name__}: {' '.join(str(error).split())[:300]} in {frame.filename}:{frame.lineno}"
    return EventRefusedError("undecodable", f"decoder {name} failed: {said}")
