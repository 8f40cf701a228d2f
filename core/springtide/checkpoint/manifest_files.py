"""The files of manifests: listed, read and verified; with nothing imported that a state is made of."""

import json
from typing import Any

from springtide.errors import CheckpointError
from springtide.storage import Storage, sha256

MANIFESTS = "manifests"
FORMAT = 4  # Format of manifest and segments.
# Those that can be read. Up to format 3, files are npz files; up to format 2, they have a SHA-256; in format 1, edges,
# ids and attributes are Arrow files.
_FORMATS = (1, 2, 3, FORMAT)

HINT = "`springtide checkpoints list` shows the others, `springtide checkpoints use NAME` takes an older one"

Json = dict[str, Any]


class ManifestFiles:
    """The manifests of the checkpoints at one URL; for readers.

    Args:
        storage: The folder that checkpoints are kept in.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def names(self) -> list[str]:
        """Return the names of the checkpoints, newest first.

        Raises:
            CheckpointError: If they cannot be listed.
        """
        try:
            files_there = self._storage.list(MANIFESTS)
        except OSError as error:
            raise CheckpointError(f"checkpoints at {self._storage.url} cannot be listed: {error}") from error
        stems = (name.removesuffix(".json") for name in files_there if name.endswith(".json"))
        return sorted((stem for stem in stems if stem.isdecimal()), reverse=True)

    def newest(self) -> Json | None:
        """Return the manifest of the newest checkpoint, or None if there is none.

        Raises:
            CheckpointError: If it is damaged. An older checkpoint never takes its place silently: a person chooses one
                by name.
        """
        while names := self.names():
            try:
                return self.read(names[0])
            except CheckpointError as error:
                if self.names()[:1] == names[:1]:
                    raise CheckpointError(f"{error} ({HINT})") from error
                # Else a newer one has taken its place meanwhile.
        return None

    def read(self, name: str) -> Json:
        """Return the manifest of the checkpoint of a name.

        Raises:
            CheckpointError: If there is none of that name, or its manifest is damaged.
        """
        path = f"{MANIFESTS}/{name}.json"
        try:
            content = self._storage.read(path)
        except FileNotFoundError:
            raise CheckpointError(f"no checkpoint {name!r} (choices: {', '.join(self.names()) or 'none'})") from None
        except OSError as error:
            raise CheckpointError(f"{self._storage.path(path)}: cannot be read: {error}") from error
        return from_bytes(content, self._storage.path(path))


def to_bytes(manifest: Json) -> bytes:
    """Return the content of the manifest's file: the manifest and its checksum."""
    return _to_json({"sha256": sha256(_to_json(manifest)), "checkpoint": manifest})


def from_bytes(content: bytes, path: str) -> Json:
    """Return the manifest that a file holds.

    Args:
        content: The file's content.
        path: Path of the file, for the message.

    Raises:
        CheckpointError: If it is damaged, or its format is another one.
    """
    try:
        envelope = json.loads(content)
        wanted, manifest = envelope["sha256"], envelope["checkpoint"]
        found = sha256(_to_json(manifest))
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path}: damaged: not a checkpoint's manifest: {error!r}") from error
    if found != wanted:
        raise CheckpointError(f"{path}: damaged: wanted SHA-256 {wanted}, got {found}")
    if manifest["format"] not in _FORMATS:
        raise CheckpointError(f"{path}: wanted a format from {_FORMATS[0]} to {FORMAT}, got {manifest['format']}")
    return dict(manifest)


def _to_json(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, allow_nan=False).encode()
