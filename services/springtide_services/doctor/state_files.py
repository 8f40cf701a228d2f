"""Checkpoints and models on the disk or in the object store, and the room there."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from springtide.checkpoint import CheckpointStore
from springtide.checkpoint.inspection import CheckpointInspector
from springtide.clock import MS_PER_SECOND, wall_ms
from springtide.errors import ModelError, SpringtideError
from springtide.model.manifest import UnreadableManifest
from springtide.model.registry import ModelStore
from springtide.settings.model import Settings
from springtide.storage import Storage
from springtide.v1 import admin_pb2 as pb
from springtide_services.findings import Finding, Level

_LATE = 10  # Times of `checkpoint.every_s`.
_SCARCE = 2  # Room for so many times the checkpoints that are kept.
_MIN_ROOM_BYTES = 500_000_000


def checkpoint_findings(settings: Settings, status: pb.GetStatusResponse | None) -> Iterator[Finding]:
    """Yield whether checkpoints are there, whole and young."""
    url = settings.checkpoint.url
    try:
        store = CheckpointStore(url)
        conditions = CheckpointInspector(store, reads_files=False).inspect_all()
        aside = store.all_set_aside()
    except (SpringtideError, OSError) as error:
        yield _unreadable("checkpoints", url, error)
        return
    for each in aside:
        yield Finding(
            "checkpoints",
            Level.WARNING,
            f"checkpoint {each.name} was found damaged, and set aside: {each.fault}",
            "Look at the disk; delete what was set aside once you have.",
        )
    if not conditions:
        yield Finding(
            "checkpoints",
            Level.OK if status is None else Level.UNKNOWN,
            f"none yet at {url}: a server reads the topic from its first event",
        )
        return
    for condition in conditions:
        if condition.faults:
            yield Finding(
                "checkpoints",
                Level.FAILURE if condition is conditions[0] else Level.WARNING,
                f"checkpoint {condition.name} is not whole: {'; '.join(condition.faults)}",
                "A server takes the next older whole one. See which ones are whole.",
                "springtide checkpoints verify",
            )
    newest = conditions[0].checkpoint
    if newest is None or conditions[0].faults:
        return
    age_s = (wall_ms() - newest.created_ms) / MS_PER_SECOND
    message = f"{len(conditions)} at {url}, the newest {age_s:,.0f} s old, with {newest.num_edges:,} edges"
    is_late = status is not None and status.role == "writer" and age_s > _LATE * settings.checkpoint.every_s
    if is_late and status is not None and status.lag_events != 0:
        yield Finding(
            "checkpoints",
            Level.WARNING,
            f"{message}: events come, and none was written for {_LATE} times checkpoint.every_s",
            "Look into the server's log for checkpoint_failed: full disks and missing rights are the usual reasons.",
        )
    else:
        yield Finding("checkpoints", Level.OK, message)


def model_findings(settings: Settings) -> Iterator[Finding]:
    """Yield whether there is a model that serves, and whether its versions can be read."""
    url = settings.model.url
    try:
        store = ModelStore(url, settings.model.keep)
        current, manifests = store.current(), store.manifests()
    except (ModelError, OSError) as error:
        yield _unreadable("models", url, error)
        return
    for manifest in manifests:
        if isinstance(manifest, UnreadableManifest):
            is_current = manifest.version == current
            yield Finding(
                "models",
                Level.FAILURE if is_current else Level.WARNING,
                f"version {manifest.version}{', which is current,' if is_current else ''} cannot be read: "
                f"{manifest.reason}",
                "Make the version before it current." if is_current else "Upgrade, or leave it.",
                "springtide models rollback" if is_current else "",
            )
    if current is None:
        yield Finding(
            "models",
            Level.WARNING,
            f"none yet at {url}: popularity, trend and repeat purchases answer",
            "Run the trainer: the first model comes by itself once there are enough interactions.",
            "springtide train --schedule",
        )
    elif any(manifest.version == current and not isinstance(manifest, UnreadableManifest) for manifest in manifests):
        yield Finding("models", Level.OK, f"{len(manifests)} at {url}, {current} is current")
    elif all(manifest.version != current for manifest in manifests):
        yield Finding(
            "models",
            Level.FAILURE,
            f"version {current} is current, and its files are gone",
            "Make the version before it current.",
            "springtide models rollback",
        )


def disk_findings(settings: Settings) -> Iterator[Finding]:
    """Yield whether local folders can be written, and whether there is room for more checkpoints."""
    for setting, url in (("checkpoint.url", settings.checkpoint.url), ("model.url", settings.model.url)):
        folder = Storage(url).local_folder
        if folder is None:
            continue
        existing = _existing(folder)
        if not os.access(existing, os.W_OK | os.X_OK):
            yield Finding(
                "disk",
                Level.FAILURE,
                f"{setting}: {existing} may not be written by this user",
                "Give the right, or run as the server's user.",
            )
            continue
        free = shutil.disk_usage(existing).free
        used = sum(Storage(url).sizes().values()) if folder.is_dir() else 0
        message = f"{setting}: {used / 1e6:,.0f} MB used, {free / 1e9:,.1f} GB free at {existing}"
        if free < max(_SCARCE * used, _MIN_ROOM_BYTES):
            yield Finding(
                "disk",
                Level.WARNING,
                f"{message}: another checkpoint or model may not fit, and then none is written",
                "Make room, or lower checkpoint.keep and model.keep.",
            )
        else:
            yield Finding("disk", Level.OK, message)


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    return next(each for each in (folder, *folder.parents) if each.exists())


def _unreadable(subject: str, url: str, error: Exception) -> Finding:
    return Finding(
        subject,
        Level.FAILURE,
        f"{url} cannot be read: {error}",
        "See that it exists, and that this user may read it.",
    )
