"""Each check of decoders finds the fault that it is there for, and says what it wanted and what came."""

import itertools

import pytest

from springtide.errors import EventRefusedError
from springtide.events.raw import RawEvent
from springtide.events.record_decoders import EventDecoder
from springtide.v1.events_pb2 import Event

HEADERS = (("content-type", b"text/x-line"),)
NUMBERS = itertools.count()


class Lines(EventDecoder):
    """A sound decoder."""

    content_types = ("text/x-line",)

    def decode(self, record):
        try:
            user, item = (record.value or b"").decode().split("|")
        except ValueError as error:
            raise EventRefusedError("undecodable", f"wanted user|item: {error}") from error
        event = Event(interaction={"user": user, "item": item, "type": "view"})
        event.event_time.FromMilliseconds(record.timestamp_ms)
        return [event]

    def examples(self):
        return [RawEvent(b"ann|bread", headers=HEADERS)]


class NoExample(Lines):
    def examples(self):
        return []


class NotItsOwn(Lines):
    content_types = ("text/x-other",)


class NoTime(Lines):
    def decode(self, record):
        (event,) = super().decode(record)
        event.ClearField("event_time")
        return [event]


class Dict(Lines):
    def decode(self, record):
        super().decode(record)
        return [{"user": "ann"}]


class Counts(Lines):
    def decode(self, record):
        (event,) = super().decode(record)
        event.event_id = str(next(NUMBERS))
        return [event]


class Greedy(Lines):
    def recognises(self, record):
        return True

    def decode(self, record):
        return super().decode(record) if b"|" in (record.value or b"") else []


class Undeclared(Lines):
    def recognises(self, record):
        return record.value == b"\n|"

    def examples(self):
        return [RawEvent(b"\n|")]


class Raises(Lines):
    def decode(self, record):
        user, item = record.value.decode().split("|")
        return super().decode(record._replace(value=f"{user}|{item}".encode()))


class Same(Lines):
    def decode(self, record):
        return record


def test_sound_decoder_passes(failures_of):
    assert failures_of("decoder", Lines) == {}


@pytest.mark.parametrize(
    ("factory", "check", "wanted", "got"),
    [
        (NoExample, "it gives examples that it recognises", "at least one example", "none"),
        (NotItsOwn, "it gives examples that it recognises", "to be True", "something else"),
        (NoTime, "examples are read", "an event with its event_time", "none"),
        (Dict, "examples are read", "a springtide.v1.Event", "dict"),
        (Same, "examples are read", "another record", "the same"),
        (Counts, "a record gives the same events each time", "the same events", "others"),
        (Greedy, "events are left alone", "to be False", "True"),
        (Undeclared, "unmarked records are declared", "reads_unmarked = True", "False"),
        (Raises, "bad records are refused", "no error", "ValueError"),
    ],
)
def test_faulty_decoder_fails(factory, check, wanted, got, failures_of):
    found_wanted, found_got = failures_of("decoder", factory, only=check)[check]
    assert wanted in found_wanted
    assert got in found_got
