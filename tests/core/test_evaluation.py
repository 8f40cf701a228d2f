"""The numbers of our tables: metrics by hand and against PyG's, splits by hand, the protocol on a known answer."""

import math

import numpy as np
import pytest
import torch
from torch_geometric.metrics import LinkPredNDCG, LinkPredRecall

from springtide.clock import MS_PER_DAY
from springtide.evaluation.baselines import BASELINES, LATE_POPULARITY, OWN_COUNTS, POPULARITY, K, make_baseline
from springtide.evaluation.datasets import Dataset
from springtide.evaluation.metrics import ranking_metrics
from springtide.evaluation.protocol import Protocol
from springtide.evaluation.questions import Measurement
from springtide.evaluation.splits import Split, global_time_split
from springtide.events.model import Interactions, NodeUpsert
from springtide.plugins.loading import Plugins, load_plugins
from springtide.testing import even_odd_events, interactions_of, quick_settings
from springtide.training.train import Progress


def test_metrics_by_hand():
    is_hit = np.array([[True, False, True], [False, False, False], [False, True, False]])
    metrics = ranking_metrics(is_hit, np.array([2, 1, 5]))
    discounts = [1.0, 1 / math.log2(3), 1 / 2]
    ndcg = [(1 + discounts[2]) / (1 + discounts[1]), 0.0, discounts[1] / sum(discounts)]
    assert metrics.ndcg == pytest.approx(sum(ndcg) / 3)
    assert metrics.recall == pytest.approx((2 / 2 + 0 / 1 + 1 / 3) / 3)
    assert metrics.num_users == 3


def test_users_without_relevant_items_are_left_out():
    metrics = ranking_metrics(np.array([[True], [False]]), np.array([1, 0]))
    assert (metrics.ndcg, metrics.recall, metrics.num_users) == (1.0, 1.0, 1)


def test_nobody_to_ask_gives_zeros():
    metrics = ranking_metrics(np.zeros((0, K), bool), np.zeros(0, np.int64))
    assert (metrics.ndcg, metrics.recall, metrics.num_users) == (0.0, 0.0, 0)


def test_metrics_equal_pyg():
    """PyG's recall divides by all relevant items: ours is the same where there are no more than k."""
    k, num_users, num_items = 5, 40, 30
    generator = np.random.default_rng(0)
    ranked = np.stack([generator.permutation(num_items)[:k] for _ in range(num_users)])
    relevant = [generator.permutation(num_items)[: generator.integers(1, k + 1)] for _ in range(num_users)]
    is_hit = np.stack([np.isin(ranked[user], relevant[user]) for user in range(num_users)])
    ours = ranking_metrics(is_hit, np.array([len(items) for items in relevant]))
    edges = torch.tensor([[user, item] for user, items in enumerate(relevant) for item in items]).T
    for metric, expected in ((LinkPredNDCG(k), ours.ndcg), (LinkPredRecall(k), ours.recall)):
        metric.update(torch.from_numpy(ranked), edges)
        assert float(metric.compute()) == pytest.approx(expected, abs=1e-6)


def test_split_cuts_at_one_moment():
    interactions = interactions_of([("u0", "i0", 1), ("u1", "i0", 2), ("u0", "i0", 3), ("u1", "i0", 4)])
    split = global_time_split(interactions, test_share=0.5, min_count=1)
    assert (split.train.tolist(), split.test.tolist()) == ([0, 1], [2, 3])


def test_split_drops_whom_and_what_the_train_part_has_too_little_of():
    train = [
        *[("u0", "i0", 1), ("u0", "i1", 2), ("u1", "i0", 3), ("u1", "i1", 4)],
        *[("u2", "i0", 5), ("u2", "rare", 6)],  # An item with one user; its user is left with one item.
        *[("u1", "i1", 7), ("u1", "i1", 8)],  # Often is not many.
    ]
    test = [("u0", "i0", 9), ("u2", "i1", 10), ("u0", "rare", 11), ("new user", "i0", 12), ("u1", "i0", 13)]
    split = global_time_split(interactions_of(train + test), test_share=len(test) / 13, min_count=2)
    assert split.train.tolist() == [0, 1, 2, 3, 6, 7]
    assert split.test.tolist() == [8, 12]


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
