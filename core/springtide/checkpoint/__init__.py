"""Checkpoints: the state of a stream in immutable segments, under a manifest with offsets and checksums."""

from springtide.checkpoint.lock import CheckpointLock
from springtide.checkpoint.manifest import Checkpoint
from springtide.checkpoint.store import CheckpointStore

__all__ = ["Checkpoint", "CheckpointLock", "CheckpointStore"]
