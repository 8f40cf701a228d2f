"""Times in a form that the caller names, such as ``%m/%d/%Y %H:%M``."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from springtide.errors import SettingsError
from springtide.event_files.problems import Bad
from springtide.event_files.texts import is_missing_word, read_texts
from springtide.event_files.times import Times
from springtide.events.limits import EARLIEST_MS, shorten

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def check_time_format(form: str) -> None:
    """Refuse a form that does not give a day.

    Raises:
        SettingsError: If ``datetime.strptime`` does not know it, or a date in it cannot be told from another.
    """
    example, other = (dt.datetime(2017, month, 24, 18, 30, tzinfo=dt.UTC) for month in (12, 3))
    wanted = "time format: wanted one of Python's strptime with year, month and day, such as '%d/%m/%Y %H:%M'"
    try:
        is_good = all(
            dt.datetime.strptime(day.strftime(form), form).date() == day.date()  # The date counts.
            for day in (example, other)
        )
    except (ValueError, IndexError) as error:
        raise SettingsError(f"{wanted}, got {form!r}: {error}") from error
    if not is_good:
        raise SettingsError(f"{wanted}, got {form!r}")


def read_formatted_times(column: pa.Array, form: str) -> tuple[Times, list[Bad]]:
    """Read texts in the form; a row that cannot be read is 0. A time without a zone is UTC.

    Args:
        column: Texts, or what becomes texts, ``[n]``; each distinct one is read once.
        form: Of ``datetime.strptime``.
    """
    texts, bad = read_texts(column)
    encoded = pc.utf8_trim_whitespace(texts.fill_null("")).dictionary_encode()
    distinct_ms = np.zeros(max(1, len(encoded.dictionary)), np.int64)
    words = {}
    for code, text in enumerate(encoded.dictionary.to_pylist()):
        try:
            moment = dt.datetime.strptime(text, form)  # A form may have no zone.
        except ValueError:
            words[code] = "no time" if is_missing_word(text) else f"wanted a time as {form}, got {shorten(text)}"
            continue
        moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
        distinct_ms[code] = max((moment - _EPOCH) // dt.timedelta(milliseconds=1), EARLIEST_MS)
    codes = encoded.indices.to_numpy()
    unread = np.flatnonzero(np.isin(codes, list(words)))
    bad += [Bad(row, words[code]) for row, code in zip(unread.tolist(), codes[unread].tolist(), strict=True)]
    return Times(distinct_ms[codes], np.ones(len(codes), bool)), bad
