"""The trials of a search over settings, in a file that grows by a line with each, so that the search goes on."""

import hashlib
import io
import os
import zipfile
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from springtide.errors import SettingsError
from springtide.evaluation.measures.measurement import Arrays
from springtide.evaluation.tuning.judging import Trial
from springtide.storage import Storage

_LINES: TypeAdapter[Trial] = TypeAdapter(Trial)
_BEGIN = b'{"study":'


class TrialsFile:
    """Trials as JSON lines, of any number of studies.

    What a result is made of lies beside it, in a folder of the same stem. A last line that was torn, by a crash or a
    full disk, is taken away.

    Args:
        path: The file; made with the first trial.

    Raises:
        SettingsError: If the file cannot be read, or holds anything else: it is left as it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder = Storage(str(path.with_name(f"{path.stem}.questions")))
        self._trials: list[Trial] = []
        try:
            content = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise SettingsError(f"trials {path} cannot be read: {error.strerror}") from error
        whole, newline, torn = content.rpartition(b"\n")
        for number, line in enumerate(whole.split(b"\n") if newline else (), start=1):
            try:
                self._trials.append(_LINES.validate_json(line))
            except ValidationError as error:
                raise SettingsError(
                    f"{path}, line {number}: wanted a trial of `springtide tune`, got {line[:60]!r}"
                ) from error
        if torn:
            if not newline and not _BEGIN.startswith(torn[: len(_BEGIN)]):
                raise SettingsError(f"{path}: wanted trials of `springtide tune`, got {torn[:60]!r}")
            os.truncate(path, len(content) - len(torn))

    def of_study(self, study: str) -> list[Trial]:
        """Return the trials of a study, in the order of their numbers."""
        return sorted((trial for trial in self._trials if trial.study == study), key=lambda trial: trial.number)

    def add(self, trial: Trial, arrays: Arrays | None = None) -> None:
        """Write a trial; after this returns it is on the disk.

        Args:
            trial: The trial.
            arrays: What its result is made of, numeric.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if arrays:
            content = io.BytesIO()
            np.savez_compressed(content, allow_pickle=False, **arrays)
            self._folder.write(_archive_of(trial), content.getvalue())
        with self.path.open("ab") as file:
            file.write(_LINES.dump_json(trial) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._trials.append(trial)

    def arrays(self, trial: Trial) -> Arrays:
        """Return what the result of a trial is made of.

        Raises:
            SettingsError: If it is not there any more.
        """
        try:
            content = self._folder.read(_archive_of(trial))
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise SettingsError(
                f"{self.path}: what trial {trial.number} is made of is not in {self._folder} any more: begin another "
                "study, in another file"
            ) from error


def _archive_of(trial: Trial) -> str:
    return f"{hashlib.sha256(trial.study.encode()).hexdigest()[:16]}-{trial.number:05}.npz"
