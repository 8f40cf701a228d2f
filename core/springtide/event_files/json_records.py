"""JSON files, one object in each line or many in an array, read as rows or as events in protobuf's JSON mapping."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from google.protobuf import json_format

from springtide.event_files.delimited import Chunk, not_utf8, to_array
from springtide.event_files.opening import InputFile
from springtide.event_files.problems import Bad, EventFileError
from springtide.events.json_words import describe_bad_fields
from springtide.events.limits import shorten
from springtide.v1 import events_pb2 as pb

_PAYLOADS = frozenset({"interaction", "nodeUpsert", "node_upsert", "relation", "nodeDelete", "node_delete", "batch"})
_EVENT_TIME = ("eventTime", "event_time")
_PARSE_ERRORS = (
    *(json_format.ParseError, ValueError, TypeError, AttributeError, OverflowError, RecursionError, SystemError),
)
"""What json_format raises: for lone surrogates, deep nesting, lists in place of objects."""
_MAX_LINE = 64 << 20  # Characters of a line, or of an object in an array.
_BLOCK = 1 << 20
_CHUNK_ROWS = 10_000
_MAX_DEPTH = 8  # Objects in objects whose columns are found by names with dots.
_WANTED = "wanted a JSON object"


class JsonNumber(str):
    """A number of JSON as it is written, so that ids keep their digits."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Messages:
    """Some events of a file in protobuf's JSON mapping, without their times.

    Attributes:
        rows: int64 ``[n]``, numbers of their lines in the file, from 1.
        events: The events, ``[n]``.
        times: Their times as texts, ``[n]``; null for none.
        bad: What cannot be read, by field.
    """

    rows: npt.NDArray[np.int64]
    events: list[pb.Event]
    times: pa.Array
    bad: list[tuple[str, Bad]]


class JsonFile:
    """JSON objects in a file, each a row of values by name, or an event in protobuf's JSON mapping.

    Attributes:
        unit: What the numbers of rows count: ``line``, or ``item`` of an array.
    """

    def __init__(self, file: InputFile) -> None:
        self._file = file
        with file.reading(), file.open_text() as text:
            first = next((line for line in _lines(text) if line.strip("\ufeff \t\r\n")), "").strip("\ufeff \t\r\n")
        self.unit = "item" if first.startswith("[") or first == "{" else "line"

    def chunks(self) -> Iterator[Chunk | Messages]:
        """Yield the records in the order of the file, rows and events apart."""
        last = 0
        with self._file.reading(lambda: f" after {self.unit} {last:,}"):
            records = self.records()
            while found := list(islice(records, _CHUNK_ROWS)):
                start, last = 0, found[-1][0]
                for stop in range(1, len(found) + 1):
                    if stop == len(found) or _is_event(found[stop][1]) != _is_event(found[start][1]):
                        run = found[start:stop]
                        yield _messages(run) if _is_event(run[0][1]) else _rows(run)
                        start = stop

    def places_of(self, rows: Iterable[int]) -> dict[int, str]:
        """Return the place of each row in words."""
        return {row: f"{self.unit} {row:,}" for row in rows}

    def records(self) -> Iterator[tuple[int, Any]]:
        """Yield number and value of each record; numbers are texts, and a ``ValueError`` says what no JSON is."""
        decoder = json.JSONDecoder(parse_int=JsonNumber, parse_float=JsonNumber, parse_constant=_constant)
        with self._file.open_text() as text:
            yield from self._items(text, decoder) if self.unit == "item" else _of_lines(text, decoder)

    def _items(self, text: Any, decoder: json.JSONDecoder) -> Iterator[tuple[int, Any]]:
        """Yield the objects of an array, or objects one after the other, each over any number of lines."""
        buffer, at, number, is_at_end = "", 0, 1, False
        between = " \t\r\n,]\ufeff["
        while True:
            while at < len(buffer) and buffer[at] in between:
                if buffer[at] == "[":
                    between = " \t\r\n,]"
                at += 1
            try:
                if at == len(buffer):
                    raise json.JSONDecodeError("", buffer, at)
                value, at = decoder.raw_decode(buffer, at)
                yield number, value
                number += 1
            except RecursionError:
                raise EventFileError(f"{self._file.name}: item {number:,}: it is nested too deeply") from None
            except json.JSONDecodeError as error:
                if is_at_end and at == len(buffer):
                    return
                if is_at_end or len(buffer) - at > _MAX_LINE:
                    raise EventFileError(
                        f"{self._file.name}: item {number:,}: wanted a JSON object, got "
                        f"{shorten(buffer[at : at + 200])}: {error.msg}"
                    ) from error
                more = text.read(max(_BLOCK, len(buffer) - at))
                buffer, at, is_at_end = buffer[at:] + more, 0, not more


