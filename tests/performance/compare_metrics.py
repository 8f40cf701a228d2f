"""Times our ranking metrics beside those libraries that are installed: `compare_metrics.py`.

Each gives NDCG, recall, reciprocal rank, hit rate and average precision at 20 of every question, as far as it knows
them.
Libraries want dictionaries or edges: making these from arrays is timed apart.
"""

import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from springtide.evaluation.measures.metrics import K, metrics_of_each

NUM_ITEMS = 15_000
REPEATS = 5


def main() -> None:
    libraries = {"ranx": _ranx, "pytrec_eval": _pytrec_eval, "ir_measures": _ir_measures, "torch_geometric": _pyg}
    libraries["sklearn"] = _sklearn
    print(f"| questions × {K} | library | metrics, ms | its input from arrays, ms | NDCG@{K} |")
    print("|---|---|---|---|---|")
    for num_questions in (2_400, 25_000):
        ranked, relevant = _questions(num_questions)
        for name in ("ours", *(name for name in libraries if importlib.util.find_spec(name))):
            started = time.perf_counter()
            measure = (_ours if name == "ours" else libraries[name])(ranked, relevant)
            made_ms = (time.perf_counter() - started) * 1_000
            ndcg = measure()  # What is compiled is compiled before the clock runs.
            seconds = []
            for _ in range(REPEATS):
                started = time.perf_counter()
                measure()
                seconds.append(time.perf_counter() - started)
            print(
                f"| {num_questions:,} | {name} | {min(seconds) * 1_000:,.1f} | {made_ms:,.0f} | {ndcg:.6f} |",
                flush=True,
            )


def _questions(num_questions: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Lists of items, and one to forty relevant items of each question, the popular ones more often in both."""
    generator = np.random.default_rng(0)
    ranked = np.stack([np.unique(_draw(generator, 3 * K))[:K] for _ in range(num_questions)])
    return ranked, [np.unique(_draw(generator, generator.integers(1, 41))) for _ in range(num_questions)]


def _draw(generator: np.random.Generator, size: int) -> np.ndarray:
    return (NUM_ITEMS * generator.random(size) ** 3).astype(np.int64)


def _ours(ranked: np.ndarray, relevant: list[np.ndarray]) -> Callable[[], float]:
    num_relevant = np.array([len(items) for items in relevant])
    asked = np.repeat(np.arange(len(relevant)), num_relevant)
    pairs = np.sort(asked * NUM_ITEMS + np.concatenate(relevant))
    is_hit = np.isin(np.arange(len(ranked))[:, None] * NUM_ITEMS + ranked, pairs)
    return lambda: float(metrics_of_each(is_hit, num_relevant, (K,))[f"ndcg@{K}"].mean())


def _dictionaries(ranked: np.ndarray, relevant: list[np.ndarray]) -> tuple[dict[str, Any], dict[str, Any]]:
    qrels = {str(question): {str(item): 1 for item in items.tolist()} for question, items in enumerate(relevant)}
    run = {
        str(question): {str(item): float(K - place) for place, item in enumerate(items)}
        for question, items in enumerate(ranked.tolist())
    }
    return qrels, run


def _ranx(ranked: np.ndarray, relevant: list[np.ndarray]) -> Callable[[], float]:
    from ranx import Qrels, Run, evaluate

    qrels, run = _dictionaries(ranked, relevant)
    theirs = Qrels(qrels), Run(run)
    names = [f"{name}@{K}" for name in ("ndcg", "recall", "mrr", "hit_rate", "map")]
    return lambda: float(evaluate(*theirs, names)[f"ndcg@{K}"])


def _pytrec_eval(ranked: np.ndarray, relevant: list[np.ndarray]) -> Callable[[], float]:
    import pytrec_eval

    qrels, run = _dictionaries(ranked, relevant)
    measures = {f"{name}.{K}" for name in ("ndcg_cut", "recall", "success", "map_cut")} | {"recip_rank"}
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, measures)
    return lambda: float(np.mean([found[f"ndcg_cut_{K}"] for found in evaluator.evaluate(run).values()]))


def _ir_measures(ranked: np.ndarray, relevant: list[np.ndarray]) -> Callable[[], float]:
    import ir_measures
    from ir_measures import AP, RR, R, Success, nDCG

    qrels, run = _dictionaries(ranked, relevant)
    evaluator = ir_measures.evaluator([nDCG @ K, R @ K, RR @ K, Success @ K, AP @ K], qrels)
    return lambda: float(evaluator.calc_aggregate(run)[nDCG @ K])


def _pyg(ranked: np.ndarray, relevant: list[np.ndarray]) -> Callable[[], float]:
    import torch
    from torch_geometric.metrics import (
        LinkPredHitRatio,
        LinkPredMAP,
        LinkPredMetricCollection,
        LinkPredMRR,
        LinkPredNDCG,
        LinkPredRecall,
    )

    kinds = (LinkPredNDCG, LinkPredRecall, LinkPredMRR, LinkPredHitRatio, LinkPredMAP)
    asked = np.repeat(np.arange(len(relevant)), [len(items) for items in relevant])
    edges = torch.from_numpy(np.stack([asked, np.concatenate(relevant)]))
    lists = torch.from_numpy(ranked)

    def measure() -> float:
        metrics = LinkPredMetricCollection([kind(K) for kind in kinds])
        metrics.update(lists, edges)
        return float(next(value for name, value in metrics.compute().items() if "NDCG" in name))

    return measure


def _sklearn(ranked: np.ndarray, relevant: list[np.ndarray]) -> Callable[[], float]:
    from sklearn.metrics import ndcg_score

    # It wants the scores of all items: here of those listed and of those relevant, which is as narrow as it goes.
    width = K + max(len(items) for items in relevant)
    truth, scores = np.zeros((len(ranked), width)), np.tile(-np.arange(width, dtype=float), (len(ranked), 1))
    for question, items in enumerate(relevant):
        is_hit = np.isin(ranked[question], items)
        truth[question, :K] = is_hit
        truth[question, K : K + len(items) - is_hit.sum()] = 1
    return lambda: float(ndcg_score(truth, scores, k=K))


if __name__ == "__main__":
    main()
