"""Checks that every decoder must pass."""

from collections.abc import Iterator, Sequence

from springtide.conformance.checks import Subject, checks_of, expect
from springtide.errors import EventRefusedError
from springtide.events.raw import RawEvent
from springtide.events.record_decoders import EventDecoder
from springtide.v1 import events_pb2

_JSON = (("content-type", b"application/json"),)
_EVENT_JSON = b'{"interaction":{"user":"u","item":"i","type":"view"},"eventTime":"2024-01-31T18:30:00Z"}'
_NO_EVENTS = (
    RawEvent(None),
    RawEvent(None, key=b"k"),
    RawEvent(b"", headers=_JSON),
    RawEvent(b"\0"),
    RawEvent(b"\0\0\0\0\1"),
    RawEvent(b"\xff\xfe\x00\x01"),
    RawEvent(b"null", headers=_JSON),
    RawEvent(b"[" * 5_000, headers=_JSON),
    RawEvent(b"{" + b'"a":{' * 5_000, headers=_JSON),
    RawEvent(b'{"payload":5}', headers=(("content-type", None),)),
)


def it_gives_examples_that_it_recognises(subject: Subject) -> None:
    """The other checks read them, and so does whoever writes to the topic."""
    decoder: EventDecoder = subject.make()
    examples = decoder.examples()
    expect(len(examples) > 0, "at least one example", "none")
    for example in examples:
        expect(isinstance(example, RawEvent), "a RawEvent as example", type(example).__name__)
        expect(decoder.recognises(example) is True, f"recognises({_shown(example)}) to be True", "something else")


def examples_are_read(subject: Subject) -> None:
    """``decode`` returns a list of events, or a record with something taken off it."""
    decoder: EventDecoder = subject.make()
    for example in decoder.examples():
        found = decoder.decode(example)
        if isinstance(found, RawEvent):
            expect(found != example, f"another record than {_shown(example)}", "the same")
            continue
        expect(isinstance(found, Sequence), f"a list of events from {_shown(example)}", type(found).__name__)
        for event in found:
            expect(isinstance(event, events_pb2.Event), "a springtide.v1.Event", type(event).__name__)
            payload = event.WhichOneof("payload")
            expect(payload is not None, f"an event with a payload from {_shown(example)}", "none")
            expect(payload == "batch" or event.HasField("event_time"), "an event with its event_time", "none")


def a_record_gives_the_same_events_each_time(subject: Subject) -> None:
    """Records are read again after a crash, in any order: ids and times may come from the record alone."""
    decoder: EventDecoder = subject.make()
    first = [_read(decoder, example) for example in decoder.examples()]
    again = [_read(decoder, example) for example in reversed(decoder.examples())]
    other = [_read(subject.make(seed=1), example) for example in decoder.examples()]
    expect(first == again[::-1] and first == other, "the same events of the same record", "others")


def events_are_left_alone(subject: Subject) -> None:
    """What is no record of its own, such as a plain event, is not recognised."""
    decoder: EventDecoder = subject.make()
    event = events_pb2.Event(interaction={"user": "u", "item": "i", "type": "view"})
    event.event_time.FromMilliseconds(1_700_000_000_000)
    for record in (RawEvent(event.SerializeToString(), key=b"u"), RawEvent(_EVENT_JSON, headers=_JSON)):
        expect(not decoder.recognises(record), f"recognises({_shown(record)}) to be False", "True")


def unmarked_records_are_declared(subject: Subject) -> None:
    """Records without headers that begin as an event does are offered only to a decoder that ``reads_unmarked``."""
    decoder: EventDecoder = subject.make()
    for example in decoder.examples():
        is_unmarked = not example.headers and bool(example.value) and (example.value or b"")[0] in _FIRST_BYTES
        expect(not is_unmarked or decoder.reads_unmarked, "reads_unmarked = True", "False")


def bad_records_are_refused(subject: Subject) -> None:
    """Whatever it recognises it reads, or refuses with EventRefusedError: damaged, cut off or nested without end."""
    decoder: EventDecoder = subject.make()
    for record in (*_NO_EVENTS, *_damaged(decoder.examples())):
        if decoder.recognises(record):
            try:
                decoder.decode(record)
            except EventRefusedError as error:
                expect(bool(str(error)), f"words for what is wrong with {_shown(record)}", "none")


CHECKS = checks_of(
    it_gives_examples_that_it_recognises,
    examples_are_read,
    a_record_gives_the_same_events_each_time,
    events_are_left_alone,
    unmarked_records_are_declared,
    bad_records_are_refused,
)

_FIRST_BYTES = b"\x0a\x12\x1a\x22\x2a\x32\x3a"
_MAX_CUTS = 200


def _read(decoder: EventDecoder, record: RawEvent) -> object:
    found = decoder.decode(record)
    return found if isinstance(found, RawEvent) else [event.SerializeToString(deterministic=True) for event in found]


def _damaged(examples: Sequence[RawEvent]) -> Iterator[RawEvent]:
    """Yield the examples cut off, with a byte changed, without their headers, and with numbers in place of texts."""
    for example in examples:
        value = example.value or b""
        step = max(1, len(value) // _MAX_CUTS)
        for at in range(0, len(value), step):
            yield example._replace(value=value[:at])
            yield example._replace(value=value[:at] + bytes([value[at] ^ 0x55]) + value[at + 1 :])
        for headers in ((), tuple((name, None) for name, _ in example.headers)):
            yield example._replace(headers=headers)
        yield example._replace(value=value.replace(b'":"', b'":7,"'))
        yield example._replace(value=value.replace(b'":{', b'":[{'))
        yield example._replace(value=value.replace(b'":"', b'":null,"'))


def _shown(record: RawEvent) -> str:
    value = record.value if record.value is None else record.value[:40]
    return f"RawEvent({value!r}, headers={list(record.headers)!r})"
