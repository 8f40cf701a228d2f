"""Reads a table of user, item, time, and optionally value and type, as a data set, column by column."""

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
"""Names of each role's column, the best first; case, spaces, ``_``, ``-`` and RecBole's ``:token`` are ignored."""

DEFAULT_TYPE = "interaction"

_WANTED = ("user", "item", "timestamp")
_CODED = frozenset({"user", "item", "type"})  # Roles whose values repeat: read dictionary-encoded.
_TEXT_KINDS = {".csv", ".tsv", ".jsonl", ".ndjson", ".json"}
_COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
_MAX_TYPES = 1_000  # A column with more distinct values holds ids, not types.
_JSON_HEAD = 1_000  # First lines, in which each column has to occur so that its type is known.


def read_interactions_file(path: str | Path, *, columns: Mapping[str, str] | None = None) -> Dataset:
    """Read a table of interactions.

    It is CSV or TSV with a header, JSON lines (each also as ``.gz``, ``.bz2``, ``.zst``), or Parquet, in any order. A
    row without a type gets ``DEFAULT_TYPE``, a row without a value has none, and a row without user, item or
    time is an error. See ``springtide.evaluation.data.event_times`` for the formats of times.

    Args:
        path: The file; its suffix decides the format.
        columns: Column names by role (``user``, ``item``, ``timestamp``, ``value``, ``type``), for names that are not
            in ``HEADERS``.

    Raises:
        DatasetError: If the file cannot be read, lacks a column, or has an invalid row.
    """
    path = Path(path)
    compression = _COMPRESSED.get(path.suffix.lower())
    bare = path.with_suffix("") if compression else path
    kind = bare.suffix.lower()
    if (kind != ".parquet" and kind not in _TEXT_KINDS) or (kind == ".parquet" and compression):
        raise DatasetError(f"{path}: wanted .csv, .tsv, .jsonl (or one of these with .gz) or .parquet")
    try:
        if kind == ".parquet":
            roles = _Columns(path, pq.read_schema(path).names, columns)
            table = pq.read_table(path, columns=roles.names)
        elif kind in (".csv", ".tsv"):
            table, roles = _read_csv(path, kind, compression, columns)
        else:
            table, roles = _read_json(path, compression, columns)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read: {error}") from error
    return Dataset(bare.stem, _interactions(path, table, roles), ())


def parse_columns(text: str) -> dict[str, str]:
    """Return column names by role, from a text such as ``user=visitorid,item=itemid``.

    Raises:
        SettingsError: If the text has another form, or a role does not exist or occurs twice.
    """
    by_role: dict[str, str] = {}
    for part in text.split(","):
        role, equals, column = (piece.strip() for piece in part.partition("="))
        if not equals or not column or role not in HEADERS or role in by_role:
            raise SettingsError(
                f"columns: wanted role=column, each role once, got {part!r} (roles: {', '.join(HEADERS)})"
            )
        by_role[role] = column
    return by_role


class _Columns:
    """The column of each role in a file.

    Attributes:
        of_role: Column names by role.
        names: Distinct column names.

    Raises:
        DatasetError: If a column is missing or ambiguous.
    """

    def __init__(self, path: Path, header: Sequence[str], columns: Mapping[str, str] | None) -> None:
        self.of_role = dict(columns or {})
        existing = f"the file has: {', '.join(header) or 'nothing'}"
        for role, name in self.of_role.items():
            if role not in HEADERS:
                raise DatasetError(f"no role named {role!r} for a column (choices: {', '.join(HEADERS)})")
            if name not in header:
                raise DatasetError(f"{path}: no column named {name!r} for {role} ({existing})")
        by_plain_name = {_plain(name): name for name in reversed(header) if name not in self.of_role.values()}
        for role in [role for role in HEADERS if role not in self.of_role]:
            known = [by_plain_name[name] for name in HEADERS[role] if name in by_plain_name]
            if known:
                self.of_role[role] = known[0]
            elif role in _WANTED:
                raise DatasetError(
                    f"{path}: no column for {role}: wanted one called {', '.join(HEADERS[role])}, or --columns "
                    f"{role}=NAME ({existing})"
                )
        self.names = list(dict.fromkeys(self.of_role.values()))
        for role, name in self.of_role.items():
            if header.count(name) > 1:
                raise DatasetError(f"{path}: {header.count(name)} columns are called {name!r}, the column for {role}")


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]|:\w+$", "", name.strip().lower())


