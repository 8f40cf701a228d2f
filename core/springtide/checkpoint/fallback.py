"""Restoring the newest checkpoint that is whole: a damaged one is passed over, loudly, and nobody has to be asked."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import structlog

from springtide.checkpoint.manifest import Checkpoint, position_from_json
from springtide.checkpoint.manifest_files import NoSuchCheckpointError
from springtide.checkpoint.store import CheckpointStore
from springtide.errors import CheckpointError, DamagedCheckpointError
from springtide.state import LiveState, StreamPosition

logger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Restored:
    """A state that was restored.

    Attributes:
        state: The state; an empty one if there is no checkpoint that is whole.
        checkpoint: The checkpoint that it is of; None if there is none.
        applied: What was changed for settings that are not those it was written under, in words.
        damaged: The newer checkpoints that are damaged, newest first: name and fault.
        lost_position: How far a damaged one had read, if none is whole, now or at a start before: the stream must be
            read from its very first event. Its topic is empty if that is unknown; None if a checkpoint was restored, or
            there never was one.
    """

    state: LiveState
    checkpoint: Checkpoint | None
    applied: tuple[str, ...]
    damaged: tuple[tuple[str, str], ...] = ()
    lost_position: StreamPosition | None = None


def restore_newest(
    store: CheckpointStore, make_state: Callable[[], LiveState], first: str = "", *, sets_aside: bool = False
) -> Restored:
    """Restore the newest checkpoint that is whole.

    Each damaged one is logged, with what takes its place: an older one, after which the stream is read again, or the
    stream from its beginning.

    Args:
        store: The checkpoints.
        make_state: Makes an empty state.
        first: Name of a checkpoint that is tried before the newest one; one that has been pruned is passed over.
        sets_aside: Whether the damaged ones are set aside, so that nothing is built on them and none of them takes the
            place of a whole one that is kept; only for the URL's one writer.

    Raises:
        CheckpointError: If the checkpoints cannot be read, as when the network is away, or newer software has written
            one.
    """
    # A reader may look while the writer writes, and see the files of the next ones before their manifests.
    lost_manifests, unfinished = store.without_manifest() if sets_aside else ((), ())
    damaged = dict.fromkeys(lost_manifests, "its manifest is missing")
    lost_position: StreamPosition | None = None
    while True:
        names = store.names()
        names = [first, *names] if first in names else names
        name = next((name for name in names if name not in damaged), None)
        if name is None:
            lost_position = lost_position or _lost_position(store, damaged)
            restored = Restored(make_state(), None, (), tuple(damaged.items()), lost_position)
            break
        try:
            checkpoint = store.open(name)
        except NoSuchCheckpointError:
            continue  # Pruned meanwhile.
        except DamagedCheckpointError as error:
            damaged[name] = str(error)
            continue
        try:
            state = make_state()
            store.raise_if_known_damaged(checkpoint)
            applied = store.restore(checkpoint, state)
        except DamagedCheckpointError as error:
            if name not in store.names():
                continue  # Pruned while it was read.
            damaged[name] = str(error)
            lost_position = lost_position or checkpoint.position
            store.note_damaged(error.file, str(error))
        else:
            restored = Restored(state, checkpoint, applied, tuple(damaged.items()))
            break
    _tell(store, restored, unfinished)
    if sets_aside:
        num_forgotten = restored.state.graph.num_forgotten
        for name, fault in restored.damaged:
            _set_aside(store, name, fault, num_forgotten)
    return restored


def _tell(store: CheckpointStore, restored: Restored, unfinished: Sequence[str]) -> None:
    checkpoint = restored.checkpoint
    instead = "the stream from its beginning" if checkpoint is None else f"checkpoint {checkpoint.name}"
    for name, fault in restored.damaged:
        store.damage.tell(name, fault, instead)
    for name in unfinished:
        logger.warning("checkpoint_unfinished", checkpoint=name, instead=instead)


def _lost_position(store: CheckpointStore, damaged: Collection[str]) -> StreamPosition | None:
    """Return how far damaged checkpoints, and those that were set aside before, had read; see ``Restored``."""
    aside = store.all_set_aside()
    known = (position_from_json(each.position) for each in aside)
    unknown = StreamPosition("", "", {}) if damaged or aside else None
    return next((position for position in known if position is not None), unknown)


def _set_aside(store: CheckpointStore, name: str, fault: str, num_forgotten: int) -> None:
    try:
        store.set_aside(name, fault, num_forgotten)
    except CheckpointError as error:  # Nothing is built on it all the same, since the store knows that it is damaged.
        logger.warning("checkpoint_not_set_aside", checkpoint=name, error=str(error))
