"""Prequential replay: events are first asked for, then learned, as a live server would have done both.

After Dawid (1984) and Gama et al. (2013): what is measured is the rank of an event's item among all items, by a
recommender that knows everything up to just before that event, and nothing after.
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from springtide.errors import TrainingError
from springtide.evaluation.protocols.past import Stream, state_of_past
from springtide.graph.applying import USER
from springtide.interactions import Observed
from springtide.plugins.contracts import Baseline
from springtide.plugins.loading import Plugins
from springtide.ranking.binding import BoundQuery
from springtide.ranking.measuring import item_ranks_and_unseen
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_baseline import Served
from springtide.ranking.top_k import ranks_of
from springtide.ranking.users import Users
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.training.loop import OnProgress, Progress

__all__ = ["Contestant", "Replayed", "replay", "state_of_past"]

_NUM_REFRESHES = 24  # Of the items' vectors and of weights that no bucket tells apart; a server does so every second.

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Contestant:
    """Who is asked.

    Attributes:
        name: Unique within a replay.
        ranks_by: A version of the registry, which knows no event of the replay; a baseline that is not fitted yet: it
            is fitted on what came before, and again as the replay goes on, and knows each user's history as of the
            question; or None for what is served without a model.
        is_live: Whether it is told of the events as they pass; or it stands still as of the start of the replay.
    """

    name: str
    ranks_by: Served | Baseline | None
    is_live: bool = True


@dataclass(frozen=True, slots=True)
class Replayed:
    """What each contestant answered to the same questions, in order of time.

    Attributes:
        timestamps_ms: int64 ``[n]``.
        user_rows: int32 ``[n]``, who took something.
        item_rows: int32 ``[n]``, what was taken.
        is_new: bool ``[n]``, whether the user had never taken it before.
        num_items: How many items are ranked; rank ``num_items + 1`` is of an item that is not.
        ranks: By name, int64 ``[n]``, 1 for the best, among all items.
        new_ranks: By name, int64 ``[n]``, among the items that the user never had; 0 where the item is one they had.
        seconds: By name, wall time of fitting and asking.
        failures: By name, why a baseline could not be fitted: such a one has no ranks.
    """

    timestamps_ms: Int64s
    user_rows: npt.NDArray[np.int32]
    item_rows: npt.NDArray[np.int32]
    is_new: npt.NDArray[np.bool_]
    num_items: int
    ranks: dict[str, Int64s]
    new_ranks: dict[str, Int64s]
    seconds: dict[str, float]
    failures: dict[str, str]

    def __len__(self) -> int:
        return len(self.timestamps_ms)

    def ndcg(self, name: str, k: int = 20, *, is_new_only: bool = False) -> npt.NDArray[np.float64]:
        """Return the NDCG of each question, which has one right answer: float64 ``[n]``, 1 / log2(1 + rank) or 0.

        Args:
            name: Of the contestant.
            k: Ranks beyond it are worth nothing.
            is_new_only: Only questions whose item was new to the user, ranked among the items that were.
        """
        ranks = self.new_ranks[name][self.is_new] if is_new_only else self.ranks[name]
        gains: npt.NDArray[np.float64] = np.where(ranks <= k, 1.0 / np.log2(1.0 + ranks), 0.0)
        return gains


def replay(
    state: LiveState,
    start_ms: int,
    contestants: Sequence[Contestant],
    settings: Settings,
    plugins: Plugins,
    *,
    num_questions: int,
    seed: int = 0,
    num_refits: int = 8,
    until_ms: int | None = None,
    on_progress: OnProgress | None = None,
) -> Replayed:
    """Ask every contestant for a sample of the positive interactions, each as of just before it.

    At each question the live contestants know the events strictly before its own time: what was taken together, at
    one time, tells nothing of itself. Items that came later are ranked too, for all contestants alike, since all rows
    of the state are there from the start.

    Args:
        state: All events, those of before ``start_ms`` included; nobody may write to it meanwhile.
        start_ms: The first moment that is asked for.
        contestants: Whom to ask.
        settings: Context weights, and how far histories reach.
        plugins: Where the context weights come from.
        num_questions: How many events to ask for, evenly spread over those there are; all of them if fewer.
        seed: Which ones.
        num_refits: How often baselines are fitted anew, at even distances.
        until_ms: The first moment that is not asked for; None for none.
        on_progress: Told of the questions.

    Raises:
        ValueError: If no event lies there.
    """
    view = state.graph.view()
    stream = Stream(state, view)
    interactions = stream.interactions
    asked = _sample(interactions, start_ms, until_ms, num_questions, np.random.default_rng(seed))
    if len(asked) == 0:
        raise ValueError(f"wanted interactions from {start_ms} on, got none")
    live = state_of_past(state, view, start_ms, settings, plugins)
    is_frozen_wanted = not all(contestant.is_live for contestant in contestants)
    frozen = state_of_past(state, view, start_ms, settings, plugins) if is_frozen_wanted else live
    seconds = {contestant.name: 0.0 for contestant in contestants}
    failures: dict[str, str] = {}
    askers: dict[str, _Asker] = {}
    for contestant in contestants:
        with _timed(seconds, contestant.name):
            try:
                of_past = live if contestant.is_live else frozen
                askers[contestant.name] = _asker(contestant, of_past, stream.before(start_ms), settings, num_refits)
            except TrainingError as error:
                failures[contestant.name] = str(error)

    users, items = interactions.user_rows[asked], interactions.item_rows[asked]
    times = interactions.timestamps_ms[asked]
    user_ids, item_ids = view.nodes(USER).ids.ids(users), view.nodes(state.rules.item_type).ids.ids(items)
    queries = [
        Query(interactions.moment(position), user_id=user_id)
        for position, user_id in zip(asked.tolist(), user_ids, strict=True)
    ]
    is_new = np.zeros(len(asked), bool)
    ranks = {name: np.zeros(len(asked), np.int64) for name in askers}
    new_ranks = {name: np.zeros(len(asked), np.int64) for name in askers}
    fed_ms = start_ms
    for start, stop in _moments(times):
        now_ms = int(times[start])
        stream.feed(live, fed_ms, now_ms)  # First asked, then learned: nothing of this very moment is known yet.
        fed_ms = now_ms
        newest_ms = live.graph.newest_ms
        assert newest_ms is None or newest_ms < now_ms, f"asked as of {now_ms} when {newest_ms} is known"
        here = slice(start, stop)
        is_new[here] = _is_new(live, users[here], items[here])
        for name, asker in askers.items():
            with _timed(seconds, name):
                if start and _is_due(start, stop, len(asked), asker.num_refreshes):
                    asker.refresh(stream.before(now_ms))
                ranks[name][here], among_new = asker.ranks(queries[here], item_ids[here])
                new_ranks[name][here] = np.where(is_new[here], among_new, 0)
        if on_progress is not None:
            on_progress(Progress("replay", stop, len(asked)))
    num_items = view.num_nodes(state.rules.item_type)
    return Replayed(times, users, items, is_new, num_items, ranks, new_ranks, seconds, failures)


class _Asker(Protocol):
    """One contestant, made ready.

    Attributes:
        num_refreshes: How often in all it is to be refreshed.
    """

    num_refreshes: int

    def refresh(self, known: Observed) -> None:
        """Take up what does not come by itself, given the positive interactions so far."""

    def ranks(self, queries: Sequence[Query], item_ids: Sequence[str]) -> tuple[Int64s, Int64s]:
        """Return the rank of one item for each query, among all items and among those that the user never had."""


class _Ranked:
    """A model, through the ranking that serves."""

    def __init__(self, model: Served | None, state: LiveState, settings: Settings, num_refreshes: int) -> None:
        self.num_refreshes = num_refreshes
        self._model = model
        self._ranker = Ranker(state, settings.ranking)
        self._ranker.swap(model)

    def refresh(self, known: Observed) -> None:
        self._ranker.swap(self._model)  # Also makes weights anew that are kept for as long as their bucket lasts.

    def ranks(self, queries: Sequence[Query], item_ids: Sequence[str]) -> tuple[Int64s, Int64s]:
        return item_ranks_and_unseen(self._ranker.scorer(), queries, item_ids)


class _Fitted:
    """A baseline, over the histories of a state."""

    def __init__(
        self, baseline: Baseline, state: LiveState, known: Observed, settings: Settings, num_refreshes: int
    ) -> None:
        self.num_refreshes = num_refreshes
        self._baseline = baseline
        self._state = state
        self._users = Users(state.rules, settings.ranking.max_history, None)
        items = state.graph.nodes(state.rules.item_type)
        self._forgotten = np.flatnonzero([not item_id for item_id in items.ids.all_ids()])
        self.refresh(known)

    def refresh(self, known: Observed) -> None:
        view = self._state.graph.view()
        self._baseline.fit(known, view.num_nodes(USER), view.num_nodes(self._state.rules.item_type))

    def ranks(self, queries: Sequence[Query], item_ids: Sequence[str]) -> tuple[Int64s, Int64s]:
        view = self._state.graph.view()
        now_ms = queries[0].moment.timestamp_ms  # Of them all.
        user_rows = view.nodes(USER).ids.rows([query.user_id for query in queries])
        bound = [
            BoundQuery(query.user_id, row, query.moment) for query, row in zip(queries, user_rows.tolist(), strict=True)
        ]
        histories = [self._users.find(view, None, query).history for query in bound]
        scores = self._baseline.scores(user_rows.astype(np.int64), histories, now_ms)
        scores[:, self._forgotten] = -np.inf
        rows = view.nodes(self._state.rules.item_type).ids.rows(item_ids)
        among_all = ranks_of(scores, rows)
        for of_query, history in zip(scores, histories, strict=True):
            of_query[history.distinct()[0]] = -np.inf
        return among_all, ranks_of(scores, rows)


def _asker(contestant: Contestant, state: LiveState, known: Observed, settings: Settings, num_refits: int) -> _Asker:
    if isinstance(contestant.ranks_by, Baseline):
        return _Fitted(contestant.ranks_by, state, known, settings, num_refits if contestant.is_live else 0)
    return _Ranked(contestant.ranks_by, state, settings, _NUM_REFRESHES if contestant.is_live else 0)


def _sample(
    interactions: Observed, start_ms: int, until_ms: int | None, count: int, generator: np.random.Generator
) -> Int64s:
    """Return positions of interactions, ascending: one out of each of ``count`` stretches of as many events."""
    first = int(np.searchsorted(interactions.timestamps_ms, start_ms))
    last = len(interactions) if until_ms is None else int(np.searchsorted(interactions.timestamps_ms, until_ms))
    if last - first <= count:
        return np.arange(first, max(first, last))
    bounds = np.linspace(first, last, count + 1).astype(np.int64)
    chosen: Int64s = generator.integers(bounds[:-1], bounds[1:])
    return chosen


def _moments(times: Int64s) -> list[tuple[int, int]]:
    """Return where the questions of each moment start and stop; times ascend."""
    bounds = [*np.flatnonzero(np.diff(times, prepend=times[0] - 1)).tolist(), len(times)]
    return list(itertools.pairwise(bounds))


def _is_due(start: int, stop: int, total: int, num_times: int) -> bool:
    """Return whether one of ``num_times`` even parts of the questions ends between two of them."""
    return stop * num_times // total > start * num_times // total


def _is_new(state: LiveState, users: npt.NDArray[np.int32], items: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    view, rules = state.graph.view(), state.rules
    had = np.zeros(len(users), bool)
    for relation in rules.positive_relations:
        had |= view.edges(rules.edge_type(relation)).has(users, items)
    return ~had


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[name] += time.perf_counter() - started
