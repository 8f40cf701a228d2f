"""Opening a file of events: what compressed it, its form and its encoding, from its name and its first bytes."""

import bz2
import gzip
import io
import lzma
import shutil
import stat
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO, cast

import pyarrow as pa

from springtide.event_files.problems import EventFileError

DELIMITED, JSON, PARQUET, ARROW = "delimited", "json", "parquet", "arrow"
ENDINGS = {
    **dict.fromkeys((".csv", ".tsv", ".tab", ".inter", ".psv"), DELIMITED),
    **dict.fromkeys((".jsonl", ".ndjson", ".jsonlines", ".json"), JSON),
    **dict.fromkeys((".parquet", ".pq", ".parq"), PARQUET),
    **dict.fromkeys((".feather", ".arrow", ".arrows", ".ipc"), ARROW),
    **dict.fromkeys((".txt", ".dat", ".data", ""), None),  # The content decides.
}
"""Form of a file by its ending, without that of a compression."""

STDIN = "-"
_WANTED = "wanted .csv, .tsv, .inter, .jsonl, .json (each also with .gz, .bz2, .xz or .zst), .parquet or .feather"
_COMPRESSIONS = {".gz", ".bz2", ".xz", ".zst"}
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_NUM_PEEKED = 4_096
_MIN_NUL_SHARE = 0.3  # Of every second byte: text in a Latin script in UTF-16 without a mark.
_READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException)


class InputFile:
    """A file of events, or standard input; it can be read several times.

    A pipe is first copied to a temporary file, which ``close`` deletes.

    Args:
        path: The file; ``-`` for standard input.
        encoding: Encoding of text, by its name in Python; by default that of its byte-order mark, else UTF-8.

    Attributes:
        name: Name of the file for messages.
        path: The file that is read.
        stem: Name without its endings.
        form: One of ``DELIMITED``, ``JSON``, ``PARQUET``, ``ARROW``.
        ending: Ending in lower case, without that of a compression, such as ``.csv``; empty if there is none.
        encoding: Encoding of text.

    Raises:
        EventFileError: If there is no such file, it cannot be opened, or it is of another form.
    """

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        self.name = "standard input" if str(path) == STDIN else str(path)
        self._spooled: tempfile._TemporaryFileWrapper[bytes] | None = None
        bare = path.with_suffix("") if path.suffix.lower() in _COMPRESSIONS else path
        self.stem = bare.stem if str(path) != STDIN else "events"
        self.ending = bare.suffix.lower()
        if self.ending not in ENDINGS and not _is_pipe(path):
            raise EventFileError(f"{self.name}: {'' if path.exists() else 'no such file; '}{_WANTED}")
        self.path = self._readable(path)
        with self.reading():
            magic = _first_bytes(self.path.open("rb"), 8)
            self._compression = next((kind for start, kind in _MAGIC.items() if magic.startswith(start)), None)
            head = _first_bytes(self.open_bytes(), _NUM_PEEKED)
        self.encoding = self._encoding_of(head, encoding)
        self.form = self._form_of(head)

    def _readable(self, path: Path) -> Path:
        """Return a file that can be read several times: the one named, or a copy of a pipe."""
        if str(path) != STDIN:
            if not path.exists():
                raise EventFileError(f"{self.name}: no such file")
            if path.is_dir():
                raise EventFileError(f"{self.name}: wanted a file, got a folder: name the files in it one by one")
            if path.is_file():
                return path
        with self.reading():
            self._spooled = tempfile.NamedTemporaryFile(prefix="springtide-events-")  # noqa: SIM115  # ``close`` does.
            source = sys.stdin.buffer if str(path) == STDIN else path.open("rb")
            with source:
                shutil.copyfileobj(source, self._spooled)
            self._spooled.flush()
        return Path(self._spooled.name)

    def close(self) -> None:
        """Delete the copy of a pipe."""
        if self._spooled is not None:
            self._spooled.close()

    def open_bytes(self) -> BinaryIO:
        """Open the file, decompressed."""
        if self._compression == "gzip":
            return cast(BinaryIO, gzip.open(self.path))
        if self._compression == "bz2":
            return cast(BinaryIO, bz2.open(self.path))
        if self._compression == "xz":
            return cast(BinaryIO, lzma.open(self.path))
        if self._compression == "zstd":
            return cast(BinaryIO, io.BufferedReader(pa.input_stream(str(self.path), compression="zstd")))
        return self.path.open("rb")

    def open_text(self, newline: str | None = None) -> TextIO:
        """Open the file as text; what cannot be decoded becomes lone surrogates, so that its row can be named."""
        errors = "surrogatepass" if self.encoding.startswith(("utf-16", "utf-32")) else "surrogateescape"
        return io.TextIOWrapper(self.open_bytes(), encoding=self.encoding, errors=errors, newline=newline)

    @contextmanager
    def reading(self, where: Callable[[], str] = str) -> Iterator[None]:
        """Raise what goes wrong while reading as ``EventFileError``, with the name of the file.

        Args:
            where: Returns how far the reading has come, such as ``, after row 5``.
        """
        try:
            yield
        except UnicodeError as error:
            words = f"cannot be read as {self.encoding}{where()}: {getattr(error, 'reason', error)}"
            raise EventFileError(f"{self.name}: {words}; --encoding names another encoding") from error
        except _READ_ERRORS as error:
            words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise EventFileError(f"{self.name}: cannot be read{where()}: {' '.join(words.split())}") from error

    def _encoding_of(self, head: bytes, named: str | None) -> str:
        if named is not None:
            try:
                io.TextIOWrapper(io.BytesIO(), encoding=named)
            except (LookupError, ValueError) as error:
                raise EventFileError(
                    f"no encoding named {named!r}: wanted one that Python knows, such as latin-1, cp1252 or utf-16"
                ) from error
            return "utf-8-sig" if named.lower().replace("_", "-") in ("utf-8", "utf8") else named
        for mark, encoding in _BOMS:
            if head.startswith(mark):
                return encoding
        for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
            every_second = head[start::2]
            num_nul = every_second.count(0)
            if num_nul > _MIN_NUL_SHARE * len(every_second) and 0 not in head[1 - start :: 2]:
                return encoding
        return "utf-8"

    def _form_of(self, head: bytes) -> str:
        if head.startswith(b"PAR1"):
            form = PARQUET
        elif head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):  # As a file, and as a stream.
            form = ARROW
        elif head.startswith(b"PK\x03\x04"):
            raise EventFileError(f"{self.name}: wanted a file of events, got a ZIP archive or a spreadsheet; {_WANTED}")
        else:
            text = head.decode(self.encoding, "replace").lstrip("\ufeff").lstrip()
            form = ENDINGS.get(self.ending) or (JSON if text.startswith(("{", "[")) else DELIMITED)
            if form in (PARQUET, ARROW):
                raise EventFileError(f"{self.name}: its content is not {form.capitalize()}, as its name says")
        if form in (PARQUET, ARROW) and self._compression:
            raise EventFileError(f"{self.name}: unpack it first: a compressed {form.capitalize()} file is not read")
        return form


def _is_pipe(path: Path) -> bool:
    return str(path) == STDIN or (path.exists() and not stat.S_ISREG(path.stat().st_mode))


def _first_bytes(file: BinaryIO, size: int) -> bytes:
    with file:
        return file.read(size)
