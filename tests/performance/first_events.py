"""What somebody new is answered after their first events: how much of it is about these, and how good it is.

Run it as ``python tests/performance/first_events.py --frozen``. Households of the Complete Journey's test part are
taken as unknown: of each, the first events after the cut are the recent items of a request without a user, and what it
buys for the first time after them is relevant. The factor of the cosine is multiplied by several numbers; each row is
one of them. ``same kind`` is the share of the first ten items that have the category of the first event. Rows with 0
events are the households as they are, with all their history, asked for what they have never had.
"""

import argparse
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np

from springtide.evaluation.data.datasets import fetch
from springtide.evaluation.protocols.training_state import state_of_slice
from springtide.evaluation.splits.time_splits import global_time_split
from springtide.evaluation.variants import frozen_settings, with_all_positive
from springtide.interactions import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import Settings
from springtide.training.train import train

_FACTORS = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0)
_NUM_EVENTS = (0, 1, 20)  # 0 for users as they are, with all their history.
_K = 20
_NUM_RESAMPLES = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=600, help="households that are asked for, at most")
    parser.add_argument("--kept", type=Path, help="file that the model is kept in, to be asked again")
    parser.add_argument(
        "--frozen", action="store_true", help="exponents as for a frozen moment, which is what is asked here"
    )
    arguments = parser.parse_args()
    dataset = fetch("complete-journey")
    interactions = dataset.interactions
    split = global_time_split(interactions)
    plugins = load_plugins(Settings().plugins)
    settings = (
        frozen_settings(Settings(), interactions) if arguments.frozen else with_all_positive(Settings(), interactions)
    )
    state = state_of_slice(interactions, split.train, dataset.upserts, settings, plugins)
    if arguments.kept is not None and arguments.kept.exists():
        artifact = pickle.loads(arguments.kept.read_bytes())
    else:
        artifact = train(state, settings, plugins, mode="retrain")
        if arguments.kept is not None:
            arguments.kept.write_bytes(pickle.dumps(artifact))
    model = ServingModel.from_artifact(artifact, plugins)
    view = state.graph.view()
    items = view.nodes("item")
    category_of = {
        item: [value for name, value in items.category_values(items.ids.row(item)) if name == "category"]
        for item in interactions.item_ids
        if items.ids.row(item) >= 0
    }
    histories: dict[int, list[tuple[int, str]]] = {}
    users, codes = interactions.user_codes[split.test], interactions.item_codes[split.test]
    times = interactions.timestamps_ms[split.test]
    for user, code, time in zip(users.tolist(), codes.tolist(), times.tolist(), strict=True):
        histories.setdefault(user, []).append((time, interactions.item_ids[code]))
    chosen = np.random.default_rng(1).permutation(sorted(histories))[: arguments.users].tolist()
    moment = Moment(int(times[0]))
    had: dict[int, set[str]] = {}
    for user, code in zip(
        interactions.user_codes[split.train].tolist(), interactions.item_codes[split.train].tolist(), strict=True
    ):
        had.setdefault(user, set()).add(interactions.item_ids[code])
    ranker = Ranker(state, settings.ranking)
    print(f"cosine exponent {model.exponents.unseen.cosine:.2f}")
    print(f"{'events':>6} {'factor':>6} {'n':>5} {'NDCG@20':>8} {'against ×1, 95 %':>20} {'same kind':>9}")
    for num_events in _NUM_EVENTS:
        rows: dict[float, tuple[np.ndarray, float]] = {}
        for factor in _FACTORS:
            exponents = replace(
                model.exponents,
                unseen=replace(model.exponents.unseen, cosine=factor * model.exponents.unseen.cosine),
            )
            ranker.swap(replace(model, exponents=exponents))
            if num_events:
                rows[factor] = _measured(ranker, histories, chosen, num_events, moment, category_of)
            else:
                rows[factor] = _measured_known(ranker, histories, chosen, moment, interactions.user_ids, had)
        usual = rows[1.0][0]
        for factor, (ndcg, kind) in rows.items():
            generator = np.random.default_rng(2)
            gains = ndcg - usual
            means = [gains[generator.integers(len(gains), size=len(gains))].mean() for _ in range(_NUM_RESAMPLES)]
            low, high = np.percentile(means, [2.5, 97.5])
            found = f"{len(ndcg):>5} {ndcg.mean():>8.4f} {low:>+9.4f} {high:>+9.4f} {kind:>9.2f}"
            print(f"{num_events:>6} {factor:>6} {found}")


def _measured_known(ranker, histories, users, moment, user_ids, had):
    """Return the NDCG@20 of what users with their whole histories had never had."""
    ndcgs = []
    for user in users:
        relevant = {item for _, item in histories[user]} - had[user]
        if not relevant:
            continue
        query = Query(moment, user_id=user_ids[user], count=_K, exclude_seen=("*",), with_weights=False)
        [ranking] = ranker.recommend([query])
        gains = [1 / np.log2(2 + rank) for rank, item in enumerate(ranking.items.ids) if item in relevant]
        ndcgs.append(sum(gains) / sum(1 / np.log2(2 + rank) for rank in range(min(_K, len(relevant)))))
    return np.array(ndcgs), float("nan")


def _measured(ranker, histories, users, num_events, moment, category_of):
    ndcgs, kinds = [], []
    for user in users:
        history = [item for _, item in histories[user]]
        recent = list(dict.fromkeys(history))[:num_events]
        relevant = set(history) - set(recent)
        if len(recent) < num_events or not relevant:
            continue
        query = Query(
            moment, recent_items=tuple(reversed(recent)), count=_K, exclude_items=tuple(recent), with_weights=False
        )
        [ranking] = ranker.recommend([query])
        ids = list(ranking.items.ids)
        gains = [1 / np.log2(2 + rank) for rank, item in enumerate(ids) if item in relevant]
        ideal = sum(1 / np.log2(2 + rank) for rank in range(min(_K, len(relevant))))
        ndcgs.append(sum(gains) / ideal)
        wanted = set(category_of.get(recent[0], ()))
        kinds.append(np.mean([bool(wanted.intersection(category_of.get(item, ()))) for item in ids[:10]]))
    return np.array(ndcgs), float(np.mean(kinds))


if __name__ == "__main__":
    main()
