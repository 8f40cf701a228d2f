"""Cold start: how good the answers are for users of whom a few events are known, and for items with few."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from springtide.errors import TrainingError
from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.measures.mean_metrics import (
    ALL,
    NEW,
    REPEAT,
    DetailedMeasurement,
    Measurement,
    SegmentMetrics,
)
from springtide.evaluation.measures.metrics import K
from springtide.evaluation.protocols.baseline_runner import BaselineRunner
from springtide.evaluation.protocols.measurer import arrays_of, metrics_per_query, segment_metrics
from springtide.evaluation.protocols.queries import RankedLists, RankItems, UserQueries, ranked_codes
from springtide.evaluation.protocols.train_test import TrainTestProtocol
from springtide.evaluation.protocols.training_state import state_of_slice
from springtide.evaluation.splits.time_splits import Split
from springtide.interactions import History
from springtide.plugins.loading import Plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import PartSettings, Settings
from springtide.training.train import OnProgress, Progress

LEVELS = (0, 1, 2, 5, 10, 20)
"""Numbers of latest events of a user that are known when the question is asked."""

USER_EVENTS, ITEM_EVENTS = "user events", "item events"
"""Headings of the segments: ``new: user events 5`` and ``new: item events 3-5``."""

ITEM_LEVELS = ("0", "1", "2", "3-5", "6-10", "11-20", "21+")
_ITEM_BOUNDS = (1, 2, 3, 6, 11, 21)
_MAX_USERS = 300  # Held out: more would make the training set another one.
_MAX_ITEM_USERS = 2_000
_SEED = 0  # Of the users: all models get the same.
_AT_ONCE = 64

Int64s = npt.NDArray[np.int64]


class ColdStart:
    """Models and baselines on users who are new to them, with 0 to 20 of their latest events.

    Up to 300 random users of the test set who have at least 20 events before the cut are taken out of the training set
    whole: nothing is fitted on them. Then each is asked for with their latest k events alone. Baselines get these as
    the history of an unknown user. For a model, they stand in the graph, at their own times, so that the user is
    folded in as a server does it. The question is the same at each k: *all* ranks all items, and the user's items of
    the test set are relevant; *new* leaves out every item that the user ever had before the cut, known or not.

    The curve of items asks all users of the test set, those held out with 20 events and the others with all of theirs,
    and counts a new item of the test set under the number of events that it has in the training set. Items without
    enough users are only there with a cut that keeps them (``--keep-cold``).

    Args:
        dataset: The data set.
        split: Where it is cut.
        settings: Graph, interactions and context weights, which are the same for all models.
        plugins: Plugins that offer the parts.
        on_progress: Called with the progress of training and ranking.

    Raises:
        TrainingError: If no user of the test set has 20 events before the cut, or all that are in the training set do.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: Split,
        settings: Settings,
        plugins: Plugins,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._dataset = dataset
        self._plugins = plugins
        self._on_progress: OnProgress = on_progress or (lambda progress: None)
        interactions = dataset.interactions
        self._users = _held_out(dataset, split)
        is_held_out = np.isin(interactions.user_codes[split.train], self._users)
        self._train = split.train[~is_held_out]
        if not len(self._train):
            raise TrainingError("wanted users in the training set beside those of the cold start, got none")
        self._split = Split(self._train, split.test)
        self._protocol = TrainTestProtocol(dataset, self._split, settings, plugins, on_progress)
        self._whole = UserQueries(interactions, split, self._on_progress)  # Knows the full histories.
        self._queries = UserQueries(interactions, self._split, self._on_progress)
        self._item_codes = np.unique(interactions.item_codes[self._train]).astype(np.int64)
        # Positions of each held out user, the latest first.
        latest_first = split.train[is_held_out][::-1]
        codes = interactions.user_codes[latest_first]
        self._events = {user: latest_first[codes == user] for user in self._users.tolist()}

    def measure_baseline(self, baseline: PartSettings) -> DetailedMeasurement:
        """Fit and measure a baseline.

        Raises:
            TrainingError: If the training set is too large or too small for it.
            SettingsError: If no plugin offers it, or something that it needs is missing.
        """
        self._on_progress(Progress(f"fit {baseline.name}", 0, 1))
        started = time.monotonic()
        interactions = self._dataset.interactions
        runner = BaselineRunner(self._plugins.make("baseline", baseline), interactions, self._split)
        fit_seconds = time.monotonic() - started

        def ranker_of(level: int) -> RankItems:
            def rank_items(users: Int64s, is_unseen_only: bool) -> Int64s:
                events = [self._events[user][:level] for user in users.tolist()]
                hidden = [self._had(user) if is_unseen_only else np.empty(0, np.int64) for user in users.tolist()]
                return runner.ranked_new([self._history(each) for each in events], hidden)

            return rank_items

        return self._measure(fit_seconds, {level: ranker_of(level) for level in LEVELS}, runner)

    def measure_model(self, settings: Settings) -> DetailedMeasurement:
        """Train and measure a model.

        Args:
            settings: Parts, steps and rates; all else equals the settings of the protocol.

        Raises:
            TrainingError: If the model cannot be trained on this data set.
            SettingsError: If no plugin offers its parts, or they cannot work together.
        """
        trained = self._protocol.train_model(settings)
        model = ServingModel.from_artifact(trained.artifact, self._plugins)
        rankers: dict[int, RankItems] = {}
        for level in LEVELS:
            known = [events[:level] for events in self._events.values()]
            positions = np.sort(np.concatenate([self._train, *known]))
            dataset = self._dataset
            state = state_of_slice(dataset.interactions, positions, dataset.upserts, trained.settings, self._plugins)
            ranker = Ranker(state, trained.settings.ranking)
            ranker.swap(model)
            rankers[level] = self._asking(ranker)
        ranker = Ranker(self._protocol.state, trained.settings.ranking)
        ranker.swap(model)
        return self._measure(trained.fit_seconds, rankers, self._queries.rank_items_with(ranker))

    def _asking(self, ranker: Ranker) -> RankItems:
        interactions = self._dataset.interactions
        code_of = {item_id: code for code, item_id in enumerate(interactions.item_ids)}

        def rank_items(users: Int64s, is_unseen_only: bool) -> Int64s:
            query = Query(self._whole.moment, count=K, with_weights=False)
            queries = []
            for user in users.tolist():
                hidden = self._had(user).tolist() if is_unseen_only else []
                excluded = tuple(interactions.item_ids[item] for item in hidden)
                queries.append(replace(query, user_id=interactions.user_ids[user], exclude_items=excluded))
            return ranked_codes(ranker, queries, code_of)

        return rank_items

    def _measure(
        self, fit_seconds: float, rankers: Mapping[int, RankItems], known_users: RankItems
    ) -> DetailedMeasurement:
        """Return the segments of all levels; ``new``, ``repeat`` and ``all`` are those of the last level."""
        segments: dict[str, SegmentMetrics] = {}
        arrays: dict[str, npt.NDArray[np.int32] | npt.NDArray[np.float32]] = {}
        for level, rank_items in rankers.items():
            self._on_progress(Progress("rank for new users", level, LEVELS[-1]))
            for segment, pairs in ((NEW, self._whole.unseen), (ALL, self._whole.all)):
                lists = self._lists(rank_items, self._users, pairs, segment == NEW)
                users, per_query = metrics_per_query(lists, lists.is_hit(), lists.relevant)
                for name in (f"{segment}: {USER_EVENTS} {level}", *([segment] if level == LEVELS[-1] else [])):
                    segments[name] = segment_metrics(per_query)
                    arrays |= arrays_of(name, users, per_query)
        segments[REPEAT] = replace(segments[ALL], metrics=dict.fromkeys(segments[ALL].metrics, 0.0), num_users=0)
        segments |= self._by_item(known_users, rankers[LEVELS[-1]])
        return DetailedMeasurement(Measurement(segments, fit_seconds), arrays)

    def _by_item(self, known_users: RankItems, new_users: RankItems) -> Mapping[str, SegmentMetrics]:
        """Return the metrics of new items by how many events they have in the training set."""

        def rank_items(users: Int64s, is_unseen_only: bool) -> Int64s:
            ranked = np.full((len(users), K), -1, np.int64)
            is_new = np.isin(users, self._users)
            for mask, rank in ((is_new, new_users), (~is_new, known_users)):
                if mask.any():
                    ranked[mask] = rank(users[mask], is_unseen_only)
            return ranked

        num_items = len(self._dataset.interactions.item_ids)
        counts = np.bincount(self._dataset.interactions.item_codes[self._train], minlength=num_items)
        level_of = np.searchsorted(_ITEM_BOUNDS, counts, "right")
        users = np.unique(self._whole.unseen // num_items)
        if len(users) > _MAX_ITEM_USERS:
            users = np.sort(np.random.default_rng(_SEED).choice(users, _MAX_ITEM_USERS, replace=False))
        if not len(users):
            return {}
        lists = self._lists(rank_items, users, self._whole.unseen, True)
        is_hit, levels = lists.is_hit(), level_of[lists.relevant % num_items]
        found = {}
        for code in np.unique(levels).tolist():
            is_of_level = level_of[np.maximum(lists.ranked, 0)] == code
            _, per_query = metrics_per_query(lists, is_hit & is_of_level, lists.relevant[levels == code])
            found[f"{NEW}: {ITEM_EVENTS} {ITEM_LEVELS[code]}"] = segment_metrics(per_query)
        return found

    def _lists(self, rank_items: RankItems, users: Int64s, pairs: Int64s, is_unseen_only: bool) -> RankedLists:
        num_items = len(self._dataset.interactions.item_ids)
        relevant = pairs[np.isin(pairs // num_items, users)]
        asked = np.unique(relevant // num_items)
        ranked = np.full((len(asked), K), -1, np.int64)
        for first in range(0, len(asked), _AT_ONCE):
            chunk = slice(first, first + _AT_ONCE)
            ranked[chunk] = rank_items(asked[chunk], is_unseen_only)
        return RankedLists(asked, ranked, relevant, num_items)

    def _had(self, user: int) -> Int64s:
        """Return the codes of all items that a held out user had before the cut."""
        return np.unique(self._dataset.interactions.item_codes[self._events[user]]).astype(np.int64)

    def _history(self, positions: Int64s) -> History:
        """Return events as the history of an unknown user; items that the fit does not know are left out."""
        interactions = self._dataset.interactions
        codes = interactions.item_codes[positions].astype(np.int64)
        rows = np.searchsorted(self._item_codes, codes)
        is_known = self._item_codes[np.minimum(rows, len(self._item_codes) - 1)] == codes
        times = interactions.timestamps_ms[positions][is_known]
        return History(rows[is_known].astype(np.int32), times, np.ones(len(times), np.float32))


def _held_out(dataset: Dataset, split: Split) -> Int64s:
    """Return the users of the test set that are held out, int64 ``[n]``, ascending."""
    interactions = dataset.interactions
    counts = np.bincount(interactions.user_codes[split.train], minlength=len(interactions.user_ids))
    in_test = np.unique(interactions.user_codes[split.test])
    users = in_test[counts[in_test] >= LEVELS[-1]].astype(np.int64)
    if not len(users):
        most = int(counts[in_test].max(initial=0))
        raise TrainingError(
            f"wanted users of the test set with {LEVELS[-1]} events before the cut, got none (the most is {most})"
        )
    if len(users) > _MAX_USERS:
        users = np.sort(np.random.default_rng(_SEED).choice(users, _MAX_USERS, replace=False))
    return users


def levels_of(segments: Iterable[str], segment: str, heading: str) -> list[str]:
    """Return the levels of a curve that were measured, as they stand in the names of segments, in order."""
    start = f"{segment}: {heading} "
    found = {name.removeprefix(start) for name in segments if name.startswith(start)}
    order = [str(level) for level in LEVELS] if heading == USER_EVENTS else list(ITEM_LEVELS)
    return [level for level in order if level in found]
