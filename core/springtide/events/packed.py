"""Checking packed batches: whole columns at once; only bad rows are refused."""

from collections.abc import Iterator, Sequence, Sized

import numpy as np
import numpy.typing as npt

from springtide.errors import EventRefusedError
from springtide.events.columns import BatchBuilder
from springtide.events.identity import INTERACTION, Uint64s, hash_strings, keys_of, row_keys
from springtide.events.limits import EARLIEST_MS, Limits
from springtide.settings.interaction_rules import InteractionRules
from springtide.v1 import events_pb2

BadRows = tuple[str, str, npt.NDArray[np.int64]]  # Reason, message, indices of the rows.


def read_packed(
    event: events_pb2.Event,
    published_ms: int,
    now_ms: int,
    limits: Limits,
    rules: InteractionRules,
    builder: BatchBuilder,
) -> tuple[list[BadRows], int]:
    """Add the valid rows of a batch to the builder.

    Args:
        event: The event with the packed batch.
        published_ms: Time of its record, in milliseconds since the Unix epoch.
        now_ms: Wall time, milliseconds since the Unix epoch.
        limits: Limits of events.
        rules: Interactions that are accepted.
        builder: Receives the valid rows.

    Returns:
        The bad rows, each with the first reason that applies; and the number of valid rows that no rule matches.

    Raises:
        EventRefusedError: If the columns do not fit together, so that rows cannot be read.
    """
    users, items, types, timestamps_ms, values, event_ids, answer_ids = _read_columns(event.batch)
    dictionary = event.batch.dictionary[:]
    positions = np.arange(len(users))
    is_inside = (users < len(dictionary)) & (items < len(dictionary)) & (types < len(dictionary))
    bad: list[BadRows] = []
    if not is_inside.all():
        bad.append(
            ("bad_batch", f"wanted indices below {len(dictionary)}, the dictionary's size", positions[~is_inside])
        )
        positions = positions[is_inside]
        users, items, types = users[is_inside], items[is_inside], types[is_inside]
        timestamps_ms, values = timestamps_ms[is_inside], values[is_inside]
    is_open = np.ones(len(positions), np.bool_)  # Not refused so far.
    relation_codes, is_known, lacks_value = _match_rules(rules, dictionary, types, values)
    for reason, wanted, is_bad in (
        *_check_strings(dictionary, users, items, limits),
        *_check_ids_of_rows("event_ids", event_ids, positions, limits),
        *_check_ids_of_rows("recommendation_ids", answer_ids, positions, limits),
        ("unknown_type", f"wanted one of the types {', '.join(rules.types)}", ~is_known),
        ("missing_value", "wanted a value, which the rules of the type compare", lacks_value),
        ("not_finite", "wanted a finite value, or NaN for none", np.isinf(values)),
        ("future_time", f"wanted a time at most {limits.max_future_ms} ms after now ({now_ms})",
         timestamps_ms > now_ms + limits.max_future_ms),
        ("time_out_of_range", "wanted the year 1 or later", timestamps_ms < EARLIEST_MS),
    ):  # fmt: skip
        refused = is_bad & is_open
        if refused.any():
            bad.append((reason, wanted, positions[refused]))
            is_open &= ~refused
    is_good = is_open & (relation_codes >= 0)
    if is_good.any():
        good = users[is_good], items[is_good], relation_codes[is_good], timestamps_ms[is_good], values[is_good]
        keys = None
        if event.event_id or event_ids:
            good_ids = [event_ids[row] for row in positions[is_good].tolist()] if event_ids else None
            about = users[is_good], items[is_good], types[is_good]
            keys = _row_keys(event.event_id, good_ids, dictionary, about, timestamps_ms[is_good])
        answers = [answer_ids[row] for row in positions[is_good].tolist()] if answer_ids else ()
        builder.add_packed(dictionary, *good, keys, published_ms, answers)
    return bad, int(is_open.sum() - is_good.sum())


