"""From answers to a measurement: metrics of each question, and their means for each segment."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.measures.beyond_accuracy import beyond_accuracy, item_groups, item_popularity
from springtide.evaluation.measures.measurement import ALL, NEW, REPEAT, Arrays, Measured, Measurement, SegmentMetrics
from springtide.evaluation.measures.metrics import KS, means_of, metrics_of_each
from springtide.evaluation.measures.segments import Segments, item_age, user_activity
from springtide.evaluation.measures.significance import mean_interval
from springtide.evaluation.protocols.questions import Answers, Questions, RankItems
from springtide.evaluation.splits.time_splits import Split, cold_items, cold_users

_NAMES = [f"{metric}@{k}" for metric in ("ndcg", "recall", "mrr", "hit", "map") for k in KS]
_SEED = 0  # Of the resamples: the same answers have the same interval.

PerQuestion = Mapping[str, npt.NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Finer:
    """How questions and items are told apart further.

    Attributes:
        users: Segments of all users of the data set, by heading.
        items: Segments of all items of the data set, by heading.
    """

    users: Mapping[str, Segments]
    items: Mapping[str, Segments]

    @classmethod
    def of(cls, dataset: Dataset, split: Split) -> "Finer":
        """Tell users apart by their activity, items by their age, and both by whether they are cold."""
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
    """Measures whoever ranks items, on one cut of a data set.

    Args:
        dataset: What is measured on.
        split: Where it is cut.
        questions: What is asked.
        group_names: Item attributes, of which the first that items have says how diverse an answer is.
    """

    def __init__(self, dataset: Dataset, split: Split, questions: Questions, group_names: tuple[str, ...]) -> None:
        interactions = dataset.interactions
        self._questions = questions
        self._finer = Finer.of(dataset, split)
        self._popularity = item_popularity(interactions, split)
        self._num_users = len(np.unique(interactions.user_codes[split.train]))
        groups = item_groups(dataset, group_names)
        self._groups = groups if (groups >= 0).any() else None

    def measure(self, rank: RankItems, fit_seconds: float) -> Measured:
        """Ask, and return how right the answers are."""
        segments: dict[str, SegmentMetrics] = {}
        arrays: dict[str, npt.NDArray[np.float64] | npt.NDArray[np.float32] | npt.NDArray[np.int32]] = {}
        of_new = self._questions.ask(rank, is_new_only=True)
        of_all = self._questions.ask(rank, is_new_only=False)
        repeated = np.intersect1d(of_all.relevant, self._questions.had, assume_unique=True)
        of_repeat = Answers(of_all.users, of_all.ranked, repeated, of_all.num_items)
        for name, answers in ((NEW, of_new), (REPEAT, of_repeat), (ALL, of_all)):
            beyond = {} if name == REPEAT else self._beyond(answers)
            is_hit = answers.is_hit()
            users, of_each = _of_each(answers, is_hit, answers.relevant)
            segments[name] = segment_metrics(of_each, beyond)
            arrays |= arrays_of(name, users, of_each)
            for heading, segment in self._finer_segments(answers, is_hit, users, of_each):
                segments[f"{name}: {heading}"] = segment
        return Measured(Measurement(segments, fit_seconds), arrays)

    def _beyond(self, answers: Answers) -> dict[str, float]:
        if not len(answers.users):
            return {}
        found = beyond_accuracy(answers.ranked, self._popularity, self._num_users, groups=self._groups)
        return {f"{name}@{answers.ranked.shape[1]}": value for name, value in found.items()}

    def _finer_segments(
        self, answers: Answers, is_hit: npt.NDArray[np.bool_], users: npt.NDArray[np.int64], of_each: PerQuestion
    ) -> Iterator[tuple[str, SegmentMetrics]]:
        """Give segments by name: of the users' there are only those that occur, and none that holds everything."""
        for heading, segments in self._finer.users.items():
            codes = segments.codes[users]
            for code in np.unique(codes).tolist() if len(np.unique(codes)) > 1 else ():
                of_some = {name: values[codes == code] for name, values in of_each.items()}
                yield f"{heading} {segments.names[code]}", segment_metrics(of_some)
        for heading, segments in self._finer.items.items():
            of_relevant = segments.codes[answers.relevant % answers.num_items]
            for code in np.unique(of_relevant).tolist() if len(np.unique(of_relevant)) > 1 else ():
                is_of_it = segments.codes[np.maximum(answers.ranked, 0)] == code
                _, of_items = _of_each(answers, is_hit & is_of_it, answers.relevant[of_relevant == code])
                yield f"{heading} {segments.names[code]}", segment_metrics(of_items)


def segment_metrics(of_each: PerQuestion, beyond: Mapping[str, float] | None = None) -> SegmentMetrics:
    """Return the means, with the interval of NDCG@20, and what else is known of the answers."""
    values = of_each["ndcg@20"]
    if not len(values):
        return SegmentMetrics({**dict.fromkeys(of_each, 0.0), **(beyond or {})}, 0)
    interval = mean_interval(values, seed=_SEED)
    return SegmentMetrics({**means_of(of_each), **(beyond or {})}, len(values), interval.low, interval.high)


def arrays_of(segment: str, users: npt.NDArray[np.int64], of_each: PerQuestion) -> Arrays:
    """Return what is kept of each question."""
    return {f"{segment}.users": users.astype(np.int32), f"{segment}.ndcg": of_each["ndcg@20"].astype(np.float32)}


def _of_each(
    answers: Answers, is_hit: npt.NDArray[np.bool_], relevant: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], PerQuestion]:
    """Return the users to whom some of this is relevant, int64 ``[m]``, and their metrics, float64 ``[m]`` each."""
    users, num_relevant = np.unique(relevant // answers.num_items, return_counts=True)
    if not len(users):
        return users, {name: np.zeros(0) for name in _NAMES}
    return users, metrics_of_each(is_hit[np.searchsorted(answers.users, users)], num_relevant)
