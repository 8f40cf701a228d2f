"""A live state that holds a slice of a data set: what a model of an evaluation is trained on."""

from collections.abc import Sequence

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
) -> LiveState:
    """Return a state to which some interactions were applied, with the nodes that occur in them.

    Other nodes are left out, as they are for the baselines: an item without interactions is no candidate.

    Args:
        interactions: All interactions, in time order.
        positions: int64 ``[n]``, which of them.
        upserts: Nodes of the data set with their attributes.
        settings: Interaction rules, graph bounds and context weights.
        plugins: Plugins that offer the context weights.
    """
    state = LiveState(settings, make_context_weights(settings.ranking, plugins))
    selected = select(interactions, positions)
    ids = {USER: set(selected.user_ids), ITEM: set(selected.item_ids)}
    kinds = AttributeKindCheck(settings.attributes)  # As the stream does: an attribute of a wrong kind is left out.
    occurring = [kinds.check(each)[0] for each in upserts if each.node_id in ids.get(each.node_type, ())]
    state.apply(EventBatch(select(interactions, positions[:0]), upserts=occurring))
    state.apply(EventBatch(selected))
    return state