def _read_columns(
    message: events_pb2.EventBatch,
) -> tuple[
    npt.NDArray[np.uint32],
    npt.NDArray[np.uint32],
    npt.NDArray[np.uint32],
    npt.NDArray[np.int64],
    npt.NDArray[np.float32],
    Sequence[str],
    Sequence[str],
]:
    """Return users, items and types as indices in the dictionary, event times in ms, and values, NaN for none, ``[n]``.

    The last are the rows' ids, and those of the answers that they came of; there are none if no row has one.

    Raises:
        EventRefusedError: If there are no rows, or the columns differ in length.
    """
    users = np.array(message.users, np.uint32)
    items = np.array(message.items, np.uint32)
    types = np.array(message.types, np.uint32)
    timestamps_ms = np.array(message.event_times_ms, np.int64)
    values = np.array(message.values, np.float32)
    num_rows = len(users)
    if num_rows == 0:
        raise EventRefusedError("empty_payload", "batch: wanted at least one row, got none")
    if len(types) == 1:
        types = np.broadcast_to(types, (num_rows,))
    if len(values) == 0:
        values = np.full(num_rows, np.nan, np.float32)
    event_ids: Sequence[str] = message.event_ids[:]
    columns: dict[str, Sized] = {"items": items, "types": types, "event_times_ms": timestamps_ms, "values": values}
    answer_ids: Sequence[str] = message.recommendation_ids[:]
    if event_ids:
        columns["event_ids"] = event_ids
    if answer_ids:
        columns["recommendation_ids"] = answer_ids
    for name, column in columns.items():
        if len(column) != num_rows:
            raise EventRefusedError(
                "bad_batch", f"batch.{name}: wanted {num_rows} entries, one for each of users, got {len(column)}"
            )
    return users, items, types, timestamps_ms, values, event_ids, answer_ids


def _row_keys(
    batch_id: str,
    row_ids: Sequence[str] | None,
    dictionary: Sequence[str],
    about: tuple[npt.NDArray[np.uint32], ...],
    timestamps_ms: npt.NDArray[np.int64],
) -> Uint64s:
    """Return the keys of rows (see ``EventMarks``), 0 for those without an id, uint64 ``[n]``.

    Args:
        batch_id: Id of the batch; it stands for a row that has none of its own. May be empty.
        row_ids: Ids of the rows, each of which may be empty; None if no row has one.
        dictionary: The strings of the batch.
        about: Users, items and types, as indices in the dictionary, each uint32 ``[n]``.
        timestamps_ms: int64 ``[n]``, event times in milliseconds since the Unix epoch.
    """
    hashes = hash_strings(dictionary)
    hashes_about = [hashes[codes] for codes in about]
    keys = np.zeros(len(timestamps_ms), np.uint64)
    if batch_id:
        keys = row_keys(np.broadcast_to(hash_strings([batch_id]), keys.shape), hashes_about, timestamps_ms)
    if row_ids is not None:
        has_id = np.fromiter(map(bool, row_ids), np.bool_, len(row_ids))
        keys = np.where(has_id, keys_of(INTERACTION, hash_strings(row_ids), *hashes_about), keys)
    return keys


def _check_ids_of_rows(
    name: str, ids: Sequence[str], positions: npt.NDArray[np.int64], limits: Limits
) -> Iterator[tuple[str, str, npt.NDArray[np.bool_]]]:
    """Yield reason, message and bad rows, bool ``[n]``, if ids of rows are too long; positions are int64 ``[n]``."""
    if max(map(len, ids), default=0) <= limits.surely_short_id:
        return
    is_long = np.array([len(row_id.encode()) > limits.max_id_bytes for row_id in ids])
    yield "id_too_long", f"batch.{name}: wanted at most {limits.max_id_bytes} bytes each", is_long[positions]


def _check_strings(
    dictionary: Sequence[str], users: npt.NDArray[np.uint32], items: npt.NDArray[np.uint32], limits: Limits
) -> Iterator[tuple[str, str, npt.NDArray[np.bool_]]]:
    """Yield reason, message and bad rows, bool ``[n]``, for each reason why strings of the dictionary are no ids."""
    is_short = max(map(len, dictionary), default=0) <= limits.surely_short_id
    if is_short and all(dictionary) and not any(map(str.isspace, dictionary)):
        return  # This is nearly always so, and saves checking each string.
    found: dict[str, tuple[str, npt.NDArray[np.bool_]]] = {}
    for position, text in enumerate(dictionary):
        try:
            limits.check_id(f"batch.dictionary[{position}]", text)
        except EventRefusedError as error:
            _, is_bad = found.setdefault(error.reason, (str(error), np.zeros(len(dictionary), np.bool_)))
            is_bad[position] = True
    for reason, (message, is_bad) in found.items():
        yield reason, message, is_bad[users] | is_bad[items]


def _match_rules(
    rules: InteractionRules, dictionary: Sequence[str], types: npt.NDArray[np.uint32], values: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return for each row: its rule or -1, int16; whether its type is known; whether it lacks the value to compare."""
    relation_codes = np.full(len(types), -1, np.int16)
    is_known = np.zeros(len(types), np.bool_)
    for code in np.unique(types).tolist():
        if dictionary[code] in rules.types:
            rows = types == code
            is_known |= rows
            relation_codes[rows] = rules.match_many(dictionary[code], values[rows])
    return relation_codes, is_known, is_known & (relation_codes < 0) & np.isnan(values)
