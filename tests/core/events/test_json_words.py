"""Bytes that are no event are refused with what they look like, and with what their producer has to change."""

import json
from collections.abc import Callable, Sequence

import pytest

from springtide.errors import EventRefusedError
from springtide.events import EventDecoder, RawEvent
from springtide.events.decoding import Decoder
from springtide.settings.model import EventSettings, Settings
from springtide.v1 import events_pb2

NOW_MS = 1_800_000_000_000
JSON = (("content-type", b"application/json"),)
GOOD = '{"interaction":{"user":"ann","item":"bread","type":"purchase"},"eventTime":"2024-01-31T18:30:00Z"}'


def refusal(value: bytes | str, headers: Sequence[tuple[str, bytes | None]] = JSON) -> str:
    value = value.encode() if isinstance(value, str) else value
    decoder = Decoder(Settings().interaction_rules(), EventSettings())
    batches, refusals = decoder.decode([RawEvent(value, headers=headers)], NOW_MS)
    assert not batches
    return refusals[0].message


def at(time: object) -> str:
    return GOOD.replace('"2024-01-31T18:30:00Z"', json.dumps(time))


@pytest.mark.parametrize("value", [GOOD, f"  \n{GOOD}", f"\ufeff{GOOD}", f"[{GOOD}]", "{}"])
def test_json_without_its_header_says_which_header_is_missing(value: str) -> None:
    message = refusal(value, headers=())
    assert "the bytes look like JSON" in message
    assert "send the header content-type: application/json" in message


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"\x1f\x8b\x08\x00\x00", "compressed with gzip"),
        (b"<event/>", "look like XML"),
        (b"ann,bread,2024-01-31", "the bytes are the text 'ann,bread,2024-01-31'"),
        (b'{"specversion":"1.0","type":"x"}', "it is a CloudEvent: list the decoder cloudevents in [events.decoders]"),
        (b'{"before":null,"after":{},"op":"c","source":{}}', "list the decoder debezium"),
        (b'{"schema":{},"payload":{"after":{},"op":"c"}}', "list the decoder debezium"),
        (b"\xff\xff\xff\xff", "wanted a serialized springtide.v1.Event, got 4 other bytes"),
    ],
)
def test_other_bytes_say_what_they_look_like(value: bytes, words: str) -> None:
    assert words in refusal(value, headers=())


@pytest.mark.parametrize(
    ("time", "words"),
    [
        ("2024-01-31T18:30:00", "got '2024-01-31T18:30:00' without a zone: add Z for UTC, or an offset such as +02:00"),
        ("2024-01-31 18:30:00", "got '2024-01-31 18:30:00' without a zone"),
        ("2024-01-31T18:30:00.123", "without a zone"),
        ("2024-01-31", "got the date '2024-01-31' without a time of day"),
        ("20240131", "got the date '20240131' without a time of day"),
        ("2024-01-31 18:30:00Z", "write a T before the time of day"),
        ("2024-01-31T18:30:00+0200", "and the offset as +02:00"),
        (1_706_725_800, 'got the number 1706725800: as seconds since 1970 it would be "2024-01-31T18:30:00Z"'),
        (1_706_725_800_000, 'as milliseconds since 1970 it would be "2024-01-31T18:30:00Z"'),
        (1e300, "got the number 1e+300"),
        ("yesterday", "got 'yesterday'"),
        ({"seconds": 5}, "event_time: wanted a time with its zone"),
        (True, "event_time: wanted a time with its zone"),
    ],
)
def test_bad_time_says_what_was_wanted_and_what_came(time: object, words: str) -> None:
    message = refusal(at(time))
    assert 'event_time: wanted a time with its zone, such as "2024-01-31T18:30:00Z"' in message
    assert words in message
    assert words in refusal(at(time).replace("eventTime", "event_time")), "both spellings are read"


def upsert(field: str, value: object) -> str:
    return json.dumps({"nodeUpsert": {"type": "item", "id": "7", field: {"x": value}}})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (f"[{GOOD},{GOOD}]", "got a list of 2: send each as a record of its own"),
        (f"{GOOD}\n{GOOD}", "got several in one record: send each as a record of its own"),
        ("5", "wanted an event as a JSON object, got '5'"),
        ("null", "wanted an event as a JSON object, got 'null'"),
        ("  ", "wanted a JSON object, got nothing but spaces"),
        (GOOD[:-5], "wanted a JSON object: "),
        (GOOD.encode("utf-16"), "wanted JSON in UTF-8, got UTF-16"),
        (GOOD.replace('"ann"', "1007"), "interaction.user: wanted text in quotes, got '1007'; ids and types are text"),
        ('{"nodeUpsert":{"type":"item","id":7}}', "node_upsert.id: wanted text in quotes, got '7'"),
        ('{"node_delete":["item","7"]}', "node_delete: wanted a JSON object"),
        ('{"user":"ann"}', "no field named"),
        ('{"user":"ann","item":"bread"}', "user, item and type stand outside 'interaction'"),
        ('{"userId":5,"product_id":6,"event":"view","timestamp":1}', "user, item and type stand outside 'interaction'"),
        (GOOD.replace('"user"', '"userId"'), "interaction: no field named 'userId': it is called 'user'"),
        (GOOD.replace("eventTime", "timestamp"), "the time of the event is called 'eventTime'"),
        (f'{{"event":{GOOD}}}', "the event is inside 'event': send what is in it"),
        (f'{{"schema":{{}},"payload":{GOOD}}}', "set value.converter.schemas.enable=false of Kafka Connect"),
        ('{"schema":{},"payload":{"id":5}}', "it is a row of Kafka Connect with its schema, and no event"),
        (json.dumps(GOOD), "got one as text in quotes: it was made JSON twice"),
        ('{"eventId":5}', "event_id: wanted text in quotes, got 5"),
        (upsert("categories", ["a"]), 'node_upsert.categories[\'x\']: wanted an object such as {"values": ["bread"]}'),
        (upsert("categories", "a"), 'node_upsert.categories[\'x\']: wanted an object such as {"values": ["bread"]}'),
        (upsert("numbers", None), "node_upsert.numbers['x']: wanted a number, got 'null'"),
        (upsert("texts", 1984), "node_upsert.texts['x']: wanted text in quotes, got '1984'"),
        ('{"interaction":{"context":{"hour":5}}}', "interaction.context.hour: wanted text in quotes, got '5'"),
        ('{"interaction":{"context":["a"]}}', "interaction.context: wanted a JSON object, got '[\"a\"]'"),
        ('{"specversion":"1.0"}', "list the decoder cloudevents in [events.decoders]"),
    ],
)
def test_bad_json_says_what_is_wrong_with_it(value: str | bytes, words: str) -> None:
    assert words in refusal(value)


