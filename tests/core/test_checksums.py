"""CRC-32C as the crc32c package has it; files that are read with it, without a call of Python for each piece."""

import os
import random
import sys

import crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from springtide import checksum_kernels
from springtide.checkpoint import CheckpointStore
from springtide.checkpoint.array_files import arrays_to_bytes
from springtide.checksums import Crc32c, crc32c_of
from springtide.storage import Storage

LANES = 3 * 4_096  # Bytes that are summed up side by side.


@given(st.integers(0, 5 * LANES), st.integers(0, 2**32 - 1), st.integers(0, 7))
def test_checksum_is_that_of_the_package(length, value, start):
    content = memoryview(random.Random(length).randbytes(length + start))[start:]
    wanted = crc32c.crc32c(content, value)
    assert checksum_kernels.crc32c(content, value) == wanted
    assert checksum_kernels.crc32c(content, value, by_tables=True) == wanted


@pytest.mark.parametrize("length", [0, 1, LANES, 2**18 - 1, 2**18, 2**20 + 5])
def test_file_is_read_with_its_checksum_as_far_as_it_goes(tmp_path, length):
    content = os.urandom(length)
    (tmp_path / "file").write_bytes(content)
    with (tmp_path / "file").open("rb", buffering=0) as file:
        into, target, past = Crc32c(), bytearray(length + 10), Crc32c()
        assert into.read_into(memoryview(target)[: length // 2], file) == length // 2
        assert into.read_into(memoryview(target)[length // 2 :], file) == length - length // 2
        file.seek(0)
        assert past.read_past(file) == length
        assert file.read() == b""
    assert target == content + bytes(10)
    assert into.hexdigest() == past.hexdigest() == crc32c_of(content)


def test_file_that_cannot_be_read_is_an_os_error(tmp_path):
    with (tmp_path / "file").open("wb", buffering=0) as file:  # Opened for writing alone.
        with pytest.raises(OSError, match="Bad file descriptor"):
            Crc32c().read_past(file)
        with pytest.raises(OSError, match="Bad file descriptor"):
            Crc32c().read_into(memoryview(bytearray(1)), file)


def test_target_that_cannot_be_written_to_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"1")
    with (tmp_path / "file").open("rb", buffering=0) as file, pytest.raises(BufferError):
        Crc32c().read_into(memoryview(b"0"), file)


@pytest.mark.parametrize("is_filled", [True, False])
def test_large_file_of_a_checkpoint_is_read_without_a_call_for_each_piece(tmp_path, is_filled):
    """Each call would wait for Python's lock while another thread builds what was read before."""
    storage, store, calls = Storage(str(tmp_path)), CheckpointStore(str(tmp_path)), {}
    for num_bytes in (2**16, 2**17, 2**24):  # The first one looks up what stays known.
        array = np.arange(num_bytes, dtype=np.uint8)
        content = arrays_to_bytes({"numbers": array})
        storage.write("segments/file", content)
        into = {"numbers": np.zeros(num_bytes, np.uint8)} if is_filled else {}
        events = []
        sys.setprofile(lambda _, event, __, events=events: events.append(event))
        try:
            read = store.read_arrays({"file": "file", "crc32c": crc32c_of(content)}, into)
        finally:
            sys.setprofile(None)
        np.testing.assert_array_equal(read["numbers"], array)
        calls[num_bytes] = len(events)
    assert calls[2**24] == calls[2**17]
