"""Tombstones: until when each deleted node is deleted, kept without its id."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DIGEST_BYTES = 16  # Of 10^9 ids, two share a digest with a probability of 10^-21.
NEVER_MS = np.iinfo(np.int64).min  # Before any event: what was never deleted, or never seen.
_SLACK = 8  # A bound may be exceeded by 1/8 before the oldest go, so that dropping them costs O(1) for each.


@dataclass(frozen=True, slots=True)
class TombstonesSnapshot:
    """A copy of the tombstones of one node type, for the checkpoint.

    Attributes:
        node_type: Node type.
        digests: uint8 ``[n, DIGEST_BYTES]``, digests of the ids.
        deleted_ms: int64 ``[n]``, event time of each node's latest deletion.
    """

    node_type: str
    digests: npt.NDArray[np.uint8]
    deleted_ms: npt.NDArray[np.int64]


class Tombstones:
    """The latest deletion of each node, by the digest of its id: of a forgotten id no trace may stay.

    One thread adds and looks up. A tombstone takes about 150 bytes.

    Args:
        keep_ms: How long a tombstone is kept, counted back from the newest event time; None for no such bound.
        max_count: Most tombstones to keep; beyond it the oldest deletions go first. None for no bound.
    """

    def __init__(self, keep_ms: int | None = None, max_count: int | None = None) -> None:
        self.keep_ms = keep_ms
        self.max_count = max_count
        self._deleted_ms: dict[str, dict[bytes, int]] = {}  # By node type, then by digest.
        self._oldest_ms: int | None = None  # No tombstone is older.

    def __len__(self) -> int:
        return sum(map(len, self._deleted_ms.values()))

    def has_any(self, node_type: str) -> bool:
        """Return whether any node of the type has a tombstone."""
        return node_type in self._deleted_ms

    def add(self, node_type: str, node_id: str, deleted_ms: int) -> None:
        """Note a deletion; of several deletions of a node the latest one counts."""
        of_type = self._deleted_ms.setdefault(node_type, {})
        digest = _digest(node_id)
        of_type[digest] = max(deleted_ms, of_type.get(digest, NEVER_MS))
        self._oldest_ms = deleted_ms if self._oldest_ms is None else min(deleted_ms, self._oldest_ms)

    def deleted_ms(self, node_type: str, ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return until when each node is deleted, inclusive, int64 ``[n]``; ``NEVER_MS`` without a tombstone."""
        of_type = self._deleted_ms.get(node_type)
        if of_type is None:
            return np.full(len(ids), NEVER_MS, np.int64)
        return np.fromiter((of_type.get(_digest(id_), NEVER_MS) for id_ in ids), np.int64, len(ids))

    def expire(self, newest_ms: int | None) -> None:
        """Drop the tombstones beyond the bounds, once enough of them are.

        Args:
            newest_ms: Newest event time; None before the first event.
        """
        if self.keep_ms is not None and newest_ms is not None and self._oldest_ms is not None:
            start_ms = newest_ms - self.keep_ms
            if self._oldest_ms < start_ms - self.keep_ms // _SLACK:
                self._keep_since(start_ms)
        if self.max_count is not None and len(self) > self.max_count + self.max_count // _SLACK:
            times = np.concatenate([np.fromiter(each.values(), np.int64) for each in self._deleted_ms.values()])
            excess = len(times) - self.max_count
            self._keep_since(int(np.partition(times, excess)[excess]))

    def snapshot(self) -> tuple[TombstonesSnapshot, ...]:
        """Return a copy of all tombstones."""
        return tuple(
            TombstonesSnapshot(
                node_type,
                np.frombuffer(b"".join(of_type), np.uint8).reshape(-1, DIGEST_BYTES),
                np.fromiter(of_type.values(), np.int64, len(of_type)),
            )
            for node_type, of_type in self._deleted_ms.items()
        )

    def restore(self, saved: Sequence[TombstonesSnapshot]) -> None:
        """Continue from what ``snapshot`` returned."""
        self._deleted_ms = {
            each.node_type: dict(zip(map(bytes, each.digests), each.deleted_ms.tolist(), strict=True))
            for each in saved
            if len(each.digests)
        }
        self._oldest_ms = min((min(each.values()) for each in self._deleted_ms.values()), default=None)

    def _keep_since(self, start_ms: int) -> None:
        kept = {
            node_type: {digest: deleted_ms for digest, deleted_ms in of_type.items() if deleted_ms >= start_ms}
            for node_type, of_type in self._deleted_ms.items()
        }
        self._deleted_ms = {node_type: of_type for node_type, of_type in kept.items() if of_type}
        self._oldest_ms = start_ms if self._deleted_ms else None


def _digest(id_: str) -> bytes:
    return hashlib.blake2b(id_.encode(), digest_size=DIGEST_BYTES).digest()
