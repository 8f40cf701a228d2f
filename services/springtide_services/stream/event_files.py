"""The events of a file, as they are published: each with an id that is the same whenever the file is published."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from springtide.event_files import EventFile, Events, ReadOptions, Rows, kernels
from springtide.events import Interactions
from springtide.packed_texts import PackedTexts
from springtide.settings.model import Settings
from springtide.v1 import events_pb2 as pb

_ID_BYTES = 16
_FIRST_ID = bytes(_ID_BYTES)
_MAX_TYPES = 1_000  # Of one part: a column with more of them holds something else, and its rows go one by one.


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


@dataclass(frozen=True, slots=True)
class NumberedRows:
    """Interactions without contexts that follow each other in a file, as columns.

    Attributes:
        rows: int64 ``[n]``, numbers of their rows in the file, from 1.
        interactions: The interactions, with types as ``relations``, in the order of the file.
        event_ids: Their ids, ``[n]``.
        digests: uint8 ``[n, 16]``, digest of each and of all events before it in the file.
    """

    rows: npt.NDArray[np.int64]
    interactions: Interactions
    event_ids: list[str]
    digests: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.rows)

    def after(self, count: int) -> "NumberedRows":
        """Return them without the first ``count``."""
        kept = np.arange(count, len(self))
        return NumberedRows(
            self.rows[count:], self.interactions.take(kept), self.event_ids[count:], self.digests[count:]
        )


def parts_of(file: EventFile) -> Iterator[NumberedRows | list[NumberedEvent]]:
    """Yield the events of a file that was read once before, in its order: columns where they are plain interactions.

    An event without an id gets one: the digest (BLAKE2b, 128 bits) of its content and of all events before it in the
    file. So the same file gives the same ids, whatever its name, form or compression; two equal rows get two ids; and a
    file that has grown at its end gives its former events their former ids.

    Raises:
        EventFileError: If the file has changed since, so that a row cannot be read.
    """
    digest = _FIRST_ID
    for chunk in file.chunks():
        file.refuse_bad_rows()
        times_ms = file.scale.to_ms(chunk.times)
        part = _columns(chunk, times_ms, digest) if isinstance(chunk, Rows) else None
        if part is not None:
            digest = part.digests[-1].tobytes()
            yield part
        else:
            events = _numbered(chunk, times_ms.tolist(), digest)
            digest = events[-1].digest
            yield events
    file.refuse_bad_rows()


def _columns(chunk: Rows, times_ms: npt.NDArray[np.int64], digest: bytes) -> NumberedRows | None:
    """Return rows as columns; None if they have contexts or name answers, or hardly two of them are of one type."""
    types = chunk.types.dictionary_encode()
    if len(types.dictionary) > _MAX_TYPES or _has_more(chunk):
        return None
    users, items = chunk.users.dictionary_encode(), chunk.items.dictionary_encode()
    ids = None if chunk.event_ids is None else pc.fill_null(chunk.event_ids, "")
    digests = np.empty((len(chunk.rows), _ID_BYTES), np.uint8)
    packed = (_packed(chunk.users), _packed(chunk.items), _packed(chunk.types))
    values = np.ascontiguousarray(chunk.values, np.float64)
    kernels.digest_interactions(digest, None if ids is None else _packed(ids), *packed, times_ms, values, digests)
    content, width = digests.tobytes().hex(), 2 * _ID_BYTES
    event_ids = [content[start : start + width] for start in range(0, len(content), width)]
    if ids is not None:
        event_ids = [given or own for given, own in zip(ids.to_pylist(), event_ids, strict=True)]
    with np.errstate(over="ignore"):  # The server refuses what 32 bits cannot hold.
        values_in_32_bits = values.astype(np.float32)
    interactions = Interactions(
        *(users.dictionary.to_pylist(), users.indices.to_numpy().astype(np.int32)),
        *(items.dictionary.to_pylist(), items.indices.to_numpy().astype(np.int32)),
        *(types.dictionary.to_pylist(), types.indices.to_numpy().astype(np.int16)),
        times_ms,
        values_in_32_bits,
    )
    return NumberedRows(chunk.rows, interactions, event_ids, digests)


def _has_more(chunk: Rows) -> bool:
    """Return whether rows have contexts, or name the answers that they came of."""
    columns = [*chunk.contexts.values(), *([] if chunk.recommendation_ids is None else [chunk.recommendation_ids])]
    return any(pc.sum(pc.binary_length(texts)).as_py() for texts in columns)


def _packed(texts: pa.Array) -> PackedTexts:
    """Return texts of an array without nulls as they lie in it."""
    array = texts.cast(pa.large_string())
    _, offsets, content = array.buffers()
    bounds = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    return PackedTexts(np.frombuffer(b"" if content is None else content, np.uint8), bounds)


def _numbered(chunk: Rows | Events, milliseconds: list[int], digest: bytes) -> list[NumberedEvent]:
    events = _timed(chunk, milliseconds) if isinstance(chunk, Events) else _interactions(chunk, milliseconds)
    numbered = []
    for row, event in zip(chunk.rows.tolist(), events, strict=True):
        content = event.SerializeToString(deterministic=True)
        digest = hashlib.blake2b(digest + content, digest_size=_ID_BYTES).digest()
        if not event.event_id:
            event.event_id = digest.hex()
        numbered.append(NumberedEvent(row, event, digest))
    return numbered


def _timed(chunk: Events, milliseconds: list[int]) -> Iterator[pb.Event]:
    for event, timestamp_ms, has_time in zip(chunk.events, milliseconds, chunk.has_time.tolist(), strict=True):
        if has_time:
            event.event_time.FromMilliseconds(timestamp_ms)
        yield event


def _interactions(chunk: Rows, milliseconds: list[int]) -> Iterator[pb.Event]:
    event_ids = [""] * len(milliseconds) if chunk.event_ids is None else chunk.event_ids.to_pylist()
    columns: list[list[Any]] = [chunk.users.to_pylist(), chunk.items.to_pylist(), chunk.types.to_pylist()]
    answers = chunk.recommendation_ids
    columns += [chunk.values.tolist(), milliseconds, event_ids]
    columns.append([""] * len(milliseconds) if answers is None else pc.fill_null(answers, "").to_pylist())
    names = list(chunk.contexts)
    contexts = zip(*(texts.to_pylist() for texts in chunk.contexts.values()), strict=True) if names else None
    for user, item, type_name, value, timestamp_ms, event_id, answer_id in zip(*columns, strict=True):
        event = pb.Event(
            event_id=event_id,
            # NaN means that there is no value.
            interaction=pb.Interaction(user=user, item=item, type=type_name, value=None if value != value else value),
        )
        if answer_id:
            event.interaction.recommendation_id = answer_id
        event.event_time.FromMilliseconds(timestamp_ms)
        if contexts is not None:
            for name, text in zip(names, next(contexts), strict=True):
                if text:
                    event.interaction.context[name] = text
        yield event
