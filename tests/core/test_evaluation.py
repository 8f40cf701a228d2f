"""The numbers of our tables: the protocol on a known answer."""

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY
from springtide.evaluation.baselines import BASELINES, LATE_POPULARITY, OWN_COUNTS, POPULARITY, K, make_baseline
from springtide.evaluation.datasets import Dataset
from springtide.evaluation.protocol import Protocol
from springtide.evaluation.questions import Measurement
from springtide.evaluation.splits import Split
from springtide.events.model import Interactions, NodeUpsert
from springtide.plugins.loading import Plugins, load_plugins
from springtide.testing import even_odd_events, interactions_of, quick_settings
from springtide.training.train import Progress


def even_odd_dataset(size: int = 64) -> Dataset:
    """Users and items who took what is of their own parity, and nothing else."""
    upserts = [NodeUpsert("item", f"i{number}", categories={"side": (str(number % 2),)}) for number in range(size)]
    events = interactions_of(even_odd_events(size))
    return Dataset("even-odd", events, [*upserts, NodeUpsert("item", "nobody took it")])


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins()


@pytest.fixture(scope="module")
def told() -> list[Progress]:
    return []


@pytest.fixture(scope="module")
def protocol(plugins: Plugins, told: list[Progress]) -> Protocol:
    return Protocol(even_odd_dataset(), quick_settings(), plugins, told.append)


@pytest.fixture(scope="module")
def of_model(protocol: Protocol) -> Measurement:
    return protocol.measure_model(quick_settings())


def test_model_finds_what_popularity_cannot_know(protocol: Protocol, of_model: Measurement) -> None:
    # Some four items of the right parity are left to each user, three of them relevant.
    assert of_model.new.ndcg > 0.8
    assert of_model.new.recall == pytest.approx(1.0, abs=0.02)
    assert protocol.measure_baseline("popularity").new.ndcg < 0.6


def test_all_are_measured_on_the_same_users(protocol: Protocol, of_model: Measurement) -> None:
    measured = [of_model, *(protocol.measure_baseline(name) for name in BASELINES)]
    assert len({found.new.num_users for found in measured}) == 1
    assert len({found.all.num_users for found in measured}) == 1
    assert all(found.fit_seconds >= 0 for found in measured)


def test_evaluation_tells_how_far_it_is(told: list[Progress], of_model: Measurement) -> None:
    last = {progress.stage: progress for progress in told}
    assert {"build the graph", "learn", "exponents", "learn the latest", "rank new items", "rank all items"} <= set(
        last
    )
    assert all(progress.done == progress.total for progress in last.values())


def test_models_share_one_state_and_leave_it_as_it_was(plugins: Plugins) -> None:
    """What one model does must not be seen by the next: weights, graph and figures are as if it were the only one."""
    settings = quick_settings(ranking={"context_weights": {"popularity": {}, "trend": {}, "repeat": {}}})
    other = settings.model_copy(update={"model": settings.model.model_copy(update={"num_layers": 1})})
    alone = Protocol(even_odd_dataset(32), settings, plugins).measure_model(settings)
    protocol = Protocol(even_odd_dataset(32), settings, plugins)
    protocol.measure_model(other)
    before = protocol._state.snapshot()
    after_another = protocol.measure_model(settings)
    after = protocol._state.snapshot()

    assert (after_another.new, after_another.all) == (alone.new, alone.all)
    assert (after.version, after.num_events, after.newest_ms) == (before.version, before.num_events, before.newest_ms)
    for ours, theirs in zip(before.nodes, after.nodes, strict=True):
        assert ours.ids == theirs.ids
    for name, arrays in before.context_weights.items():
        for key, array in arrays.items():
            np.testing.assert_array_equal(after.context_weights[name][key], array)


def test_what_only_the_test_part_knows_is_no_candidate(plugins: Plugins) -> None:
    events = [*even_odd_events(32), ("u0", "new at the end", 10**13), ("u1", "i1", 10**13)]
    upserts = [NodeUpsert("item", item) for item in ("i1", "new at the end", "nobody took it")]
    protocol = Protocol(Dataset("more", interactions_of(events), upserts), quick_settings(), plugins)
    ids = protocol._state.graph.nodes("item").ids.all_ids()
    assert "i1" in ids
    assert "new at the end" not in ids
    assert "nobody took it" not in ids


def baseline_rows() -> Interactions:
    """Two users had i0, two i1, three i2; of the last 28 days' purchases three are of i0, two of i1 and none of i2."""
    day = MS_PER_DAY
    train = [
        *[("u0", "i2", 0), ("u1", "i2", 0), ("u2", "i2", 0), ("u1", "i1", day), ("u0", "i0", 2 * day)],
        *[("u0", "i0", 40 * day), ("u1", "i0", 41 * day), ("u1", "i0", 41 * day)],
        *[("u2", "i1", 42 * day), ("u2", "i1", 43 * day)],
    ]
    return interactions_of([*train, ("u0", "i1", 44 * day)])


@pytest.mark.parametrize(
    ("name", "is_new_only", "expected"),
    [
        (POPULARITY, False, {"u0": ["i2"], "u2": ["i2"]}),
        (POPULARITY, True, {"u0": ["i1"], "u2": ["i0"]}),
        (LATE_POPULARITY, False, {"u0": ["i0", "i1", "i2"], "u2": ["i0", "i1", "i2"]}),
        (OWN_COUNTS, False, {"u0": ["i0", "i2", "i1"], "u2": ["i1", "i2", "i0"]}),
    ],
)
def test_baselines_by_hand(name: str, is_new_only: bool, expected: dict[str, list[str]]) -> None:
    interactions = baseline_rows()
    rank = make_baseline(name, interactions, Split(np.arange(10), np.arange(10, 11)))
    users = np.array([list(interactions.user_ids).index(user) for user in expected])
    ranked = rank(users, is_new_only)
    assert ranked.shape == (2, K)
    assert (ranked[:, 3:] == -1).all()
    for row, items in zip(ranked, expected.values(), strict=True):
        assert [interactions.item_ids[item] for item in row[: len(items)]] == items
