"""What tells events apart: hashes are kept in checkpoints, so they stay as they are."""

import numpy as np
from kafka.partitioner.default import murmur2

from springtide.events import kernels
from springtide.events.identity import (
    INTERACTION,
    hash_slices,
    hash_strings,
    interaction_contents,
    keys_of,
    keys_of_rows,
    to_seconds,
)
from springtide.packed_texts import pack

TEXTS = ["", "a", "ab", "ção", "\ud800", "x" * 300]


def test_hashes_of_texts_are_those_of_their_bytes():
    encoded = [text.encode("utf-8", "surrogatepass") for text in TEXTS]
    stops = np.cumsum([len(text) for text in encoded])
    starts = stops - [len(text) for text in encoded]
    of_slices = hash_slices(np.frombuffer(b"".join(encoded), np.uint8), starts, stops)
    assert hash_strings(TEXTS).tolist() == of_slices.tolist()
    assert hash_strings(TEXTS)[:2].tolist() == [0xCBF29CE484222325, 0xAF63DC4C8601EC8C], "FNV-1a of 64 bits"
    assert len(hash_strings([])) == 0


def test_keys_of_rows_are_those_of_their_columns():
    hashes = hash_strings([f"{number}" for number in range(12)]).reshape(3, 4)
    columns = [np.ascontiguousarray(hashes[:, column]) for column in range(4)]
    assert keys_of_rows(INTERACTION, hashes).tolist() == keys_of(INTERACTION, *columns).tolist()


def test_contents_differ_by_time_value_and_context_and_a_number_that_is_none_is_always_the_same():
    # Worked out by NumPy, as events of former releases were: time, the value's bits, then the context.
    quiet, other = np.float32(np.nan), np.array([0xFFC00001], np.uint32).view(np.float32)[0]
    times = np.array([5, 5, 6, 5, 5], np.int64)
    values = np.array([quiet, other, quiet, 1.0, quiet], np.float32)
    contexts = np.array([0, 0, 0, 0, 9], np.uint64)
    bits = np.array([0x7FC00000, 0x7FC00000, 0x7FC00000, 0x3F800000, 0x7FC00000], np.uint64)
    rows = np.stack([bits, contexts], axis=1)
    expected = [
        int(keys_of_rows(np.uint64(time), row[None])[0]) & (2**32 - 1) for time, row in zip(times, rows, strict=True)
    ]
    contents = interaction_contents(times, values, contexts).tolist()
    assert contents == expected
    assert len(set(contents)) == 4


def test_times_of_records_are_whole_seconds_that_fit():
    times_ms = np.array([-1, 0, 999, 1_000, 2**32 * 1_000, 2**62], np.int64)
    assert to_seconds(times_ms).tolist() == [0, 0, 0, 1, 2**32 - 1, 2**32 - 1]


def test_keys_are_hashed_as_kafka_clients_hash_them() -> None:
    keys = ["", "a", "ab", "abc", "abcd", "user-17", "\u00fc\u65e5" * 9]
    hashes = np.empty(len(keys), np.uint32)
    kernels.hash_keys(*pack(keys), hashes)
    assert hashes.tolist() == [murmur2(key.encode()) & 0xFFFFFFFF for key in keys]
