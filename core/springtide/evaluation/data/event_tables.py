"""Any table of user, item, time, and perhaps value and type, as a data set; columns from end to end."""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from springtide.errors import DatasetError, SettingsError
from springtide.evaluation.data.columns import interactions_of_columns
from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.data.event_times import timestamps_ms_of
from springtide.events.model import Interactions

HEADERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "user": ("user", "userid", "uid", "visitor", "visitorid", "customer", "customerid", "householdid"),
        "item": ("item", "itemid", "iid", "product", "productid", "movieid", "article", "articleid"),
        "timestamp": ("timestamp", "timestampms", "ts", "time", "datetime", "eventtime", "date"),
        "value": ("value", "rating", "quantity", "amount", "weight"),
        "type": ("type", "eventtype", "event", "action", "interaction", "behavior"),
    }
)
"""What each column may be called, the best first; case, spaces, ``_``, ``-`` and RecBole's ``:token`` do not matter."""

DEFAULT_TYPE = "interaction"

_WANTED = ("user", "item", "timestamp")
_CODED = frozenset({"user", "item", "type"})  # Their values recur.
_TEXT_KINDS = {".csv", ".tsv", ".jsonl", ".ndjson", ".json"}
_COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
_MAX_TYPES = 1_000  # More are ids, taken for types.
_JSON_HEAD = 1_000  # Lines in which each column has to occur, to know its type.


def read_interactions_file(path: str | Path, *, columns: Mapping[str, str] | None = None) -> Dataset:
    """Read a table of interactions.

    CSV and TSV with a header, JSON with an object on each line (each also as ``.gz``, ``.bz2``, ``.zst``), and Parquet.
    Rows need not be in order. A row without a type is an ``interaction``, one without a value has none; a row without
    user, item or time is refused. ``springtide.evaluation.data.event_times`` tells which times are understood.

    Args:
        path: Its ending says what it is.
        columns: The column of each role (``user``, ``item``, ``timestamp``, ``value``, ``type``), for those that are
            not called by one of the names in ``HEADERS``.

    Raises:
        DatasetError: If the file cannot be read, lacks a column, or a row is not as it should be.
    """
    path = Path(path)
    compression = _COMPRESSED.get(path.suffix.lower())
    bare = path.with_suffix("") if compression else path
    kind = bare.suffix.lower()
    if (kind != ".parquet" and kind not in _TEXT_KINDS) or (kind == ".parquet" and compression):
        raise DatasetError(f"{path}: wanted .csv, .tsv, .jsonl (or one of these with .gz) or .parquet")
    try:
        if kind == ".parquet":
            found = _Columns(path, pq.read_schema(path).names, columns)
            table = pq.read_table(path, columns=found.names)
        elif kind in (".csv", ".tsv"):
            table, found = _read_csv(path, kind, compression, columns)
        else:
            table, found = _read_json(path, compression, columns)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read: {error}") from error
    return Dataset(bare.stem, _interactions(path, table, found), ())


