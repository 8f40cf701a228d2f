"""Reads a file with attributes of items or users: categories, numbers, texts and vectors, a row for each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from springtide.errors import DatasetError
from springtide.evaluation.data.datasets import Dataset
from springtide.event_files.arrow_tables import ArrowFile
from springtide.event_files.delimited import Chunk, DelimitedFile
from springtide.event_files.json_records import JsonFile, JsonNumber
from springtide.event_files.opening import DELIMITED, JSON, InputFile
from springtide.event_files.roles import HEADERS
from springtide.event_files.texts import is_missing_word, read_texts
from springtide.events.limits import MAX_NUMBER
from springtide.events.model import NodeUpsert
from springtide.settings.model import AttributeKind, EventSettings

_TEXT_NAMES = frozenset({"title", "name", "description", "text", "summary", "overview", "body", "headline"})
_MAX_LENGTH = EventSettings().max_vector_length
_NO_ROWS = np.empty(0, np.int64)
_MIN_TEXT_LENGTH = 40  # Characters on average: longer values are prose, and no two items share them.


@dataclass(frozen=True, slots=True)
class AttributeFile:
    """A file of attributes, and how it is read.

    Attributes:
        path: The file: CSV, TSV, JSON lines, Parquet or Feather.
        node_type: ``item`` or ``user``.
        id_column: Name of the column with ids; empty for the first that is called like one, such as ``item_id``.
        separator: Stands between several categories in one text, such as ``Comedy|Drama``; empty for one each.
        kinds: Kinds of some attributes by name; the others are told by their values.
        encoding: Encoding of a text file; None for that of its mark, else UTF-8.
    """

    path: Path
    node_type: str
    id_column: str = ""
    separator: str = "|"
    kinds: Mapping[str, AttributeKind] = field(default_factory=dict)
    encoding: str | None = None


def with_attributes(dataset: Dataset, file: AttributeFile) -> Dataset:
    """Return the data set with the attributes of a file, at the time of its first interaction.

    A column of numbers is a number; one of lists of numbers, all of one length, a vector; one of lists of texts,
    several categories; of long texts, or with a name such as ``title``, a text; any other a category. Notes name the
    kinds, and the columns that are not used.

    Raises:
        DatasetError: If the file cannot be read, has no column of ids or no rows, or none of its ids occurs.
    """
    columns = _read(file)
    id_name = _id_column(file, list(columns))
    ids = _texts(columns.pop(id_name))
    if not ids:
        raise DatasetError(f"{file.path}: wanted attributes, got no rows")
    position = {id_: at for at, id_ in enumerate(ids) if id_}  # Of several rows with one id, the last counts.
    interactions = dataset.interactions
    known = interactions.user_ids if file.node_type == "user" else interactions.item_ids
    num_found = sum(id_ in position for id_ in known)
    if not num_found:
        raise DatasetError(
            f"{file.path}: wanted ids of {file.node_type}s in column {id_name!r}, got {len(position):,} that never "
            f"occur in the events, such as {ids[0]!r}; an event has {known[0]!r}"
        )
    read = {name: _attribute(name, values, file) for name, values in columns.items()}
    start_ms = int(interactions.timestamps_ms[0])
    upserts = [_upsert(file.node_type, id_, at, read, start_ms) for id_, at in position.items()]
    by_kind: dict[str, list[str]] = {}
    for name, (kind, _) in read.items():
        by_kind.setdefault(kind, []).append(name)
    words = "; ".join(f"{_WORDS[kind]}: {', '.join(names)}" for kind, names in by_kind.items())
    notes = [f"{file.path}: {num_found:,} of {len(known):,} {file.node_type}s have attributes ({words})"]
    if len(position) < len(ids):
        notes.append(f"{file.path}: {len(ids) - len(position):,} rows without an id, or with one that comes again")
    return replace(dataset, upserts=[*dataset.upserts, *upserts], notes=[*dataset.notes, *notes])


_WORDS = {"category": "categories", "number": "numbers", "text": "texts", "vector": "vectors", "": "not used"}


def _read(file: AttributeFile) -> dict[str, list[Any]]:
    """Return all columns as Python values, by name."""
    opened = InputFile(file.path, file.encoding)
    try:
        if opened.form == JSON:
            return _read_json(opened)
        columns: dict[str, list[Any]] = {}
        num_rows = 0
        for chunk in _chunks(opened):
            for name, values in chunk.columns.items():
                columns.setdefault(name, [None] * num_rows).extend(values.to_pylist())
            num_rows += len(chunk.rows)
            for values in columns.values():
                values.extend([None] * (num_rows - len(values)))
        return columns
    finally:
        opened.close()


def _chunks(opened: InputFile) -> Sequence[Chunk]:
    source = DelimitedFile(opened) if opened.form == DELIMITED else ArrowFile(opened)
    chunks = list(source.chunks(source.names))
    return chunks or [Chunk(_NO_ROWS, {name: pa.nulls(0, pa.string()) for name in source.names})]


def _read_json(opened: InputFile) -> dict[str, list[Any]]:
    records: list[Mapping[str, Any]] = []
    source = JsonFile(opened)
    with opened.reading():
        for number, record in source.records():
            if not isinstance(record, dict):
                words = record if isinstance(record, ValueError) else "wanted a JSON object"
                raise DatasetError(f"{opened.name}: {source.unit} {number:,}: {words}")
            records.append(record)
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def _id_column(file: AttributeFile, names: Sequence[str]) -> str:
    wanted = (file.id_column,) if file.id_column else (*HEADERS[file.node_type], "id")
    plain = names if file.id_column else [name.partition(":")[0].replace("_", "").lower() for name in names]
    for name in wanted:
        if name in plain:
            return names[list(plain).index(name)]
    raise DatasetError(
        f"{file.path}: no column of ids: wanted one called {' or '.join(wanted)}, or --{file.node_type}-id NAME "
        f"(the file has: {', '.join(names) or 'nothing'})"
    )


def _texts(values: Sequence[Any]) -> list[str]:
    texts, _ = read_texts(pa.array(values))
    return [text or "" for text in texts.to_pylist()]


def _attribute(name: str, values: Sequence[Any], file: AttributeFile) -> tuple[str, Sequence[Any]]:
    """Return the kind of a column, empty if it is not used, and its values: a tuple, a number or a text, or None."""
    wanted = file.kinds.get(name)
    if any(isinstance(value, list) for value in values):
        lists = [value if isinstance(value, list) else None for value in values]
        parts = [str(part) for each in lists for part in each or () if part is not None]
        if wanted == "vector" or (wanted is None and not any(_is_text(part) for each in lists for part in each or ())):
            vectors = _vectors(lists)
            return ("", []) if vectors is None else ("vector", vectors)
        if wanted != "category" and all(_number(part) is not None for part in parts):
            return "", []
        return "category", [
            None if each is None else tuple(str(part) for part in each if part not in (None, "")) for each in lists
        ]
    present = [value for value in values if value is not None and not is_missing_word(str(value))]
    if not present:
        return "", []
    texts = [None if value is None or is_missing_word(str(value)) else str(value).strip() for value in values]
    numbers_of = [None if text is None else _number(text) for text in texts]
    if wanted == "number" or (
        wanted is None and all(n is not None for n, t in zip(numbers_of, texts, strict=True) if t)
    ):
        return "number", numbers_of
    mean_length = sum(len(str(value)) for value in present) / len(present)
    if wanted == "text" or (wanted is None and (name.lower() in _TEXT_NAMES or mean_length > _MIN_TEXT_LENGTH)):
        return "text", texts
    split = [
        None
        if text is None
        else tuple(part.strip() for part in (text.split(file.separator) if file.separator else [text]))
        for text in texts
    ]
    return "category", split


def _is_text(part: Any) -> bool:
    return isinstance(part, str) and not isinstance(part, JsonNumber)


def _vectors(lists: Sequence[list[Any] | None]) -> list[tuple[float, ...] | None] | None:
    """Return lists of finite numbers as vectors, None for an empty one; None if they have not all one length."""
    vectors: list[tuple[float, ...] | None] = []
    for each in lists:
        numbers = [None if part is None else _number(str(part)) for part in each or ()]
        if None in numbers:
            return None
        vectors.append(tuple(number for number in numbers if number is not None) or None)
    lengths = {len(each) for each in vectors if each is not None}
    return vectors if len(lengths) == 1 and max(lengths) <= _MAX_LENGTH else None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and abs(number) <= MAX_NUMBER else None


def _upsert(
    node_type: str, id_: str, at: int, read: Mapping[str, tuple[str, Sequence[Any]]], start_ms: int
) -> NodeUpsert:
    of_kind: dict[str, dict[str, Any]] = {"category": {}, "number": {}, "text": {}, "vector": {}}
    for name, (kind, values) in read.items():
        if kind and values[at]:
            of_kind[kind][name] = values[at]
        elif kind == "number" and values[at] == 0:
            of_kind[kind][name] = 0.0
    categories, numbers, texts, vectors = of_kind.values()
    return NodeUpsert(node_type, id_, categories, numbers, texts, start_ms, vectors)
