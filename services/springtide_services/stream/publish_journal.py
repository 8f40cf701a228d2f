"""How far the publishing of a file has come, on disk, so that an interrupted one goes on where it stopped."""

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from springtide.storage import Storage


class Progress(BaseModel):
    """The events of a file that the broker has acknowledged: all up to one of them.

    Attributes:
        file: Path of the file, for people who read the journal.
        num_events: Number of the events.
        row: Row of the last one.
        digest: Digest of them all, in hexadecimal; see ``parts_of``.
        is_complete: Whether these are all events of the file.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    file: str
    num_events: int
    row: int
    digest: str
    is_complete: bool = False


class PublishJournal:
    """The progress of publishing one file to one topic.

    Args:
        folder: Folder of the journals; it is created with the first one.
        path: The file.
        topic: What tells the topic from every other one, a recreated one included.
    """

    def __init__(self, folder: Path, path: Path, topic: str) -> None:
        resolved = str(path) if str(path) == "-" else str(path.resolve())
        digest = hashlib.sha256(f"{resolved}\n{topic}".encode()).hexdigest()
        self._storage = Storage(str(folder))
        self._name = f"{digest[:16]}.json"

    @property
    def path(self) -> str:
        """Path of the journal, for messages."""
        return self._storage.path(self._name)

    def read(self) -> Progress | None:
        """Return how far an earlier run came; None if there was none, or its journal is damaged."""
        try:
            return Progress.model_validate_json(self._storage.read(self._name))
        except (OSError, ValidationError):
            return None

    def write(self, progress: Progress) -> None:
        """Write how far this run has come; it is durable when this returns.

        Raises:
            OSError: If it cannot be written.
        """
        self._storage.write(self._name, progress.model_dump_json().encode())
