"""The data to evaluate on: a public data set by its name, or a file of events."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from springtide.errors import DatasetError
from springtide.evaluation.data import (
    DATASETS,
    AttributeFile,
    Dataset,
    fetch,
    read_interactions_file,
    with_attributes,
    with_feedback,
)
from springtide.event_files import ReadOptions
from springtide.settings.interaction_rules import InteractionRules

_DEFAULT = ReadOptions()


@dataclass(frozen=True, slots=True)
class Source:
    """A data set that is read only when it is needed.

    Attributes:
        name: Its name in tables: that of the public data set, or the path of the file.
        digest: Digest of the file's content, and of how it is read; empty for a public data set.
        load: Reads the data set.
    """

    name: str
    digest: str
    load: Callable[[], Dataset]


def source_of(named: str, options: ReadOptions = _DEFAULT, fetch_dataset: Callable[[str], Dataset] = fetch) -> Source:
    """Return the source of that name.

    Args:
        named: Name of a public data set, or path of a file.
        options: How a file is read.
        fetch_dataset: Returns a public data set by its name.

    Raises:
        DatasetError: If there is no such data set or file.
    """
    if named in DATASETS:
        return Source(named, "", partial(fetch_dataset, named))
    path = Path(named)
    if path.is_dir():
        raise DatasetError(f"{named}: wanted a file, got a folder: name the files in it one by one")
    if named == "-" or (path.exists() and not path.is_file()):
        raise DatasetError(f"{named}: wanted a file, which can be read again, got a pipe: save its content first")
    if not path.is_file():
        raise DatasetError(f"no data set or file named {named!r} (data sets: {', '.join(sorted(DATASETS))})")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(repr(sorted((options.columns or {}).items())).encode())
    if options.time_unit or options.encoding:
        digest.update(repr((options.time_unit, options.encoding)).encode())
    if options.default_type:
        digest.update(options.default_type.encode())
    if options.time_format:
        digest.update(options.time_format.encode())
    return Source(named, digest.hexdigest()[:16], partial(read_interactions_file, path, options))


def extended(source: Source, attributes: Sequence[AttributeFile], rules: InteractionRules | None) -> Source:
    """Return a source whose data set has attributes from files, and interactions by rules.

    Args:
        source: The source.
        attributes: Files of attributes.
        rules: Rules that say which interactions are positive, and with which weights; None if all are.

    Raises:
        DatasetError: If a file of attributes cannot be opened.
    """
    if not attributes and rules is None:
        return source
    digest = hashlib.sha256(source.digest.encode())
    for file in attributes:
        try:
            digest.update(file.path.read_bytes())
        except OSError as error:
            raise DatasetError(f"{file.path}: cannot be read: {error.strerror}") from error
        digest.update(repr((file.node_type, file.id_column, file.separator, sorted(file.kinds.items()))).encode())
    if rules is not None:
        digest.update(repr(rules.rules).encode())

    def load() -> Dataset:
        dataset = source.load()
        for file in attributes:
            dataset = with_attributes(dataset, file)
        return dataset if rules is None else with_feedback(dataset, rules)

    return Source(source.name, digest.hexdigest()[:16], load)
