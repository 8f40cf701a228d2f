"""Ratings and types of interactions by the rules of the settings."""

from dataclasses import replace

import numpy as np
import pytest

from springtide.errors import DatasetError
from springtide.evaluation.data import Dataset, with_feedback
from springtide.settings.model import Settings
from springtide.testing import interactions_of

RULES = Settings().interaction_rules()


def rated(types: list[str], values: list[float]) -> Dataset:
    names = list(dict.fromkeys(types))
    interactions = interactions_of([(f"u{row}", f"i{row}", row) for row in range(len(types))])
    return Dataset(
        "films",
        replace(
            interactions,
            relations=tuple(names),
            relation_codes=np.array([names.index(name) for name in types], np.int16),
            values=np.array(values, np.float32),
        ),
        [],
    )


def test_high_ratings_are_positive_and_low_ones_are_kept_apart() -> None:
    found = with_feedback(rated(["rating"] * 3, [5, 1, 3]), RULES)
    assert list(found.interactions.item_ids) == ["i0"]
    assert [found.interactions.relations[code] for code in found.interactions.relation_codes] == ["rating>=4"]
    assert found.others is not None
    assert [found.others.relations[code] for code in found.others.relation_codes] == ["rating<=2", "rating"]
    assert found.notes[-1] == "1 interactions are positive by [interactions], 2 are not"


def test_type_without_a_rule_is_left_out_and_named() -> None:
    found = with_feedback(rated(["purchase", "wave"], [np.nan, np.nan]), RULES)
    assert (len(found.interactions), found.others) == (1, None)
    assert "1 interactions of type 'wave' have no rule, and are left out" in found.notes


def test_data_set_without_positive_interactions_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"wanted positive interactions, got none among 1 of the types rating"):
        with_feedback(rated(["rating"], [1]), RULES)
