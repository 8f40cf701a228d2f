"""Files of named arrays: a line of JSON that says how they lie, and their bytes; written piece by piece, read in place.

A file begins with ``MAGIC`` and the length of its header, uint64, little-endian. The header is JSON: for each array its
``dtype`` as NumPy writes it, its ``shape``, and where it begins, ``at``, counted from the end of the header. Header and
arrays end in padding to 64 bytes. A file that was read is whole: each read takes its checksum too. Arrays are read to
where they stay, or stay in the file, where they are pages of it that are read once and let go of.
"""

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from springtide.checksums import Checksum, Crc32c

Arrays = Mapping[str, npt.NDArray[Any]]

MAGIC = b"SPRINGA1"
ARRAYS = ".arrays"  # How the names of these files end.
NO_ARRAYS: Arrays = {}
_PIECE_BYTES = 1 << 20  # Still in the processor's cache when the checksum is taken; other threads run between pieces.
_ALIGNMENT = 64


class DamagedFileError(Exception):
    """Raised when a file is not the one that was written, or none of arrays."""


@dataclass(slots=True)
class Source:
    """A file that is read from its beginning to its end, and its checksum."""

    file: BinaryIO
    checksum: Checksum
    position: int = 0

    def fill(self, target: memoryview) -> None:
        """Read as many bytes as the target has."""
        if not len(target):
            return  # That of an empty array cannot be written to.
        if isinstance(self.checksum, Crc32c) and isinstance(self.file, io.FileIO):
            num_read = self.checksum.read_into(target, self.file)
            self.position += num_read
            if num_read < len(target):
                raise DamagedFileError(f"wanted {len(target)} bytes, got the end of the file at {self.position}")
            return
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
        """Return the next bytes."""
        content = bytearray(num_bytes)
        self.fill(memoryview(content))
        return content


def write_arrays(sink: BinaryIO, arrays: Arrays) -> int:
    """Write named arrays piece by piece, without a copy of any that is in C order; return the size of the file.

    Raises:
        ValueError: If an array holds Python objects.
    """
    header, at = {}, 0
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise ValueError(f"{name}: wanted numbers or texts, got Python objects")
        dtype = np.lib.format.dtype_to_descr(array.dtype)
        header[name] = {"dtype": dtype, "shape": list(array.shape), "at": at}
        at += _padded(array.nbytes)
    head = json.dumps(header, separators=(",", ":")).encode()
    head = head.ljust(_padded(len(MAGIC) + 8 + len(head)) - len(MAGIC) - 8)
    sink.write(MAGIC + len(head).to_bytes(8, "little") + head)
    for array in arrays.values():
        content = bytes_of(np.asarray(array, order="C"))
        for start in range(0, len(content), _PIECE_BYTES):
            sink.write(content[start : start + _PIECE_BYTES])
        if num_padding := _padded(len(content)) - len(content):
            sink.write(bytes(num_padding))
    return len(MAGIC) + 8 + len(head) + at


def arrays_to_bytes(arrays: Arrays) -> bytes:
    """Return the file of named arrays; see ``write_arrays``."""
    sink = io.BytesIO()
    write_arrays(sink, arrays)
    return sink.getvalue()


def crc32c_of_arrays(arrays: Arrays) -> str:
    """Return the CRC-32C of the file of named arrays, without a copy of any."""
    sink = _Summing()
    write_arrays(cast(BinaryIO, sink), arrays)
    return sink.checksum.hexdigest()


class _Summing:
    """Where a file goes of which only the checksum is wanted."""

    def __init__(self) -> None:
        self.checksum = Crc32c()

    def write(self, content: bytes | memoryview) -> int:
        self.checksum.update(content)
        return len(content)


def arrays_in(content: memoryview) -> dict[str, npt.NDArray[Any]]:
    """Return the named arrays of a file that is in memory or mapped, without a copy.

    Args:
        content: The file; it stays as long as one of the arrays does.

    Raises:
        DamagedFileError: If it is no file of arrays.
    """
    try:
        length = _length_of_header(content[: len(MAGIC) + 8], len(content))
        begin = len(MAGIC) + 8 + length
        header, arrays = json.loads(bytes(content[len(MAGIC) + 8 : begin])), {}
        for name, entry in header.items():
            start = begin + entry["at"]
            dtype, shape = _checked(name, entry, len(content) - start)
            arrays[name] = np.ndarray(shape, dtype, content, start)
    except Exception as error:  # Damaged bytes make the reading of a header raise whatever it meets.
        raise DamagedFileError(f"no file of arrays: {error}") from error
    return arrays


