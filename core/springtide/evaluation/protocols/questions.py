"""What everybody is asked after a cut in time, new items and all items, and what was answered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from springtide.evaluation.measures.measurement import K
from springtide.evaluation.splits.time_splits import Split
from springtide.events.model import EventBatch, Interactions, NodeUpsert
from springtide.graph.applying import ITEM, USER
from springtide.interactions import Moment
from springtide.plugins.loading import Plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import InteractionSettings, Settings
from springtide.state import LiveState
from springtide.training.train import OnProgress, Progress

_QUERIES_AT_ONCE = 64

Int64s = npt.NDArray[np.int64]
RankItems = Callable[[Int64s, bool], Int64s]
"""From users (codes, int64 ``[n]``), and whether to leave out what they had, to item codes int64 ``[n, K]``.

The best come first; -1 where there are no more."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What was answered to everybody to whom something is relevant.

    Attributes:
        users: int64 ``[n]``, codes, ascending.
        ranked: int64 ``[n, K]``, item codes, the best first, -1 where there are no more.
        relevant: int64 ``[num_relevant]``, ascending, user code × number of items + item code.
        num_items: Of the data set.
    """

    users: Int64s
    ranked: Int64s
    relevant: Int64s
    num_items: int

    def is_hit(self) -> npt.NDArray[np.bool_]:
        """Return bool ``[n, K]``: whether the item at each place is relevant."""
        return np.isin(self.pairs(), self.relevant) & (self.ranked >= 0)

    def pairs(self) -> Int64s:
        """Return int64 ``[n, K]``, each answered item as a pair with its user; of no use where there is no item."""
        return self.users[:, None] * self.num_items + self.ranked


class Questions:
    """Asks for every user of the test part once, as of the newest interaction of the train part.

    Args:
        interactions: In time order.
        split: Where they are cut.
        on_progress: Told of ranking.

    Attributes:
        moment: The newest of the train part.
        had: int64, ascending: what users had in the train part, as pairs.
        all: int64, ascending: what users take in the test part.
        new: int64, ascending: what of that they had never had.
    """

    def __init__(self, interactions: Interactions, split: Split, on_progress: OnProgress) -> None:
        self._interactions = interactions
        self.moment = Moment(int(interactions.timestamps_ms[split.train[-1]]))
        self._tell = on_progress
        self._num_items = len(interactions.item_ids)
        self.had = np.unique(self._pairs(split.train))
        self.all = np.unique(self._pairs(split.test))
        self.new = np.setdiff1d(self.all, self.had, assume_unique=True)

    def ask(self, rank: RankItems, *, is_new_only: bool) -> Answers:
        """Ask for every user to whom something is relevant.

        Args:
            rank: Whom to ask.
            is_new_only: Whether to leave out what the users had.
        """
        relevant = self.new if is_new_only else self.all
        users = np.unique(relevant // self._num_items)
        ranked = np.full((len(users), K), -1, np.int64)
        stage = "rank new items" if is_new_only else "rank all items"
        for first in range(0, len(users), _QUERIES_AT_ONCE):
            chunk = slice(first, first + _QUERIES_AT_ONCE)
            ranked[chunk] = rank(users[chunk], is_new_only)
            self._tell(Progress(stage, min(chunk.stop, len(users)), len(users)))
        return Answers(users, ranked, relevant, self._num_items)

    def asked_of(self, ranker: Ranker) -> RankItems:
        """Return what a ranker over the train part answers."""
        interactions = self._interactions
        code_of = {item_id: code for code, item_id in enumerate(interactions.item_ids)}

        def rank(users: Int64s, is_new_only: bool) -> Int64s:
            query = Query(self.moment, count=K, exclude_seen=("*",) if is_new_only else ())
            queries = [replace(query, user_id=interactions.user_ids[user]) for user in users]
            ranked = np.full((len(users), K), -1, np.int64)
            for position, answer in enumerate(ranker.recommend(queries)):
                codes = [code_of[item.item_id] for item in answer.items]
                ranked[position, : len(codes)] = codes
            return ranked

        return rank

    def _pairs(self, positions: Int64s) -> Int64s:
        """Return user code × number of items + item code of some interactions, int64 ``[n]``."""
        pairs: Int64s = self._interactions.user_codes[positions].astype(np.int64) * self._num_items
        return pairs + self._interactions.item_codes[positions]


def state_of_part(
    interactions: Interactions, positions: Int64s, upserts: Sequence[NodeUpsert], settings: Settings, plugins: Plugins
) -> LiveState:
    """Return a state that took up some interactions; nodes that none of them names are left out, as from the peers'."""
    state = LiveState(settings, make_context_weights(settings.ranking, plugins))
    taken = part_of(interactions, positions)
    wanted = {USER: set(taken.user_ids), ITEM: set(taken.item_ids)}
    known = [upsert for upsert in upserts if upsert.node_id in wanted.get(upsert.node_type, ())]
    state.apply(EventBatch(part_of(interactions, positions[:0]), upserts=known))
    state.apply(EventBatch(taken))
    return state


def every_positive(settings: Settings, interactions: Interactions) -> Settings:
    """Return settings by which every interaction counts as positive: that is what the peers' figures are of."""
    rules = {relation: InteractionSettings() for relation in interactions.relations}
    return settings.model_copy(update={"interactions": {**settings.interactions, **rules}})


def frozen_settings(settings: Settings, interactions: Interactions) -> Settings:
    """Return the settings of a frozen evaluation.

    Every interaction counts as positive. Exponents are learned with features frozen at the start of their slice, since
    everything is frozen where they are used.
    """
    frozen = settings.training.model_copy(update={"live_exponents": False})
    return every_positive(settings.model_copy(update={"training": frozen}), interactions)


def part_of(interactions: Interactions, positions: Int64s) -> Interactions:
    """Return some interactions, their dictionaries holding only what occurs in them."""
    user_codes, users = np.unique(interactions.user_codes[positions], return_inverse=True)
    item_codes, items = np.unique(interactions.item_codes[positions], return_inverse=True)
    contexts = interactions.contexts
    return Interactions(
        [interactions.user_ids[code] for code in user_codes],
        users.astype(np.int32),
        [interactions.item_ids[code] for code in item_codes],
        items.astype(np.int32),
        interactions.relations,
        interactions.relation_codes[positions],
        interactions.timestamps_ms[positions],
        interactions.values[positions],
        None if contexts is None else [contexts[position] for position in positions],
    )
