"""Whether explanations name what counts: `faithfulness.py [--users 400] [--most 3] [--steps 150]`.

A model learns a public data set. For each user, the first item that they have not had is explained. Then the user loses
as many of their own items: those that the explanation names, the latest ones, or any. The table says how much lower the
item's score is then, and how often what was named counted more; intervals are of 2,000 resamples of users. A second
model, which another seed trained and which the explanation has not seen, is asked the same: what counts for it, too, is
no accident of one model.

A second table says how long it takes to find the paths, and all of an explanation, in milliseconds.
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY, Deadline
from springtide.evaluation.data.datasets import DATASETS, fetch
from springtide.evaluation.protocols.training_state import state_of_slice
from springtide.explaining.influence import Worlds, event_influences, score_of
from springtide.explaining.paths import find_paths
from springtide.explaining.why import Wanted, why
from springtide.interactions import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.scoring import Scorer
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import Settings
from springtide.training.train import train

_AN_HOUR_S = 3_600.0
_DRAWS = 10  # Random sets for each user.
_RESAMPLES = 2_000
_FEWEST = 12  # Own items of a user who is asked about.


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="complete-journey", choices=sorted(DATASETS))
    parser.add_argument("--users", type=int, default=400, help="users who are asked about")
    parser.add_argument("--most", type=int, default=3, help="own items that are taken away")
    parser.add_argument("--steps", type=int, default=150, help="steps of the training")
    parser.add_argument("--width", type=int, default=64, help="width of the model")
    parser.add_argument("--days", type=int, default=365, help="latest days of the data set that are learned")
    parser.add_argument("--cosine-alone", action="store_true", help="without context weights: much quicker")
    options = parser.parse_args()
    dataset = fetch(options.dataset)
    ranking = {"max_history": 256, **({"context_weights": {}} if options.cosine_alone else {})}
    training = {"steps": options.steps, "fine_tune_steps": min(20, options.steps), "min_passes": 0.0}
    settings = Settings.model_validate({"training": training, "ranking": ranking, "model": {"width": options.width}})
    plugins = load_plugins()
    times = dataset.interactions.timestamps_ms
    positions = np.flatnonzero(times > times.max() - options.days * MS_PER_DAY)
    state = state_of_slice(dataset.interactions, positions, dataset.upserts, settings, plugins)
    scorers = []
    for seed in (1, 2):
        changed = settings.model_copy(update={"training": settings.training.model_copy(update={"seed": seed})})
        started = time.perf_counter()
        artifact = train(state, changed, plugins, mode="retrain", base=None)
        print(f"model {seed}: trained in {time.perf_counter() - started:.0f} s", flush=True)
        ranker = Ranker(state, settings.ranking)
        ranker.swap(ServingModel.from_artifact(artifact, plugins))
        scorers.append(ranker.scorer())
    rng = np.random.default_rng(0)
    drops = _measure(scorers, options.users, options.most, rng)
    _print_drops(drops, options.most, rng)
    _print_times(scorers[0], options.users, rng)


def _measure(
    scorers: Sequence[Scorer], num_users: int, most: int, rng: np.random.Generator
) -> dict[tuple[int, str], npt.NDArray[np.float64]]:
    """Return by model and choice how much lower each user's item is without the chosen own items, ``[n]``."""
    scorer = scorers[0]
    found: dict[tuple[int, str], list[float]] = {}
    for query, row in _questions(scorer, 2 * num_users, rng):
        bound = scorer.bind(query)
        user = scorer.serving.users.find(scorer.view, scorer.serving.table, bound)
        _, first = np.unique(user.history.item_rows, return_index=True)
        own = user.history.item_rows[np.sort(first)].tolist()  # The latest first.
        influences, is_cut = event_influences(scorer, user, query, bound, row, Deadline.after(_AN_HOUR_S))
        assert not is_cut
        paths = find_paths(
            scorer.view,
            scorer.state.rules,
            bound.user_row,
            user.history,
            [row],
            query.moment.timestamp_ms,
            Deadline.after(_AN_HOUR_S),
            max_paths=1_000,
        ).of_items[0]
        ids = scorer.items.ids
        by_paths = dict.fromkeys(ids.row(path.first_item) for path in paths if path.kind in ("people", "attribute"))
        chosen = {
            "influence": [[ids.row(each.item_id) for each in influences[:most]]],
            "paths": [list(by_paths)[:most]],
            "latest": [own[:most]],
            "any": [rng.choice(own, most, replace=False).tolist() for _ in range(_DRAWS)],
        }
        if len(chosen["paths"][0]) < most:
            continue
        for number, model in enumerate(scorers, start=1):
            for name, sets in chosen.items():
                worlds = Worlds(model, query, bound)
                whole, *without = (score_of(model, *worlds.without(each), row) for each in ([], *sets))
                found.setdefault((number, name), []).append(whole - float(np.mean(without)))
        if len(found[1, "any"]) >= num_users:
            break
    return {key: np.array(values) for key, values in found.items()}


