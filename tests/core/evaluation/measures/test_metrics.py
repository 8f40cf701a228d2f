"""Metrics by hand, against PyG's and against trec_eval's."""

import math

import numpy as np
import numpy.typing as npt
import pytest
import pytrec_eval
import torch
from torch_geometric.metrics import LinkPredNDCG, LinkPredRecall

from springtide.evaluation.measures.metrics import (
    discounts,
    means_of,
    metrics_of_each,
    metrics_of_ranks,
    ndcg_of_ranks,
    ranking_metrics,
)


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


def test_no_queries_give_zeros():
    metrics = ranking_metrics(np.zeros((0, 20), bool), np.zeros(0, np.int64))
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


def test_each_metric_at_two_lengths_by_hand():
    is_hit = np.array([[False, True, True, False], [False, False, False, True]])
    found = metrics_of_each(is_hit, np.array([3, 1]), ks=(2, 4))
    discounts = [1.0, 1 / math.log2(3), 1 / 2, 1 / math.log2(5)]
    expected = {
        "ndcg@2": [discounts[1] / sum(discounts[:2]), 0.0],
        "recall@2": [1 / 2, 0.0],
        "mrr@2": [1 / 2, 0.0],
        "hit@2": [1.0, 0.0],
        "map@2": [(1 / 2) / 2, 0.0],
        "ndcg@4": [(discounts[1] + discounts[2]) / sum(discounts[:3]), discounts[3]],
        "recall@4": [2 / 3, 1.0],
        "mrr@4": [1 / 2, 1 / 4],
        "hit@4": [1.0, 1.0],
        "map@4": [(1 / 2 + 2 / 3) / 3, 1 / 4],
    }
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, err_msg=name)


def random_lists(num_queries: int, depth: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Lists with random hits, and some relevant items that are in no list."""
    generator = np.random.default_rng(0)
    is_hit = generator.random((num_queries, depth)) < generator.random((num_queries, 1)) * 0.4
    missed = generator.integers(0, 2 * depth, num_queries)
    return is_hit, np.maximum(is_hit.sum(1) + missed, 1)


@pytest.mark.parametrize("k", [5, 10, 20])
def test_metrics_equal_those_of_trec_eval(k: int) -> None:
    """trec_eval divides recall and average precision by all relevant items; ours by what a list of k can hold."""
    is_hit, num_relevant = random_lists(200, 20)
    relevant = {
        str(query): {f"{rank}": int(hit) for rank, hit in enumerate(hits)}
        | {f"missed {number}": 1 for number in range(num - hits.sum())}
        for query, (hits, num) in enumerate(zip(is_hit, num_relevant, strict=True))
    }
    ranked = {query: {str(rank): -float(rank) for rank in range(20)} for query in relevant}
    measures = {f"{measure}.{k}" for measure in ("ndcg_cut", "recall", "success", "map_cut")}
    cut = {query: dict(list(scores.items())[:k]) for query, scores in ranked.items()}
    theirs = pytrec_eval.RelevanceEvaluator(relevant, measures).evaluate(ranked)
    first_hits = pytrec_eval.RelevanceEvaluator(relevant, {"recip_rank"}).evaluate(cut)
    ours = metrics_of_each(is_hit, num_relevant, (k,))
    share = num_relevant / np.minimum(num_relevant, k)
    expected = {
        "ndcg": [theirs[query][f"ndcg_cut_{k}"] for query in relevant],
        "recall": [theirs[query][f"recall_{k}"] for query in relevant] * share,
        "map": [theirs[query][f"map_cut_{k}"] for query in relevant] * share,
        "hit": [theirs[query][f"success_{k}"] for query in relevant],
        "mrr": [first_hits[query]["recip_rank"] for query in relevant],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(ours[f"{name}@{k}"], values, atol=1e-9, err_msg=name)


def test_metrics_of_ranks_are_those_of_lists_with_one_relevant_item():
    ranks = np.array([1, 2, 5, 6, 900])
    of_ranks = metrics_of_ranks(ranks, ks=(5,))
    of_lists = metrics_of_each(ranks[:, None] == np.arange(1, 1_001), np.ones(5, np.int64), ks=(5, 1_000))
    for name in ("ndcg@5", "hit@5"):
        np.testing.assert_allclose(of_ranks[name], of_lists[name])
    np.testing.assert_allclose(of_ranks["mrr"], of_lists["mrr@1000"])


def test_rank_of_zero_is_refused():
    with pytest.raises(ValueError, match="wanted ranks from 1, got 0"):
        metrics_of_ranks(np.array([3, 0]))


def test_query_without_relevant_items_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        metrics_of_each(np.zeros((1, 20), bool), np.array([0]))


def test_list_shorter_than_k_is_refused():
    with pytest.raises(ValueError, match="wanted k of 1 to 5, the length of the lists, got 10"):
        metrics_of_each(np.zeros((1, 5), bool), np.array([1]))


def test_means_are_over_the_questions_and_zero_without_any():
    assert means_of({"a": np.array([0.0, 1.0]), "b": np.zeros(0)}) == {"a": 0.5, "b": 0.0}


def test_discounts_and_ndcg_of_ranks_by_hand():
    expected = [1.0, 1 / math.log2(3), 1 / 2]
    np.testing.assert_allclose(discounts(3), expected)
    np.testing.assert_allclose(ndcg_of_ranks(np.array([3, 1, 4]), 3), [expected[2], expected[0], 0.0])
