"""Writing and restoring checkpoints."""

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy.typing as npt

from springtide.checkpoint import manifest as manifests
from springtide.checkpoint.array_files import NO_ARRAYS, Arrays, DamagedFileError, arrays_in, read_arrays
from springtide.checkpoint.damage_log import DamageLog
from springtide.checkpoint.lock import CheckpointLock
from springtide.checkpoint.manifest import Checkpoint
from springtide.checkpoint.manifest_files import (
    MANIFESTS,
    Json,
    ManifestFiles,
    NoSuchCheckpointError,
    UnreadableCheckpointError,
    to_bytes,
    unreadable,
)
from springtide.checkpoint.npz_files import NPZ, read_npz
from springtide.checkpoint.restoring import Restoring
from springtide.checkpoint.set_aside import DamagedFolder, SetAside, name_of, names_without_manifest
from springtide.checkpoint.shared_files import SharedFiles
from springtide.checkpoint.writing import SEGMENTS, Writing, fence_of
from springtide.checksums import CRC32C, SHA256, Checksum, checksum
from springtide.clock import wall_ms
from springtide.errors import CheckpointError, DamagedCheckpointError, SettingsError
from springtide.extras import missing_words
from springtide.state import LiveState, StateSnapshot
from springtide.storage import Storage

_CHECKSUM_NAMES = {CRC32C: "CRC-32C", SHA256: "SHA-256"}
_PIECE_BYTES = 1 << 20
_WRITTEN_ANEW = "the next one, which the state in memory is written to"


