"""Files of named arrays, in NumPy's format npz without compression: written piece by piece, and read in place.

A file that was read is whole: each read takes its checksum too. Arrays are read straight to where they stay.
"""

import io
import math
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from springtide.checksums import Checksum, Crc32c

Arrays = Mapping[str, npt.NDArray[Any]]

_PIECE_BYTES = 1 << 23  # Each piece lets other threads run, and needs the lock of the interpreter again after it.
_LOCAL_HEADER = struct.Struct("<26xHH")  # Of an entry of a zip file: the lengths of its name and of what is extra.
_ARRAY_HEADER = struct.Struct("<8xH")  # Of an array, in version 1.0 of NumPy's format: the length of the rest.
NO_ARRAYS: Arrays = {}


class DamagedFileError(Exception):
    """Raised when a file is not the one that was written, or none of arrays."""


@dataclass(slots=True)
class _Source:
    """A file that is read from its beginning to its end, and its checksum."""

    file: BinaryIO
    checksum: Checksum
    position: int = 0

    def fill(self, target: memoryview) -> None:
        """Read as many bytes as the target has."""
        for start in range(0, len(target), _PIECE_BYTES):
            piece = target[start : start + _PIECE_BYTES]
            done = 0
            while done < len(piece):
                num_read = self.file.readinto(piece[done:])  # type: ignore[attr-defined]  # Both kinds of files have it.
                if not num_read:
                    raise DamagedFileError(f"wanted {len(target)} bytes at {self.position}, got the end of the file")
                done += num_read
            self.checksum.update(piece)
            self.position += len(piece)

    def read(self, num_bytes: int) -> bytearray:
        content = bytearray(num_bytes)
        self.fill(memoryview(content))
        return content


def write_npz(sink: BinaryIO, arrays: Arrays) -> None:
    """Write named arrays piece by piece, as ``np.savez`` would, without a copy of any.

    Raises:
        ValueError: If an array holds Python objects, which would need pickle.
    """
    with zipfile.ZipFile(sink, "w") as archive:
        for name, given in arrays.items():
            if given.dtype.hasobject:
                raise ValueError(f"{name}: wanted numbers or texts, got Python objects")
            array = np.asarray(given, order="C")
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array_header_1_0(entry, np.lib.format.header_data_from_array_1_0(array))
                content = _bytes_of(array)
                for start in range(0, len(content), _PIECE_BYTES):
                    entry.write(content[start : start + _PIECE_BYTES])


def arrays_to_npz(arrays: Arrays) -> bytes:
    """Return the file of named arrays; see ``write_npz``."""
    sink = io.BytesIO()
    write_npz(sink, arrays)
    return sink.getvalue()


def crc32c_of_npz(arrays: Arrays) -> str:
    """Return the CRC-32C of the file of named arrays, without a copy of any."""
    sink = _Summing()
    write_npz(cast(BinaryIO, sink), arrays)
    return sink.checksum.hexdigest()


class _Summing:
    """Where a file goes of which only the checksum is wanted."""

    def __init__(self) -> None:
        self.checksum = Crc32c()

    def write(self, content: bytes | memoryview) -> int:
        self.checksum.update(content)
        return len(content)

    def flush(self) -> None:
        """Do nothing: there is no buffer."""


def read_npz(file: BinaryIO, checksum: Checksum, into: Arrays = NO_ARRAYS) -> dict[str, npt.NDArray[Any]]:
    """Return named arrays, which are the caller's alone, and may be written to.

    Args:
        file: The file, at any position; it can seek.
        checksum: Takes the whole file in; the caller compares it before it uses an array.
        into: By name, arrays that are filled and returned; any may be missing in the file.

    Raises:
        DamagedFileError: If it is no file of arrays, or they do not fit ``into``.
        OSError: If it cannot be read.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
        num_bytes = file.seek(0, io.SEEK_END)
        file.seek(0)
        source = _Source(file, checksum)
        arrays = {}
        for entry in entries:
            source.read(entry.header_offset - source.position)
            name = entry.filename.removesuffix(".npy")
            arrays[name] = _read_array(source, entry, num_bytes, into.get(name))
        source.read(num_bytes - source.position)
    except (OSError, DamagedFileError):
        raise
    except Exception as error:  # Damaged bytes make zipfile, and NumPy's reading of headers, raise whatever they meet.
        raise DamagedFileError(f"no file of arrays: {error}") from error
    return arrays


def _read_array(
    source: _Source, entry: zipfile.ZipInfo, num_bytes: int, into: npt.NDArray[Any] | None
) -> npt.NDArray[Any]:
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{entry.filename}: wanted arrays that are not compressed")
    source.read(sum(_LOCAL_HEADER.unpack(source.read(_LOCAL_HEADER.size))))  # The name, and what is extra.
    start = source.position
    head = bytes(source.read(_ARRAY_HEADER.size))
    head += bytes(source.read(*_ARRAY_HEADER.unpack(head)))
    rest = io.BytesIO(head)
    if np.lib.format.read_magic(rest) != (1, 0):
        raise ValueError(f"{entry.filename}: wanted an array in version 1.0 of the format")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(rest)
    if dtype.hasobject:
        raise ValueError(f"{entry.filename}: wanted numbers or texts, got Python objects")
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size != start + entry.file_size - source.position or start + size > num_bytes:
        raise ValueError(f"{entry.filename}: wanted {shape} of {dtype}, got {entry.file_size} bytes with the header")
    if into is not None:
        if (into.shape, into.dtype) != (shape, dtype) or is_fortran:
            raise ValueError(f"{entry.filename}: wanted {into.shape} of {into.dtype}, got {shape} of {dtype}")
        array = into
    else:
        array = np.empty(shape[::-1] if is_fortran else shape, dtype)
    source.fill(_bytes_of(array))
    return array.T if is_fortran else array


def arrays_from_npz(content: bytes | memoryview) -> dict[str, npt.NDArray[Any]]:
    """Return the named arrays of a file that is in memory; copies.

    Raises:
        DamagedFileError: If it is no file of arrays.
    """
    return read_npz(io.BytesIO(content), _NoChecksum())


class _NoChecksum:
    """Where the checksum was compared already."""

    def update(self, content: bytes | memoryview, /) -> None:
        """Take no notice."""

    def hexdigest(self) -> str:
        return ""


def _bytes_of(array: npt.NDArray[Any]) -> memoryview:
    """Return an array's bytes, in C order."""
    return memoryview(array.reshape(-1).view(np.uint8).data) if array.nbytes else memoryview(b"")
