"""Some of the interactions of a data set, as a data set of their own."""

import numpy as np
import numpy.typing as npt

from springtide.events.model import Interactions


def select(interactions: Interactions, positions: npt.NDArray[np.int64]) -> Interactions:
    """Return some interactions; the ids of users and items that do not occur in them are dropped.

    Args:
        interactions: All interactions.
        positions: int64 ``[n]``, which of them, in the order of the result.
    """
    user_codes, users = np.unique(interactions.user_codes[positions], return_inverse=True)
    item_codes, items = np.unique(interactions.item_codes[positions], return_inverse=True)
    contexts, answers = interactions.contexts, interactions.recommendation_ids
    return Interactions(
        [interactions.user_ids[code] for code in user_codes],
        users.astype(np.int32),
        [interactions.item_ids[code] for code in item_codes],
        items.astype(np.int32),
        interactions.relations,
        interactions.relation_codes[positions],
        interactions.timestamps_ms[positions],
        interactions.values[positions],
        None if contexts is None else [contexts[position] for position in positions],
        None if answers is None else [answers[position] for position in positions],
    )
