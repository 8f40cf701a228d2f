"""The protocol of our tables: train up to a moment, freeze everything, rank all items for everybody after it."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY
from springtide.config import InteractionSettings, Settings
from springtide.evaluation.datasets import Dataset
from springtide.evaluation.metrics import ranking_metrics
from springtide.evaluation.splits import Split, global_time_split
from springtide.events.model import EventBatch, Interactions
from springtide.graph.applying import ITEM, USER
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import Plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.ranking.weights import make_context_weights
from springtide.state import LiveState
from springtide.training.loop import OnProgress, Progress
from springtide.training.train import train

K = 20
_OF_THE_MOMENT = ("calendar",)
_QUERIES_AT_ONCE = 64

RankItems = Callable[[npt.NDArray[np.int64], bool], npt.NDArray[np.int64]]
"""From users (codes, int64 ``[n]``), and whether to leave out what they had, to item codes int64 ``[n, K]``.

The best come first; -1 where there are no more."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes:
        model: Its name.
        segment: ``new``: items that the user had are left out of the answers and not asked for; ``all``: everything.
        ndcg: NDCG at K.
        recall: Recall at K.
        num_users: How many users the means are over.
        fit_seconds: Wall time of fitting, the exponents' included.
    """

    model: str
    segment: str
    ndcg: float
    recall: float
    num_users: int
    fit_seconds: float


def evaluate(
    dataset: Dataset, settings: Settings, plugins: Plugins, on_progress: OnProgress | None = None
) -> Iterator[list[Row]]:
    """Yield the rows of each model as they are ready: simple baselines first, then the model of the settings.

    Exponents are learned with features frozen at the start of their slice, since everything is frozen here too; the
    calendar is left out, since one answer stands for all the weeks of the test part, at no hour and on no weekday.

    Args:
        dataset: What to evaluate on.
        settings: Parts, steps and rates of the model.
        plugins: Where the parts come from.
        on_progress: Told of training and of ranking.
    """
    tell = on_progress or (lambda progress: None)
    interactions = dataset.interactions
    split = global_time_split(interactions)
    for name, score in _baselines(interactions, split):
        started = time.monotonic()
        rank = score()
        yield _rows(name, rank, interactions, split, time.monotonic() - started, tell)
    settings = settings.model_copy(
        update={
            "training": settings.training.model_copy(update={"live_exponents": False}),
            "interactions": {**settings.interactions, **_rules_for(dataset)},
            "ranking": settings.ranking.model_copy(
                update={
                    "context_weights": {
                        name: options
                        for name, options in settings.ranking.context_weights.items()
                        if name not in _OF_THE_MOMENT
                    }
                }
            ),
        }
    )
    state = _state(dataset, split, settings, plugins)
    started = time.monotonic()
    artifact = train(state, settings, plugins, mode="retrain", on_progress=on_progress)
    fit_seconds = time.monotonic() - started
    ranker = Ranker(state, settings.ranking)
    ranker.swap(ServingModel.from_artifact(artifact, plugins))
    moment = Moment(int(interactions.timestamps_ms[split.train[-1]]))
    name = f"springtide ({settings.model.encoder.name}, {settings.model.loss.name})"
    yield _rows(name, _by_ranker(ranker, dataset, moment), interactions, split, fit_seconds, tell)


def _rules_for(dataset: Dataset) -> dict[str, InteractionSettings]:
    """Every interaction of a data set counts as positive: that is what the peers' figures were measured on."""
    return {relation: InteractionSettings() for relation in dataset.interactions.relations}


def _state(dataset: Dataset, split: Split, settings: Settings, plugins: Plugins) -> LiveState:
    state = LiveState(settings, make_context_weights(settings.ranking, plugins))
    interactions = _part(dataset.interactions, split.train)
    wanted = {USER: set(interactions.user_ids), ITEM: set(interactions.item_ids)}
    upserts = [upsert for upsert in dataset.upserts if upsert.node_id in wanted.get(upsert.node_type, ())]
    no_interactions = _part(dataset.interactions, np.zeros(0, np.int64))
    state.apply(EventBatch(no_interactions, upserts=upserts))
    state.apply(EventBatch(interactions))
    return state


def _by_ranker(ranker: Ranker, dataset: Dataset, moment: Moment) -> RankItems:
    interactions = dataset.interactions
    code_of = {item_id: code for code, item_id in enumerate(interactions.item_ids)}

    def rank(users: npt.NDArray[np.int64], is_new_only: bool) -> npt.NDArray[np.int64]:
        exclude_seen = ("*",) if is_new_only else ()
        query = Query(moment, count=K, exclude_seen=exclude_seen)
        queries = [replace(query, user_id=interactions.user_ids[user]) for user in users]
        ranked = np.full((len(users), K), -1, np.int64)
        for position, answer in enumerate(ranker.recommend(queries)):
            codes = [code_of[item.item_id] for item in answer.items]
            ranked[position, : len(codes)] = codes
        return ranked

    return rank


