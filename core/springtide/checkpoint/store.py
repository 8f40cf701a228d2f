"""Writing and restoring checkpoints."""

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy.typing as npt

from springtide.checkpoint import manifest as manifests
from springtide.checkpoint.array_files import NO_ARRAYS, Arrays, DamagedFileError, arrays_in, read_arrays
from springtide.checkpoint.lock import CheckpointLock
from springtide.checkpoint.manifest import Checkpoint
from springtide.checkpoint.manifest_files import HINT, MANIFESTS, Json, ManifestFiles, to_bytes
from springtide.checkpoint.npz_files import NPZ, read_npz
from springtide.checkpoint.restoring import Restoring
from springtide.checkpoint.writing import SEGMENTS, Writing
from springtide.checksums import CRC32C, SHA256, Checksum, checksum
from springtide.clock import wall_ms
from springtide.errors import CheckpointError
from springtide.extras import missing_words
from springtide.state import LiveState, StateSnapshot
from springtide.storage import Storage

_CHECKSUM_NAMES = {CRC32C: "CRC-32C", SHA256: "SHA-256"}


class CheckpointStore:
    """Checkpoints at one URL, with one writer and any number of readers.

    Of a column that only grew since the last checkpoint, the new rows are written. A column that was compacted, by
    eviction or because a node was forgotten, is written again as a whole. Segments are written first and the manifest
    last, so a crash leaves the former checkpoint as it was. When a node was forgotten, all earlier checkpoints are
    deleted at once; otherwise the last ``keep`` stay. A reader whose checkpoint is deleted meanwhile finds a file
    missing, and reads the newest one instead.

    Args:
        url: A local folder, or an fsspec URL.
        keep: How many checkpoints to keep.
        lock: The lock of this URL, acquired; it is checked while a checkpoint is written. None for readers, and where
            nobody else can write.
    """

    def __init__(self, url: str, keep: int = 3, lock: CheckpointLock | None = None) -> None:
        if keep < 1:
            raise CheckpointError(f"keep: wanted at least 1 checkpoint, got {keep}")
        self.url = url
        self._storage = Storage(url)
        self._manifests = ManifestFiles(self._storage)
        self._keep = keep
        self._lock = lock

    def raise_if_lock_lost(self) -> None:
        """Raise CheckpointLockLostError if the lock is known to be lost; reads nothing."""
        if self._lock is not None:
            self._lock.raise_if_lost()

    def names(self) -> list[str]:
        """Return the names of the checkpoints, newest first.

        Raises:
            CheckpointError: If they cannot be listed.
        """
        return self._manifests.names()

    def latest(self) -> Checkpoint | None:
        """Return the newest checkpoint, or None if there is none.

        Raises:
            CheckpointError: If its manifest is damaged. An older checkpoint never takes its place silently: a person
                chooses one by name.
        """
        manifest = self._manifests.newest()
        return None if manifest is None else manifests.summary(manifest)

    def open(self, name: str) -> Checkpoint:
        """Return a checkpoint by name.

        Raises:
            CheckpointError: If there is none of that name, or its manifest is damaged.
        """
        return manifests.summary(self._manifests.read(name))

    def read_file(self, entry: Json) -> bytes:
        """Return the content of a file that a manifest names.

        Args:
            entry: The file's entry in the manifest.

        Raises:
            CheckpointError: If the file is missing, or its checksum is another one.
        """
        name = f"{SEGMENTS}/{entry['file']}"
        with self._reading(name):
            content = self._storage.read(name)
        kind = _checksum_of(entry)
        found = checksum(kind)
        found.update(content)
        self._compare(name, entry, kind, found)
        return content

    def read_arrays(self, entry: Json, into: Arrays = NO_ARRAYS) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays of a file that a manifest names, without a copy of the file.

        Without ``into`` they lie in the file itself, if it is on this machine: who keeps one keeps the pages of the
        file, and who writes to one pays for a copy of the page. So what stays is copied.

        Args:
            entry: The file's entry in the manifest; it is no Arrow file.
            into: By name, arrays that are filled and returned.

        Raises:
            CheckpointError: If the file is missing, or its checksum is another one.
        """
        name, kind = f"{SEGMENTS}/{entry['file']}", _checksum_of(entry)
        found = checksum(kind)
        if not into and not name.endswith(NPZ):
            with self._reading(name):
                content = self._storage.map(name, found)
            self._compare(name, entry, kind, found)
            try:
                return arrays_in(content)
            except DamagedFileError as error:
                raise CheckpointError(f"{self._storage.path(name)}: damaged: {error}") from error
        with self._reading(name), self._storage.open(name) as file:
            try:
                arrays = (read_npz if name.endswith(NPZ) else read_arrays)(file, found, into)
            except DamagedFileError as error:
                self.read_file(entry)  # Raises that the checksum is another one, as far as it is.
                raise CheckpointError(f"{self._storage.path(name)}: damaged: {error}") from error
        self._compare(name, entry, kind, found)
        return arrays

    def file_sizes(self) -> dict[str, int]:
        """Return the size in bytes of each file that manifests may name, by file name.

        Raises:
            CheckpointError: If the files cannot be listed.
        """
        try:
            return self._storage.sizes(SEGMENTS)
        except OSError as error:
            raise CheckpointError(f"checkpoints at {self._storage.url} cannot be listed: {error}") from error

    def copy_as_newest(self, name: str) -> Checkpoint:
        """Make the state of an older checkpoint the newest one: write its manifest again under the next name.

        The copy shares the older one's files. Nothing is deleted, and no name is used twice.

        Raises:
            CheckpointError: If there is no such checkpoint, its manifest is damaged, or the copy cannot be written.
            CheckpointLockLostError: If another process writes here now.
        """
        original, newest = self.open(name), self.names()[0]
        if name == newest:
            return original
        manifest = {**original.manifest, "name": _next_name(newest), "copy_of": name}
        self._check_lock()
        try:
            self._storage.write(f"{MANIFESTS}/{manifest['name']}.json", to_bytes(manifest))
        except OSError as error:
            raise CheckpointError(f"a copy of checkpoint {name} cannot be written: {error}") from error
        return manifests.summary(manifest)

    def write(self, snapshot: StateSnapshot, now_ms: int | None = None) -> Checkpoint:
        """Write a checkpoint; when this returns it is durable.

        Args:
            snapshot: The state.
            now_ms: The creation time to note; by default the wall clock's.

        Raises:
            CheckpointLockLostError: If another process writes here now.
            CheckpointError: If it cannot be written; the former checkpoint stays as it was.
        """
        self._check_lock()
        names = self.names()
        name = _next_name(names[0] if names else "0")
        try:
            base = self.open(names[0]).manifest if names else {}
        except CheckpointError:
            base = {}  # Damaged: everything is written again.
        try:
            manifest = self._write_segments(name, snapshot, base)
            manifest |= {"created_ms": wall_ms() if now_ms is None else now_ms}
            self._check_lock()  # Writing segments may have taken long; what follows changes what others read.
            self._storage.write(f"{MANIFESTS}/{name}.json", to_bytes(manifest))
            self._prune(manifest, names)
        except OSError as error:
            raise CheckpointError(f"checkpoint {name} cannot be written to {self._storage.url}: {error}") from error
        return manifests.summary(manifest)

    def restore(self, checkpoint: Checkpoint, state: LiveState) -> tuple[str, ...]:
        """Fill an empty state from a checkpoint: the same graph, the same rows, the same position.

        The state's settings are applied to it (``apply_settings``); ``state.lacking`` names what that cannot mend. A
        context weight that is not in the checkpoint, or was written under other settings, learns from the graph's
        positive interactions instead.

        Returns:
            What was changed for settings that are not those it was written under, in words.

        Raises:
            CheckpointError: If the state is not empty; or if a file is missing or damaged, which leaves the state
                partly filled.
        """
        graph, manifest = state.graph, checkpoint.manifest
        if graph.node_types or state.num_events:
            raise CheckpointError("wanted an empty state to restore into, got one that has events already")
        if manifest["format"] == 1:
            _refuse_without_arrow(checkpoint.name)
        is_newest = self.names()[:1] == [checkpoint.name]
        return Restoring(checkpoint, state, self._arrays, self._content, is_newest=is_newest).run()

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        path = self._storage.path(name)
        try:
            yield
        except FileNotFoundError:
            raise CheckpointError(f"{path}: the manifest names this file, and it is missing") from None
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read: {error}") from error

    def _compare(self, name: str, entry: Json, kind: str, found: Checksum) -> None:
        if (got := found.hexdigest()) != entry[kind]:
            raise CheckpointError(
                f"{self._storage.path(name)}: damaged: wanted {_CHECKSUM_NAMES[kind]} {entry[kind]}, got {got}"
            )

    def _check_lock(self) -> None:
        if self._lock is None:
            return
        try:
            self._lock.check()
        except OSError as error:
            raise CheckpointError(f"the lock of {self._storage.url} cannot be read: {error}") from error

    def _write_segments(self, name: str, snapshot: StateSnapshot, base: Json) -> Json:
        return Writing(self._storage, name, base).run(snapshot)

    def _prune(self, manifest: Json, earlier_names: Sequence[str]) -> None:
        kept = [manifest]
        for name in earlier_names:
            earlier = self._manifest_or_none(name) if len(kept) < self._keep else None
            if earlier is not None and earlier["num_forgotten"] == manifest["num_forgotten"]:
                kept.append(earlier)
            else:  # One too many, or it may hold a node that is forgotten now.
                self._storage.delete(f"{MANIFESTS}/{name}.json")
        in_use = {entry["file"] for body in kept for entry in manifests.file_entries(body)}
        for file in self._storage.list(SEGMENTS):
            if file not in in_use:
                self._storage.delete(f"{SEGMENTS}/{file}")
        for folder in (MANIFESTS, SEGMENTS):
            self._storage.delete_unfinished(folder)

    def _manifest_or_none(self, name: str) -> Json | None:
        try:
            return self.open(name).manifest
        except CheckpointError:
            return None  # A damaged checkpoint cannot be read, so its files need not stay.

    def _arrays(self, entry: Json, into: Arrays = NO_ARRAYS) -> dict[str, npt.NDArray[Any]]:
        try:
            return self.read_arrays(entry, into)
        except CheckpointError as error:
            raise CheckpointError(f"{error} ({HINT})") from error

    def _content(self, entry: Json) -> bytes:
        try:
            return self.read_file(entry)
        except CheckpointError as error:
            raise CheckpointError(f"{error} ({HINT})") from error


def _checksum_of(entry: Json) -> str:
    """Return the name of the checksum that a manifest's entry has: format 1 and 2 have SHA-256."""
    return CRC32C if CRC32C in entry else SHA256


def _refuse_without_arrow(name: str) -> None:
    try:
        importlib.import_module("pyarrow")
    except ModuleNotFoundError as error:
        raise CheckpointError(f"checkpoint {name} is of an earlier release: {missing_words(error)}") from error


def _next_name(name: str) -> str:
    return f"{int(name) + 1:08d}"
