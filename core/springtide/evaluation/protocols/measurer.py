"""From ranked lists to a measurement: metrics of each query, and their means for each segment."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.measures.beyond_accuracy import beyond_accuracy, item_groups, item_popularity
from springtide.evaluation.measures.mean_metrics import (
    ALL,
    NEW,
    REPEAT,
    Arrays,
    DetailedMeasurement,
    Measurement,
    SegmentMetrics,
)
from springtide.evaluation.measures.metrics import KS, means_of, metrics_of_each
from springtide.evaluation.measures.segments import Segments, item_age, user_activity
from springtide.evaluation.measures.significance import mean_interval
from springtide.evaluation.protocols.costs import RankAfter, live_share, one_thread, per_second
from springtide.evaluation.protocols.queries import RankedLists, RankItems, UserQueries
from springtide.evaluation.splits.time_splits import Split, cold_items, cold_users

_NAMES = [f"{metric}@{k}" for metric in ("ndcg", "recall", "mrr", "hit", "map") for k in KS]
_SEED = 0  # Of the bootstrap: the same ranked lists have the same interval.

PerQuery = Mapping[str, npt.NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class FineSegments:
    """Segments of users and items below new, repeat and all.

    Attributes:
        users: Segments of all users of the data set, by heading.
        items: Segments of all items of the data set, by heading.
    """

    users: Mapping[str, Segments]
    items: Mapping[str, Segments]

    @classmethod
    def of(cls, dataset: Dataset, split: Split) -> "FineSegments":
        """Segment users by activity, items by age, and both by whether they are cold."""
        interactions = dataset.interactions
        users, items = np.arange(len(interactions.user_ids)), np.arange(len(interactions.item_ids))
        is_cold_user, is_cold_item = cold_users(interactions, split), cold_items(interactions, split)
        return cls(
            {
                "user activity": user_activity(interactions, split, users),
                "users": Segments(("warm", "cold"), is_cold_user.astype(np.int64)),
            },
            {
                "item age": item_age(interactions, split, items),
                "items": Segments(("warm", "cold"), is_cold_item.astype(np.int64)),
            },
        )


class Measurer:
    """Measures models and baselines on one cut of a data set.

    Args:
        dataset: The data set.
        split: Where it is cut.
        queries: The queries of the test set.
        group_names: Names of item attributes; the first that any item has defines the groups of the diversity metric.
    """

    def __init__(self, dataset: Dataset, split: Split, queries: UserQueries, group_names: tuple[str, ...]) -> None:
        interactions = dataset.interactions
        self._queries = queries
        self._fine = FineSegments.of(dataset, split)
        self._popularity = item_popularity(interactions, split)
        self._num_users = len(np.unique(interactions.user_codes[split.train]))
        self._items = np.unique(interactions.item_codes[split.train]).astype(np.int64)
        self._num_items = len(interactions.item_ids)
        groups = item_groups(dataset, group_names)
        self._groups = groups if (groups >= 0).any() else None

    def measure(
        self, rank_items: RankItems, fit_seconds: float, rank_after: RankAfter | None = None
    ) -> DetailedMeasurement:
        """Rank items for all queries, unseen items and all items, and return the metrics.

        Args:
            rank_items: The model or baseline.
            fit_seconds: Wall time of its fit, for the measurement.
            rank_after: The same with one more event of each user, to see whether the answer changes; None not to ask.
        """
        segments: dict[str, SegmentMetrics] = {}
        arrays: dict[str, npt.NDArray[np.float64] | npt.NDArray[np.float32] | npt.NDArray[np.int32]] = {}
        new_lists, answers_per_second = self._timed(rank_items)
        all_lists = self._queries.ranked_by(rank_items, is_unseen_only=False)
        repeated = np.setdiff1d(all_lists.relevant, self._queries.unseen, assume_unique=True)
        repeat_lists = RankedLists(all_lists.users, all_lists.ranked, repeated, all_lists.num_items)
        for name, lists in ((NEW, new_lists), (REPEAT, repeat_lists), (ALL, all_lists)):
            beyond = {} if name == REPEAT else self._beyond_accuracy(lists)
            is_hit = lists.is_hit()
            users, per_query = self._per_user(lists, is_hit, lists.relevant)
            segments[name] = segment_metrics(per_query, beyond)
            arrays |= arrays_of(name, users, per_query)
            for fine_name, metrics in self._fine_segments(lists, is_hit, users, per_query):
                segments[f"{name}: {fine_name}"] = metrics
        live = None
        if rank_after is not None and len(all_lists.users):
            live = live_share(rank_after, np.unique(self._queries.user_of[all_lists.users]), self._items)
        return DetailedMeasurement(Measurement(segments, fit_seconds, answers_per_second, live), arrays)

    def _timed(self, rank_items: RankItems) -> tuple[RankedLists, float | None]:
        """Rank new items, and return how many users a second were answered, by one thread."""
        users = np.unique(self._queries.unseen // self._num_items)
        if len(users):
            rank_items(users[:1], True)  # The first answer makes what all others use.
        found: list[RankedLists] = []

        def ask() -> int:
            found.append(self._queries.ranked_by(rank_items, is_unseen_only=True))
            return len(users)

        with one_thread():
            rate = per_second(ask)
        return found[0], rate if len(users) else None

    def _per_user(
        self, lists: RankedLists, is_hit: npt.NDArray[np.bool_], relevant: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], PerQuery]:
        """Return the users with relevant items, int64 ``[m]``, and their metrics, float64 ``[m]`` each.

        Of a user with several questions, the mean over them: so the users weigh the same, however many each has.
        """
        questions, per_query = metrics_per_query(lists, is_hit, relevant)
        if not self._queries.has_circumstances:
            return questions, per_query
        users, of_question = np.unique(self._queries.user_of[questions], return_inverse=True)
        counts = np.bincount(of_question, minlength=len(users))
        return users, {
            name: np.bincount(of_question, values, minlength=len(users)) / counts for name, values in per_query.items()
        }

    def _beyond_accuracy(self, lists: RankedLists) -> dict[str, float]:
        if not len(lists.users):
            return {}
        metrics = beyond_accuracy(lists.ranked, self._popularity, self._num_users, groups=self._groups)
        return {f"{name}@{lists.ranked.shape[1]}": value for name, value in metrics.items()}

    def _fine_segments(
        self, lists: RankedLists, is_hit: npt.NDArray[np.bool_], users: npt.NDArray[np.int64], per_query: PerQuery
    ) -> Iterator[tuple[str, SegmentMetrics]]:
        """Give the metrics of fine segments by name.

        Segments that do not occur are left out, and so is a segment that holds everything. In a segment of items, only
        its items are relevant and count as hits; ranks stay those of the whole list.
        """
        for heading, segments in self._fine.users.items():
            user_segments = segments.codes[users]
            for code in np.unique(user_segments).tolist() if len(np.unique(user_segments)) > 1 else ():
                of_users = {name: values[user_segments == code] for name, values in per_query.items()}
                yield f"{heading} {segments.names[code]}", segment_metrics(of_users)
        for heading, segments in self._fine.items.items():
            relevant_segments = segments.codes[lists.relevant % lists.num_items]
            for code in np.unique(relevant_segments).tolist() if len(np.unique(relevant_segments)) > 1 else ():
                is_in_segment = segments.codes[np.maximum(lists.ranked, 0)] == code  # [n, K]
                relevant = lists.relevant[relevant_segments == code]
                _, of_items = self._per_user(lists, is_hit & is_in_segment, relevant)
                yield f"{heading} {segments.names[code]}", segment_metrics(of_items)


def segment_metrics(per_query: PerQuery, beyond: Mapping[str, float] | None = None) -> SegmentMetrics:
    """Return the means over the queries, with the confidence interval of NDCG@20.

    Args:
        per_query: Metrics of each query, float64 ``[n]`` by name, ``ndcg@20`` among them.
        beyond: Further metrics, of all lists together.
    """
    values = per_query["ndcg@20"]
    if not len(values):
        return SegmentMetrics({**dict.fromkeys(per_query, 0.0), **(beyond or {})}, 0)
    interval = mean_interval(values, seed=_SEED)
    return SegmentMetrics({**means_of(per_query), **(beyond or {})}, len(values), interval.low, interval.high)


def arrays_of(segment: str, users: npt.NDArray[np.int64], per_query: PerQuery) -> Arrays:
    """Return the arrays of a segment that are kept; see ``DetailedMeasurement``."""
    return {f"{segment}.users": users.astype(np.int32), f"{segment}.ndcg": per_query["ndcg@20"].astype(np.float32)}


def metrics_per_query(
    lists: RankedLists, is_hit: npt.NDArray[np.bool_], relevant: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], PerQuery]:
    """Return the questions with relevant items, int64 ``[m]``, and their metrics, float64 ``[m]`` each."""
    users, num_relevant = np.unique(relevant // lists.num_items, return_counts=True)
    if not len(users):
        return users, {name: np.zeros(0) for name in _NAMES}
    return users, metrics_of_each(is_hit[np.searchsorted(lists.users, users)], num_relevant)
