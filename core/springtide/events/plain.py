"""Reads many plain interactions at once: those whose bytes are laid out as every protobuf library writes them."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.events.identity import INTERACTION, Uint64s, hash_slices, keys_of
from springtide.events.limits import MAX_NUMBER, Limits

# Tags of protobuf's wire format: the field's number times 8, plus 0 for a varint, 1 for 8 bytes, 2 for a sized string.
_EVENT_ID, _EVENT_TIME, _INTERACTION = 0x0A, 0x12, 0x1A
_SECONDS, _NANOS = 0x08, 0x10
_USER, _ITEM, _TYPE, _VALUE = 0x0A, 0x12, 0x1A, 0x21
_MAX_SIZE = 127  # A size of one byte.
_PADDING = bytes(1_024)  # Past the last event, so that a read past a broken event's end finds zeros.
_SHIFTS = np.arange(0, 35, 7)  # Bits that the bytes of a varint are shifted by.
_BYTES = np.arange(8)
_MAX_NANOS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class PlainInteractions:
    """The plain interactions among some events; ``n`` is their number, in the order of the events.

    Attributes:
        is_plain: For each event whether it is a plain interaction, bool ``[num_events]``.
        users: User ids, ``[n]``.
        items: Item ids, ``[n]``.
        relation_codes: Indices of the rules that match, ``[n]``.
        timestamps_ms: Event times in milliseconds since the Unix epoch, ``[n]``.
        values: Values, NaN where the event has none, ``[n]``.
        keys: Keys of the events (see ``EventMarks``), 0 where an event has no id, uint64 ``[n]``; None if none has one.
    """

    is_plain: npt.NDArray[np.bool_]
    users: list[str]
    items: list[str]
    relation_codes: list[int]
    timestamps_ms: list[int]
    values: list[float]
    keys: Uint64s | None


def read_plain(
    events: Sequence[bytes], now_ms: int, limits: Limits, plain_types: Mapping[str, int]
) -> PlainInteractions:
    """Read the plain interactions; the others, and all that must be refused, are left to protobuf.

    An interaction is plain if its fields stand in the order of their numbers, each once; if it has no context; if its
    strings are ASCII, of at most 127 bytes, and do not begin with a space; and if it keeps the limits.

    Args:
        events: Serialized ``springtide.v1.Event`` messages.
        now_ms: Wall time, milliseconds since the Unix epoch.
        limits: The limits of the settings.
        plain_types: Index of the rule by interaction type, for types whose rule matches any value.
    """
    joined = b"".join(events)
    buffer = np.frombuffer(joined + _PADDING, np.uint8)
    sizes = np.fromiter(map(len, events), np.int64, len(events))
    ends = np.cumsum(sizes)
    num_not_ascii = np.concatenate([[0], np.cumsum(buffer > _MAX_SIZE, dtype=np.int32)])  # In the bytes before each.
    max_size = min(_MAX_SIZE, limits.surely_short_id)

    def read_string(at: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return where the strings end whose sizes stand at ``at``, and which are short and ASCII."""
        size = buffer[at].astype(np.int64)
        stop = at + 1 + size
        return stop, (size <= max_size) & (num_not_ascii[at + 1] == num_not_ascii[np.minimum(stop, len(buffer))])

    at = ends - sizes
    stop, is_good = read_string(at + 1)
    has_id = buffer[at] == _EVENT_ID
    is_plain = (is_good | ~has_id) & (sizes <= limits.max_event_bytes)
    bounds_of_id = at + 2, stop
    at = np.where(has_id & is_good, stop, at)
    at, timestamps_ms, is_good = _read_time(buffer, at)
    is_plain &= is_good & (timestamps_ms <= now_ms + limits.max_future_ms)
    size = buffer[at + 1].astype(np.int64)
    is_plain &= (buffer[at] == _INTERACTION) & (size <= _MAX_SIZE) & (at + 2 + size == ends)
    at = np.where(is_plain, at + 2, 0)  # From here on, those that are not plain read anything.
    bounds: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = []
    for tag in (_USER, _ITEM, _TYPE):
        stop, is_good = read_string(at + 1)
        # What begins with a space may be blank: it is looked at later.
        is_plain &= is_good & (buffer[at] == tag) & (stop > at + 2) & (buffer[at + 2] > ord(" "))
        bounds.append((at + 2, stop))
        at = np.where(is_plain, stop, 0)
    has_value = (buffer[at] == _VALUE) & (at + 9 == ends)
    values = np.full(len(events), np.nan)
    values[has_value] = buffer[(at[has_value, None] + 1) + _BYTES].view("<f8")[:, 0]
    is_plain &= (at == ends) | (has_value & (np.abs(values) <= MAX_NUMBER))

    text = joined.decode("latin-1")  # One character for each byte, and ASCII stays as it is.
    users, items, types = (_cut(text, starts[is_plain], stops[is_plain]) for starts, stops in bounds)
    codes = list(map(plain_types.get, types, itertools.repeat(-1)))
    if -1 in codes:
        has_rule = np.array(codes) >= 0
        users, items = list(itertools.compress(users, has_rule)), list(itertools.compress(items, has_rule))
        codes = list(itertools.compress(codes, has_rule))
        is_plain[is_plain] = has_rule
    has_id &= bounds_of_id[1] > bounds_of_id[0]  # An empty id is none.
    bounds = [(starts[is_plain], stops[is_plain]) for starts, stops in (bounds_of_id, *bounds)]
    keys = _keys(buffer, has_id[is_plain], bounds)
    times, numbers = timestamps_ms[is_plain].tolist(), values[is_plain].tolist()
    return PlainInteractions(is_plain, users, items, codes, times, numbers, keys)


