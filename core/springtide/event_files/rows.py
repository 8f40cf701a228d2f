"""From the columns of some rows to interactions: every value checked, with words for those that cannot be read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from springtide.errors import SettingsError
from springtide.event_files.delimited import Chunk
from springtide.event_files.formatted_times import check_time_format, read_formatted_times
from springtide.event_files.problems import Bad, EventFileError
from springtide.event_files.roles import CONTEXT, columns_of
from springtide.event_files.texts import check_ids, read_numbers, read_texts
from springtide.event_files.times import NS_PER_UNIT, Times, read_times
from springtide.v1 import events_pb2 as pb

_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a file is read, where its own content does not say it.

    Attributes:
        columns: Column names by role, for names that are not in ``HEADERS``; None for none.
        time_unit: Unit of times that are numbers, ``s``, ``ms``, ``us`` or ``ns``; None to guess it from the numbers.
        encoding: Encoding of text by its name in Python; None for that of the byte-order mark, else UTF-8.
        default_type: Type of interactions that have none; None if each must have one.
        max_id_bytes: The most bytes of an id; None for any number.
        time_format: Form of times that are texts, as ``datetime.strptime`` takes it; None for those of ``times``.

    Raises:
        SettingsError: If there is no such unit, or the form of times gives no day.
    """

    columns: Mapping[str, str] | None = None
    time_unit: str | None = None
    encoding: str | None = None
    default_type: str | None = None
    max_id_bytes: int | None = None
    time_format: str | None = None

    def __post_init__(self) -> None:
        if self.time_unit is not None and self.time_unit not in NS_PER_UNIT:
            raise SettingsError(f"time unit: wanted one of {', '.join(NS_PER_UNIT)}, got {self.time_unit!r}")
        if self.time_format is not None:
            check_time_format(self.time_format)


@dataclass(frozen=True, slots=True)
class Rows:
    """Interactions of some rows of a file.

    Attributes:
        rows: int64 ``[n]``, numbers of the rows in the file, from 1.
        users: User ids as texts, ``[n]``.
        items: Item ids as texts, ``[n]``.
        types: Types as texts, ``[n]``.
        times: Times, ``[n]``; ``EventFile.scale`` makes milliseconds of them.
        values: float64 ``[n]``, NaN for none.
        event_ids: Ids of the events as texts, ``[n]``, null or empty for none; None if the file has no such column.
        recommendation_ids: Ids of the answers that they came of, in the same way.
        contexts: Circumstances by name, each as texts ``[n]``, null or empty for none.
    """

    rows: npt.NDArray[np.int64]
    users: pa.Array
    items: pa.Array
    types: pa.Array
    times: Times
    values: npt.NDArray[np.float64]
    event_ids: pa.Array | None
    recommendation_ids: pa.Array | None
    contexts: Mapping[str, pa.Array]

    def __getitem__(self, is_kept: npt.NDArray[np.bool_]) -> "Rows":
        mask = pa.array(is_kept)
        return Rows(
            self.rows[is_kept],
            self.users.filter(mask),
            self.items.filter(mask),
            self.types.filter(mask),
            self.times[is_kept],
            self.values[is_kept],
            None if self.event_ids is None else self.event_ids.filter(mask),
            None if self.recommendation_ids is None else self.recommendation_ids.filter(mask),
            {name: texts.filter(mask) for name, texts in self.contexts.items()},
        )


@dataclass(frozen=True, slots=True)
class Events:
    """Events of some lines of a file in protobuf's JSON mapping.

    Attributes:
        rows: int64 ``[n]``, numbers of the lines in the file, from 1.
        events: The events without their times, ``[n]``.
        times: Their times, ``[n]``.
        has_time: bool ``[n]``; packed batches have times of their own.
    """

    rows: npt.NDArray[np.int64]
    events: list[pb.Event]
    times: Times
    has_time: npt.NDArray[np.bool_]


