"""Baselines on a training set, by hand."""

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY
from springtide.evaluation.measures.metrics import K
from springtide.evaluation.protocols.baseline_runner import BaselineRunner
from springtide.evaluation.splits.time_splits import Split
from springtide.events.model import Interactions
from springtide.plugins.loading import Plugins, load_plugins
from springtide.settings.model import PartSettings
from springtide.testing import interactions_of


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins()


def baseline_rows() -> Interactions:
    """Two users had i0, two i1, three i2. The last 28 days have three purchases of i0, two of i1, none of i2."""
    day = MS_PER_DAY
    train = [
        *[("u0", "i2", 0), ("u1", "i2", 0), ("u2", "i2", 0), ("u1", "i1", day), ("u0", "i0", 2 * day)],
        *[("u0", "i0", 40 * day), ("u1", "i0", 41 * day), ("u1", "i0", 41 * day)],
        *[("u2", "i1", 42 * day), ("u2", "i1", 43 * day)],
    ]
    return interactions_of([*train, ("u0", "i1", 44 * day)])


@pytest.mark.parametrize(
    ("name", "is_unseen_only", "expected"),
    [
        ("popularity", False, {"u0": ["i2"], "u2": ["i2"]}),
        ("popularity", True, {"u0": ["i1"], "u2": ["i0"]}),
        ("recent_popularity", False, {"u0": ["i0", "i1", "i2"], "u2": ["i0", "i1", "i2"]}),
        ("own_counts", False, {"u0": ["i0", "i2", "i1"], "u2": ["i1", "i2", "i0"]}),
    ],
)
def test_baselines_by_hand(name: str, is_unseen_only: bool, expected: dict[str, list[str]], plugins: Plugins) -> None:
    interactions = baseline_rows()
    rank = fitted(name, interactions, 10, plugins)
    users = np.array([list(interactions.user_ids).index(user) for user in expected])
    ranked = rank(users, is_unseen_only)
    assert ranked.shape == (2, K)
    assert (ranked[:, 3:] == -1).all()
    for row, items in zip(ranked, expected.values(), strict=True):
        assert [interactions.item_ids[item] for item in row[: len(items)]] == items


def fitted(name: str, interactions: Interactions, num_train: int, plugins: Plugins) -> BaselineRunner:
    split = Split(np.arange(num_train), np.arange(num_train, len(interactions)))
    return BaselineRunner(plugins.make("baseline", PartSettings(name=name)), interactions, split)


def test_baseline_ranks_items_of_the_training_set_alone(plugins: Plugins) -> None:
    interactions = interactions_of([("u0", "a", 1), ("u1", "b", 2), ("u0", "later", 3)])
    assert sorted(fitted("popularity", interactions, 2, plugins)(np.array([0]), False)[0]) == [-1] * (K - 2) + [0, 1]


def test_unknown_user_gets_popular_items(plugins: Plugins) -> None:
    events = [("u0", "a", 1), ("u0", "b", 2), ("u1", "b", 3), ("new", "a", 4)]
    rank = fitted("own_counts", interactions_of(events), 3, plugins)
    assert rank(np.array([2]), False)[0, :2].tolist() == [1, 0]