def _keys(
    buffer: npt.NDArray[np.uint8],
    has_id: npt.NDArray[np.bool_],
    bounds: Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]],
) -> Uint64s | None:
    """Return the keys of events, 0 where there is no id, uint64 ``[n]``, or None if no event has one.

    Args:
        buffer: Bytes of all events.
        has_id: Whether each event has an id, bool ``[n]``.
        bounds: Where the ids begin and end, then the users, items and types, each int64 ``[n]``.
    """
    if not has_id.any():
        return None
    keys = np.zeros(len(has_id), np.uint64)
    hashes = [hash_slices(buffer, starts[has_id], stops[has_id]) for starts, stops in bounds]
    keys[has_id] = keys_of(INTERACTION, *hashes)
    return keys


def _read_time(
    buffer: npt.NDArray[np.uint8], at: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Read event times at positions; return where they end, the times in milliseconds, and which are plain."""
    size = buffer[at + 1].astype(np.int64)
    # Seconds of five bytes: 1978 to 3058. Others are rare.
    encoded = buffer[(at[:, None] + 3) + _BYTES[:5]]
    seconds = ((encoded & _MAX_SIZE).astype(np.int64) << _SHIFTS).sum(1)
    goes_on = encoded > _MAX_SIZE
    is_plain = (buffer[at] == _EVENT_TIME) & (buffer[at + 2] == _SECONDS) & goes_on[:, :4].all(1) & ~goes_on[:, 4]
    # Nanoseconds, if any: a varint of one to five bytes.
    num_bytes = size - 7
    encoded = buffer[(at[:, None] + 9) + _BYTES[:5]]
    is_within = _BYTES[:5] < num_bytes[:, None]
    nanos = (np.where(is_within, encoded & _MAX_SIZE, 0).astype(np.int64) << _SHIFTS).sum(1)
    goes_on = encoded > _MAX_SIZE
    is_varint = (~is_within | (goes_on == (_BYTES[:5] < num_bytes[:, None] - 1))).all(1)
    has_nanos = (buffer[at + 8] == _NANOS) & (num_bytes >= 1) & (num_bytes <= 5) & is_varint & (nanos < _MAX_NANOS)
    is_plain &= (size == 6) | has_nanos
    return np.where(is_plain, at + 2 + size, 0), seconds * 1_000 + nanos // 1_000_000, is_plain


def _cut(text: str, starts: npt.NDArray[Any], stops: npt.NDArray[Any]) -> list[str]:
    return [text[start:stop] for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]
