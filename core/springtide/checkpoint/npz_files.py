"""Reading the npz files of checkpoints that earlier releases have written: arrays of NumPy's format, not compressed."""

import io
import math
import struct
import zipfile
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from springtide.checkpoint.array_files import NO_ARRAYS, Arrays, DamagedFileError, Source, bytes_of
from springtide.checksums import Checksum

NPZ = ".npz"  # How the names of these files end.
_LOCAL_HEADER = struct.Struct("<26xHH")  # Of an entry of a zip file: the lengths of its name and of what is extra.
_ARRAY_HEADER = struct.Struct("<8xH")  # Of an array, in version 1.0 of NumPy's format: the length of the rest.


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
        source = Source(file, checksum)
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
    source: Source, entry: zipfile.ZipInfo, num_bytes: int, into: npt.NDArray[Any] | None
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
    source.fill(bytes_of(array))
    return array.T if is_fortran else array
