"""Reading a file of events, chunk by chunk; what cannot be read is named by row and column."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from springtide.clock import wall_ms
from springtide.event_files.arrow_tables import ArrowFile
from springtide.event_files.delimited import Chunk, DelimitedFile
from springtide.event_files.formatted_times import read_formatted_times
from springtide.event_files.json_records import JsonFile, Messages
from springtide.event_files.opening import DELIMITED, JSON, InputFile
from springtide.event_files.problems import Bad, EventFileError, Problems
from springtide.event_files.roles import WANTED, Roles
from springtide.event_files.rows import Events, ReadOptions, RowReader, Rows
from springtide.event_files.times import TimeScale, read_times

_DEFAULT = ReadOptions()
_DOUBTFUL_IDS = {
    r"(?i)^(nan|null|none|nat|na|n/a|<na>|undefined|\\n)$": "taken as ids: leave out rows that have none",
    r"^\d+\.0$": "other ids than those without .0",
}
"""Ids that tools write for a missing one or for an integer, and what to say of them."""
_MAX_NAMED = 10  # Columns that a note names.


class EventFile:
    """A file of events: a text table, JSON, Parquet, Feather or Arrow; also compressed, also from a pipe.

    Rows are interactions, with a column for each role (see ``HEADERS``); JSON objects may also be events in protobuf's
    JSON mapping. All numbers together decide the unit of times: so read the file once as a whole, ``chunks`` and then
    ``finish``, before ``scale`` makes milliseconds of them.

    Args:
        path: The file; ``-`` for standard input.
        options: How it is read.

    Attributes:
        name: Name of the file without folders and endings.
        scale: The unit of times, known after ``finish``.
        notes: What a person should know about how the file was read, after ``finish``.

    Raises:
        EventFileError: If it cannot be opened, or is of another form.
    """

    def __init__(self, path: Path, options: ReadOptions = _DEFAULT) -> None:
        self._options = options
        self._input = InputFile(path, options.encoding)
        self.name = self._input.stem
        self.scale = TimeScale(options.time_unit)
        self.notes: list[str] = []
        self._problems = Problems()
        self._roles: Roles | None = None
        self._num_spaced = 0
        self._doubtful: dict[str, tuple[int, str]] = {}
        try:
            self._source = self._make_source()
        except BaseException:
            self.close()
            raise

    def _make_source(self) -> DelimitedFile | JsonFile | ArrowFile:
        if self._input.form == DELIMITED:
            return DelimitedFile(self._input, self._options.columns)
        return JsonFile(self._input) if self._input.form == JSON else ArrowFile(self._input)

    @property
    def num_rows(self) -> int:
        """Number of rows that were read, bad ones included."""
        return self._problems.num_read

    def close(self) -> None:
        """Delete the copy of a pipe."""
        self._input.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def chunks(self) -> Iterator[Rows | Events]:
        """Yield the good rows, in the order of the file.

        Raises:
            EventFileError: If a column is missing, or nothing after a row can be read.
        """
        self._problems = Problems()
        self._num_spaced = 0
        self._doubtful = {}
        for chunk in self._raw_chunks():
            self._problems.num_read += len(chunk.rows)
            read = self._read_events(chunk) if isinstance(chunk, Messages) else self._read_rows(chunk)
            if len(read.rows):
                yield read

    def finish(self, *, may_be_empty: bool = False) -> None:
        """Decide the unit of times, after all chunks were read.

        Args:
            may_be_empty: Whether a file without rows is one.

        Raises:
            EventFileError: If there are no rows, or rows that cannot be read.
        """
        for row, words in self.scale.decide(wall_ms()):
            column = self._roles.of_role["timestamp"] if self._roles is not None else "eventTime"
            self._problems.add_row(row, column, words)
        self.refuse_bad_rows()
        if not self.num_rows and not may_be_empty:
            raise EventFileError(f"{self._input.name}: wanted interactions, got no rows")
        self.notes = [f"{self._input.name}: {note}" for note in (*self._own_notes(), *self.scale.notes)]

    def refuse_bad_rows(self) -> None:
        """Raise EventFileError if some of the rows read so far cannot be read."""
        if self._problems.num_rows:
            raise EventFileError(f"{self._input.name}: {self._problems.in_words(self._source.places_of)}")

    def place_of(self, row: int) -> str:
        """Return the place of a row in words, such as ``row 2 (line 3)``."""
        return self._source.places_of([row])[row]

    def _note_doubtful(self, ids: pa.Array) -> None:
        for pattern in _DOUBTFUL_IDS:
            found = ids.filter(pc.match_substring_regex(ids, pattern))
            if len(found):
                count, example = self._doubtful.get(pattern, (0, found[0].as_py()))
                self._doubtful[pattern] = count + len(found), example

    def _own_notes(self) -> Iterator[str]:
        if self._num_spaced:
            ids = "1 id begins or ends" if self._num_spaced == 1 else f"{self._num_spaced:,} ids begin or end"
            yield f"{ids} with a space, which is kept"
        for pattern, (count, example) in self._doubtful.items():
            yield f"{count:,} {'id' if count == 1 else 'ids'} such as {example!r}, {_DOUBTFUL_IDS[pattern]}"
        if self._roles is not None and (unread := self._roles.unread):
            more = ", …" if len(unread) > _MAX_NAMED else ""
            yield f"columns that are not read: {', '.join(unread[:_MAX_NAMED])}{more}"

    def _raw_chunks(self) -> Iterator[Chunk | Messages]:
        if not isinstance(self._source, JsonFile):
            self._find_roles(self._source.names)
            assert self._roles is not None, "just found"
            yield from self._source.chunks(self._roles.used)
            return
        names: dict[str, None] = {}
        for chunk in self._source.chunks():
            # The columns of JSON are those of the rows so far; rows that are no objects have none.
            is_new = isinstance(chunk, Chunk) and (self._roles is None or not names.keys() >= chunk.columns.keys())
            if isinstance(chunk, Chunk) and is_new and (chunk.columns or not chunk.bad):
                names |= dict.fromkeys(chunk.columns)
                self._find_roles(names)
            yield chunk

    def _find_roles(self, names: Iterable[str]) -> None:
        required = WANTED if self._options.default_type is not None else (*WANTED, "type")
        known = self._roles.of_role if isinstance(self._source, JsonFile) and self._roles else self._options.columns
        try:
            self._roles = Roles(list(names), known, required)
        except EventFileError as error:
            raise EventFileError(f"{self._input.name}: {error}") from error

    def _read_rows(self, chunk: Chunk) -> Rows:
        has_comma = isinstance(self._source, DelimitedFile) and self._source.delimiter != ","
        of_role = self._roles.of_role if self._roles is not None else {}
        reader = RowReader(chunk, of_role, self._options, decimal_comma=has_comma)
        try:
            rows = reader.read()
        except EventFileError as error:
            raise EventFileError(f"{self._input.name}: {error}") from error
        is_good = self._problems.add(chunk.rows, reader.bad)
        if not is_good.all():
            rows = rows[is_good]
        self.scale.add(rows.times, rows.rows)
        for texts in (rows.users, rows.items):
            self._num_spaced += _num_spaced(texts)
            self._note_doubtful(texts)
        return rows

    def _read_events(self, chunk: Messages) -> Events:
        form = self._options.time_format
        times, unreadable = read_times(chunk.times) if form is None else read_formatted_times(chunk.times, form)
        has_time = chunk.times.is_valid().to_numpy(zero_copy_only=False)
        bad = [*chunk.bad, *(("eventTime", problem) for problem in unreadable if has_time[problem.at])]
        bad += [
            ("eventTime", Bad(at, "no time"))
            for at, event in enumerate(chunk.events)
            if not has_time[at] and not event.HasField("batch")
        ]
        is_good = self._problems.add(chunk.rows, bad)
        is_timed = is_good & has_time
        self.scale.add(times[is_timed], chunk.rows[is_timed])
        events = [event for event, is_kept in zip(chunk.events, is_good.tolist(), strict=True) if is_kept]
        return Events(chunk.rows[is_good], events, times[is_good], has_time[is_good])


def _num_spaced(texts: pa.Array) -> int:
    return pc.sum(pc.not_equal(pc.utf8_trim_whitespace(texts), texts)).as_py() or 0
