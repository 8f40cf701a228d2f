"""Files in a local folder or an object store, by one URL: read, written atomically, listed, deleted."""

import contextlib
import hashlib
import io
import mmap
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec

from springtide.checksums import Checksum, Crc32c, crc32c_of
from springtide.clock import wall_ms
from springtide.object_files import SCHEMES, ObjectFiles

TEMPORARY_PREFIX = ".writing-"
_MOUNTS = Path("/proc/self/mountinfo")
_CHUNK_BYTES = 2**20
_OWN_FILES = frozenset({"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"})
"""File systems of this machine alone: what is mapped stays there, even after another process has deleted the file."""


class Storage:
    """A folder, local, on an object store (``s3://``, ``gs://``, ``az://``), or on anything else that fsspec knows.

    Names are relative, with ``/`` between folders. Readers never see a partly written file: a local file is renamed
    into place after it has reached the disk, and object stores put whole objects.

    Args:
        url: A local path, or a URL; the folder is created at the first write.

    Raises:
        SettingsError: If the package is not installed that knows the URL, or the URL is wrong.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        is_object_store = self.url.partition("://")[0] in SCHEMES and "://" in self.url
        self._objects = ObjectFiles(self.url) if is_object_store else None
        self._is_local = False
        if self._objects is None:
            self._files, self._root = fsspec.core.url_to_fs(self.url)
            self._is_local = "file" in _protocols(self._files)

    def __repr__(self) -> str:
        return f"Storage({self.url!r})"

    @property
    def local_folder(self) -> Path | None:
        """The folder, or None on an object store."""
        return Path(self._root) if self._is_local else None

    @property
    def creates_exclusively(self) -> bool:
        """Whether ``create`` refuses one of two writers that create one name at once."""
        return self._is_local or self._objects is not None

    def path(self, name: str) -> str:
        """Return a file's full path or URL, for messages."""
        return f"{self.url}/{name}"

    def read(self, name: str) -> bytes:
        """Return a file's content.

        Raises:
            FileNotFoundError: If there is no such file.
        """
        if self._objects is not None:
            return self._objects.read(name)
        content: bytes = self._files.cat_file(self._full(name))
        return content

    def map(self, name: str, digest: Checksum) -> memoryview:
        """Return a file's content, for a file that nobody changes once it is written.

        A file on this machine is mapped: what is read of it are pages of the file, which the system takes back when it
        needs the memory. It is read before, so that a disk that cannot be read is an error. From a network or an object
        store it is read. What is written to the content stays here, and costs a copy of its page.

        Args:
            name: The file.
            digest: Takes the whole file in; the caller compares it.

        Raises:
            FileNotFoundError: If there is no such file.
        """
        if not self._is_local:
            if self._objects is not None:
                content = self._objects.read_writable(name)
            else:
                content = bytearray(self._files.size(self._full(name)))
                with self._files.open(self._full(name), "rb") as source:
                    _fill(content, source)
            digest.update(memoryview(content))
            return memoryview(content)
        with Path(self._full(name)).open("rb", buffering=0) as file:
            num_bytes = os.fstat(file.fileno()).st_size
            if num_bytes and _file_system(os.fstat(file.fileno()).st_dev) in _OWN_FILES:
                _sum_up(file, num_bytes, digest)
                return memoryview(mmap.mmap(file.fileno(), num_bytes, access=mmap.ACCESS_COPY))
            content = bytearray(num_bytes)
            _fill(content, file)
        digest.update(memoryview(content))
        return memoryview(content)

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically, in place of one of that name; it is durable when this returns."""
        if self._is_local:
            self._write_local(name, content, os.replace)
        else:
            self._put(name, content)

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading; a local one without a buffer, one of an object store as its bytes.

        Raises:
            FileNotFoundError: If there is no such file.
        """
        if self._is_local:
            return cast(BinaryIO, Path(self._full(name)).open("rb", buffering=0))
        return io.BytesIO(self.read(name))

    def write_from(self, name: str, produce: Callable[[BinaryIO], object], *, is_last: bool = True) -> str:
        """Write a file as ``write`` does, from what ``produce`` writes piece by piece; return its CRC-32C.

        A local file is never in memory as a whole.

        Args:
            name: The file.
            produce: Writes to what it is given.
            is_last: Whether its name is durable, too, when this returns; else once ``sync`` of its folder returns.
        """
        if self._is_local:
            return self._write_local(name, produce, os.replace, is_last=is_last)
        content = io.BytesIO()
        produce(content)
        self._put(name, content.getvalue())
        return crc32c_of(content.getbuffer())

    def sync(self, folder: str) -> None:
        """Make the names of the files in a folder durable, those that ``write_from`` was told not to be the last."""
        if self._is_local and Path(self._full(folder)).is_dir():
            _sync_folder(Path(self._full(folder)))

    def create(self, name: str, content: bytes) -> None:
        """Write a file that must not exist yet: of two writers that create one name at once, one is refused.

        Object stores do so by a conditional write. Where fsspec offers none for a store, its check for the name and
        its write are two steps, and the last of two writers may win.

        Raises:
            FileExistsError: If it exists.
        """
        if self._is_local:
            self._write_local(name, content, _link_new)
            return
        if self._objects is not None:
            self._objects.create(name, content)
            return
        if self.exists(name):
            raise FileExistsError(self.path(name))
        self._files.makedirs(self._full(name).rpartition("/")[0], exist_ok=True)
        try:
            self._files.pipe_file(self._full(name), content, mode="create")
        except OSError as error:
            if self.exists(name):  # Some stores say FileExistsError, others only that a precondition failed.
                raise FileExistsError(self.path(name)) from error
            raise

    def exists(self, name: str) -> bool:
        """Return whether the file exists."""
        if self._objects is not None:
            return self._objects.exists(name)
        return bool(self._files.exists(self._full(name)))

    def list(self, folder: str = "") -> list[str]:
        """Return the sorted names of files and folders in a folder, relative to it; none if it does not exist."""
        if self._objects is not None:
            return sorted(self._objects.entries(folder))
        full = self._full(folder).rstrip("/")
        self._files.invalidate_cache(full)  # Another process may have written since.
        try:
            paths = self._files.ls(full, detail=False)
        except FileNotFoundError:
            return []
        names = (path.rstrip("/").rpartition("/")[2] for path in paths)
        return sorted(name for name in names if not name.startswith(TEMPORARY_PREFIX))

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Return the size of each file in a folder, in bytes, by name relative to it; none if it does not exist."""
        if self._objects is not None:
            return {name: size for name, size in self._objects.entries(folder).items() if size is not None}
        full = self._full(folder).rstrip("/")
        self._files.invalidate_cache(full)
        try:
            entries = self._files.ls(full, detail=True)
        except FileNotFoundError:
            return {}
        return {entry["name"].rpartition("/")[2]: entry["size"] for entry in entries if entry["type"] == "file"}

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""
        if self._objects is not None:
            self._objects.delete(name)
            return
        with contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._full(name))

    def delete_folder(self, folder: str) -> None:
        """Delete a folder with all its content, if it exists."""
        if self._objects is not None:
            self._objects.delete_folder(folder)
            return
        with contextlib.suppress(FileNotFoundError):
            self._files.rm(self._full(folder), recursive=True)

    def delete_unfinished(self, folder: str = "", min_age_s: float = 0.0) -> None:
        """Delete the temporary files of killed writers in a folder.

        Args:
            folder: The folder.
            min_age_s: Only those that were last written so long ago, in seconds; longer than any write takes, unless
                the caller is the folder's one writer.
        """
        if not self._is_local:
            return
        before_s = wall_ms() / 1e3 - min_age_s
        for path in Path(self._full(folder)).glob(f"{TEMPORARY_PREFIX}*"):
            with contextlib.suppress(FileNotFoundError):
                if not min_age_s or path.stat().st_mtime < before_s:
                    path.unlink()

    def _full(self, name: str) -> str:
        """Return where a file is; what manifests name may come from anybody, and nothing outside the folder is there.

        Raises:
            FileNotFoundError: If the name leads out of the folder.
        """
        if ".." in name.split("/") or name.startswith("/") or "\\" in name or "\0" in name:
            raise FileNotFoundError(f"{self.url}: wanted the name of a file within it, got {name!r}")
        return f"{self._root}/{name}" if name else str(self._root)

    def _put(self, name: str, content: bytes) -> None:
        if self._objects is not None:
            self._objects.write(name, content)
            return
        self._files.makedirs(self._full(name).rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(self._full(name), content)

    def _write_local(
        self, name: str, content: bytes | Callable[[BinaryIO], object], put: Any, *, is_last: bool = True
    ) -> str:
        """Write a file by way of a temporary one, and return the CRC-32C of what was produced; empty for bytes."""
        path = Path(self._full(name))
        _make_folder(path.parent)
        temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{uuid.uuid4().hex}")
        try:
            with temporary.open("wb", buffering=0) as file:
                digest = ""
                if callable(content):
                    sink = _SummingSink(file)
                    content(cast(BinaryIO, sink))
                    digest = sink.hexdigest()
                else:
                    _write_all(file, content)
                os.fsync(file.fileno())
            put(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        if is_last:
            _sync_folder(path.parent)
        return digest


class _SummingSink:
    """A file to write to, in order, that knows the CRC-32C of what was written.

    Args:
        file: The file, without a buffer.
    """

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self._sum = Crc32c()

    def write(self, content: bytes | memoryview) -> int:
        self._sum.update(content)
        return _write_all(self._file, content)

    def flush(self) -> None:
        """Do nothing: there is no buffer."""

    def hexdigest(self) -> str:
        return self._sum.hexdigest()


def _write_all(file: io.FileIO, content: bytes | memoryview) -> int:
    left = memoryview(content).cast("B")
    size = len(left)
    while len(left):
        left = left[file.write(left) :]
    return size


def sha256(content: bytes | memoryview) -> str:
    """Return the hexadecimal SHA-256 of the content."""
    return hashlib.sha256(content).hexdigest()


def _fill(content: bytearray, source: Any) -> None:
    """Read a file into memory that is as large as it is."""
    into, start = memoryview(content), 0
    while start < len(into):
        part = source.read(min(_CHUNK_BYTES, len(into) - start))
        if not part:
            raise OSError(f"wanted {len(into)} bytes, got {start}")
        into[start : start + len(part)] = part
        start += len(part)


def _sum_up(file: io.FileIO, num_bytes: int, digest: Checksum) -> None:
    """Take a file's checksum, piece by piece, through memory that stays in the processor's cache."""
    if isinstance(digest, Crc32c):
        digest.read_past(file)
        return
    piece = memoryview(bytearray(min(num_bytes, _CHUNK_BYTES)))
    while num_read := file.readinto(piece):
        digest.update(piece[:num_read])


def _file_system(device: int) -> str:
    """Return the kind of file system of a device, such as ``ext4``; empty if it is not known."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with contextlib.suppress(OSError):
        for line in _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines():
            mount, _, source = line.partition(" - ")
            if mount.split()[2:3] == [wanted]:
                return source.split()[0]
    return ""


def _protocols(files: Any) -> tuple[str, ...]:
    protocol = files.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def _make_folder(folder: Path) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)  # The rename itself must survive a power cut.
    finally:
        os.close(descriptor)


def _link_new(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)  # Unlike a rename, it fails if the name is taken.
    except FileExistsError:
        raise FileExistsError(str(path)) from None
