"""The data to evaluate on: a public data set by its name, or a file of events."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from springtide.errors import DatasetError
from springtide.evaluation.data import DATASETS, Dataset, fetch, read_interactions_file


@dataclass(frozen=True, slots=True)
class Source:
    """A data set that is read only when it is needed.

    Attributes:
        name: Its name in tables: that of the public data set, or the path of the file.
        digest: Digest of the file's content and columns; empty for a public data set.
        load: Reads the data set.
    """

    name: str
    digest: str
    load: Callable[[], Dataset]


def source_of(
    named: str, columns: Mapping[str, str] | None = None, fetch_dataset: Callable[[str], Dataset] = fetch
) -> Source:
    """Return the source of that name.

    Args:
        named: Name of a public data set, or path of a file.
        columns: Column names by role, for a file; see ``read_interactions_file``.
        fetch_dataset: Returns a public data set by its name.

    Raises:
        DatasetError: If there is no such data set or file.
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
