"""The models and baselines of a replay: each ranks one item for each query, on top of a state of the past."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from springtide.evaluation.protocols.past_questions import ranks_of_known
from springtide.graph.applying import USER
from springtide.interactions import History, Observed
from springtide.plugins.contracts import Baseline
from springtide.ranking.binding import BoundQuery
from springtide.ranking.item_ranks import item_ranks_and_unseen
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_baseline import Served
from springtide.ranking.users import Users
from springtide.settings.model import Settings
from springtide.state import LiveState

_NUM_REFRESHES = 24  # Of item vectors and slowly changing weights, over a whole replay; a server refreshes each second.

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Contestant:
    """A model or baseline that takes part in a replay.

    Attributes:
        name: Unique within a replay.
        recommender: One of three: a registry version, trained on nothing of the replay; a baseline that is not fitted
            yet, which is fitted before the replay, again at intervals, and uses each user's history up to the query;
            or None for the fallback that serves without a model.
        is_live: Whether events are applied to its state as the replay goes on; otherwise its state stays as it was at
            the start of the replay.
    """

    name: str
    recommender: Served | Baseline | None
    is_live: bool = True


class ReplayRanker(Protocol):
    """A contestant that is ready to rank.

    Attributes:
        num_refreshes: Number of refreshes over the whole replay.
    """

    num_refreshes: int

    def refresh(self, interactions: Observed) -> None:
        """Update what does not follow the state by itself, given the positive interactions so far."""

    def ranks(self, queries: Sequence[Query], item_ids: Sequence[str]) -> tuple[Int64s, Int64s]:
        """Return the rank of one item for each query, int64 ``[n]`` each: among all items, and among unseen items.

        All queries are of one moment.
        """


def make_replay_ranker(
    contestant: Contestant,
    histories: "Histories",
    interactions: Observed,
    settings: Settings,
    num_refits: int,
    depth: int | None = None,
) -> ReplayRanker:
    """Return a contestant ready to rank; a baseline is fitted.

    Args:
        contestant: The model or baseline.
        histories: The state that it ranks on, and users' histories as of that state.
        interactions: The positive interactions before the replay.
        settings: Ranking settings.
        num_refits: How often a live baseline is fitted again during the replay.
        depth: Ranks of a model beyond it need not be told apart; None for all ranks.

    Raises:
        TrainingError: If a baseline cannot be fitted.
    """
    if isinstance(contestant.recommender, Baseline):
        num_refreshes = num_refits if contestant.is_live else 0
        return _BaselineRanker(contestant.recommender, interactions, histories, num_refreshes)
    num_refreshes = _NUM_REFRESHES if contestant.is_live else 0
    return _ModelRanker(contestant.recommender, histories.state, settings, num_refreshes, depth)


class _ModelRanker:
    """A registry version or the fallback, with the ranker that serves."""

    def __init__(
        self, model: Served | None, state: LiveState, settings: Settings, num_refreshes: int, depth: int | None
    ) -> None:
        self.num_refreshes = num_refreshes
        self._depth = depth
        self._model = model
        self._state = state
        self._settings = settings.ranking
        self._ranker = self._make()

    def refresh(self, interactions: Observed) -> None:
        self._ranker = self._make()  # A new one: to swap would first make the weights of moments that have passed.

    def _make(self) -> Ranker:
        # The clock stands still: weights of a moment are kept until the next refresh, however slow the machine is.
        ranker = Ranker(self._state, self._settings, clock_s=lambda: 0.0)
        ranker.swap(self._model)
        return ranker

    def ranks(self, queries: Sequence[Query], item_ids: Sequence[str]) -> tuple[Int64s, Int64s]:
        return item_ranks_and_unseen(self._ranker.scorer(), queries, item_ids, depth=self._depth)


class Histories:
    """Users' histories as of a state, for all baselines of a replay: each is looked up once for a moment.

    Args:
        state: The state that the histories are read from.
        max_history: Latest interactions of a user that are looked at, for each relation.

    Attributes:
        state: The state.
    """

    def __init__(self, state: LiveState, max_history: int) -> None:
        self.state = state
        self._users = Users(state.rules, max_history, None)
        self._found: tuple[Sequence[Query], int, tuple[npt.NDArray[np.int64], list[History]]] | None = None

    def of(self, queries: Sequence[Query]) -> tuple[npt.NDArray[np.int64], list[History]]:
        """Return the row of each query's user, int64 ``[n]``, and their history now."""
        num_events = self.state.num_events
        if self._found is None or self._found[0] is not queries or self._found[1] != num_events:
            view = self.state.graph.view()
            rows = view.nodes(USER).ids.rows([query.user_id for query in queries])
            bound = [
                BoundQuery(query.user_id, row, query.moment) for query, row in zip(queries, rows.tolist(), strict=True)
            ]
            histories = [self._users.find(view, None, query).history for query in bound]
            self._found = queries, num_events, (rows.astype(np.int64), histories)
        return self._found[2]


class _BaselineRanker:
    """A baseline, with the histories of a state."""

    def __init__(self, baseline: Baseline, interactions: Observed, histories: Histories, num_refreshes: int) -> None:
        self.num_refreshes = num_refreshes
        self._baseline = baseline
        self._state = state = histories.state
        self._histories = histories
        items = state.graph.nodes(state.rules.item_type)
        self._forgotten_rows = np.flatnonzero([not item_id for item_id in items.ids.all_ids()])
        self.refresh(interactions)

    def refresh(self, interactions: Observed) -> None:
        view = self._state.graph.view()
        self._baseline.fit(interactions, view.num_nodes(USER), view.num_nodes(self._state.rules.item_type))

    def ranks(self, queries: Sequence[Query], item_ids: Sequence[str]) -> tuple[Int64s, Int64s]:
        view = self._state.graph.view()
        now_ms = queries[0].moment.timestamp_ms
        user_rows, histories = self._histories.of(queries)
        scores = self._baseline.scores(user_rows, histories, now_ms)  # [n, num_items]
        rows = view.nodes(self._state.rules.item_type).ids.rows(item_ids)
        return ranks_of_known(scores, rows, histories, self._forgotten_rows)
