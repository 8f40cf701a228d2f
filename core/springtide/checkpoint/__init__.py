"""Checkpoints: the state of a stream in immutable segments, under a manifest with offsets and checksums.

The names here are imported at their first use: to look for the newest manifest (``manifest_files``) takes no graph.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from springtide.checkpoint.lock import CheckpointLock
    from springtide.checkpoint.manifest import Checkpoint
    from springtide.checkpoint.store import CheckpointStore

_MODULES = {"Checkpoint": "manifest", "CheckpointLock": "lock", "CheckpointStore": "store"}

__all__ = ["Checkpoint", "CheckpointLock", "CheckpointStore"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
