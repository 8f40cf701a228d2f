"""The files of manifests: listed, read and verified; with nothing imported that a state is made of."""

import errno
import json
from collections.abc import Callable, Sequence
from typing import Any

from springtide.checkpoint.leases import Lease, Leases
from springtide.errors import CheckpointError, DamagedCheckpointError
from springtide.storage import Storage, sha256

MANIFESTS = "manifests"
FORMAT = 7  # Format of manifest and segments.
# Those that can be read. Up to format 6, numbers have 32 bits. Up to format 5, each attribute has a number for each
# node. Up to format 4, `reorder` has its pairs one by one. Up to format 3, files are npz files; up to format 2, they
# have a SHA-256; in format 1, edges, ids and attributes are Arrow files.
_FORMATS = (1, 2, 3, 4, 5, 6, FORMAT)
COUNTS_NAMES = 6  # The format from which on checkpoints have the names that events may have.

Json = dict[str, Any]


class NoSuchCheckpointError(CheckpointError):
    """Raised when there is no checkpoint of a name."""


class UnreadableCheckpointError(CheckpointError):
    """Raised when a file cannot be read now, as while a network is away, or newer software has written it."""


class ManifestFiles:
    """The manifests of the checkpoints at one URL; for readers.

    Args:
        storage: The folder that checkpoints are kept in.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._leases = Leases(storage)
        self._fences: dict[str, int | None] = {}  # By name; None for a manifest that no lease was held for.

    def names(self) -> list[str]:
        """Return the names of the checkpoints, newest first, without those of writers that had been replaced.

        Raises:
            CheckpointError: If they cannot be listed.
        """
        names = self.all_names()
        late = self._late(names)
        return [name for name in names if name not in late]

    def all_names(self) -> list[str]:
        """Return the names of the manifests that are there, newest first.

        Raises:
            CheckpointError: If they cannot be listed.
        """
        try:
            files_there = self._storage.list(MANIFESTS)
        except OSError as error:
            raise CheckpointError(f"checkpoints at {self._storage.url} cannot be listed: {error}") from error
        stems = (name.removesuffix(".json") for name in files_there if name.endswith(".json"))
        return sorted((stem for stem in stems if stem.isdecimal()), reverse=True)

    def _late(self, names: Sequence[str]) -> set[str]:
        """Return which checkpoints were written by a writer that had been replaced before; see ``Lease.is_late``."""
        if not names:
            return set()
        try:
            lease = self._leases.newest()
        except OSError as error:
            raise CheckpointError(f"checkpoints at {self._storage.url} cannot be listed: {error}") from error
        self._fences = {name: fence for name, fence in self._fences.items() if name in names}
        return set() if lease is None else {name for name in names if self._is_late(name, lease)}

    def _is_late(self, name: str, lease: Lease) -> bool:
        if not lease.is_late(name, 0):
            return False  # Nothing is read of those that were there before all leases that are remembered.
        if name not in self._fences:
            try:
                self._fences[name] = self.read(name).get("fence")
            except CheckpointError:
                return False  # Whoever reads it will say so.
        fence = self._fences[name]
        return fence is not None and lease.is_late(name, fence)

    def newest(self, on_damage: Callable[[str, str], None] | None = None) -> Json | None:
        """Return the newest manifest that can be read, or None if there is none.

        Args:
            on_damage: Called with the name and the fault of each newer checkpoint whose manifest is damaged.

        Raises:
            CheckpointError: If the storage cannot be read, or newer software has written the newest one.
        """
        while True:
            for name in self.names():
                try:
                    return self.read(name)
                except DamagedCheckpointError as error:
                    if on_damage is not None:
                        on_damage(name, str(error))
                except NoSuchCheckpointError:
                    break  # Pruned meanwhile: a newer one has taken its place.
            else:
                return None

    def read(self, name: str) -> Json:
        """Return the manifest of the checkpoint of a name.

        Raises:
            NoSuchCheckpointError: If there is none of that name.
            DamagedCheckpointError: If its manifest is damaged.
            CheckpointError: If it cannot be read, or newer software has written it.
        """
        path = f"{MANIFESTS}/{name}.json"
        try:
            content = self._storage.read(path)
        except FileNotFoundError:
            raise NoSuchCheckpointError(
                f"no checkpoint {name!r} (choices: {', '.join(self.all_names()) or 'none'})"
            ) from None
        except OSError as error:
            raise unreadable(self._storage.path(path), error) from error
        return from_bytes(content, self._storage.path(path))


def unreadable(path: str, error: OSError, file: str = "") -> CheckpointError:
    """Return the error of a file that cannot be read: damage only if the disk says so, since a network may heal."""
    if error.errno == errno.EIO:
        return DamagedCheckpointError(f"{path}: damaged: {error}", file)
    return UnreadableCheckpointError(f"{path}: cannot be read: {error}")


def to_bytes(manifest: Json) -> bytes:
    """Return the content of the manifest's file: the manifest and its checksum."""
    return _to_json({"sha256": sha256(_to_json(manifest)), "checkpoint": manifest})


def from_bytes(content: bytes, path: str) -> Json:
    """Return the manifest that a file holds.

    Args:
        content: The file's content.
        path: Path of the file, for the message.

    Raises:
        DamagedCheckpointError: If it is damaged.
        UnreadableCheckpointError: If its format is another one.
    """
    try:
        envelope = json.loads(content)
        wanted, manifest = envelope["sha256"], envelope["checkpoint"]
        found = sha256(_to_json(manifest))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DamagedCheckpointError(f"{path}: damaged: not a checkpoint's manifest: {error!r}") from error
    if found != wanted:
        raise DamagedCheckpointError(f"{path}: damaged: wanted SHA-256 {wanted}, got {found}")
    if manifest["format"] not in _FORMATS:
        raise UnreadableCheckpointError(
            f"{path}: wanted a format from {_FORMATS[0]} to {FORMAT}, got {manifest['format']}"
        )
    return dict(manifest)


def _to_json(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, allow_nan=False).encode()
