"""A live state that holds a slice of a data set: what a model of an evaluation is trained on."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from springtide.evaluation.data.selection import select
from springtide.events.attribute_kinds import AttributeKindCheck
from springtide.events.model import EventBatch, Interactions, NodeUpsert
from springtide.graph.applying import ITEM, USER
from springtide.plugins.loading import Plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide.state import LiveState


def state_of_slice(
    interactions: Interactions,
    positions: npt.NDArray[np.int64],
    upserts: Sequence[NodeUpsert],
    settings: Settings,
    plugins: Plugins,
    others: Interactions | None = None,
) -> LiveState:
    """Return a state to which some interactions were applied, with the nodes that occur in them.

    Other nodes are left out, as they are for the baselines: an item without interactions is no candidate.

    Args:
        interactions: All interactions, in time order.
        positions: int64 ``[n]``, which of them.
        upserts: Nodes of the data set with their attributes.
        settings: Interaction rules, graph bounds and context weights.
        plugins: Plugins that offer the context weights.
        others: Interactions that are not positive, in time order: those up to the last of ``positions``, between their
            users and items, are applied too.
    """
    state = LiveState(settings, make_context_weights(settings.ranking, plugins))
    selected = select(interactions, positions)
    ids = {USER: set(selected.user_ids), ITEM: set(selected.item_ids)}
    kinds = AttributeKindCheck(settings.attributes)  # As the stream does: an attribute of a wrong kind is left out.
    occurring = [kinds.check(each)[0] for each in upserts if each.node_id in ids.get(each.node_type, ())]
    state.apply(EventBatch(select(interactions, positions[:0]), upserts=occurring))
    state.apply(EventBatch(selected))
    if others is not None and len(positions):
        state.apply(EventBatch(_before(others, int(interactions.timestamps_ms[positions].max()), ids)))
    return state


def _before(others: Interactions, newest_ms: int, ids: Mapping[str, Collection[str]]) -> Interactions:
    """Return the interactions up to a time between known users and items, by node type."""
    is_user = np.array([user_id in ids[USER] for user_id in others.user_ids], bool)[others.user_codes]
    is_item = np.array([item_id in ids[ITEM] for item_id in others.item_ids], bool)[others.item_codes]
    return select(others, np.flatnonzero(is_user & is_item & (others.timestamps_ms <= newest_ms)))
