"""The trials of a search over settings, in a file that grows by a line with each, so that the search continues."""

import hashlib
from pathlib import Path

from pydantic import TypeAdapter

from springtide.errors import SettingsError
from springtide.evaluation.json_lines import JsonLines
from springtide.evaluation.measures.mean_metrics import Arrays
from springtide.evaluation.tuning.objective import Trial

_TRIALS: TypeAdapter[Trial] = TypeAdapter(Trial)


class TrialsFile:
    """Trials of any number of studies as JSON lines, with the metrics of each query in an archive beside the file.

    Args:
        path: The file; it is created with the first trial.

    Raises:
        SettingsError: If the file cannot be read, or holds anything else; it is then left unchanged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = JsonLines(path, _TRIALS, b'{"study":', "trials of `springtide tune`")
        self._trials = list(self._file.records)

    def of_study(self, study: str) -> list[Trial]:
        """Return the trials of a study, in the order of their numbers."""
        return sorted((trial for trial in self._trials if trial.study == study), key=lambda trial: trial.number)

    def add(self, trial: Trial, arrays: Arrays | None = None) -> None:
        """Write a trial; when this returns, it is on the disk.

        Args:
            trial: The trial.
            arrays: The metrics of each query; see ``DetailedMeasurement``.

        Raises:
            SettingsError: If it cannot be written.
        """
        if arrays:
            self._file.write_arrays(_archive_of(trial), arrays)
        self._file.append(trial)
        self._trials.append(trial)

    def arrays(self, trial: Trial) -> Arrays:
        """Return the metrics of each query of a trial.

        Raises:
            SettingsError: If they are gone.
        """
        arrays = self._file.read_arrays(_archive_of(trial))
        if arrays is None:
            raise SettingsError(
                f"{self.path}: the results of trial {trial.number} are no longer in {self._file.folder.url}: start "
                "another study, in another file"
            )
        return arrays


def _archive_of(trial: Trial) -> str:
    return f"{hashlib.sha256(trial.study.encode()).hexdigest()[:16]}-{trial.number:05}.npz"
