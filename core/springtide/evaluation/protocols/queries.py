"""The questions after a cut in time, for users of the test set, and the items that a model ranks for them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from springtide.evaluation.measures.metrics import K
from springtide.evaluation.protocols.costs import RankAfter
from springtide.evaluation.splits.time_splits import Split
from springtide.events.model import Interactions
from springtide.interactions import Moment
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.training.train import OnProgress, Progress

_QUERIES_AT_ONCE = 64

Int64s = npt.NDArray[np.int64]
RankItems = Callable[[Int64s, bool], Int64s]
"""From question codes, int64 ``[n]``, and whether to leave out seen items, to the top item codes, int64 ``[n, K]``.

The best item comes first; -1 where there are no more. Where no circumstances are asked for, there is one question for
each user, and its code is the user's."""


@dataclass(frozen=True, slots=True)
class RankedLists:
    """The ranked items of each question that has relevant items.

    A pair of question and item is one number: question code × ``num_items`` + item code.

    Attributes:
        users: int64 ``[n]``, question codes, ascending; those of users where each has one question.
        ranked: int64 ``[n, K]``, item codes, the best first; -1 where there are no more.
        relevant: int64 ``[num_relevant]``, pairs of question and relevant item, ascending.
        num_items: Number of items in the data set.
    """

    users: Int64s
    ranked: Int64s
    relevant: Int64s
    num_items: int

    def is_hit(self) -> npt.NDArray[np.bool_]:
        """Return whether the item at each rank is relevant, bool ``[n, K]``."""
        pairs = self.users[:, None] * self.num_items + self.ranked  # Meaningless where there is no item.
        return np.isin(pairs, self.relevant) & (self.ranked >= 0)