def parse_columns(text: str) -> dict[str, str]:
    """Return the columns of ``user=visitorid,item=itemid``.

    Raises:
        SettingsError: If it is of another form, or a role does not exist or occurs twice.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        role, equals, column = (piece.strip() for piece in part.partition("="))
        if not equals or not column or role not in HEADERS or role in found:
            raise SettingsError(
                f"columns: wanted role=column, each role once, got {part!r} (roles: {', '.join(HEADERS)})"
            )
        found[role] = column
    return found


class _Columns:
    """Which column of a file has which role."""

    def __init__(self, path: Path, header: Sequence[str], columns: Mapping[str, str] | None) -> None:
        self.of_role = dict(columns or {})
        there = f"the file has: {', '.join(header) or 'nothing'}"
        for role, name in self.of_role.items():
            if role not in HEADERS:
                raise DatasetError(f"no role named {role!r} for a column (choices: {', '.join(HEADERS)})")
            if name not in header:
                raise DatasetError(f"{path}: no column named {name!r} for {role} ({there})")
        by_plain_name = {_plain(name): name for name in reversed(header) if name not in self.of_role.values()}
        for role in [role for role in HEADERS if role not in self.of_role]:
            known = [by_plain_name[name] for name in HEADERS[role] if name in by_plain_name]
            if known:
                self.of_role[role] = known[0]
            elif role in _WANTED:
                raise DatasetError(
                    f"{path}: no column for {role}: wanted one called {', '.join(HEADERS[role])}, or --columns "
                    f"{role}=NAME ({there})"
                )
        self.names = list(dict.fromkeys(self.of_role.values()))
        for role, name in self.of_role.items():
            if header.count(name) > 1:
                raise DatasetError(
                    f"{path}: {header.count(name)} columns are called {name!r}, which is that for {role}"
                )


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]|:\w+$", "", name.strip().lower())


def _read_csv(
    path: Path, kind: str, compression: str | None, columns: Mapping[str, str] | None
) -> tuple[pa.Table, _Columns]:
    with pa.input_stream(str(path), compression=compression) as file:
        line = file.read(1 << 16).split(b"\n", 1)[0].decode("utf-8-sig").rstrip("\r")
    delimiter = "\t" if kind == ".tsv" else max(",;\t", key=line.count)
    found = _Columns(path, next(csv.reader([line], delimiter=delimiter), []), columns)
    # All are read as texts, since ids may have leading zeros; ids and types recur, and are held once.
    types = {name: pa.string() for name in found.names}
    types |= {found.of_role[role]: pa.dictionary(pa.int32(), pa.string()) for role in _CODED & found.of_role.keys()}
    with pa.input_stream(str(path), compression=compression) as file:
        table = pa.csv.read_csv(
            file,
            parse_options=pa.csv.ParseOptions(delimiter=delimiter),
            convert_options=pa.csv.ConvertOptions(
                include_columns=found.names, column_types=types, null_values=[""], strings_can_be_null=True
            ),
        )
    return table, found


def _read_json(path: Path, compression: str | None, columns: Mapping[str, str] | None) -> tuple[pa.Table, _Columns]:
    samples: dict[str, Any] = {}
    with io.TextIOWrapper(pa.input_stream(str(path), compression=compression), encoding="utf-8-sig") as file:
        for number, line in enumerate(islice(file, _JSON_HEAD), start=1):
            try:
                record = json.loads(line) if line.strip() else {}
            except ValueError as error:
                raise DatasetError(f"{path}, line {number}: {error}: {line[:60]!r}") from error
            if not isinstance(record, dict):
                raise DatasetError(f"{path}, line {number}: wanted one JSON object on each line, got {line[:60]!r}")
            for name, value in record.items():
                if samples.get(name) is None:
                    samples[name] = value
    found = _Columns(path, list(samples), columns)
    # Said and not guessed: an id may look like a date.
    types = {name: _json_type(samples[name]) for name in found.names}
    if pa.types.is_integer(types.get(value := found.of_role.get("value", ""), pa.null())):
        types[value] = pa.float64()  # The next may be 4.5.
    schema = pa.schema(list(types.items()))
    with pa.input_stream(str(path), compression=compression) as file:
        options = pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        return pa.json.read_json(file, parse_options=options), found


def _json_type(sample: Any) -> pa.DataType:
    if isinstance(sample, bool) or not isinstance(sample, int | float):
        return pa.string()
    return pa.int64() if isinstance(sample, int) else pa.float64()


def _interactions(path: Path, table: pa.Table, found: _Columns) -> Interactions:
    if table.num_rows == 0:
        raise DatasetError(f"{path}: wanted interactions, got no rows")
    for role in _WANTED:
        name = found.of_role[role]
        if missing := table[name].null_count:
            row = pc.index(pc.is_null(table[name]), True).as_py() + 1
            raise DatasetError(
                f"{path}: {missing} of {table.num_rows} rows have no {role} (column {name!r}), the first is row {row}"
            )
    users, items = (_texts(table[found.of_role[role]]) for role in ("user", "item"))
    try:
        timestamps_ms = timestamps_ms_of(table[found.of_role["timestamp"]])
    except DatasetError as error:
        raise DatasetError(f"{path}: column {found.of_role['timestamp']!r}: {error}") from error
    values = _values(path, table[found.of_role["value"]], found.of_role["value"]) if "value" in found.of_role else None
    types = _texts(table[found.of_role["type"]]).fill_null(DEFAULT_TYPE) if "type" in found.of_role else DEFAULT_TYPE
    interactions = interactions_of_columns(users, items, timestamps_ms, values, types)
    if (num_types := len(interactions.relations)) > _MAX_TYPES:
        raise DatasetError(f"{path}: wanted up to {_MAX_TYPES} types in {found.of_role['type']!r}, got {num_types}")
    return interactions


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return ids as texts; what is coded already stays so."""
    return column if pa.types.is_dictionary(column.type) else column.cast(pa.string())


def _values(path: Path, column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Return values as numbers; null where there is none, and where it is not a number by its own account."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pc.utf8_trim_whitespace(column)
    try:
        numbers = column.cast(pa.float64())
    except pa.ArrowException as error:
        raise DatasetError(f"{path}: column {name!r}: wanted a number: {error}") from error
    is_infinite = pc.fill_null(pc.is_inf(numbers), False)
    if (row := pc.index(is_infinite, True).as_py()) >= 0:
        raise DatasetError(
            f"{path}: column {name!r}: wanted a finite number, got {column[row].as_py()} in row {row + 1}"
        )
    return numbers