def read_arrays(file: BinaryIO, checksum: Checksum, into: Arrays = NO_ARRAYS) -> dict[str, npt.NDArray[Any]]:
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
        num_bytes = file.seek(0, io.SEEK_END)
        file.seek(0)
        source = Source(file, checksum)
        header = json.loads(source.read(_length_of_header(source.read(len(MAGIC) + 8), num_bytes)))
        begin, arrays = source.position, {}
        for name, entry in header.items():
            source.read(_gap(begin + entry["at"] - source.position))
            arrays[name] = _read_array(source, name, entry, num_bytes, into.get(name))
        source.read(num_bytes - source.position)
    except (OSError, DamagedFileError):
        raise
    except Exception as error:  # Damaged bytes make the reading of a header raise whatever it meets.
        raise DamagedFileError(f"no file of arrays: {error}") from error
    return arrays


def _length_of_header(head: bytes | bytearray | memoryview, num_bytes: int) -> int:
    """Return the length of the header, given what is before it, and the size of the file."""
    length = int.from_bytes(head[len(MAGIC) :], "little")
    if head[: len(MAGIC)] != MAGIC or length > num_bytes:
        raise ValueError(f"wanted it to begin with {MAGIC!r}, got {bytes(head)!r}")
    return length


def _read_array(
    source: Source, name: str, entry: Mapping[str, Any], num_bytes: int, into: npt.NDArray[Any] | None
) -> npt.NDArray[Any]:
    dtype, shape = _checked(name, entry, num_bytes - source.position)
    if into is not None and (into.shape, into.dtype) != (shape, dtype):
        raise ValueError(f"{name}: wanted {into.shape} of {into.dtype}, got {shape} of {dtype}")
    array = np.empty(shape, dtype) if into is None else into
    source.fill(bytes_of(array))
    return array


def _checked(name: str, entry: Mapping[str, Any], most_bytes: int) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return dtype and shape of an array, which has no more bytes than there are left in the file."""
    dtype, shape = np.lib.format.descr_to_dtype(_with_tuples(entry["dtype"])), tuple(entry["shape"])
    if dtype.hasobject or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > most_bytes:
        raise ValueError(f"{name}: wanted at most {most_bytes} bytes of numbers, got {shape} of {dtype}")
    return dtype, shape


def arrays_from_bytes(content: bytes | memoryview) -> dict[str, npt.NDArray[Any]]:
    """Return the named arrays of a file that is in memory; copies.

    Raises:
        DamagedFileError: If it is no file of arrays.
    """
    return read_arrays(io.BytesIO(content), _NoChecksum())


class _NoChecksum:
    """Where the checksum was compared already."""

    def update(self, content: bytes | memoryview, /) -> None:
        """Take no notice."""

    def hexdigest(self) -> str:
        return ""


def bytes_of(array: npt.NDArray[Any]) -> memoryview:
    """Return an array's bytes, in C order."""
    return memoryview(array.reshape(-1).view(np.uint8).data) if array.nbytes else memoryview(b"")


def _padded(num_bytes: int) -> int:
    return -(-num_bytes // _ALIGNMENT) * _ALIGNMENT


def _gap(num_bytes: int) -> int:
    if not 0 <= num_bytes < _ALIGNMENT:
        raise ValueError(f"wanted arrays one after another, got a gap of {num_bytes} bytes")
    return num_bytes


def _with_tuples(descr: Any) -> Any:
    """Return a dtype as NumPy writes it: JSON makes lists of the tuples of one with fields."""
    if isinstance(descr, str):
        return descr
    return [tuple(_field(part) for part in entry) for entry in descr]


def _field(part: Any) -> Any:
    if isinstance(part, list):  # The fields of a field, a shape, or a title and a name.
        return _with_tuples(part) if part and isinstance(part[0], list) else tuple(part)
    return part