def _questions(scorer: Scorer, most: int, rng: np.random.Generator) -> "list[tuple[Query, int]]":
    """Return queries of users with enough own items, in random order, each with the first item that is new to them."""
    newest_ms = scorer.view.newest_ms
    assert newest_ms is not None
    users = scorer.view.nodes("user").ids
    found = []
    for user_row in rng.permutation(scorer.view.num_nodes("user")).tolist():
        query = Query(Moment(newest_ms), users.id(user_row), count=1, exclude_seen=("*",))
        bound = scorer.bind(query)
        history = scorer.serving.users.find(scorer.view, scorer.serving.table, bound).history
        if len(set(history.item_rows.tolist())) >= _FEWEST:
            found.append((query, int(scorer.score([query]).scores[0].argmax())))
        if len(found) >= most:
            break
    return found


def _print_drops(drops: dict[tuple[int, str], npt.NDArray[np.float64]], most: int, rng: np.random.Generator) -> None:
    print(
        f"\n| model | own items taken away ({most}) | n | mean fall of the score | minus that of any | more than any |"
    )
    print("|---|---|---|---|---|---|")
    for (number, name), values in drops.items():
        more = values - drops[number, "any"]
        asked = "explained" if number == 1 else "another"
        wins = "" if name == "any" else f"{float((more > 0).mean()):.0%}"
        versus = "" if name == "any" else _interval(more, rng)
        print(f"| {asked} | {name} | {len(values)} | {_interval(values, rng)} | {versus} | {wins} |")


def _interval(values: npt.NDArray[np.float64], rng: np.random.Generator) -> str:
    means = rng.choice(values, (_RESAMPLES, len(values))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{values.mean():.3f} ({low:.3f} to {high:.3f})"


def _print_times(scorer: Scorer, num_users: int, rng: np.random.Generator) -> None:
    """Time explanations of pairs of users and items, with the default time."""
    questions = _questions(scorer, num_users, rng)
    paths_ms, all_ms, num_cut, num_bounds = [], [], 0, 0
    for query, row in questions:
        bound = scorer.bind(query)
        user = scorer.serving.users.find(scorer.view, scorer.serving.table, bound)
        started = time.perf_counter()
        found = find_paths(
            scorer.view,
            scorer.state.rules,
            bound.user_row,
            user.history,
            [row],
            query.moment.timestamp_ms,
            Deadline.after(0.005),
        )
        paths_ms.append(1_000 * (time.perf_counter() - started))
        num_bounds += any(path.is_lower_bound for path in found.of_items[0])
        started = time.perf_counter()
        num_cut += why(scorer, query, scorer.items.ids.id(row), Wanted()).is_cut
        all_ms.append(1_000 * (time.perf_counter() - started))
    print("\n| what | n | p50, ms | p99, ms | cut |\n|---|---|---|---|---|")
    for name, times, cut in (("paths", paths_ms, num_bounds), ("all of an explanation", all_ms, num_cut)):
        print(f"| {name} | {len(times)} | {np.quantile(times, 0.5):.2f} | {np.quantile(times, 0.99):.2f} | {cut} |")


if __name__ == "__main__":
    main()
