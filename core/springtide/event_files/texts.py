"""Ids, types and numbers of a column, whatever its type in the file. Ids are text, always."""

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from springtide.event_files.problems import Bad, EventFileError
from springtide.events.limits import MAX_NUMBER, shorten

MISSING_WORDS = frozenset({"", "nan", "null", "none", "na", "n/a", "nat", "<na>", "\\n"})
"""Texts, in lower case, that say in a column of numbers or times that there is none. As ids they are ordinary texts."""

_NUMBER_KINDS = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_boolean,
    pa.types.is_null,
)
_MAX_EXACT_FLOAT = 2.0**53  # From here on, neighbouring integers are one and the same float.


def is_text(kind: pa.DataType) -> bool:
    """Return whether a type of Arrow is one of text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_missing_word(text: str) -> bool:
    """Return whether a text says that a number or a time is missing."""
    return text.strip().lower() in MISSING_WORDS


def read_texts(column: pa.Array) -> tuple[pa.Array, list[Bad]]:
    """Return a column as texts; a null stays one, and so becomes a row that cannot be read.

    Integers become their decimal digits; floats that are whole, likewise (a column of integers with a gap is one of
    floats in many tools), and other floats the shortest text that gives them back.

    Raises:
        EventFileError: If the column holds lists or the like; its message goes on after the column's name.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string()), []
    if pa.types.is_floating(kind):
        return _of_floats(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
    if pa.types.is_decimal(kind):
        texts = [None if value is None else f"{value:f}" for value in column.to_pylist()]
        whole = [text.rstrip("0").rstrip(".") if text and "." in text else text for text in texts]
        return pa.array(whole, pa.string()), []
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return _of_bytes(column.to_pylist())
    if pa.types.is_nested(kind):
        raise EventFileError(f"wanted texts or numbers, got a column of type {kind}")
    return column.cast(pa.string()), []


def read_numbers(column: pa.Array, *, decimal_comma: bool = False) -> tuple[npt.NDArray[np.float64], list[Bad]]:
    """Return a column as numbers, float64 ``[n]``; NaN where there is none.

    Args:
        column: Numbers, booleans or texts.
        decimal_comma: Whether ``4,5`` is a number.

    Raises:
        EventFileError: If the column is of another type; its message goes on after the column's name.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    bad: list[Bad] = []
    if is_text(kind):
        texts = pc.utf8_trim_whitespace(column.cast(pa.string()).fill_null(""))
        numbers, bad = _numbers_of_texts(texts, decimal_comma=decimal_comma)
    elif any(is_kind(kind) for is_kind in _NUMBER_KINDS):
        exact = column.cast(pa.int8()) if pa.types.is_boolean(kind) else column
        numbers = exact.cast(pa.float64(), safe=False).fill_null(math.nan).to_numpy(zero_copy_only=False)
    else:
        raise EventFileError(f"wanted numbers, got a column of type {kind}")
    with np.errstate(invalid="ignore"):
        too_large = np.flatnonzero(np.abs(numbers) > MAX_NUMBER)
    bad += [Bad(int(row), f"wanted a finite number in 32 bits, got {numbers[row]}") for row in too_large]
    return numbers, bad


def check_ids(texts: pa.Array, max_bytes: int | None) -> list[Bad]:
    """Return which ids are missing, blank or too long; for a missing one without words.

    Args:
        texts: Texts or nulls.
        max_bytes: The most bytes of UTF-8 that an id may have; None for any number.
    """
    is_blank = pc.equal(pc.binary_length(pc.utf8_trim_whitespace(texts.fill_null(""))), 0)
    bad = [Bad(int(row), "") for row in np.flatnonzero(is_blank.to_numpy(zero_copy_only=False))]
    if max_bytes is not None:
        sizes = pc.binary_length(texts).fill_null(0).to_numpy(zero_copy_only=False)
        bad += [
            Bad(int(row), f"wanted at most {max_bytes} bytes, got {sizes[row]}: {shorten(texts[int(row)].as_py())}")
            for row in np.flatnonzero(sizes > max_bytes)
        ]
    return bad


def _of_floats(numbers: npt.NDArray[np.float64]) -> tuple[pa.Array, list[Bad]]:
    is_missing = np.isnan(numbers)
    is_bad = ~is_missing & (np.abs(np.where(is_missing, 0, numbers)) >= _MAX_EXACT_FLOAT)
    bad = [
        Bad(int(row), f"wanted an id as text or integer, got the float {numbers[row]}, which has lost its last digits")
        for row in np.flatnonzero(is_bad)
    ]
    is_usable = ~(is_missing | is_bad)
    texts: npt.NDArray[np.object_] = np.full(len(numbers), None, object)
    usable = numbers[is_usable].tolist()
    texts[is_usable] = [str(int(number)) if number.is_integer() else repr(number) for number in usable]
    return pa.array(texts, pa.string()), bad


def _of_bytes(values: list[bytes | None]) -> tuple[pa.Array, list[Bad]]:
    texts: list[str | None] = []
    bad = []
    for at, value in enumerate(values):
        try:
            texts.append(None if value is None else value.decode())
        except UnicodeDecodeError:
            texts.append(None)
            bad.append(Bad(at, f"wanted text in UTF-8, got the bytes {value[:20]!r}"))  # type: ignore[index]  # Not None.
    return pa.array(texts, pa.string()), bad


def _numbers_of_texts(texts: pa.Array, *, decimal_comma: bool) -> tuple[npt.NDArray[np.float64], list[Bad]]:
    texts = pc.if_else(pc.equal(texts, ""), "nan", texts)
    if decimal_comma:
        texts = pc.replace_substring_regex(texts, r"^([+-]?\d+),(\d+)$", r"\1.\2")
    try:
        return texts.cast(pa.float64()).to_numpy(zero_copy_only=False), []
    except pa.ArrowInvalid:
        pass
    numbers = np.full(len(texts), math.nan)
    bad = []
    for at, text in enumerate(texts.to_pylist()):
        try:
            numbers[at] = math.nan if is_missing_word(text) else float(text.replace("_", "?"))  # Python takes 1_000.
        except ValueError:
            bad.append(Bad(at, f"wanted a number, got {shorten(text)}"))
    return numbers, bad