def _rows(
    name: str, rank: RankItems, interactions: Interactions, split: Split, fit_seconds: float, tell: OnProgress
) -> list[Row]:
    num_items = len(interactions.item_ids)
    had = np.unique(_pairs(interactions, split.train, num_items))
    wanted = np.unique(_pairs(interactions, split.test, num_items))
    rows = []
    for segment in ("new", "all"):
        relevant = np.setdiff1d(wanted, had, assume_unique=True) if segment == "new" else wanted
        users, num_relevant = np.unique(relevant // num_items, return_counts=True)
        hits = []
        for first in range(0, len(users), _QUERIES_AT_ONCE):
            chunk = users[first : first + _QUERIES_AT_ONCE]
            ranked = rank(chunk, segment == "new")
            is_hit = np.isin(chunk[:, None] * num_items + ranked, relevant) & (ranked >= 0)
            hits.append(is_hit)
            tell(Progress(f"rank {segment}: {name}", min(first + _QUERIES_AT_ONCE, len(users)), len(users)))
        metrics = ranking_metrics(np.concatenate(hits or [np.zeros((0, K), bool)]), num_relevant)
        rows.append(Row(name, segment, metrics.ndcg, metrics.recall, metrics.num_users, fit_seconds))
    return rows


def _baselines(interactions: Interactions, split: Split) -> Sequence[tuple[str, Callable[[], RankItems]]]:
    """Return the simplest things that a model must beat: popular, lately popular, and the user's own."""
    users = interactions.user_codes[split.train].astype(np.int64)
    items = interactions.item_codes[split.train].astype(np.int64)
    times = interactions.timestamps_ms[split.train]
    num_items = len(interactions.item_ids)
    pairs, counts = np.unique(users * num_items + items, return_counts=True)
    first_pair = np.searchsorted(pairs // num_items, np.arange(len(interactions.user_ids) + 1))

    def by(shared: npt.NDArray[np.float64], own: npt.NDArray[np.float64] | None = None) -> RankItems:
        def rank(asked: npt.NDArray[np.int64], is_new_only: bool) -> npt.NDArray[np.int64]:
            ranked = np.empty((len(asked), K), np.int64)
            for position, user in enumerate(asked):
                mine = slice(first_pair[user], first_pair[user + 1])
                scores = shared.copy()
                if is_new_only:
                    scores[pairs[mine] % num_items] = -1.0
                elif own is not None:
                    scores[pairs[mine] % num_items] += own[mine]
                best = np.argpartition(-scores, K)[:K]
                ranked[position] = best[np.argsort(-scores[best], kind="stable")]
            return ranked

        return rank

    def popular() -> RankItems:
        return by(np.bincount(pairs % num_items, minlength=num_items).astype(np.float64))

    def lately_popular() -> RankItems:
        lately = times > times[-1] - 28 * MS_PER_DAY
        return by(np.bincount(items[lately], minlength=num_items).astype(np.float64))

    def own_counts() -> RankItems:
        shared = np.bincount(pairs % num_items, minlength=num_items).astype(np.float64)
        return by(shared / (shared.max() + 1.0), counts.astype(np.float64))

    return (
        ("popularity", popular),
        ("popularity, last 28 days", lately_popular),
        ("own counts, then popularity", own_counts),
    )


def _pairs(interactions: Interactions, positions: npt.NDArray[np.int64], num_items: int) -> npt.NDArray[np.int64]:
    pairs: npt.NDArray[np.int64] = interactions.user_codes[positions].astype(np.int64) * num_items
    return pairs + interactions.item_codes[positions]


def _part(interactions: Interactions, positions: npt.NDArray[np.int64]) -> Interactions:
    """Return some interactions, their dictionaries holding only what occurs in them."""
    user_codes, users = np.unique(interactions.user_codes[positions], return_inverse=True)
    item_codes, items = np.unique(interactions.item_codes[positions], return_inverse=True)
    return Interactions(
        [interactions.user_ids[code] for code in user_codes],
        users.astype(np.int32),
        [interactions.item_ids[code] for code in item_codes],
        items.astype(np.int32),
        interactions.relations,
        interactions.relation_codes[positions],
        interactions.timestamps_ms[positions],
        interactions.values[positions],
    )
