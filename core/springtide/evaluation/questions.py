"""What everybody is asked after a cut in time, new items and all items, and how right the answers are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from springtide.config import InteractionSettings, Settings
from springtide.evaluation.baselines import K, RankItems
from springtide.evaluation.metrics import RankingMetrics, ranking_metrics
from springtide.evaluation.splits import Split
from springtide.events.model import EventBatch, Interactions, NodeUpsert
from springtide.graph.applying import ITEM, USER
from springtide.plugins.contracts import Moment
from springtide.plugins.loading import Plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.weights import make_context_weights
from springtide.state import LiveState
from springtide.training.train import OnProgress, Progress

_QUERIES_AT_ONCE = 64

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Measurement:
    """How good one model is.

    Attributes:
        new: Items that the user had are left out of the answers and not asked for.
        all: Everything is ranked, and asked for.
        fit_seconds: Wall time of fitting, the exponents' included.
    """

    new: RankingMetrics
    all: RankingMetrics
    fit_seconds: float


class Questions:
    """Asks for every user of the test part once, as of the newest interaction of the train part.

    Args:
        interactions: In time order.
        split: Where they are cut.
        on_progress: Told of ranking.
    """

    def __init__(self, interactions: Interactions, split: Split, on_progress: OnProgress) -> None:
        self._interactions = interactions
        self._moment = Moment(int(interactions.timestamps_ms[split.train[-1]]))
        self._tell = on_progress
        self._num_items = len(interactions.item_ids)
        self._all = np.unique(self._pairs(split.test))
        self._new = np.setdiff1d(self._all, np.unique(self._pairs(split.train)), assume_unique=True)

    def measure(self, rank: RankItems, fit_seconds: float) -> Measurement:
        """Return how right the answers are, for new items and for all."""
        return Measurement(self._metrics(rank, self._new, True), self._metrics(rank, self._all, False), fit_seconds)

    def asked_of(self, ranker: Ranker) -> RankItems:
        """Return what a ranker over the train part answers."""
        interactions = self._interactions
        code_of = {item_id: code for code, item_id in enumerate(interactions.item_ids)}

        def rank(users: Int64s, is_new_only: bool) -> Int64s:
            query = Query(self._moment, count=K, exclude_seen=("*",) if is_new_only else ())
            queries = [replace(query, user_id=interactions.user_ids[user]) for user in users]
            ranked = np.full((len(users), K), -1, np.int64)
            for position, answer in enumerate(ranker.recommend(queries)):
                codes = [code_of[item.item_id] for item in answer.items]
                ranked[position, : len(codes)] = codes
            return ranked

        return rank

    def _metrics(self, rank: RankItems, relevant: Int64s, is_new_only: bool) -> RankingMetrics:
        """Ask for every user to whom something is relevant.

        Args:
            rank: Whom to ask.
            relevant: int64 ``[num_relevant]``, pairs of user and item, as ``_pairs`` codes them.
            is_new_only: Whether to leave out what the users had.
        """
        users, num_relevant = np.unique(relevant // self._num_items, return_counts=True)
        is_hit = np.zeros((len(users), K), bool)
        stage = "rank new items" if is_new_only else "rank all items"
        for first in range(0, len(users), _QUERIES_AT_ONCE):
            chunk = users[first : first + _QUERIES_AT_ONCE]
            ranked = rank(chunk, is_new_only)
            pairs = chunk[:, None] * self._num_items + ranked
            is_hit[first : first + len(chunk)] = np.isin(pairs, relevant) & (ranked >= 0)
            self._tell(Progress(stage, first + len(chunk), len(users)))
        return ranking_metrics(is_hit, num_relevant)

    def _pairs(self, positions: Int64s) -> Int64s:
        """Return user code × num_items + item code of some interactions, int64 ``[n]``."""
        pairs: Int64s = self._interactions.user_codes[positions].astype(np.int64) * self._num_items
        return pairs + self._interactions.item_codes[positions]


def state_of_part(
    interactions: Interactions, positions: Int64s, upserts: Sequence[NodeUpsert], settings: Settings, plugins: Plugins
) -> LiveState:
    """Return a state that took up some interactions; nodes that none of them names are left out, as from the peers'."""
    state = LiveState(settings, make_context_weights(settings.ranking, plugins))
    taken = _part(interactions, positions)
    wanted = {USER: set(taken.user_ids), ITEM: set(taken.item_ids)}
    known = [upsert for upsert in upserts if upsert.node_id in wanted.get(upsert.node_type, ())]
    state.apply(EventBatch(_part(interactions, positions[:0]), upserts=known))
    state.apply(EventBatch(taken))
    return state


def frozen_settings(settings: Settings, interactions: Interactions) -> Settings:
    """Return the settings of a frozen evaluation.

    Every interaction counts as positive: that is what the peers' figures were measured on. Exponents are learned with
    features frozen at the start of their slice, since everything is frozen where they are used.
    """
    rules = {relation: InteractionSettings() for relation in interactions.relations}
    return settings.model_copy(
        update={
            "training": settings.training.model_copy(update={"live_exponents": False}),
            "interactions": {**settings.interactions, **rules},
        }
    )


def _part(interactions: Interactions, positions: Int64s) -> Interactions:
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