class CheckpointStore:
    """Checkpoints at one URL, with one writer and any number of readers.

    Of a column that only grew since the last checkpoint, the new rows are written. A column that was compacted, by
    eviction or because a node was forgotten, is written again as a whole. Segments are written first and the manifest
    last, so a crash leaves the former checkpoint as it was. When a node was forgotten, all earlier checkpoints are
    deleted at once; otherwise the last ``keep`` whole ones stay. A reader whose checkpoint is deleted meanwhile finds a
    file missing, and reads the newest one instead (``fallback.restore_newest``). Damaged ones are set aside, and
    nothing is built on them.

    Args:
        url: A local folder, or an fsspec URL.
        keep: How many checkpoints to keep.
        lock: The lock of this URL, acquired; it is checked while a checkpoint is written, which carries its number.
            None for readers, and where nobody else can write.

    Attributes:
        damage: What was found damaged since the store was opened.
    """

    def __init__(self, url: str, keep: int = 3, lock: CheckpointLock | None = None) -> None:
        if keep < 1:
            raise CheckpointError(f"keep: wanted at least 1 checkpoint, got {keep}")
        self.url = url
        self._storage = Storage(url)
        self._manifests = ManifestFiles(self._storage)
        self.damage = DamageLog()
        self._damaged = DamagedFolder(self._storage)
        self._shared = SharedFiles(self._verify)
        self._keep = keep
        self._lock = lock
        self._own: str | None = None  # The checkpoint that this process restored or wrote last, under the lock.

    def write_under(self, lock: CheckpointLock | None) -> None:
        """Write under a lock that was acquired just now, or under none any more.

        Nothing that is there is shared by the next checkpoint: another process wrote it, from a state of its own.
        """
        self._lock, self._own = lock, None

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
        """Return the newest checkpoint whose manifest can be read and whose files are not known to be damaged.

        Raises:
            CheckpointError: If the storage cannot be read, or newer software has written the newest one.
        """
        for name in self.names():
            with suppress(DamagedCheckpointError, NoSuchCheckpointError):
                checkpoint = self.open(name)
                self.raise_if_known_damaged(checkpoint)
                return checkpoint
        return None

    def open(self, name: str) -> Checkpoint:
        """Return a checkpoint by name.

        Raises:
            NoSuchCheckpointError: If there is none of that name.
            DamagedCheckpointError: If its manifest is damaged.
            CheckpointError: If it cannot be read, or newer software has written it.
        """
        with _refusing_what_does_not_fit(name):
            return manifests.summary(self._manifests.read(name))

    def note_damaged(self, file: str, fault: str) -> None:
        """Note that a file is damaged: no checkpoint shares it from now on, and those that have it are set aside."""
        self._shared.note(file, fault)

    def raise_if_known_damaged(self, checkpoint: Checkpoint) -> None:
        """Raise DamagedCheckpointError if a file of the checkpoint is known to be damaged; reads nothing."""
        for entry in manifests.file_entries(checkpoint.manifest):
            if (fault := self._shared.faults.get(entry["file"])) is not None:
                raise DamagedCheckpointError(fault, entry["file"])

    def set_aside(self, name: str, fault: str, num_forgotten: int) -> None:
        """Take a damaged checkpoint out of the checkpoints, and keep it for a person to look at.

        Args:
            name: Its name.
            fault: What is damaged, in words.
            num_forgotten: How many nodes the state that takes its place has forgotten: once it has forgotten another
                one, what was set aside is deleted.

        Raises:
            CheckpointError: If it cannot be set aside.
            CheckpointLockLostError: If another process writes here now.
        """
        self._check_lock()
        files: tuple[str, ...] = ()
        position: Json | None = None
        with suppress(CheckpointError):
            manifest = self.open(name).manifest
            files, position = (
                tuple(str(entry["file"]) for entry in manifests.file_entries(manifest)),
                manifest["position"],
            )
        try:
            self._damaged.put(SetAside(name, fault, wall_ms(), files, num_forgotten, position))
        except OSError as error:
            raise CheckpointError(f"checkpoint {name} cannot be set aside: {error}") from error

    def all_set_aside(self) -> list[SetAside]:
        """Return the damaged checkpoints that were set aside, newest first.

        Raises:
            CheckpointError: If they cannot be listed.
        """
        try:
            return self._damaged.all()
        except OSError as error:
            raise CheckpointError(f"checkpoints at {self._storage.url} cannot be listed: {error}") from error

    def without_manifest(self) -> tuple[list[str], list[str]]:
        """Return the names that have files and no manifest: those that lost it for certain, and those that may have.

        A writer that was killed leaves files of the next name, and no manifest; never of a later one.

        Raises:
            CheckpointError: If the files cannot be listed.
        """
        return names_without_manifest((*self._manifests.all_names(), *self._names_set_aside()), self.file_sizes())

    def read_file(self, entry: Json) -> bytes:
        """Return the content of a file that a manifest names.

        Args:
            entry: The file's entry in the manifest.

        Raises:
            DamagedCheckpointError: If the file is missing, or its checksum is another one.
            CheckpointError: If it cannot be read.
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
            DamagedCheckpointError: If the file is missing, or its checksum is another one.
            CheckpointError: If it cannot be read.
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
                path = self._storage.path(name)
                raise DamagedCheckpointError(f"{path}: damaged: {error}", entry["file"]) from error
        with self._reading(name), self._storage.open(name) as file:
            try:
                arrays = (read_npz if name.endswith(NPZ) else read_arrays)(file, found, into)
            except DamagedFileError as error:
                self.read_file(entry)  # Raises that the checksum is another one, as far as it is.
                path = self._storage.path(name)
                raise DamagedCheckpointError(f"{path}: damaged: {error}", entry["file"]) from error
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
        manifest = {**original.manifest, "name": self._next_name(), "copy_of": name}
        self._check_lock()
        try:
            self._put_manifest(manifest)
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
        names, name = self._manifests.all_names(), self._next_name()
        base = self._base(self.names())
        try:
            manifest = self._write_segments(name, snapshot, base)
            manifest |= {"created_ms": wall_ms() if now_ms is None else now_ms}
            self._check_lock()  # Writing segments may have taken long; what follows changes what others read.
            manifest = self._put_manifest(manifest)
            self._own = name
            self._check_lock()  # As before: a writer that was replaced deletes nothing.
            with suppress(UnreadableCheckpointError):  # Which files it needs is not known: nothing is deleted.
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
            DamagedCheckpointError: If a file is missing or damaged, which leaves the state partly filled.
            CheckpointError: If the state is not empty, or a file cannot be read.
        """
        graph, manifest = state.graph, checkpoint.manifest
        if graph.node_types or state.num_events:
            raise CheckpointError("wanted an empty state to restore into, got one that has events already")
        if manifest["format"] == 1:
            _refuse_without_arrow(checkpoint.name)
        is_newest = self.names()[:1] == [checkpoint.name]
        self._own = checkpoint.name if is_newest else None
        with _refusing_what_does_not_fit(checkpoint.name):
            return Restoring(checkpoint, state, self.read_arrays, self.read_file, is_newest=is_newest).run()

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        path, file = self._storage.path(name), name.rpartition("/")[2]
        try:
            yield
        except FileNotFoundError:
            raise DamagedCheckpointError(f"{path}: the manifest names this file, and it is missing", file) from None
        except OSError as error:
            raise unreadable(path, error, file) from error

    def _compare(self, name: str, entry: Json, kind: str, found: Checksum) -> None:
        if (got := found.hexdigest()) != entry[kind]:
            raise DamagedCheckpointError(
                f"{self._storage.path(name)}: damaged: wanted {_CHECKSUM_NAMES[kind]} {entry[kind]}, got {got}",
                entry["file"],
            )

    def _verify(self, entry: Json) -> None:
        """Read a file piece by piece, and raise DamagedCheckpointError if it is missing or damaged."""
        name, kind = f"{SEGMENTS}/{entry['file']}", _checksum_of(entry)
        found = checksum(kind)
        with self._reading(name), self._storage.open(name) as file:
            while piece := file.read(_PIECE_BYTES):
                found.update(piece)
        self._compare(name, entry, kind, found)

    def _base(self, names: Sequence[str]) -> Json:
        """Return the manifest whose files the next checkpoint may share, without those that are damaged."""
        if self._lock is not None and names[:1] != [self._own]:
            return {}  # Another process wrote it: its rows may be in another order.
        try:
            base = self.open(names[0]).manifest if names else {}
        except DamagedCheckpointError as error:
            self.damage.tell(names[0], str(error), _WRITTEN_ANEW)
            return {}  # Everything is written again.
        known = dict(self._shared.faults)
        base = self._shared.sound(base, self.file_sizes())
        for file, fault in self._shared.faults.items():
            if file not in known:
                self.damage.tell(names[0], f"{file}: {fault}", _WRITTEN_ANEW)
        return base

    def _next_name(self) -> str:
        """Return the name of the next checkpoint; no name is used twice, that of a damaged one neither."""
        taken = (*self._manifests.all_names(), *self._names_set_aside())
        return name_of(1 + max(map(int, taken), default=0))

    def _names_set_aside(self) -> list[str]:
        try:
            return self._damaged.names()
        except OSError as error:
            raise CheckpointError(f"checkpoints at {self._storage.url} cannot be listed: {error}") from error

    def _check_lock(self) -> None:
        if self._lock is None:
            return
        try:
            self._lock.check()
        except OSError as error:
            raise CheckpointError(f"the lock of {self._storage.url} cannot be read: {error}") from error

    @property
    def _fence(self) -> int | None:
        return None if self._lock is None else self._lock.fence

    def _write_segments(self, name: str, snapshot: StateSnapshot, base: Json) -> Json:
        return Writing(self._storage, name, base, self._fence).run(snapshot)

    def _put_manifest(self, manifest: Json) -> Json:
        """Write a manifest with the number of our lease, and return it; under a lease it must not exist yet.

        Raises:
            CheckpointLockLostError: If another process writes here now.
        """
        path = f"{MANIFESTS}/{manifest['name']}.json"
        if self._lock is None:
            manifest.pop("fence", None)  # Of what it is a copy of.
            self._storage.write(path, to_bytes(manifest))
            return manifest
        manifest = {**manifest, "fence": self._fence}
        try:
            self._storage.create(path, to_bytes(manifest))
        except FileExistsError:
            # It may be ours: a client of an object store repeats a request whose answer was lost.
            if self._storage.read(path) != to_bytes(manifest):
                self._check_lock()
                raise
        return manifest

    def _prune(self, manifest: Json, earlier_names: Sequence[str]) -> None:
        kept, num_forgotten = [manifest], manifest["num_forgotten"]
        believed = set(self.names())
        if manifest["name"] not in believed:
            return  # We were replaced a moment ago.
        for name in earlier_names:
            if name not in believed:
                self._storage.delete(f"{MANIFESTS}/{name}.json")
                continue
            try:
                earlier = self.open(name)
                if len(kept) == self._keep or earlier.manifest["num_forgotten"] != num_forgotten:
                    self._storage.delete(f"{MANIFESTS}/{name}.json")  # One too many, or it may hold a forgotten node.
                    continue
                self.raise_if_known_damaged(earlier)
                kept.append(earlier.manifest)
            except DamagedCheckpointError as error:
                self.set_aside(name, str(error), num_forgotten)
        self._damaged.prune(num_forgotten)
        in_use = {entry["file"] for body in kept for entry in manifests.file_entries(body)}
        existing = self._storage.list(SEGMENTS)
        in_use |= self._damaged.files_of(existing)
        for file in existing:
            # Those of a newer lease belong to who has replaced us, if we have not noticed it yet.
            if file not in in_use and fence_of(file) <= (self._fence or fence_of(file)):
                self._storage.delete(f"{SEGMENTS}/{file}")
        self._shared.forget(in_use)
        for folder in (MANIFESTS, SEGMENTS):
            self._storage.delete_unfinished(folder)


def _checksum_of(entry: Json) -> str:
    """Return the name of the checksum that a manifest's entry has: format 1 and 2 have SHA-256."""
    return CRC32C if CRC32C in entry else SHA256


def _refuse_without_arrow(name: str) -> None:
    try:
        importlib.import_module("pyarrow")
    except ModuleNotFoundError as error:
        raise CheckpointError(f"checkpoint {name} is of an earlier release: {missing_words(error)}") from error


@contextmanager
def _refusing_what_does_not_fit(name: str) -> Iterator[None]:
    """Raise DamagedCheckpointError where the parts of a checkpoint, each whole by its checksum, do not fit together."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, SettingsError, TypeError, ValueError) as error:
        raise DamagedCheckpointError(f"checkpoint {name}: damaged: its parts do not fit: {error!r}") from error
