"""Selecting interactions."""

import dataclasses

import numpy as np

from springtide.evaluation.data.selection import select
from springtide.testing import interactions_of


def test_selected_interactions_keep_their_ids_and_contexts_and_drop_the_others() -> None:
    events = [("ann", "a", 1), ("bob", "b", 2), ("cid", "c", 3), ("bob", "c", 4)]
    interactions = dataclasses.replace(interactions_of(events), contexts=[{"place": place} for place in "wxyz"])

    selected = select(interactions, np.array([1, 3]))

    users = [selected.user_ids[code] for code in selected.user_codes]
    items = [selected.item_ids[code] for code in selected.item_codes]
    assert (users, items, selected.timestamps_ms.tolist()) == (["bob", "bob"], ["b", "c"], [2, 4])
    assert (list(selected.user_ids), list(selected.item_ids)) == (["bob"], ["b", "c"])
    assert selected.contexts == [{"place": "x"}, {"place": "z"}]
