"""The results of an evaluation, in a file that grows by a line with each, so that an interrupted run continues."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pydantic import TypeAdapter

from springtide.evaluation.json_lines import JsonLines
from springtide.evaluation.measures.mean_metrics import Arrays, Measurement


@dataclass(frozen=True, slots=True)
class RunKey:
    """Everything that a result depends on: runs with equal keys are the same run.

    Field names and order are part of the stored format: archives are named by a hash of this object's ``repr``.

    Attributes:
        dataset: Name of the data set.
        model: Name of the model or baseline.
        seed: Random seed; None for a baseline that does not depend on chance.
        settings: Digest of the settings and plugins that affect the result.
        version: Version of Springtide.
        split: Name of the cut, such as ``walk-forward 2 of 4``; see ``splits.cuts``.
        data: Digest of a file's content; empty for a public data set.
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
    """The outcome of a run.

    Attributes:
        key: The run.
        measured_on: Day of the measurement, UTC.
        measurement: The metrics; None if the run failed.
        failure: Why it failed; empty if it did not.
    """

    key: RunKey
    measured_on: date
    measurement: Measurement | None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class _ObsoleteResult:
    """A line in an older format, whose run is measured again."""

    key: RunKey


_RESULTS: TypeAdapter[Result | _ObsoleteResult] = TypeAdapter(Result | _ObsoleteResult)


class ResultsFile:
    """Results as JSON lines, with the metrics of each query in an archive beside the file.

    If several results have the same key, the last one counts.

    Args:
        path: The file; it is created with the first result.

    Raises:
        SettingsError: If the file cannot be read, or holds anything else; it is then left unchanged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = JsonLines(path, _RESULTS, b'{"key":', "results of `springtide evaluate`")
        self._by_key = {result.key: result for result in self._file.records if isinstance(result, Result)}

    def get(self, key: RunKey) -> Result | None:
        """Return the result of a run; None if there is none, or if it failed: a failed run is tried again."""
        result = self._by_key.get(key)
        return result if result is not None and result.measurement is not None else None

    def add(self, result: Result, arrays: Arrays | None = None) -> None:
        """Write a result; when this returns, it is on the disk.

        Args:
            result: The result.
            arrays: The metrics of each query; see ``DetailedMeasurement``.

        Raises:
            SettingsError: If it cannot be written.
        """
        if arrays:
            self._file.write_arrays(_archive_of(result.key), arrays)
        self._file.append(result)
        self._by_key[result.key] = result

    def arrays(self, key: RunKey) -> Arrays:
        """Return the metrics of each query of a run; empty if they were not kept or are gone."""
        return self._file.read_arrays(_archive_of(key)) or {}

    def forget(self, keys: Collection[RunKey]) -> None:
        """Remove the results of some runs."""
        kept = {key: result for key, result in self._by_key.items() if key not in keys}
        if len(kept) == len(self._by_key):
            return
        self._file.rewrite(list(kept.values()))
        self._by_key = kept


def _archive_of(key: RunKey) -> str:
    return f"{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}.npz"
