"""Checksums of files, which tell a damaged file from a whole one; they keep nobody from writing another file."""

import hashlib
import io
from typing import Protocol

import crc32c

from springtide import checksum_kernels

CRC32C = "crc32c"
SHA256 = "sha256"  # Of earlier releases; it takes nine times as long.


class Checksum(Protocol):
    """A checksum that is taken piece by piece, as those of ``hashlib`` are."""

    def update(self, content: bytes | memoryview, /) -> None:
        """Take the next piece in."""

    def hexdigest(self) -> str:
        """Return the checksum of all pieces so far, in hexadecimal."""
        ...


class Crc32c:
    """CRC-32C; other threads run while it is taken of a large piece.

    It finds any three flipped bits in 256 MiB, any damage within 32 bits, and all but one in 4 billion of others.
    """

    __slots__ = ("_value",)

    def __init__(self) -> None:
        self._value = 0

    def update(self, content: bytes | memoryview, /) -> None:
        """Take the next piece in."""
        self._value = crc32c.crc32c(content, self._value)

    def read_into(self, target: memoryview, file: io.FileIO) -> int:
        """Fill a target from a file, and take it in; no other thread needs to wait meanwhile.

        Args:
            target: Bytes to write to.
            file: A file without a buffer, read from where it stands.

        Returns:
            How many bytes there were, fewer only at the end of the file.
        """
        num_bytes, self._value = checksum_kernels.read_into(file.fileno(), target, self._value)
        return num_bytes

    def read_past(self, file: io.FileIO) -> int:
        """Take in the rest of a file without a buffer, and keep nothing of it; return how many bytes there were."""
        num_bytes, self._value = checksum_kernels.read_past(file.fileno(), self._value)
        return num_bytes

    def hexdigest(self) -> str:
        """Return the checksum of all pieces so far."""
        return f"{self._value:08x}"


def crc32c_of(content: bytes | memoryview) -> str:
    """Return the CRC-32C of the content."""
    return f"{crc32c.crc32c(content):08x}"


def checksum(name: str) -> Checksum:
    """Return a checksum of a name, ``crc32c`` or ``sha256``, of nothing so far."""
    return Crc32c() if name == CRC32C else hashlib.sha256()
