"""A file of a local folder that is locked with flock: the kernel lets it go when the process dies, even by SIGKILL."""

import errno
import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from springtide.storage import TEMPORARY_PREFIX

LOCK_FILE = "writer.lock"  # It is empty.

_NO_FLOCK = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}  # What file systems without flock answer.


class LockFile:
    """The lock file of a folder.

    Args:
        folder: The folder; None on an object store, where nothing is locked.

    Attributes:
        is_taken: Whether another process had it locked at the last attempt.
    """

    def __init__(self, folder: Path | None) -> None:
        self.is_taken = False
        self._folder = folder
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether we have it locked; never without flock."""
        return self._descriptor is not None

    @property
    def is_replaced(self) -> bool:
        """Whether the file that we have locked is no longer the folder's."""
        if self._descriptor is None or self._folder is None:
            return False
        return not _is_file_of(self._descriptor, self._folder / LOCK_FILE)

    def lock(self) -> None:
        """Lock the file, if nobody else has; nothing on an object store, or on a file system without flock.

        Raises:
            OSError: If it cannot be opened.
        """
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / LOCK_FILE
        self.is_taken = False
        while self._descriptor is None:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                self.is_taken = True
                return
            except OSError as error:
                os.close(descriptor)
                if error.errno in _NO_FLOCK:
                    return
                raise
            if _is_file_of(descriptor, path):
                self._descriptor = descriptor
            else:  # Somebody replaced or removed it between open and flock.
                os.close(descriptor)

    @contextmanager
    def replacing(self) -> Iterator[None]:
        """Put a locked file of our own in the place of one that another process has locked, if the block ends well.

        Nobody knows whether that process will ever let it go: it is suspended, or hangs.
        """
        if not self.is_taken or self._folder is None:
            yield
            return
        path = self._folder / f"{TEMPORARY_PREFIX}{LOCK_FILE}-{uuid.uuid4().hex}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
            path.replace(self._folder / LOCK_FILE)
        except BaseException:
            os.close(descriptor)
            raise
        finally:
            path.unlink(missing_ok=True)
        self._descriptor, self.is_taken = descriptor, False

    def unlock(self) -> None:
        """Let the next process have it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _is_file_of(descriptor: int, path: Path) -> bool:
    """Return whether an open file is still the one at a path."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)
