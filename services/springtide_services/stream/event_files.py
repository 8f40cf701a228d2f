"""The events of a file, as they are published: each with an id that is the same whenever the file is published."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from springtide.event_files import EventFile, Events, ReadOptions, Rows
from springtide.settings.model import Settings
from springtide.v1 import events_pb2 as pb

_ID_BYTES = 16
_FIRST_ID = bytes(_ID_BYTES)


class NumberedEvent(NamedTuple):
    """An event of a file.

    Attributes:
        row: Number of its row in the file, from 1.
        event: The event, with its id.
        digest: Digest of it and of all events before it in the file.
    """

    row: int
    event: pb.Event
    digest: bytes


def open_events(path: Path, settings: Settings, options: ReadOptions) -> EventFile:
    """Open a file of events, with the limits of the settings.

    Args:
        path: The file; ``-`` for standard input.
        settings: Limits of ids.
        options: How it is read.

    Raises:
        EventFileError: If it cannot be opened, or is of another form.
    """
    limited = replace(options, max_id_bytes=settings.events.max_id_bytes)
    return EventFile(path, limited)


def events_of(file: EventFile) -> Iterator[NumberedEvent]:
    """Yield the events of a file that was read once before, in its order.

    An event without an id gets one: the digest (BLAKE2b, 128 bits) of its content and of all events before it in the
    file. So the same file gives the same ids, whatever its name, form or compression; two equal rows get two ids; and a
    file that has grown at its end gives its former events their former ids.

    Raises:
        EventFileError: If the file has changed since, so that a row cannot be read.
    """
    digest = _FIRST_ID
    for chunk in file.chunks():
        file.refuse_bad_rows()
        milliseconds = file.scale.to_ms(chunk.times).tolist()
        events = _timed(chunk, milliseconds) if isinstance(chunk, Events) else _interactions(chunk, milliseconds)
        for row, event in zip(chunk.rows.tolist(), events, strict=True):
            content = event.SerializeToString(deterministic=True)
            digest = hashlib.blake2b(digest + content, digest_size=_ID_BYTES).digest()
            if not event.event_id:
                event.event_id = digest.hex()
            yield NumberedEvent(row, event, digest)
    file.refuse_bad_rows()


def _timed(chunk: Events, milliseconds: list[int]) -> Iterator[pb.Event]:
    for event, timestamp_ms, has_time in zip(chunk.events, milliseconds, chunk.has_time.tolist(), strict=True):
        if has_time:
            event.event_time.FromMilliseconds(timestamp_ms)
        yield event


def _interactions(chunk: Rows, milliseconds: list[int]) -> Iterator[pb.Event]:
    event_ids = [""] * len(milliseconds) if chunk.event_ids is None else chunk.event_ids.to_pylist()
    columns: list[list[Any]] = [chunk.users.to_pylist(), chunk.items.to_pylist(), chunk.types.to_pylist()]
    columns += [chunk.values.tolist(), milliseconds, event_ids]
    names = list(chunk.contexts)
    contexts = zip(*(texts.to_pylist() for texts in chunk.contexts.values()), strict=True) if names else None
    for user, item, type_name, value, timestamp_ms, event_id in zip(*columns, strict=True):
        event = pb.Event(
            event_id=event_id,
            # NaN means that there is no value.
            interaction=pb.Interaction(user=user, item=item, type=type_name, value=None if value != value else value),
        )
        event.event_time.FromMilliseconds(timestamp_ms)
        if contexts is not None:
            for name, text in zip(names, next(contexts), strict=True):
                if text:
                    event.interaction.context[name] = text
        yield event
