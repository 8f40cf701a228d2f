"""The file of dead letters that the topic did not take; deleted users and items leave it."""

import base64
import json
import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import structlog

from springtide.clock import wall_ms
from springtide.events import Refusal
from springtide.token_search import Token
from springtide_services.stream.broker_errors import BrokerProblemError, Problem

logger = structlog.stdlib.get_logger(__name__)

_SURE_BYTES = 6  # A shorter id may be a word in the letters of others: only what has it as a whole goes.
_file_lock = threading.Lock()  # Of all files: who appends must not meet who rewrites.


class DeadLetterFile:
    """A file of refused events, a line of JSON each; any thread may call any method.

    Args:
        path: The file; it is made with the first letter.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        self._deleted: dict[str, None] = {}

    def append(self, refusals: Sequence[Refusal]) -> None:
        """Append refusals, and wait until the disk has them.

        Raises:
            BrokerProblemError: If the file cannot be written.
        """
        try:
            with _file_lock:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with self._path.open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps(_as_json(refusal)) + "\n" for refusal in refusals)
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            message = f"a refused record cannot be put away: neither in the topic nor in {self._path}: {error}"
            raise BrokerProblemError(Problem("dead_letters", message)) from error

    def note_deleted(self, ids: Iterable[str]) -> None:
        """Note ids of users and items whose letters ``forget_deleted`` takes out, if there are letters."""
        if not self._path.exists():
            return
        with self._lock:
            self._deleted |= dict.fromkeys(ids)

    def forget_deleted(self) -> None:
        """Take out the letters with an id that was noted.

        To be called before a checkpoint is written: after a crash the deletions that it does not hold are read again.
        What cannot be written is logged, and tried again with the next checkpoint.
        """
        with self._lock:
            deleted, self._deleted = self._deleted, {}
        if not deleted or not self._path.exists():
            return
        tokens = [Token(each, is_strict=len(each.encode()) < _SURE_BYTES) for each in deleted]
        try:
            with _file_lock:
                num_removed = self._remove(tokens)
        except OSError as error:
            logger.warning("dead_letter_file_not_cleaned", path=str(self._path), error=str(error))
            self.note_deleted(deleted)
            return
        if num_removed:
            logger.info("dead_letters_removed", path=str(self._path), letters=num_removed)

    def _remove(self, tokens: Sequence[Token]) -> int:
        num_removed = 0
        temporary = self._path.with_name(f".writing-{self._path.name}")
        try:
            with self._path.open("rb") as former, temporary.open("wb") as kept:
                for line in former:
                    if any(token.is_in_line(line) for token in tokens):
                        num_removed += 1
                    else:
                        kept.write(line)
                kept.flush()
                os.fsync(kept.fileno())
            if num_removed:
                temporary.replace(self._path)
        finally:
            temporary.unlink(missing_ok=True)
        return num_removed


def _as_json(refusal: Refusal) -> dict[str, object]:
    record = refusal.record
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "refused_at_ms": wall_ms(),
        "reason": refusal.reason,
        "message": refusal.message,
        "rows": list(refusal.rows),
        "raw": refusal.raw,
        "next_offset": refusal.next_offset,
        "num_records": refusal.num_records,
        "key": _as_base64(record.key),
        "value": _as_base64(record.value),
        "headers": [[name, _as_base64(value)] for name, value in record.headers],
    }


def _as_base64(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()
