"""Decoded events refuse nonsense when they are made."""

import math

import numpy as np
import pytest

from springtide.events.model import Interactions, NodeDelete, NodeUpsert, Relation


def test_columns_of_interactions_have_one_length():
    codes, times, values = np.zeros(2, np.int32), np.zeros(2, np.int64), np.zeros(2, np.float32)
    with pytest.raises(ValueError, match=r"wanted columns of one length, got user_codes 2, item_codes 1, .* values 2"):
        Interactions(["u"], codes, ["i"], codes[:1], ["purchase"], codes, times, values)
    with pytest.raises(ValueError, match="contexts 1"):
        Interactions(["u"], codes, ["i"], codes, ["purchase"], codes, times, values, [{}])
    with pytest.raises(ValueError, match="recommendation_ids 1"):
        Interactions(["u"], codes, ["i"], codes, ["purchase"], codes, times, values, None, ["r"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NodeUpsert("item", ""), "node_id: wanted at least one character, got ''"),
        (lambda: NodeDelete("", "i", 0), "node_type: wanted at least one character"),
        (lambda: Relation("item", "i", "", "store", "s", 0), "relation: wanted at least one character"),
        (lambda: Relation("item", "i", "in", "store", "s", 0, 0.0), "weight: wanted a finite number above 0, got 0.0"),
        (lambda: Relation("item", "i", "in", "store", "s", 0, math.nan), "got nan"),
    ],
)
def test_node_or_relation_without_a_name_or_a_weight_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
