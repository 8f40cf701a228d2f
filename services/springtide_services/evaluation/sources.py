"""Where the data to evaluate on comes from: a public data set by its name, or anybody's file."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from springtide.errors import DatasetError
from springtide.evaluation.data.datasets import DATASETS, Dataset, fetch
from springtide.evaluation.data.event_tables import read_interactions_file


@dataclass(frozen=True, slots=True)
class Source:
    """A data set that need not be read if all is known of it.

    Attributes:
        name: What tables call it.
        digest: Of the file's content and columns; empty for a public data set, whose name says all.
        load: Reads it.
    """

    name: str
    digest: str
    load: Callable[[], Dataset]


def source_of(
    named: str, columns: Mapping[str, str] | None = None, fetch_dataset: Callable[[str], Dataset] = fetch
) -> Source:
    """Return the data set of that name, or the file.

    Raises:
        DatasetError: If it is neither.
    """
    if named in DATASETS:
        return Source(named, "", partial(fetch_dataset, named))
    path = Path(named)
    if not path.is_file():
        raise DatasetError(f"no data set or file named {named!r} (data sets: {', '.join(sorted(DATASETS))})")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(repr(sorted((columns or {}).items())).encode())
    return Source(named, digest.hexdigest()[:16], partial(read_interactions_file, path, columns=columns))
