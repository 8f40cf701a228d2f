"""Text tables, with commas, semicolons, tabs, bars or ``::``, read record by record, as texts."""

import csv
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from springtide.event_files.opening import InputFile
from springtide.event_files.problems import Bad, EventFileError

if TYPE_CHECKING:
    import _csv

_DELIMITERS = ",;\t|\x01"  # The last one is Hive's.
_DOUBLE, _FOR_DOUBLE = "::", "\x1f"  # Between fields in MovieLens; csv takes one character alone.
_LIKE_A_TIME = re.compile(r"\d{6}|\d[-/:.]\d")
_MAX_FIELD = 64 << 20  # Characters; a larger value is a quote that is never closed.
_MAX_ROWS, _MAX_CHARS = 20_000, 16 << 20  # Of a chunk.
_NUM_BEFORE = 20  # Characters before a bad one that a message shows.
_SLICE = 200  # Records that are split at a time.
_END = "\0end of the file\0"  # A record after the last one, which an open quote swallows.


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a file, as they stand there.

    Attributes:
        rows: int64 ``[n]``, numbers of the rows in the file, from 1.
        columns: Values by column name, each ``[n]``.
        bad: What cannot be read, by column; an empty name for a whole row.
    """

    rows: npt.NDArray[np.int64]
    columns: dict[str, pa.Array]
    bad: Sequence[tuple[str, Bad]] = ()


class DelimitedFile:
    """A text table. Empty lines are left out; a record is as wide as the first one, which holds the names.

    Args:
        file: The file.
        columns: Column names by role, as the caller gave them. If all are numbers, and not all of them names in the
            first record, they count the columns from 1, and the table has no header.

    Attributes:
        names: Names of the columns, in order.
        delimiter: What stands between two fields.

    Raises:
        EventFileError: If the header cannot be read.
    """

    def __init__(self, file: InputFile, columns: Mapping[str, str] | None = None) -> None:
        self._file = file
        self._has_header = True
        with file.reading(), file.open_text(newline="") as text:
            line = next((line for line in _lines(text) if line.strip("\ufeff \t\r\n")), "").lstrip("\ufeff")
            self._has_separator_line = line.lower().startswith("sep=") and len(line.strip()) == 5
            if self._has_separator_line:
                self.delimiter = line.strip()[-1]
                line = text.readline(1 << 20)
            else:
                unquoted = "".join(line.split('"')[::2])
                self.delimiter = max(_DELIMITERS, key=unquoted.count)
                if line.count(_DOUBLE) > max(1, unquoted.count(self.delimiter)):
                    self.delimiter = _DOUBLE
        unspaced = line.rstrip().split(self.delimiter)[1:]
        # A file that is written "user, item" has that space before each value, too.
        self._skips_spaces = self.delimiter != "\t" and bool(unspaced) and all(name[:1] == " " for name in unspaced)
        self.names: list[str] = []
        with file.reading(), file.open_text(newline="") as text:
            self.names = _header(self._reader(text))
        if self.names == [_END]:
            raise EventFileError(f"{file.name}: the file is empty")
        given = {part for name in (columns or {}).values() for part in name.split("+")}
        numbers = list(map(str, range(1, len(self.names) + 1)))
        # A row may hold all these numbers by chance, but its time looks like no name.
        are_names = given.issubset(self.names) and not any(map(_LIKE_A_TIME.search, self.names))
        if given and given.issubset(numbers) and not are_names:
            self._has_header, self.names = False, numbers

    def chunks(self, names: Iterable[str]) -> Iterator[Chunk]:
        """Yield the rows, with the named columns."""
        at_of = {name: self.names.index(name) for name in names}
        num_before = num_rows = 0
        reading = self._file.reading(lambda: f" after row {num_before + num_rows:,}")
        with reading, self._file.open_text(newline="") as text:
            slices = self._slices(text)
            while True:
                values: dict[str, list[str]] = {name: [] for name in at_of}
                bad: list[tuple[str, Bad]] = []
                num_rows = num_chars = 0
                while num_rows < _MAX_ROWS and num_chars < _MAX_CHARS and (records := next(slices, None)) is not None:
                    bad += self._make_complete(records, num_rows)
                    by_column = list(zip(*records, strict=True))
                    for name, at in at_of.items():
                        values[name] += by_column[at]
                    num_rows += len(records)
                    num_chars += sum(map(len, itertools.chain.from_iterable(records[:: _SLICE // 8]))) * _SLICE // 8
                if not num_rows:
                    return
                columns = {}
                for name, texts in values.items():
                    columns[name], unreadable = to_array(texts)
                    bad += [(name, problem) for problem in unreadable]
                yield Chunk(np.arange(num_before + 1, num_before + 1 + num_rows), columns, bad)
                num_before += num_rows

    def _slices(self, text: TextIO) -> Iterator[list[list[str]]]:
        """Yield records that are not blank, few at a time: lists that die young cost the garbage collector little."""
        width = len(self.names)
        records = self._records(text)
        is_at_end = False
        while not is_at_end:
            try:
                found = list(itertools.islice(records, _SLICE))
            except csv.Error:
                self._refuse_quote()
            if is_at_end := not found or found[-1] == [_END]:
                found = found[:-1]
            elif len(found) < _SLICE or (found[-1] and _END in found[-1][-1]):
                self._refuse_quote()
            kept = list(filter(any, found))
            if set(map(len, kept)) != {width}:
                kept = [record for record in kept if not _is_blank(record, width)]
            if kept:
                yield kept

    def places_of(self, rows: Iterable[int]) -> dict[int, str]:
        """Return the place of each row in words: its number below the header, and its line in the file."""
        wanted = set(rows)
        places = {}
        with self._file.open_text(newline="") as text:
            reader = self._records(text)
            number, start = 0, reader.line_num + 1
            for record in reader:
                if not _is_blank(record, len(self.names)):
                    number += 1
                    if number in wanted:
                        stop = reader.line_num
                        lines = f"line {start:,}" if start == stop else f"lines {start:,} to {stop:,}"
                        places[number] = f"row {number:,} ({lines})"
                        if len(places) == len(wanted):
                            break
                start = reader.line_num + 1
        return {row: places.get(row, f"row {row:,}") for row in wanted}

    def _make_complete(self, records: list[list[str]], num_before: int) -> list[tuple[str, Bad]]:
        """Make all records as wide as the header, and return those that were not."""
        width = len(self.names)
        bad = []
        if set(map(len, records)) != {width}:
            for at, record in enumerate(records):
                if len(record) < width or any(record[width:]):
                    first = "header" if self._has_header else "first row"
                    wanted = f"wanted {width} fields, as in the {first}, got {len(record)}"
                    bad.append(("", Bad(num_before + at, wanted)))
                records[at] = (record + [""] * width)[:width]
        return bad

    def _reader(self, text: TextIO) -> "_csv.Reader":
        csv.field_size_limit(_MAX_FIELD)
        first = text.readline(_MAX_FIELD).lstrip("\ufeff")
        lines = itertools.chain([first][self._has_separator_line :], text, [_END])
        if self.delimiter == _DOUBLE:  # What writes it knows no quotes.
            replaced = (line.replace(_DOUBLE, _FOR_DOUBLE) for line in lines)
            return csv.reader(
                replaced, delimiter=_FOR_DOUBLE, quoting=csv.QUOTE_NONE, skipinitialspace=self._skips_spaces
            )
        return csv.reader(lines, delimiter=self.delimiter, skipinitialspace=self._skips_spaces)

    def _records(self, text: TextIO) -> "_csv.Reader":
        """Return a reader that stands before the first row."""
        reader = self._reader(text)
        if self._has_header:
            _header(reader)
        return reader

    def _refuse_quote(self) -> None:
        """Raise an error that names the line where a quote opens that is never closed."""
        with self._file.open_text(newline="") as text:
            start, row = 1, 0
            try:
                reader = self._records(text)
                start, row = reader.line_num + 1, 1
                for record in reader:
                    if record and _END in record[-1]:
                        break
                    start, row = reader.line_num + 1, row + (not _is_blank(record, len(self.names)))
            except csv.Error:
                pass
        raise EventFileError(
            f"{self._file.name}: row {row:,} (line {start:,}): a quote opens there and is never closed"
        )


def _lines(text: TextIO) -> Iterator[str]:
    return iter(lambda: text.readline(1 << 20), "")


def _is_blank(record: list[str], width: int) -> bool:
    """Return whether a record is an empty line, or one of delimiters alone, as spreadsheets leave them at the end."""
    return not any(record) or (len(record) == 1 and width > 1 and not record[0].strip())


def _header(records: Iterator[list[str]]) -> list[str]:
    """Return the first record that is not blank, and leave the iterator after it."""
    return next((record for record in records if any(name.strip() for name in record)), [_END])


def to_array(values: Sequence[str | None]) -> tuple[pa.Array, list[Bad]]:
    """Return texts as an array; a text with bytes that could not be decoded is null, and bad."""
    try:
        return pa.array(values, pa.string()), []
    except UnicodeEncodeError:
        pass
    texts: list[str | None] = []
    bad = []
    for at, value in enumerate(values):
        try:
            (value or "").encode()
            texts.append(value)
        except UnicodeEncodeError:
            bad.append(Bad(at, not_utf8(value or "")))
            texts.append(None)
    return pa.array(texts, pa.string()), bad


def not_utf8(text: str) -> str:
    """Return what to say of a text with bytes that could not be decoded; empty for any other text."""
    try:
        text.encode()
        return ""
    except UnicodeEncodeError as error:
        start = max(0, error.start - _NUM_BEFORE)
    shown = text[start : start + 60]
    try:
        came = shown.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # An escape of JSON such as \ud800.
        return f"wanted text that UTF-8 can hold, got {shown!a}"
    return f"wanted text in UTF-8, got {came!r}; --encoding latin-1, or another, reads it"
