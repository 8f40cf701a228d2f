"""Writes the answers to 1,000 queries at a fixed moment, and compares two such files: `answers.py dump FOLDER FILE`.

`dump` publishes a model in the folder if it holds none, so that two versions of Springtide answer from the same model:
run it with the one, then with the other, then `answers.py compare FILE FILE`. The queries are of all users of MovieLens
100K, and of visitors without an id who have just touched some items. The last tenth of the events came after the
training: users who had some are folded in, and so are new items.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from springtide.evaluation.data.datasets import Dataset, fetch
from springtide.evaluation.data.selection import select
from springtide.evaluation.protocols.training_state import state_of_slice
from springtide.evaluation.variants import with_all_positive
from springtide.events.model import EventBatch
from springtide.graph.applying import ITEM
from springtide.interactions import Moment
from springtide.model.registry import ModelStore
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_baseline import load_served
from springtide.settings.model import Settings
from springtide.training.train import train

NUM_QUERIES = 1_000
COUNT = 20
_BATCH = 32  # As the server batches at most; every other batch holds one query.
_LEARNED = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    dump = commands.add_parser("dump")
    dump.add_argument("folder", type=Path)
    dump.add_argument("file", type=Path)
    dump.add_argument("--encoder", default="lightgcn")
    dump.add_argument("--aggregator", default=None)
    dump.add_argument("--steps", type=int, default=None, help="steps of the training; as the settings say if left out")
    compare = commands.add_parser("compare")
    compare.add_argument("before", type=Path)
    compare.add_argument("after", type=Path)
    options = parser.parse_args()
    if options.command == "dump":
        options.file.write_text(json.dumps(_answers(options)))
    else:
        print(comparison(json.loads(options.before.read_text()), json.loads(options.after.read_text())))


def comparison(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> str:
    """Return in words how far the answers of two versions agree."""
    pairs = list(zip(before, after, strict=True))
    num_same = sum(old["items"] == new["items"] for old, new in pairs)
    num_equal = sum(old["personalization"] == new["personalization"] for old, new in pairs)
    differences = [
        abs(score - other)
        for old, new in pairs
        for score, other in zip(old["scores"], new["scores"], strict=True)
        if old["items"] == new["items"]
    ]
    words = [
        f"{num_same:,} of {len(pairs):,} answers are the same to the order; {num_equal:,} say the same of the user"
    ]
    words.append(f"the largest difference of a score in them is {max(differences, default=0.0):.2g}")
    for old, new in pairs:
        if old["items"] != new["items"]:
            at = next(place for place, item in enumerate(old["items"]) if new["items"][place : place + 1] != [item])
            words.append(
                f"{old['query']}: place {at + 1}: {old['items'][at]} ({old['scores'][at]:.7f}) became "
                f"{new['items'][at]} ({new['scores'][at]:.7f}); before, that one had "
                f"{dict(zip(old['items'], old['scores'], strict=True)).get(new['items'][at])}"
            )
    return "\n".join(words)


def _answers(options: argparse.Namespace) -> list[dict[str, Any]]:
    model: dict[str, Any] = {"encoder": options.encoder}
    if options.aggregator:
        model["aggregator"] = options.aggregator.split(",") if "," in options.aggregator else options.aggregator
    training = {} if options.steps is None else {"steps": options.steps, "fine_tune_steps": 5, "min_passes": 0}
    settings = Settings.model_validate({"model": model, "training": {**training, "num_threads": 1}})
    plugins = load_plugins()
    data = fetch("movielens-100k")
    settings = with_all_positive(settings, data.interactions)
    num_learned = int(_LEARNED * len(data.interactions))
    state = state_of_slice(data.interactions, np.arange(num_learned), data.upserts, settings, plugins)
    models = ModelStore(str(options.folder))
    if models.current() is None:
        models.publish(train(state, settings, plugins, mode="retrain"))
    ranker = Ranker(state, settings.ranking)
    version = models.current()
    assert version is not None, "just published"
    ranker.swap(load_served(models.load(version), plugins))
    state.apply(EventBatch(select(data.interactions, np.arange(num_learned, len(data.interactions)))))
    ranker.refresh()
    queries = _queries(data, ranker)
    rankings = []
    while len(rankings) < len(queries):
        size = _BATCH if len(rankings) % (2 * _BATCH) == 0 else 1
        rankings += ranker.recommend(queries[len(rankings) : len(rankings) + size])
    return [
        {
            "query": query.user_id or "visitor: " + " ".join(query.recent_items),
            "items": [item.item_id for item in ranking.items],
            "scores": [item.score for item in ranking.items],
            "cosines": [item.cosine for item in ranking.items],
            "weights": [dict(item.weights) for item in ranking.items],
            "personalization": ranking.personalization,
        }
        for query, ranking in zip(queries, rankings, strict=True)
    ]


def _queries(data: Dataset, ranker: Ranker) -> list[Query]:
    view = ranker.scorer().view
    assert view.newest_ms is not None, "there are events"
    moment = Moment(view.newest_ms + 3_600_000)
    users = [Query(moment, user_id=user, count=COUNT, exclude_seen=("*",)) for user in data.interactions.user_ids]
    users = [replace(query, exclude_seen=()) if index % 4 == 0 else query for index, query in enumerate(users)]
    random = np.random.default_rng(0)
    item_ids = view.nodes(ITEM).ids.all_ids()
    visitors = [
        Query(moment, recent_items=tuple(item_ids[row] for row in random.choice(len(item_ids), 5)), count=COUNT)
        for _ in range(NUM_QUERIES - len(users))
    ]
    return [*users, *visitors]


if __name__ == "__main__":
    main()
