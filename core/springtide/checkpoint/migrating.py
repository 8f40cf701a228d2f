"""Writing what an earlier release has written in the format of now; the former stays until the new one is verified."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from springtide.checkpoint import manifest as manifests
from springtide.checkpoint.array_files import ARRAYS
from springtide.checkpoint.inspection import CheckpointInspector
from springtide.checkpoint.lock import CheckpointLock
from springtide.checkpoint.manifest import Checkpoint
from springtide.checkpoint.manifest_files import FORMAT, MANIFESTS, Json
from springtide.checkpoint.set_aside import DamagedFolder
from springtide.checkpoint.store import CheckpointStore
from springtide.checkpoint.writing import SEGMENTS
from springtide.checksums import CRC32C
from springtide.errors import CheckpointError, DamagedCheckpointError
from springtide.state import LiveState
from springtide.state_content import state_content
from springtide.storage import Storage

_MAX_COMPARED = 1_000_000  # Edges and nodes whose content is compared: seconds. Larger ones are read again and counted.


@dataclass(frozen=True, slots=True)
class Outdated:
    """A checkpoint that is not wholly in the format of now.

    Attributes:
        name: Its name.
        reason: What is of an earlier format, in words.
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Migrated:
    """What a migration has done.

    Attributes:
        source: The checkpoint whose state was written anew; None if the newest one was in the format of now.
        newest: The newest checkpoint now, whole and verified.
        dropped: Names of the checkpoints that were deleted.
        compared: Whether the content of both was compared, and not the numbers of edges and nodes alone.
        damaged: Name and fault of newer ones that are damaged, and were passed over.
    """

    source: Checkpoint | None
    newest: Checkpoint
    dropped: Sequence[str]
    compared: bool
    damaged: Sequence[tuple[str, str]]


def outdated_checkpoints(store: CheckpointStore) -> list[Outdated]:
    """Return the checkpoints that are not wholly in the format of now, newest first; damaged manifests are left out.

    Raises:
        CheckpointError: If they cannot be read, or a later release has written one.
    """
    found = []
    for name in store.names():
        try:
            reason = _what_is_old(store.open(name).manifest)
        except DamagedCheckpointError:
            continue
        if reason:
            found.append(Outdated(name, reason))
    return found


def migrate_checkpoints(
    url: str, lock: CheckpointLock, make_state: Callable[[], LiveState], outdated: Sequence[Outdated]
) -> Migrated:
    """Write the newest state in the format of now, if it is not, and delete the checkpoints that are not.

    The new one is read again, every file of it, and restored, before an old one is deleted: whatever breaks this off,
    one of both is there.

    Args:
        url: Where they are.
        lock: The lock of the URL, acquired.
        make_state: Makes an empty state, with the context weights of the settings.
        outdated: What ``outdated_checkpoints`` found, at least one.

    Raises:
        CheckpointError: If none is whole, or what was written is not what was read; the old ones are there then.
    """
    reader = CheckpointStore(url)
    source, state, damaged = _restored(reader, make_state)
    old = {each.name for each in outdated}
    newest, compared = source, False
    if source.name in old:
        written = _content(state)
        # All are kept for now; and with a lock, no file is shared with what another store has read.
        newest = CheckpointStore(url, keep=len(reader.names()) + 1, lock=lock).write(
            state.snapshot(), source.created_ms
        )
        counts = _counts(state)
        del state  # Two of them may be too large.
        try:
            compared = _verify(reader, newest, make_state, counts, written)
        except CheckpointError:
            Storage(url).delete(f"{MANIFESTS}/{newest.name}.json")  # Else it would be taken at the next start.
            raise
    elif faults := CheckpointInspector(reader, reads_files=True).inspect(newest.name).faults:
        raise CheckpointError(f"checkpoint {newest.name} is damaged, nothing was changed: {'; '.join(faults)}")
    lock.check()
    dropped = [name for name in reader.names() if name in old]
    _drop(url, reader, dropped)
    return Migrated(source if newest is not source else None, newest, dropped, compared, damaged)


def _what_is_old(manifest: Json) -> str:
    """Return what of a checkpoint is of an earlier format; empty for nothing."""
    if manifest["format"] != FORMAT:
        return f"format {manifest['format']}"
    files = [
        entry["file"]
        for entry in manifests.file_entries(manifest)
        if CRC32C not in entry or not entry["file"].endswith(ARRAYS)
    ]
    return f"{len(files)} files of an earlier format" if files else ""


def _restored(
    store: CheckpointStore, make_state: Callable[[], LiveState]
) -> tuple[Checkpoint, LiveState, list[tuple[str, str]]]:
    """Return the newest checkpoint that is whole, its state, and the damaged ones that are newer."""
    damaged = []
    for name in store.names():
        state = make_state()
        try:
            checkpoint = store.open(name)
            store.restore(checkpoint, state)
        except DamagedCheckpointError as error:
            damaged.append((name, str(error)))
            continue
        return checkpoint, state, damaged
    raise CheckpointError(f"no checkpoint at {store.url} is whole, nothing was changed: {damaged}")


def _counts(state: LiveState) -> object:
    view = state.graph.view()
    return (
        {edge_type: len(view.edges(edge_type)) for edge_type in view.edge_types},
        {node_type: view.num_nodes(node_type) for node_type in view.node_types},
        (state.position, state.num_events, view.newest_ms, len(state.seen_events)),
    )


def _content(state: LiveState) -> dict[str, str] | None:
    """Return digests of a state, or None if it is too large for them."""
    view = state.graph.view()
    size = view.num_edges + sum(view.num_nodes(node_type) for node_type in view.node_types)
    return state_content(state) if size <= _MAX_COMPARED else None


def _verify(
    store: CheckpointStore,
    written: Checkpoint,
    make_state: Callable[[], LiveState],
    counts: object,
    content: dict[str, str] | None,
) -> bool:
    """Read what was written, and compare it; return whether its content was, and not the counts alone."""
    condition = CheckpointInspector(store, reads_files=True).inspect(written.name)
    fault = "; ".join(condition.faults) or _what_is_old(store.open(written.name).manifest)
    if not fault:
        state = make_state()
        store.restore(store.open(written.name), state)
        if _counts(state) != counts:
            fault = f"wanted {counts}, got {_counts(state)}"
        elif content is not None and (found := _content(state)) != content:
            parts = [name for name in content if found is None or found.get(name) != content[name]]
            fault = f"another content of {', '.join(parts)}"
    if fault:
        raise CheckpointError(f"checkpoint {written.name} is not what was written, the old ones were kept: {fault}")
    return content is not None


def _drop(url: str, store: CheckpointStore, names: Sequence[str]) -> None:
    """Delete checkpoints, and the files that no other one needs."""
    storage = Storage(url)
    try:
        for name in names:
            storage.delete(f"{MANIFESTS}/{name}.json")
        kept = [store.open(name).manifest for name in store.names()]
        in_use = {entry["file"] for manifest in kept for entry in manifests.file_entries(manifest)}
        existing = storage.list(SEGMENTS)
        in_use |= DamagedFolder(storage).files_of(existing)
        for file in existing:
            if file not in in_use:
                storage.delete(f"{SEGMENTS}/{file}")
    except DamagedCheckpointError:
        return  # Which files it needs is not known: they go when the server sets it aside.
    except OSError as error:
        raise CheckpointError(f"checkpoints at {url} cannot be deleted: {error}") from error