def _lines(text: Any) -> Iterator[str]:
    """Yield lines; a longer one than allowed is cut, and then fails as JSON."""
    return iter(lambda: text.readline(_MAX_LINE), "")


def _of_lines(text: Any, decoder: json.JSONDecoder) -> Iterator[tuple[int, Any]]:
    number = 0
    for line in _lines(text):
        number += 1
        stripped = line.strip("\ufeff \t\r\n\0")
        if not stripped:
            continue
        try:
            value = decoder.decode(stripped)
        except RecursionError:
            value = ValueError("it is nested too deeply")
        except json.JSONDecodeError as error:
            value = ValueError(f"{_WANTED}, got {shorten(stripped)}: {error.msg} at character {error.pos + 1:,}")
        yield number, value


def _constant(name: str) -> JsonNumber | None:
    return None if name == "NaN" else JsonNumber(name)


def _is_event(record: Any) -> bool:
    return isinstance(record, dict) and any(isinstance(record.get(name), dict) for name in _PAYLOADS & record.keys())


def _rows(found: list[tuple[int, Any]]) -> Chunk:
    bad: list[tuple[str, Bad]] = []
    records: list[Mapping[str, Any]] = []
    for at, (_, record) in enumerate(found):
        if isinstance(record, dict):
            has_objects = any(isinstance(value, dict) for value in record.values())
            records.append(_flat(record) if has_objects else record)
            continue
        records.append({})
        words = str(record) if isinstance(record, ValueError) else f"{_WANTED}, got {_shown(record)}"
        bad.append(("", Bad(at, words)))
    names = dict.fromkeys(name for record in records for name in record)
    columns = {}
    for name in names:
        values = [record.get(name) for record in records]
        if not all(value is None or isinstance(value, str) for value in values):
            for at, value in enumerate(values):
                if isinstance(value, bool):
                    values[at] = str(value).lower()
                elif isinstance(value, list | dict):
                    values[at] = None
                    bad.append((name, Bad(at, f"wanted a text or a number, got {_shown(value)}")))
        columns[name], unreadable = to_array(values)
        bad += [(name, problem) for problem in unreadable]
    return Chunk(np.array([number for number, _ in found], np.int64), columns, bad)


def _flat(record: Mapping[str, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """Return a record in which values of objects in it have names with dots, such as ``context.place``."""
    flat: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict) and value and depth < _MAX_DEPTH:
            flat |= _flat(value, f"{prefix}{name}.", depth + 1)
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _messages(found: list[tuple[int, Any]]) -> Messages:
    events, times, bad = [], [], []
    for at, (_, record) in enumerate(found):
        given = [record.pop(name) for name in _EVENT_TIME if name in record]
        time = given[0] if given else None
        if time is not None and not isinstance(time, str):
            bad.append(("eventTime", Bad(at, f"wanted a text or a number, got {_shown(time)}")))
            time = None
        times.append(time)
        event = pb.Event()
        try:
            json_format.ParseDict(record, event)
        except _PARSE_ERRORS as error:
            said = describe_bad_fields(record) or " ".join(str(error).split())[:300]
            words = f"wanted an event in protobuf's JSON mapping: {said}"
            bad.append(("", Bad(at, not_utf8(_dumped(record)) or words)))
        events.append(event)
    texts, unreadable = to_array(times)
    bad += [("eventTime", problem) for problem in unreadable]
    return Messages(np.array([number for number, _ in found], np.int64), events, texts, bad)


def _dumped(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return ""


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    return shorten(str(value)) if isinstance(value, JsonNumber) else shorten(json.dumps(value))
