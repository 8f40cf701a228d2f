"""The splits that `springtide evaluate` offers, and the cuts that each consists of, by name."""

from springtide.evaluation.splits.empty_splits import why_empty
from springtide.evaluation.splits.time_splits import Split, global_time_split, leave_one_out, walk_forward_splits
from springtide.events.model import Interactions

GLOBAL, WALK_FORWARD, PREQUENTIAL, LEAVE_ONE_OUT = "global", "walk-forward", "prequential", "leave-one-out"
COLD_START = "cold-start"
SPLITS = (GLOBAL, WALK_FORWARD, PREQUENTIAL, LEAVE_ONE_OUT, COLD_START)

_NUM_BLOCKS = 4
_COLD_KEPT = ", cold kept"


def cut_names(split: str, *, is_cold_kept: bool = False) -> list[str]:
    """Return the names of a split's cuts: one, or one for each block of a walk forward.

    Args:
        split: One of ``SPLITS``.
        is_cold_kept: Whether users and items with too few interactions in the training set stay in both sets.
    """
    names = [split] if split != WALK_FORWARD else [f"{split} {block} of {_NUM_BLOCKS}" for block in _blocks()]
    return [f"{name}{_COLD_KEPT}" for name in names] if is_cold_kept else names


def cut_at(interactions: Interactions, name: str) -> Split:
    """Return a cut by its name, as given by ``cut_names``.

    Raises:
        ValueError: If there is no cut of that name; a prequential replay is no cut.
    """
    bare = name.removesuffix(_COLD_KEPT)
    min_count = 5 if bare == name else 0
    if bare in (GLOBAL, COLD_START):  # Users of the test set are held out by the protocol, not by the cut.
        return global_time_split(interactions, min_count=min_count)
    if bare == LEAVE_ONE_OUT:
        return leave_one_out(interactions, min_count)
    if bare not in cut_names(WALK_FORWARD):
        raise ValueError(f"no cut named {name!r}")
    return walk_forward_splits(interactions, min_count=min_count)[cut_names(WALK_FORWARD).index(bare)]


def why_empty_at(interactions: Interactions, name: str) -> str:
    """Return why a cut of that name has nothing on one side, in words, and the option that changes it."""
    bare = name.removesuffix(_COLD_KEPT)
    undropped = cut_at(interactions, f"{bare}{_COLD_KEPT}")
    if bare != name or not len(undropped.train) or not len(undropped.test):
        return why_empty(interactions, undropped, 0)
    return f"{why_empty(interactions, undropped)}; --keep-cold keeps the others, too"


def _blocks() -> range:
    return range(1, _NUM_BLOCKS + 1)
