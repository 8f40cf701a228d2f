"""Damaged checkpoints that were set aside: no longer among the checkpoints, and kept for a person to look at."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from springtide.checkpoint.manifest_files import MANIFESTS, Json
from springtide.storage import Storage

FOLDER = "damaged"

_NOTE = ".note.json"
_NAME_DIGITS = 8
_MAX_KEPT = 3  # They share most files with whole ones, or are as large as one.


@dataclass(frozen=True, slots=True)
class SetAside:
    """A damaged checkpoint that was set aside.

    Attributes:
        name: Its name.
        fault: What is damaged, in words.
        found_ms: When it was set aside, in milliseconds since the Unix epoch.
        files: Names of its files, as far as its manifest could be read.
        num_forgotten: How many nodes had been forgotten when it was set aside.
        position: How far into the stream it was, as in its manifest; None if unknown.
    """

    name: str
    fault: str
    found_ms: int
    files: tuple[str, ...]
    num_forgotten: int
    position: Json | None = None


class DamagedFolder:
    """The damaged checkpoints that were set aside at one URL: the manifest as it is, and a note beside it.

    Only the URL's one writer may call ``put`` and ``prune``.

    Args:
        storage: The folder that checkpoints are kept in.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def put(self, found: SetAside) -> None:
        """Set a checkpoint aside; done twice, or broken off and done again, it comes to the same.

        Raises:
            OSError: If the storage cannot be written to.
        """
        original = f"{MANIFESTS}/{found.name}.json"
        note = {
            "name": found.name,
            "fault": found.fault,
            "found_ms": found.found_ms,
            "files": found.files,
            "num_forgotten": found.num_forgotten,
            "position": found.position,
        }
        self._storage.write(f"{FOLDER}/{found.name}{_NOTE}", json.dumps(note, indent=2).encode())
        try:
            content = self._storage.read(original)
        except OSError:  # What the disk cannot read cannot be kept.
            content = b""
        self._storage.write(f"{FOLDER}/{found.name}.json", content)
        self._storage.delete(original)  # Last: until then it is found, and set aside, again.

    def names(self) -> list[str]:
        """Return the names of those that were set aside, newest first.

        Raises:
            OSError: If they cannot be listed.
        """
        stems = (name.removesuffix(_NOTE) for name in self._storage.list(FOLDER) if name.endswith(_NOTE))
        return sorted((stem for stem in stems if stem.isdecimal()), reverse=True)

    def all(self) -> list[SetAside]:
        """Return those that were set aside, newest first.

        Raises:
            OSError: If they cannot be listed or read.
        """
        return [self._read(name) for name in self.names()]

    def prune(self, num_forgotten: int) -> None:
        """Delete what is one too many, and what may hold a node that was forgotten since.

        Args:
            num_forgotten: How many nodes are forgotten now.

        Raises:
            OSError: If the storage cannot be written to.
        """
        for index, each in enumerate(self.all()):
            if index >= _MAX_KEPT or each.num_forgotten != num_forgotten:
                self._storage.delete(f"{FOLDER}/{each.name}.json")
                self._storage.delete(f"{FOLDER}/{each.name}{_NOTE}")
        self._storage.delete_unfinished(FOLDER)

    def files_of(self, files: Iterable[str]) -> set[str]:
        """Return which of some files belong to checkpoints that were set aside.

        Raises:
            OSError: If they cannot be listed or read.
        """
        aside = self.all()
        named = {file for each in aside for file in each.files}
        written = tuple(f"{each.name}-" for each in aside)  # The same without a manifest that can be read.
        return {file for file in files if file in named or file.startswith(written)} if aside else set()

    def _read(self, name: str) -> SetAside:
        try:
            note: Json = json.loads(self._storage.read(f"{FOLDER}/{name}{_NOTE}"))
            return SetAside(
                name,
                str(note["fault"]),
                int(note["found_ms"]),
                tuple(map(str, note["files"])),
                int(note["num_forgotten"]),
                None if note["position"] is None else dict(note["position"]),
            )
        except (FileNotFoundError, ValueError, TypeError, KeyError) as error:  # Disks damage notes, too.
            return SetAside(name, f"its note cannot be read: {error}", 0, (), -1)


def name_of(number: int) -> str:
    """Return the name of the checkpoint of a number."""
    return f"{number:0{_NAME_DIGITS}d}"


def names_without_manifest(known: Iterable[str], files: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the names that have files and no manifest, newest first: those that lost it, and those that may have.

    A writer that was killed leaves files of the next name, and no manifest; never of a later one.

    Args:
        known: Names of all checkpoints, those that were set aside too.
        files: Names of the files that are there.
    """
    newest = max(map(int, known), default=0)
    numbers = {int(file[:_NAME_DIGITS]) for file in files if file[:_NAME_DIGITS].isdecimal()}
    orphans = sorted((number for number in numbers if number > newest), reverse=True)
    lost = [name_of(number) for number in orphans if number > newest + 1]
    return lost, [name_of(number) for number in orphans if number == newest + 1]