class RowReader:
    """Reads the rows of one chunk.

    Args:
        chunk: The rows, as they stand in the file.
        of_role: Column names by role.
        options: How the file is read.
        decimal_comma: Whether ``4,5`` is a number.

    Attributes:
        bad: What cannot be read, by column; an empty name for a whole row.
    """

    def __init__(self, chunk: Chunk, of_role: Mapping[str, str], options: ReadOptions, *, decimal_comma: bool) -> None:
        self._chunk = chunk
        self._of_role = of_role
        self._options = options
        self._decimal_comma = decimal_comma
        self._nothing = pa.nulls(len(chunk.rows), pa.string())
        used = {"", *(column for role, name in of_role.items() for column in columns_of(role, name, chunk.columns))}
        self.bad = [(name, problem) for name, problem in chunk.bad if name in used]

    def read(self) -> Rows:
        """Return all rows; those in ``bad`` are not to be used.

        Raises:
            EventFileError: If a column as a whole cannot be read; its message goes on after the file's name.
        """
        return Rows(
            self._chunk.rows,
            self._ids("user"),
            self._ids("item"),
            self._types(),
            self._read("timestamp", self._read_times),
            self._values(),
            self._ids_if_any("event_id"),
            self._ids_if_any("recommendation_id"),
            {
                role.removeprefix(CONTEXT): self._read(role, read_texts)
                for role in self._of_role
                if role.startswith(CONTEXT)
            },
        )

    def _ids(self, role: str) -> pa.Array:
        texts = self._read(role, read_texts)
        for problem in check_ids(texts, self._options.max_id_bytes):
            self._add(role, problem if problem.words else Bad(problem.at, f"no {role}"))
        return texts

    def _ids_if_any(self, role: str) -> pa.Array | None:
        """Return the ids of a role that a row need not have; None if the file has no such column."""
        if role not in self._of_role:
            return None
        texts = self._read(role, read_texts)
        for problem in check_ids(texts, self._options.max_id_bytes):
            if problem.words:
                self._add(role, problem)
        return texts

    def _types(self) -> pa.Array:
        texts = self._read("type", read_texts)
        if self._options.default_type is not None:
            is_blank = pc.equal(pc.utf8_trim_whitespace(texts.fill_null("")), "")
            return pc.if_else(is_blank, self._options.default_type, texts)
        for problem in check_ids(texts, self._options.max_id_bytes):
            self._add("type", problem if problem.words else Bad(problem.at, "no type; --type NAME gives it one"))
        return texts

    def _values(self) -> npt.NDArray[np.float64]:
        if "value" not in self._of_role:
            return np.full(len(self._chunk.rows), np.nan)
        return self._read("value", lambda column: read_numbers(column, decimal_comma=self._decimal_comma))

    def _read(self, role: str, read: Callable[[pa.Array], tuple[_Read, list[Bad]]]) -> _Read:
        name = self._of_role.get(role, "")
        try:
            values, problems = read(self._column(role, name))
        except EventFileError as error:
            raise EventFileError(f"column {name!r}: {error}") from error
        except pa.ArrowException as error:
            raise EventFileError(f"column {name!r} cannot be read: {error}") from error
        for problem in problems:
            self._add(role, problem)
        return values

    def _read_times(self, column: pa.Array) -> tuple[Times, list[Bad]]:
        is_time = pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)
        if self._options.time_format is not None and not is_time:
            return read_formatted_times(column, self._options.time_format)
        return read_times(column, decimal_comma=self._decimal_comma)

    def _column(self, role: str, name: str) -> pa.Array:
        columns = self._chunk.columns
        parts = columns_of(role, name, columns)
        if len(parts) == 1:
            return columns.get(name, self._nothing)
        texts = [read_texts(columns.get(part, self._nothing))[0] for part in parts]
        # Tools write a date as its midnight.
        texts[0] = pc.replace_substring_regex(texts[0], r"[ T]00:00(:00(\.0+)?)?$", "")
        return pc.binary_join_element_wise(*texts, " ")

    def _add(self, role: str, problem: Bad) -> None:
        self.bad.append((self._of_role.get(role, role), problem))
