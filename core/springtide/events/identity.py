"""Making the marks of events: hashes of ids, of what events are about, and of what else they say."""

import itertools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

from springtide.events import kernels
from springtide.events.marks import EventMarks

Uint64s = npt.NDArray[np.uint64]
Uint32s = npt.NDArray[np.uint32]

# The kinds of events: where each hash begins, so that those of different kinds differ.
INTERACTION, UPSERT, RELATION, DELETE, BATCH_ROW = (np.uint64(kind) for kind in range(1, 6))

_MAX_S = 2**32 - 1


def hash_strings(strings: Sequence[str]) -> Uint64s:
    """Return a hash of each string's UTF-8 bytes, uint64 ``[n]``."""
    hashes = np.empty(len(strings), np.uint64)
    kernels.hash_texts([text.encode("utf-8", "surrogatepass") for text in strings], hashes)
    return hashes


def hash_slices(buffer: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], stops: npt.NDArray[np.int64]) -> Uint64s:
    """Return a hash of the bytes of each slice of a buffer, uint64 ``[n]``."""
    hashes = np.empty(len(starts), np.uint64)
    kernels.hash_slices(buffer, starts, stops, hashes)
    return hashes


def keys_of(kind: np.uint64, ids: Uint64s, *about: Uint64s) -> Uint64s:
    """Return the keys of events, uint64 ``[n]``, none of them 0.

    Args:
        kind: What the events are.
        ids: Hashes of the events' ids, uint64 ``[n]``.
        about: Hashes of what the events are about, each uint64 ``[n]``, such as their users and items.
    """
    keys = _combined(np.full(len(ids), kind, np.uint64), ids)
    for hashes in about:
        keys = _combined(keys, hashes)
    return keys


def keys_of_rows(kind: np.uint64, hashes: Uint64s) -> Uint64s:
    """Return ``keys_of`` the columns of ``hashes``, uint64 ``[n, width]``, which is one call for all of them."""
    keys = np.empty(len(hashes), np.uint64)
    kernels.combine_rows(kind, hashes, keys)
    return keys


def _combined(keys: Uint64s, hashes: Uint64s) -> Uint64s:
    """Return a hash of each key with the hash beside it, never 0, uint64 ``[n]``."""
    combined = np.empty(len(keys), np.uint64)
    kernels.combine(keys, np.ascontiguousarray(hashes), combined)  # One id may be broadcast to all keys.
    return combined


def interaction_contents(
    timestamps_ms: npt.NDArray[np.int64], values: npt.NDArray[np.float32], contexts: Uint64s
) -> Uint32s:
    """Return hashes of what interactions say beside user, item and type, uint32 ``[n]``.

    Args:
        timestamps_ms: int64 ``[n]``, event times in milliseconds since the Unix epoch.
        values: float32 ``[n]``, NaN where an event has none.
        contexts: uint64 ``[n]``, hashes of the contexts, 0 for none.
    """
    contents = np.empty(len(timestamps_ms), np.uint32)
    kernels.hash_contents(timestamps_ms, values, contexts, contents)
    return contents


def context_hash(context: Mapping[str, str]) -> int:
    """Return a hash of a context, 0 for an empty one."""
    return zlib.crc32(repr(sorted(context.items())).encode()) if context else 0


def content_hash(event: Message) -> int:
    """Return a hash of all that an event says."""
    return zlib.crc32(event.SerializeToString(deterministic=True))


def row_keys(ids: Uint64s, about: Sequence[Uint64s], timestamps_ms: npt.NDArray[np.int64]) -> Uint64s:
    """Return the keys of rows of a packed batch that have no ids of their own, uint64 ``[n]``.

    Rows of one user, item, type and time are told apart by counting them, so that all of them enter the graph once.

    Args:
        ids: Hash of the batch's id, uint64 ``[n]``.
        about: Hashes of users, items and types, each uint64 ``[n]``.
        timestamps_ms: int64 ``[n]``, event times in milliseconds since the Unix epoch.
    """
    keys = keys_of(BATCH_ROW, ids, *about, timestamps_ms.astype(np.uint64))
    order = np.argsort(keys, kind="stable")
    in_order = keys[order]
    is_new = np.concatenate([[True], in_order[1:] != in_order[:-1]])
    starts = np.flatnonzero(is_new)[np.cumsum(is_new) - 1]
    counts = np.empty(len(keys), np.uint64)
    counts[order] = np.arange(len(keys)) - starts
    return _combined(keys, counts)


def to_seconds(timestamps_ms: npt.NDArray[np.int64]) -> Uint32s:
    """Return times of records in seconds, uint32 ``[n]``; a record without a time has 0."""
    # A tenth of what np.clip costs for one time.
    return np.minimum(np.maximum(timestamps_ms // 1_000, 0), _MAX_S).astype(np.uint32)


@dataclass(slots=True)
class MarkList:
    """Collects events of one kind, one by one; ``build`` makes their marks.

    Args:
        kind: What the events are.
    """

    kind: np.uint64
    _events: list[tuple[int, tuple[str, ...], int, int]] = field(default_factory=list)

    def add(self, row: int, event_id: str, about: tuple[str, ...], content: int, published_ms: int) -> None:
        """Add an event.

        Args:
            row: Its index among the batch's events of its kind.
            event_id: Its id.
            about: What it is about, as many strings for each event of the kind.
            content: Hash of everything else in it, of 32 bits.
            published_ms: Time of its record, in milliseconds since the Unix epoch.
        """
        published_s = min(max(published_ms // 1_000, 0), _MAX_S)  # As ``to_seconds``, without NumPy.
        self._events.append((row, (event_id, *about), content, published_s))

    def build(self) -> EventMarks | None:
        """Return the marks of the events that were added; None without any."""
        if not self._events:
            return None
        rows, strings, contents, published_s = zip(*self._events, strict=True)
        hashes = hash_strings(list(itertools.chain.from_iterable(strings))).reshape(len(rows), -1)  # [n, width]
        return EventMarks(
            np.array(rows, np.int64),
            keys_of_rows(self.kind, hashes),
            np.array(contents, np.uint32),
            np.array(published_s, np.uint32),
        )