def _read_csv(
    path: Path, kind: str, compression: str | None, columns: Mapping[str, str] | None
) -> tuple[pa.Table, _Columns]:
    with pa.input_stream(str(path), compression=compression) as file:
        line = file.read(1 << 16).split(b"\n", 1)[0].decode("utf-8-sig").rstrip("\r")
    delimiter = "\t" if kind == ".tsv" else max(",;\t", key=line.count)
    roles = _Columns(path, next(csv.reader([line], delimiter=delimiter), []), columns)
    # All columns are read as texts, since ids may have leading zeros.
    types = {name: pa.string() for name in roles.names}
    types |= {roles.of_role[role]: pa.dictionary(pa.int32(), pa.string()) for role in _CODED & roles.of_role.keys()}
    with pa.input_stream(str(path), compression=compression) as file:
        table = pa.csv.read_csv(
            file,
            parse_options=pa.csv.ParseOptions(delimiter=delimiter),
            convert_options=pa.csv.ConvertOptions(
                include_columns=roles.names, column_types=types, null_values=[""], strings_can_be_null=True
            ),
        )
    return table, roles


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
    roles = _Columns(path, list(samples), columns)
    # Types are given, not inferred: an id may look like a date.
    types = {name: _json_type(samples[name]) for name in roles.names}
    if pa.types.is_integer(types.get(value := roles.of_role.get("value", ""), pa.null())):
        types[value] = pa.float64()  # A later row may hold 4.5.
    schema = pa.schema(list(types.items()))
    with pa.input_stream(str(path), compression=compression) as file:
        options = pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        return pa.json.read_json(file, parse_options=options), roles


def _json_type(sample: Any) -> pa.DataType:
    if isinstance(sample, bool) or not isinstance(sample, int | float):
        return pa.string()
    return pa.int64() if isinstance(sample, int) else pa.float64()


def _interactions(path: Path, table: pa.Table, roles: _Columns) -> Interactions:
    if table.num_rows == 0:
        raise DatasetError(f"{path}: wanted interactions, got no rows")
    for role in _WANTED:
        name = roles.of_role[role]
        if missing := table[name].null_count:
            row = pc.index(pc.is_null(table[name]), True).as_py() + 1
            raise DatasetError(
                f"{path}: {missing} of {table.num_rows} rows have no {role} (column {name!r}), the first is row {row}"
            )
    users, items = (_texts(table[roles.of_role[role]]) for role in ("user", "item"))
    try:
        timestamps_ms = timestamps_ms_of(table[roles.of_role["timestamp"]])
    except DatasetError as error:
        raise DatasetError(f"{path}: column {roles.of_role['timestamp']!r}: {error}") from error
    values = _values(path, table[roles.of_role["value"]], roles.of_role["value"]) if "value" in roles.of_role else None
    types = _texts(table[roles.of_role["type"]]).fill_null(DEFAULT_TYPE) if "type" in roles.of_role else DEFAULT_TYPE
    interactions = interactions_of_columns(users, items, timestamps_ms, values, types)
    if (num_types := len(interactions.relations)) > _MAX_TYPES:
        raise DatasetError(f"{path}: wanted up to {_MAX_TYPES} types in {roles.of_role['type']!r}, got {num_types}")
    return interactions


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as texts; a dictionary-encoded column stays as it is."""
    return column if pa.types.is_dictionary(column.type) else column.cast(pa.string())


def _values(path: Path, column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Return values as numbers; null where there is none. A NaN stays a NaN."""
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
