"""What was measured, in a file that grows by a line with each result, so that a run which was cut short goes on."""

import hashlib
import io
import os
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from springtide.errors import SettingsError
from springtide.evaluation.measures.measurement import Arrays, Measurement
from springtide.storage import Storage


@dataclass(frozen=True, slots=True)
class RunKey:
    """What makes two runs the same.

    Attributes:
        dataset: Name of the data set.
        model: Name of the model.
        seed: Of everything left to chance; None where nothing is.
        settings: Digest of whatever else bears on the result; empty where nothing does.
        version: Of Springtide.
        split: How the data set is cut, and which of the cuts this is of.
        data: Digest of a file's content; empty for a data set that has a name of its own.
    """

    dataset: str
    model: str
    seed: int | None
    settings: str
    version: str
    split: str = "global"
    data: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run gave.

    Attributes:
        key: Which run.
        measured_on: The day, UTC.
        measurement: How good the model is; None if that could not be measured.
        failure: Why it could not.
    """

    key: RunKey
    measured_on: date
    measurement: Measurement | None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class _Outgrown:
    """A line of an earlier form: what it measured is measured again."""

    key: RunKey


_LINES: TypeAdapter[Result | _Outgrown] = TypeAdapter(Result | _Outgrown)


class ResultsFile:
    """Results as JSON lines. Of several with one key, the last holds.

    What a result is made of lies beside it, in a folder of the same stem: an archive of arrays for each run. A last
    line that was torn, by a crash or a full disk, is taken away.

    Args:
        path: The file; made with the first result.

    Raises:
        SettingsError: If the file holds anything else: it may be of somebody else, and is left as it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder = Storage(str(path.with_name(f"{path.stem}.questions")))
        self._by_key: dict[RunKey, Result] = {}
        content = path.read_bytes() if path.exists() else b""
        whole, newline, torn = content.rpartition(b"\n")
        for number, line in enumerate(whole.split(b"\n") if newline else (), start=1):
            try:
                result = _LINES.validate_json(line)
            except ValidationError as error:
                raise SettingsError(
                    f"{path}, line {number}: wanted a result of `springtide evaluate`, got {line[:60]!r}"
                ) from error
            if isinstance(result, Result):
                self._by_key[result.key] = result
        if torn:
            if not newline and not b'{"key":'.startswith(torn[:7]):
                raise SettingsError(f"{path}: wanted results of `springtide evaluate`, got {torn[:60]!r}")
            os.truncate(path, len(content) - len(torn))

    def get(self, key: RunKey) -> Result | None:
        """Return what the run gave, or None if it was not made or failed: what failed is tried again."""
        result = self._by_key.get(key)
        return result if result is not None and result.measurement is not None else None

    def add(self, result: Result, arrays: Arrays | None = None) -> None:
        """Write a result; after this returns it is on the disk.

        Args:
            result: What a run gave.
            arrays: What it is made of, numeric.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if arrays:
            content = io.BytesIO()
            np.savez_compressed(content, allow_pickle=False, **arrays)
            self._folder.write(_archive_of(result.key), content.getvalue())
        with self.path.open("ab") as file:
            file.write(_LINES.dump_json(result) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._by_key[result.key] = result

    def arrays(self, key: RunKey) -> Arrays:
        """Return what the run's result is made of; nothing where that was not kept, or is not there any more."""
        try:
            content = self._folder.read(_archive_of(key))
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except (OSError, ValueError, zipfile.BadZipFile):
            return {}

    def forget(self, keys: Collection[RunKey]) -> None:
        """Take the results of some runs away; the others stay."""
        kept = {key: result for key, result in self._by_key.items() if key not in keys}
        if len(kept) == len(self._by_key):
            return
        content = b"".join(_LINES.dump_json(result) + b"\n" for result in kept.values())
        Storage(str(self.path.parent)).write(self.path.name, content)
        self._by_key = kept


def _archive_of(key: RunKey) -> str:
    return f"{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}.npz"