class UserQueries:
    """The questions of a test set, all at the time of the newest interaction of the training set.

    Each user has one. With ``keys``, there is one for each user and distinct circumstances of the user's interactions
    in the test set: which items does the user take in this weather, at this place? What was taken so is relevant.

    Args:
        interactions: All interactions, in time order.
        split: Where they are cut.
        on_progress: Called with the progress of ranking.
        keys: The circumstances that are asked for; those that no interaction of the test set has are ignored.

    Attributes:
        moment: The moment of all questions, without circumstances.
        user_of: int64, user code of each question.
        seen: int64, ascending: pairs of user and item in the training set: user code × number of items + item code.
        all: int64, ascending: pairs of question and item in the test set; see ``RankedLists``.
        unseen: int64, ascending: pairs of ``all`` whose item the user does not have in ``seen``.
    """

    def __init__(
        self, interactions: Interactions, split: Split, on_progress: OnProgress, keys: Sequence[str] = ()
    ) -> None:
        self._interactions = interactions
        self.moment = Moment(int(interactions.timestamps_ms[split.train[-1]]))
        self._on_progress = on_progress
        self._num_items = len(interactions.item_ids)
        self.seen = np.unique(self._pairs(split.train))
        questions: Int64s = interactions.user_codes[split.test].astype(np.int64)
        self.user_of = np.arange(len(interactions.user_ids))
        self._circumstances: list[Mapping[str, str]] | None = None
        known = _circumstances(interactions, split.test, keys)
        if any(known):
            distinct = list(dict.fromkeys(known))
            code_of = {values: code for code, values in enumerate(distinct)}
            codes = np.array([code_of[values] for values in known], np.int64)
            # By circumstances first: questions that are ranked together then share their moment.
            found, questions = np.unique(codes * len(self.user_of) + questions, return_inverse=True)
            self._circumstances = [dict(distinct[code]) for code in (found // len(self.user_of)).tolist()]
            self.user_of = found % len(self.user_of)
        self.all = np.unique(questions * self._num_items + interactions.item_codes[split.test])
        of_users = self.user_of[self.all // self._num_items] * self._num_items + self.all % self._num_items
        self.unseen = self.all[~np.isin(of_users, self.seen)]

    @property
    def has_circumstances(self) -> bool:
        """Whether there is a question for each user and distinct circumstances."""
        return self._circumstances is not None

    def of_users(self, rank_items: RankItems) -> RankItems:
        """Return a function of questions, given one of user codes that knows no circumstances."""
        return lambda questions, is_unseen_only: rank_items(self.user_of[questions], is_unseen_only)

    def moment_of(self, question: int) -> Moment:
        """Return the moment of a question with its circumstances."""
        if self._circumstances is None:
            return self.moment
        known = dict(self._circumstances[question])
        place, weather = known.pop("place", ""), known.pop("weather", "")
        return Moment(self.moment.timestamp_ms, place, weather, known)

    def ranked_by(self, rank_items: RankItems, *, is_unseen_only: bool) -> RankedLists:
        """Return the top items of every question that has relevant items.

        Args:
            rank_items: The model or baseline.
            is_unseen_only: Whether seen items are neither ranked nor relevant.
        """
        relevant = self.unseen if is_unseen_only else self.all
        users = np.unique(relevant // self._num_items)
        ranked = np.full((len(users), K), -1, np.int64)
        stage = "rank new items" if is_unseen_only else "rank all items"
        for first in range(0, len(users), _QUERIES_AT_ONCE):
            chunk = slice(first, first + _QUERIES_AT_ONCE)
            ranked[chunk] = rank_items(users[chunk], is_unseen_only)
            self._on_progress(Progress(stage, min(chunk.stop, len(users)), len(users)))
        return RankedLists(users, ranked, relevant, self._num_items)

    def rank_items_with(self, ranker: Ranker) -> RankItems:
        """Return a function that ranks items with a ranker over the training set."""
        interactions = self._interactions
        code_of = {item_id: code for code, item_id in enumerate(interactions.item_ids)}

        def rank_items(questions: Int64s, is_unseen_only: bool) -> Int64s:
            query = Query(self.moment, count=K, exclude_seen=("*",) if is_unseen_only else ())
            queries = [
                replace(query, moment=self.moment_of(question), user_id=interactions.user_ids[self.user_of[question]])
                for question in questions.tolist()
            ]
            return ranked_codes(ranker, queries, code_of)

        return rank_items

    def rank_after_with(self, ranker: Ranker) -> RankAfter:
        """Return a function that ranks all items for users who have just taken one, as ``RankAfter``."""
        interactions = self._interactions
        code_of = {item_id: code for code, item_id in enumerate(interactions.item_ids)}

        def rank_after(users: Int64s, items: Int64s | None) -> Int64s:
            taken = [()] * len(users) if items is None else [(interactions.item_ids[item],) for item in items]
            queries = [
                Query(self.moment, user_id=interactions.user_ids[user], recent_items=recent, count=K)
                for user, recent in zip(users, taken, strict=True)
            ]
            return ranked_codes(ranker, queries, code_of)

        return rank_after

    def _pairs(self, positions: Int64s) -> Int64s:
        """Return the pairs of some interactions, int64 ``[n]``."""
        pairs: Int64s = self._interactions.user_codes[positions].astype(np.int64) * self._num_items
        return pairs + self._interactions.item_codes[positions]


def ranked_codes(ranker: Ranker, queries: Sequence[Query], code_of: Mapping[str, int]) -> Int64s:
    """Return the codes of the items that a ranker gives to each query, int64 ``[n, K]``; -1 where there are no more.

    Args:
        ranker: The ranker.
        queries: Each for up to ``K`` items.
        code_of: Code of each item.
    """
    ranked = np.full((len(queries), K), -1, np.int64)
    for row, ranking in enumerate(ranker.recommend(queries)):
        codes = [code_of[item_id] for item_id in ranking.items.ids]
        ranked[row, : len(codes)] = codes
    return ranked


def _circumstances(
    interactions: Interactions, positions: Int64s, keys: Sequence[str]
) -> list[tuple[tuple[str, str], ...]]:
    """Return the circumstances of some interactions, as pairs of key and value; empty where none is known."""
    contexts = interactions.contexts
    if contexts is None or not keys:
        return [()] * len(positions)
    return [
        tuple((key, contexts[position][key]) for key in keys if contexts[position].get(key))
        for position in positions.tolist()
    ]
