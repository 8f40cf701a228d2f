"""The numbers of our tables: metrics by hand and against PyG's, splits by hand, the protocol on a known answer."""

import math

import numpy as np
import pytest
import torch
from torch_geometric.metrics import LinkPredNDCG, LinkPredRecall

from springtide.evaluation.datasets import Dataset
from springtide.evaluation.metrics import ranking_metrics
from springtide.evaluation.protocol import K, Row, evaluate
from springtide.evaluation.splits import global_time_split
from springtide.events.model import NodeUpsert
from springtide.plugins.loading import load_plugins
from springtide.testing import even_odd_events, interactions_of, quick_settings
from springtide.training.loop import Progress


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


@pytest.fixture(scope="module")
def found() -> tuple[list[Row], list[Progress]]:
    """Rows and progress over users and items who took what is of their own parity, and nothing else."""
    events = even_odd_events(64)
    upserts = [NodeUpsert("item", f"i{number}", categories={"side": (str(number % 2),)}) for number in range(64)]
    dataset = Dataset("even-odd", interactions_of(events), [*upserts, NodeUpsert("item", "nobody took it")])
    told: list[Progress] = []
    rows = [row for rows in evaluate(dataset, quick_settings(), load_plugins(), told.append) for row in rows]
    return rows, told


def test_every_model_has_a_row_for_each_segment(found):
    rows, _ = found
    models = ["popularity", "popularity, last 28 days", "own counts, then popularity"]
    models.append("springtide (lightgcn, sampled_softmax)")
    assert [(row.model, row.segment) for row in rows] == [(name, part) for name in models for part in ("new", "all")]
    assert len({row.num_users for row in rows if row.segment == "new"}) == 1
    assert all(0 <= row.ndcg <= 1 and 0 <= row.recall <= 1 and row.fit_seconds >= 0 for row in rows)


def test_model_finds_what_popularity_cannot_know(found):
    of_new = {row.model: row for row in found[0] if row.segment == "new"}
    model = of_new["springtide (lightgcn, sampled_softmax)"]
    # Some four items of the right parity are left to each user, three of them relevant.
    assert model.ndcg > 0.8
    assert model.recall == pytest.approx(1.0, abs=0.02)
    assert of_new["popularity"].ndcg < 0.6


def test_evaluation_tells_how_far_it_is(found):
    _, told = found
    last = {progress.stage: progress for progress in told}
    assert {"learn", "exponents", "learn the latest"} < set(last)
    assert all(progress.done == progress.total for progress in last.values())
    assert any(stage.startswith("rank new: springtide") for stage in last)
