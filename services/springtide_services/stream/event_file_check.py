"""Checking a file of events before anything of it is published."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from springtide.clock import wall_ms
from springtide.event_files import EventFile, Events, Rows
from springtide.event_files.times import in_words
from springtide.events.decoding import Decoder
from springtide.events.raw import RawEvent
from springtide.settings.model import Settings
from springtide.v1 import events_pb2 as pb


@dataclass(slots=True)
class _Refused:
    """Events that are refused for one reason: how many, and the first of them."""

    count: int
    row: int
    message: str


@dataclass(frozen=True, slots=True)
class FileCheck:
    """What was found in a file that can be read.

    Attributes:
        notes: What a person should know about it, a sentence each.
        num_refused: How many of its events a server with the settings will refuse.
    """

    notes: list[str]
    num_refused: int


def check_file(file: EventFile, settings: Settings, on_progress: Callable[[int], None]) -> FileCheck:
    """Read a file once as a whole, and return what was found, events that the server will refuse among others.

    Memory is bounded by the largest chunk. Whether a server with these settings takes an event is no reason to refuse
    the file, for the server may have others.

    Args:
        file: The file; afterwards the unit of its times is known.
        settings: Rules and limits of events.
        on_progress: Called with the number of rows that were read since the last call.

    Raises:
        EventFileError: If rows cannot be read; it names them.
    """
    decoder = Decoder(settings.interaction_rules(), settings.events)
    refused: dict[str, _Refused] = {}
    num_before = 0
    for chunk in file.chunks():
        sizes, rows, events = _samples(chunk)
        now_ms = wall_ms()
        for event in events:  # Times are checked by ``finish``, when their unit is known.
            event.event_time.FromMilliseconds(now_ms)
        records = [
            RawEvent(event.SerializeToString(), offset=at, timestamp_ms=now_ms) for at, event in enumerate(events)
        ]
        for refusal in decoder.decode(records, now_ms)[1]:
            at = refusal.record.offset
            found = refused.setdefault(refusal.reason, _Refused(0, rows[at], refusal.message))
            found.count += sizes[at]
        on_progress(file.num_rows - num_before)
        num_before = file.num_rows
    file.finish(may_be_empty=True)
    notes = [*file.notes, *_in_words(file, refused), *_future_in_words(file, settings)]
    return FileCheck(notes, sum(found.count for found in refused.values()))


def _samples(chunk: Rows | Events) -> tuple[list[int], list[int], list[pb.Event]]:
    """Return events to check, how many of the chunk each stands for, and the row of the first of these."""
    if isinstance(chunk, Events):
        # A copy, for the check sets a time.
        return [1] * len(chunk.rows), chunk.rows.tolist(), [_copy(event) for event in chunk.events]
    # Ids were checked; what is left is the type, and whether there is a value where its rules compare one.
    types = chunk.types.dictionary_encode()
    has_value = ~np.isnan(chunk.values)
    combined = types.indices.to_numpy() * 2 + has_value
    _, firsts, counts = np.unique(combined, return_index=True, return_counts=True)
    events = [
        pb.Event(
            interaction=pb.Interaction(
                user=chunk.users[at].as_py(),
                item=chunk.items[at].as_py(),
                type=chunk.types[at].as_py(),
                value=float(chunk.values[at]) if has_value[at] else None,
            )
        )
        for at in firsts.tolist()
    ]
    return counts.tolist(), chunk.rows[firsts].tolist(), events


def _copy(event: pb.Event) -> pb.Event:
    copied = pb.Event()
    copied.CopyFrom(event)
    return copied


def _future_in_words(file: EventFile, settings: Settings) -> Iterator[str]:
    latest, max_future_s = file.scale.latest, settings.events.max_future_s
    if latest is not None and latest[0] > wall_ms() + 1_000 * max_future_s:
        yield (
            f"events more than {max_future_s:,g} s in the future will go to the dead letters of a server with these "
            f"settings; the latest is at {file.place_of(latest[1])}: {in_words(latest[0])}"
        )


def _in_words(file: EventFile, refused: dict[str, _Refused]) -> Iterator[str]:
    for found in refused.values():
        events = "1 event" if found.count == 1 else f"{found.count:,} events"
        yield (
            f"{events} will go to the dead letters of a server with these settings, the first at "
            f"{file.place_of(found.row)}: {found.message}"
        )
