"""A file that grows by one JSON line with each record, with arrays beside it, so that an interrupted run continues."""

import io
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from springtide.errors import SettingsError
from springtide.evaluation.measures.mean_metrics import Arrays
from springtide.storage import Storage

Record = TypeVar("Record")


class JsonLines(Generic[Record]):
    """Records as JSON lines in a file, and archives of arrays in a folder beside it, ``<stem>.questions``.

    A last line without a newline, left by a crash or a full disk, is cut off when the file is opened.

    Args:
        path: The file; it is created with the first record.
        adapter: Reads and writes a record.
        start: How every line begins, to recognise an incomplete first line.
        content: What the file holds, for messages, such as "results of `springtide evaluate`".

    Attributes:
        folder: The folder of the archives.
        records: The records in the file when it was opened, in order.

    Raises:
        SettingsError: If the file cannot be read, or holds anything else; it is then left unchanged.
    """

    def __init__(self, path: Path, adapter: TypeAdapter[Record], start: bytes, content: str) -> None:
        self._path = path
        self._adapter = adapter
        self.folder = Storage(str(path.with_name(f"{path.stem}.questions")))
        self.records: list[Record] = []
        try:
            data = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise SettingsError(f"{path} cannot be read: {error.strerror}; wanted {content}") from error
        whole, newline, incomplete = data.rpartition(b"\n")
        for number, line in enumerate(whole.split(b"\n") if newline else (), start=1):
            try:
                self.records.append(adapter.validate_json(line))
            except ValidationError as error:
                raise SettingsError(f"{path}, line {number}: wanted {content}, got {line[:60]!r}") from error
        if incomplete:
            if not newline and not start.startswith(incomplete[: len(start)]):
                raise SettingsError(f"{path}: wanted {content}, got {incomplete[:60]!r}")
            os.truncate(path, len(data) - len(incomplete))

    def append(self, record: Record) -> None:
        """Append a record; when this returns, it is on the disk.

        Raises:
            SettingsError: If it cannot be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(self._adapter.dump_json(record) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise SettingsError(f"{self._path} cannot be written: {error.strerror}") from error

    def rewrite(self, records: Sequence[Record]) -> None:
        """Replace all records, at once: readers see the old file or the new one.

        Raises:
            SettingsError: If the file cannot be written.
        """
        content = b"".join(self._adapter.dump_json(record) + b"\n" for record in records)
        try:
            Storage(str(self._path.parent)).write(self._path.name, content)
        except OSError as error:
            raise SettingsError(f"{self._path} cannot be written: {error.strerror}") from error

    def write_arrays(self, name: str, arrays: Arrays) -> None:
        """Write numeric arrays as an archive of that name.

        Raises:
            SettingsError: If they cannot be written.
        """
        content = io.BytesIO()
        np.savez_compressed(content, allow_pickle=False, **arrays)
        try:
            self.folder.write(name, content.getvalue())
        except OSError as error:
            raise SettingsError(f"{self.folder.path(name)} cannot be written: {error.strerror}") from error

    def read_arrays(self, name: str) -> Arrays | None:
        """Return the arrays of an archive; None if it does not exist or is damaged."""
        try:
            with np.load(io.BytesIO(self.folder.read(name)), allow_pickle=False) as archive:
                return {array: archive[array] for array in archive.files}
        except (OSError, ValueError, zipfile.BadZipFile):
            return None
