"""Prequential replay: each event is ranked before it is applied, as on a live server.

After Dawid (1984) and Gama et al. (2013). The measure is the rank of an event's item among all items, by a model that
has seen every event before that one and none after it.
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.errors import TrainingError
from springtide.evaluation.measures.metrics import K, ndcg_of_ranks
from springtide.evaluation.protocols.contestants import Contestant, Histories, ReplayRanker, make_replay_ranker
from springtide.evaluation.protocols.past_questions import PastQuestions
from springtide.evaluation.protocols.past_states import PastEvents, state_of_past
from springtide.graph.applying import USER
from springtide.graph.view import GraphView
from springtide.interactions import History, Observed
from springtide.plugins.contracts import Baseline
from springtide.plugins.loading import Plugins
from springtide.ranking.query import Query
from springtide.ranking.weights import SharedWeights
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.training.loop import OnProgress, Progress

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """The ranks that each contestant gave for the same sampled events, in order of time.

    Attributes:
        timestamps_ms: int64 ``[n]``, time of each event.
        user_rows: int32 ``[n]``, its user.
        item_rows: int32 ``[n]``, its item.
        is_unseen: bool ``[n]``, whether the user had no positive interaction with the item before.
        num_items: Number of ranked items; an item that is not ranked has rank ``num_items + 1``.
        ranks: Rank of the item among all items, from 1, int64 ``[n]`` by contestant. Ranks beyond the replay's
            ``depth`` may be ``num_items + 1``, too.
        unseen_ranks: Rank of the item among the user's unseen items, int64 ``[n]`` by contestant; 0 for a seen item.
        seconds: Wall time of fitting and ranking, by contestant.
        failures: Why a baseline could not be fitted, by contestant; such a baseline has no ranks.
        questions: The questions as baselines need them to answer later; None if they were not to be kept.
    """

    timestamps_ms: Int64s
    user_rows: npt.NDArray[np.int32]
    item_rows: npt.NDArray[np.int32]
    is_unseen: npt.NDArray[np.bool_]
    num_items: int
    ranks: dict[str, Int64s]
    unseen_ranks: dict[str, Int64s]
    seconds: dict[str, float]
    failures: dict[str, str]
    questions: PastQuestions | None = None

    def __len__(self) -> int:
        return len(self.timestamps_ms)

    def ndcg(self, name: str, k: int = K, *, is_unseen_only: bool = False) -> npt.NDArray[np.float64]:
        """Return the NDCG@k of each event, float64 ``[n]``; each has one relevant item.

        Args:
            name: The contestant.
            k: Length of the list.
            is_unseen_only: Only events whose item was new to the user, ranked among the user's unseen items.
        """
        return ndcg_of_ranks(self.unseen_ranks[name][self.is_unseen] if is_unseen_only else self.ranks[name], k)


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
    depth: int | None = None,
    keep_questions: bool = False,
    on_progress: OnProgress | None = None,
) -> ReplayResult:
    """Rank a sample of the positive interactions with every contestant, each as of just before it.

    A live contestant ranks with all events strictly before the time of the event, so that events of one moment, such
    as a basket, do not reveal each other. Items that came later are ranked too, by all contestants alike, since all
    rows of ``state`` exist from the start. Baselines rank in a thread of their own, beside the models. The function is
    long because the loop at its end, which keeps the order "apply what came before, then rank", is easier to check in
    one piece.

    Args:
        state: All events, those before ``start_ms`` included; nobody may write to it meanwhile.
        start_ms: First moment that is sampled.
        contestants: Models and baselines.
        settings: Context weights, and length of histories.
        plugins: Plugins that offer the context weights.
        num_questions: Number of sampled events, evenly spread; all events if there are fewer.
        seed: Seed of the sample.
        num_refits: How often live baselines are fitted again, at equal distances.
        until_ms: First moment that is not sampled; None for no end.
        depth: Ranks beyond it need not be told apart, which takes less time; None for all ranks.
        keep_questions: Whether the result has the questions, for baselines that are asked later.
        on_progress: Called with the progress of the replay.

    Raises:
        ValueError: If there is no event in that time.
    """
    view = state.graph.view()
    events = PastEvents(state, view)
    interactions = events.interactions
    sampled = _sample(interactions, start_ms, until_ms, num_questions, np.random.default_rng(seed))
    if len(sampled) == 0:
        raise ValueError(f"wanted interactions from {start_ms} on, got none")
    live = state_of_past(state, view, start_ms, settings, plugins)
    # Models rank one after the other at each moment: they differ in exponents, not in what the weights say of it.
    live.context_weights = shared = SharedWeights(live.context_weights, live.context_weights.settle)
    has_frozen = not all(contestant.is_live for contestant in contestants)
    frozen = state_of_past(state, view, start_ms, settings, plugins) if has_frozen else live
    seconds = {contestant.name: 0.0 for contestant in contestants}
    before = events.interactions_before(start_ms)
    of_live = Histories(live, settings.ranking.max_history)
    rankers, failures = _make_rankers(
        contestants, of_live, of_live if frozen is live else Histories(frozen, settings.ranking.max_history), before,
        settings, num_refits, depth, seconds,
    )  # fmt: skip
    kept = _KeptQuestions(of_live, before) if keep_questions else None
    users, items = interactions.user_rows[sampled], interactions.item_rows[sampled]
    times = interactions.timestamps_ms[sampled]
    user_ids, item_ids = view.nodes(USER).ids.ids(users), view.nodes(state.rules.item_type).ids.ids(items)
    moments = [interactions.moment(position) for position in sampled.tolist()]
    queries = [Query(moment, user_id) for moment, user_id in zip(moments, user_ids, strict=True)]
    is_unseen = np.zeros(len(sampled), bool)
    ranks = {name: np.zeros(len(sampled), np.int64) for name in rankers}
    unseen_ranks = {name: np.zeros(len(sampled), np.int64) for name in rankers}
    applied_ms = start_ms
    of_helper = [contestant.name for contestant in contestants if isinstance(contestant.recommender, Baseline)]
    halves = [[name for name in rankers if (name in of_helper) == is_helper] for is_helper in (True, False)]

    def rank(names: Sequence[str], asked: Sequence[Query], here: slice, now_ms: int) -> None:
        """Rank the items of one moment by some contestants."""
        for name in names:
            with _timed(seconds, name):
                if here.start and _is_due(here.start, here.stop, len(sampled), rankers[name].num_refreshes):
                    rankers[name].refresh(events.interactions_before(now_ms))
                ranks[name][here], among_unseen = rankers[name].ranks(asked, item_ids[here])
                unseen_ranks[name][here] = np.where(is_unseen[here], among_unseen, 0)

    with ThreadPoolExecutor(1, "replay") as helper:
        for start, stop in _moments(times):
            now_ms = int(times[start])
            events.apply(live, applied_ms, now_ms)  # Only what came before: this moment's events are ranked first.
            shared.forget()
            applied_ms = now_ms
            newest_ms = live.graph.newest_ms
            assert newest_ms is None or newest_ms < now_ms, (
                f"ranked as of {now_ms} with an event of {newest_ms} applied"
            )
            here = slice(start, stop)
            asked = queries[here]  # One list for all: baselines look its histories up once.
            is_unseen[here] = ~live.has_interacted(live.graph.view(), users[here], items[here])
            if kept is not None:
                is_new_fit = start > 0 and _is_due(start, stop, len(sampled), num_refits)
                kept.add(asked, events.interactions_before(now_ms) if is_new_fit else None)
            # Beside each other: nobody writes to the state meanwhile, and most of the time is spent in compiled code.
            beside = helper.submit(rank, halves[0], asked, here, now_ms)
            rank(halves[1], asked, here, now_ms)
            beside.result()
            if on_progress is not None:
                on_progress(Progress("replay", stop, len(sampled)))
    num_items = view.num_nodes(state.rules.item_type)
    questions = None if kept is None else kept.questions(times, items, is_unseen, view, state.rules.item_type)
    return ReplayResult(times, users, items, is_unseen, num_items, ranks, unseen_ranks, seconds, failures, questions)


class _KeptQuestions:
    """The questions of a replay, moment after moment, for ``PastQuestions``."""

    def __init__(self, histories: Histories, before: Observed) -> None:
        self._histories = histories
        self._user_rows: list[Int64s] = []
        self._found: list[History] = []
        self._fits = [before]
        self._fit_numbers: list[int] = []

    def add(self, asked: Sequence[Query], fit: Observed | None) -> None:
        """Add the questions of a moment, before its events are applied.

        Args:
            asked: The questions.
            fit: The interactions so far, if baselines are fitted again now.
        """
        user_rows, histories = self._histories.of(asked)
        self._user_rows.append(user_rows)
        self._found += histories
        if fit is not None:
            self._fits.append(fit)
        self._fit_numbers += [len(self._fits) - 1] * len(asked)

    def questions(
        self,
        times: Int64s,
        item_rows: npt.NDArray[np.int32],
        is_unseen: npt.NDArray[np.bool_],
        view: GraphView,
        item_type: str,
    ) -> PastQuestions:
        """Return all that was added, with columns of the questions and the view of the whole graph."""
        items = view.nodes(item_type)
        forgotten = np.flatnonzero([not item_id for item_id in items.ids.all_ids()])
        num_users, num_items = view.num_nodes(USER), view.num_nodes(item_type)
        return PastQuestions(
            times, np.concatenate(self._user_rows), item_rows, is_unseen, self._found, np.array(self._fit_numbers),
            self._fits, num_users, num_items, forgotten,
        )  # fmt: skip


def _make_rankers(
    contestants: Sequence[Contestant],
    of_live: Histories,
    of_frozen: Histories,
    before: Observed,
    settings: Settings,
    num_refits: int,
    depth: int | None,
    seconds: dict[str, float],
) -> tuple[dict[str, ReplayRanker], dict[str, str]]:
    """Return the contestants ready to rank, and why others could not be fitted, by name; adds to ``seconds``."""
    rankers: dict[str, ReplayRanker] = {}
    failures: dict[str, str] = {}
    for contestant in contestants:
        histories = of_live if contestant.is_live else of_frozen
        with _timed(seconds, contestant.name):
            try:
                rankers[contestant.name] = make_replay_ranker(
                    contestant, histories, before, settings, num_refits, depth
                )
            except TrainingError as error:
                failures[contestant.name] = str(error)
    return rankers, failures


def _sample(
    interactions: Observed, start_ms: int, until_ms: int | None, count: int, generator: np.random.Generator
) -> Int64s:
    """Return positions of interactions, int64, ascending: one of each of ``count`` equally long runs of events."""
    first = int(np.searchsorted(interactions.timestamps_ms, start_ms))
    last = len(interactions) if until_ms is None else int(np.searchsorted(interactions.timestamps_ms, until_ms))
    if last - first <= count:
        return np.arange(first, max(first, last))
    bounds = np.linspace(first, last, count + 1).astype(np.int64)
    chosen: Int64s = generator.integers(bounds[:-1], bounds[1:])
    return chosen


def _moments(times: Int64s) -> list[tuple[int, int]]:
    """Return start and stop of the samples of each moment; times ascend."""
    bounds = [*np.flatnonzero(np.diff(times, prepend=times[0] - 1)).tolist(), len(times)]
    return list(itertools.pairwise(bounds))


def _is_due(start: int, stop: int, total: int, num_times: int) -> bool:
    """Return whether one of ``num_times`` equal parts of ``total`` ends in ``start`` to ``stop``."""
    return stop * num_times // total > start * num_times // total


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Add the wall time of the block to a contestant's."""
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[name] += time.perf_counter() - started