def test_protobuf_with_the_header_of_json_says_so() -> None:
    event = events_pb2.Event(interaction={"user": "ann", "item": "bread", "type": "purchase"})
    event.event_time.FromMilliseconds(NOW_MS)
    assert "its content-type is application/x-protobuf" in refusal(event.SerializeToString())


def test_json_with_a_byte_order_mark_is_read() -> None:
    decoder = Decoder(Settings().interaction_rules(), EventSettings())
    batches, refusals = decoder.decode([RawEvent(f"\ufeff{GOOD}".encode(), headers=JSON)], NOW_MS)
    assert not refusals
    assert batches[0].interactions.user_ids == ["ann"]


class Lines(EventDecoder):
    """Reads a line for each interaction; what it does with the line ``boom`` is up to the test."""

    content_types = ("text/x-lines",)

    def __init__(self, on_boom: Callable[[], object] = list) -> None:
        self.on_boom = on_boom

    def decode(self, record: RawEvent):  # type: ignore[no-untyped-def]
        lines = (record.value or b"").decode().splitlines()
        if lines == ["boom"]:
            return self.on_boom()
        events = []
        for line in lines:
            user, _, item = line.partition("|")
            events.append(events_pb2.Event(interaction={"user": user, "item": item, "type": "view"}))
            events[-1].event_time.FromMilliseconds(NOW_MS)
        return events


LINES = (("content-type", b"text/x-lines"),)


def fails() -> object:
    raise KeyError("user")


def refuses() -> object:
    raise EventRefusedError("bad_weight", "wanted more")


def test_of_several_events_only_the_bad_ones_are_refused() -> None:
    decoder = Decoder(Settings().interaction_rules(), EventSettings(), decoders={"lines": Lines()})
    record = RawEvent(b"ann|bread\n|milk\nbob|", headers=LINES)
    (batch,), refusals = decoder.decode([record], NOW_MS)
    assert batch.interactions.user_ids == ["ann"]
    assert [(refusal.record, refusal.rows, refusal.reason) for refusal in refusals] == [
        (record, (1,), "empty_id"),
        (record, (2,), "empty_id"),
    ]


@pytest.mark.parametrize(
    ("on_boom", "reason", "words"),
    [
        (fails, "undecodable", "decoder lines failed: KeyError: 'user' in "),
        (refuses, "bad_weight", "decoder lines: wanted more"),
        (lambda: [{"user": "ann"}], "undecodable", "decoder lines: wanted a list of events, got "),
        (lambda: None, "undecodable", "decoder lines: wanted a list of events, got "),
        (lambda: RawEvent(b"boom", headers=LINES), "unknown_content_type", "no codec for 'text/x-lines'"),
    ],
)
def test_decoder_that_fails_refuses_the_record_and_the_stream_goes_on(
    on_boom: Callable[[], object], reason: str, words: str
) -> None:
    decoder = Decoder(Settings().interaction_rules(), EventSettings(), decoders={"lines": Lines(on_boom)})
    records = [RawEvent(b"boom", headers=LINES), RawEvent(b"ann|bread", headers=LINES)]
    batches, (refused,) = decoder.decode(records, NOW_MS)
    assert [batch.interactions.user_ids for batch in batches] == [["ann"]]
    assert (refused.record, refused.reason) == (records[0], reason)
    assert words in refused.message


def test_record_without_events_counts_as_ignored() -> None:
    decoder = Decoder(Settings().interaction_rules(), EventSettings(), decoders={"lines": Lines()})
    assert decoder.decode([RawEvent(b"boom", headers=LINES)], NOW_MS) == ([], [])
    assert decoder.num_ignored == 1


class Unmarked(Lines):
    """Reads lines without a header, one of which begins as an event does."""

    reads_unmarked = True

    def recognises(self, record: RawEvent) -> bool:
        return (record.value or b"").startswith(b"\x12|")


@pytest.mark.parametrize("num_records", [1, 100])
def test_decoder_of_unmarked_records_is_asked_for_each(num_records: int) -> None:
    decoder = Decoder(Settings().interaction_rules(), EventSettings(), decoders={"unmarked": Unmarked()})
    event = events_pb2.Event(interaction={"user": "ann", "item": "bread", "type": "purchase"})
    event.event_time.FromMilliseconds(NOW_MS)
    records = [RawEvent(b"\x12|milk"), RawEvent(event.SerializeToString())] * num_records
    (batch,), refusals = decoder.decode(records, NOW_MS)
    assert not refusals
    assert len(batch.interactions) == 2 * num_records
