"""Whether checkpoints are whole, and what they hold."""

from collections.abc import Container
from dataclasses import dataclass

from springtide.checkpoint import manifest as manifests
from springtide.checkpoint.manifest import Checkpoint
from springtide.checkpoint.manifest_files import Json
from springtide.checkpoint.store import CheckpointStore
from springtide.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class CheckpointCondition:
    """What an inspection of one checkpoint found.

    Attributes:
        name: The checkpoint's name.
        checkpoint: What it holds; None if its manifest is damaged.
        num_bytes: Size of its files that exist, those that it shares with other checkpoints included.
        copy_of: The older checkpoint that it is a copy of; empty if it is none.
        faults: One message for each file that is missing or damaged.
    """

    name: str
    checkpoint: Checkpoint | None
    num_bytes: int
    copy_of: str
    faults: tuple[str, ...]


class CheckpointInspector:
    """Inspects the checkpoints of one store; changes nothing, and may run beside the server.

    A file that several checkpoints share is read once.

    Args:
        store: The checkpoints.
        reads_files: Whether each file is read and its checksum compared. Otherwise it only has to exist.
    """

    def __init__(self, store: CheckpointStore, *, reads_files: bool) -> None:
        self._store = store
        self._reads_files = reads_files
        self._fault_of: dict[str, str] = {}  # By file; empty for a whole one.

    def inspect_all(self) -> list[CheckpointCondition]:
        """Inspect all checkpoints, newest first; those that the server deletes meanwhile are left out.

        Raises:
            CheckpointError: If they cannot be listed.
        """
        found = [self.inspect(name) for name in self._store.names()]
        still_there = set(self._store.names())
        return [condition for condition in found if condition.name in still_there]

    def inspect(self, name: str) -> CheckpointCondition:
        """Inspect one checkpoint.

        Raises:
            CheckpointError: If there is none of that name, or the files cannot be listed.
        """
        if name not in (names := self._store.names()):
            raise CheckpointError(f"no checkpoint {name!r} (choices: {', '.join(names) or 'none'})")
        try:
            checkpoint = self._store.open(name)
        except CheckpointError as error:
            return CheckpointCondition(name, None, 0, "", (str(error),))
        sizes = self._store.file_sizes()
        entries = list(manifests.file_entries(checkpoint.manifest))
        return CheckpointCondition(
            name,
            checkpoint,
            num_bytes=sum(sizes.get(entry["file"], 0) for entry in entries),
            copy_of=checkpoint.manifest.get("copy_of", ""),
            faults=tuple(fault for entry in entries if (fault := self._fault(entry, sizes))),
        )

    def _fault(self, entry: Json, existing: Container[str]) -> str:
        file = entry["file"]
        if not self._reads_files:
            return "" if file in existing else f"{file}: missing"
        if file not in self._fault_of:
            try:
                self._store.read_file(entry)
                self._fault_of[file] = ""
            except CheckpointError as error:
                self._fault_of[file] = str(error)
        return self._fault_of[file]
