"""Files of events: JSON lines, CSV and Parquet."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from google.protobuf import json_format

from springtide.errors import SpringtideError
from springtide.v1 import events_pb2 as pb

_BATCH_ROWS = 65_536
_REQUIRED = ("user", "item", "type", "event_time")
_OPTIONAL = ("event_id", "value")
_CONTEXT = "context."


class EventFileError(SpringtideError):
    """Raised when a file of events cannot be read; events before the fault may have been published already."""


@dataclass(frozen=True, slots=True)
class EventFile:
    """A file of events.

    Attributes:
        path: A JSON lines file (``.jsonl``, ``.ndjson``) with one event per line in protobuf's JSON mapping; or a CSV
            or Parquet file of interactions with the columns user, item, type and event_time, and optionally value,
            event_id and ``context.NAME``. Times are ISO 8601 or timestamps (UTC if they have no zone), or integers in
            milliseconds since the Unix epoch.

    Raises:
        EventFileError: If there is no such file, or its suffix is another one.
    """

    path: Path

    def __post_init__(self) -> None:
        if not self.path.is_file():
            raise EventFileError(f"{self.path}: no such file")
        if self.path.suffix not in _READERS:
            raise EventFileError(f"{self.path}: wanted a file that ends in {', '.join(sorted(_READERS))}")

    def count(self) -> int:
        """Return the number of events in the file, without parsing them."""
        if self.path.suffix == ".parquet":
            return int(pq.read_metadata(self.path).num_rows)
        with self.path.open("rb") as file:
            num_lines = sum(not line.isspace() for line in file)
        return num_lines - (self.path.suffix == ".csv")

    def events(self) -> Iterator[pb.Event]:
        """Yield the events, in the file's order.

        Raises:
            EventFileError: If an event cannot be read; names the line or the column.
        """
        try:
            yield from _READERS[self.path.suffix](self.path)
        except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
            raise EventFileError(f"{self.path}: {error}") from error


def _read_json_lines(path: Path) -> Iterator[pb.Event]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.isspace():
                continue
            try:
                yield json_format.ParseDict(json.loads(line), pb.Event())
            except (json.JSONDecodeError, json_format.ParseError) as error:
                raise EventFileError(f"{path}, line {number}: {error}") from error


def _read_csv(path: Path) -> Iterator[pb.Event]:
    with path.open(encoding="utf-8") as file:
        names = file.readline().strip().split(",")
    ids = {name: pa.string() for name in names if name not in ("event_time", "value")}
    with pa.csv.open_csv(path, convert_options=pa.csv.ConvertOptions(column_types=ids)) as batches:
        for batch in batches:
            yield from _rows(path, batch)


def _read_parquet(path: Path) -> Iterator[pb.Event]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH_ROWS):
            yield from _rows(path, batch)


def _rows(path: Path, batch: pa.RecordBatch) -> Iterator[pb.Event]:
    names = batch.schema.names
    missing = [name for name in _REQUIRED if name not in names]
    unknown = [name for name in names if name not in (*_REQUIRED, *_OPTIONAL) and not name.startswith(_CONTEXT)]
    if missing or unknown:
        raise EventFileError(
            f"{path}: wanted the columns {', '.join(_REQUIRED)}, and optionally {', '.join(_OPTIONAL)} or "
            f"{_CONTEXT}NAME; missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}"
        )
    columns: dict[str, list[Any]] = {
        name: batch.column(name).cast(pa.string()).to_pylist() for name in names if name not in ("event_time", "value")
    }
    columns["event_time"] = _milliseconds(path, batch.column("event_time"))
    if "value" in names:
        columns["value"] = batch.column("value").cast(pa.float64()).to_pylist()
    for values in zip(*columns.values(), strict=True):
        yield _event(dict(zip(columns, values, strict=True)))


def _milliseconds(path: Path, times: pa.Array) -> list[int | None]:
    if pa.types.is_string(times.type) or pa.types.is_large_string(times.type):
        times = times.cast(pa.timestamp("ms", tz="UTC"))
    if pa.types.is_timestamp(times.type):
        times = pc.cast(times, pa.timestamp("ms", tz=times.type.tz), safe=False).cast(pa.int64())
    if not pa.types.is_integer(times.type):
        raise EventFileError(
            f"{path}: wanted event_time as ISO 8601, timestamps or milliseconds in integers, got {times.type}"
        )
    milliseconds: list[int | None] = times.to_pylist()
    return milliseconds


def _event(row: Mapping[str, Any]) -> pb.Event:
    event = pb.Event(event_id=row.get("event_id") or "")
    if row["event_time"] is not None:
        event.event_time.FromMilliseconds(row["event_time"])
    interaction = event.interaction
    interaction.user, interaction.item, interaction.type = (row[name] or "" for name in ("user", "item", "type"))
    if row.get("value") is not None:
        interaction.value = row["value"]
    for name, value in row.items():
        if name.startswith(_CONTEXT) and value:
            interaction.context[name.removeprefix(_CONTEXT)] = value
    return event


_READERS = {".jsonl": _read_json_lines, ".ndjson": _read_json_lines, ".csv": _read_csv, ".parquet": _read_parquet}
