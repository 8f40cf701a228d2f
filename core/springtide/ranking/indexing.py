"""Building an index beside the answers, and measuring it: it is used only if it is right enough, and quicker."""

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
import structlog

from springtide.graph.applying import USER
from springtide.interactions import Moment
from springtide.plugins.contracts.indexes import Index
from springtide.plugins.loading import Plugins
from springtide.ranking.best_items import BestItems
from springtide.ranking.binding import BoundQuery
from springtide.ranking.indexed_items import MEASURED_COUNT, AnswerCounts, BuiltIndex, IndexedItems
from springtide.ranking.item_table import ItemTable
from springtide.ranking.query import Query
from springtide.ranking.scoring import Scorer
from springtide.ranking.serving import Serving
from springtide.ranking.serving_model import ServingModel
from springtide.settings.model import RankingSettings

logger = structlog.stdlib.get_logger(__name__)

NUM_MEASURED = 100  # Users; the standard error of a recall of .99 over 2,000 items is .002.
_MIN_MEASURED = 10  # With fewer users that have a vector, nothing is known of an index.
_DRAWN = 2_000  # Users that are looked at for those.
_NUM_TIMED = 40  # Of these users.
_TIMES = 5  # How often each of them is answered, both ways in turn; the shortest time counts: the machine is busy.
_WIDENED = 4  # Times as many rows are asked for at most, if what the query leaves out is among the nearest.
_CANDIDATES = (
    50,
    100,
    200,
    400,
    800,
)  # Rows to ask for, the fewest first: the first number with enough recall is taken.
_NICENESS = 19  # On Linux each thread has its own.
_MIN_CHANGED, _MAX_CHANGED = 2_000, 20_000  # Items that are scored beside the index; with more it is built again,
_CHANGED_SHARE = 64  # or from one in 64 on, within these bounds.
_REST, _MIN_REST_S = 10, 60.0  # An index of the same model is not built again for ten times as long as it took.
_STOP_S = 5.0

Made = TypeVar("Made")
State = Literal["waiting", "building", "measuring", "used", "refused", "slower", "unmeasured", "failed"]


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """What has become of the index.

    Attributes:
        name: Name of the index in the settings.
        state: ``waiting`` for a model or for enough items, ``building``, ``measuring``, ``used``, ``refused`` for its
            recall, ``slower`` than the exact answer, ``unmeasured`` for want of users, or ``failed``.
        version: Registry version of the model that it is of; empty before the first.
        num_items: How many items it holds.
        num_bytes: Memory that it takes, in bytes.
        build_s: How long it took to build, in seconds.
        recall: Mean share of the 20 best items that its answers hold, over the measured users.
        num_users: How many users were measured.
        num_candidates: How many rows it is asked for.
        index_ms: Mean time of its answers, in milliseconds.
        exact_ms: Mean time of the exact answers to the same queries.
        num_changed: Items that have changed or come since; they are scored beside it.
        reason: Why it failed.
    """

    name: str
    state: State = "waiting"
    version: str = ""
    num_items: int = 0
    num_bytes: int = 0
    build_s: float = 0.0
    recall: float = 0.0
    num_users: int = 0
    num_candidates: int = 0
    index_ms: float = 0.0
    exact_ms: float = 0.0
    num_changed: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class IndexRules:
    """When an index is built and used.

    Attributes:
        name: Its name in the settings.
        min_items: From how many items on it is built.
        min_recall: Below it, it is refused.
        make: Makes an empty one.
    """

    name: str
    min_items: int
    min_recall: float
    make: Callable[[], Index]


def index_maker(settings: RankingSettings, plugins: Plugins) -> Callable[[], Index] | None:
    """Return what makes the index that the settings name, empty; None if they name none."""
    wanted = settings.index
    return None if wanted is None else lambda: plugins.make("index", wanted)


class Indexing:
    """Keeps an index of what is served. One thread builds, one index at a time, and gives way to all others.

    How many of the exact answers an index finds is measured in such a thread, too. Times are taken at the priority of
    requests: a thread that gives way is held up the more often the longer its answer takes.

    Args:
        rules: When it is built and used.
        scorer: Returns what scores now; called by the building thread.
        clock_s: A clock for the times of answers, in seconds.
    """

    def __init__(
        self, rules: IndexRules, scorer: Callable[[], Scorer], clock_s: Callable[[], float] = time.perf_counter
    ) -> None:
        self._rules = rules
        self._scorer = scorer
        self._clock_s = clock_s
        self._status = IndexStatus(rules.name)
        self._counts = AnswerCounts()
        self._wanted: ServingModel | None = None  # The model that is served.
        self._begun: ServingModel | None = None  # The model whose index was begun last.
        self._is_decided = False  # Whether that one is used, or never will be.
        self._used: IndexedItems | None = None
        self._thread: threading.Thread | None = None
        self._may_begin_s = 0.0  # Again, with the same model.
        self._is_closed = False

    @property
    def status(self) -> IndexStatus:
        """What has become of the index."""
        return self._status

    @property
    def counts(self) -> AnswerCounts:
        """How answers were found since the index is used."""
        return self._counts

    def follow(self, serving: Serving) -> Serving:
        """Return what is served with the index that is there for it; begin to build one if none is.

        To be called by the thread that refreshes what is served.
        """
        table = serving.table
        self._wanted = None if table is None else table.model
        if table is None or table.num_items < self._rules.min_items:
            return replace(serving, index=None) if serving.index is not None else serving
        used = self._used
        if used is not None and used.built.model is table.model:
            if used.table is not table:
                changed = used.built.changed_rows(table)
                self._used = used = replace(used, table=table, changed=changed)
                self._status = replace(self._status, num_changed=len(changed))
            if self._is_stale(used, table) and time.monotonic() >= self._may_begin_s:
                self._begin(table)
            return serving if serving.index is used else replace(serving, index=used)
        self._used = None
        is_another = self._begun is not table.model
        if is_another or (not self._is_decided and time.monotonic() >= self._may_begin_s):
            self._begin(table)
        return replace(serving, index=None) if serving.index is not None else serving

    def close(self) -> None:
        """Give up what is being built."""
        self._is_closed = True
        if self._thread is not None:
            self._thread.join(_STOP_S)

    def _is_stale(self, used: IndexedItems, table: ItemTable) -> bool:
        return len(used.changed) > min(max(table.num_items // _CHANGED_SHARE, _MIN_CHANGED), _MAX_CHANGED)

    def _begin(self, table: ItemTable) -> None:
        if self._is_closed or (self._thread is not None and self._thread.is_alive()):
            return
        self._begun, self._is_decided = table.model, False
        self._thread = threading.Thread(target=self._run, args=(table,), name="index", daemon=True)
        self._thread.start()

    def _run(self, table: ItemTable) -> None:
        model = table.model

        def is_wanted() -> bool:
            return not self._is_closed and self._wanted is model

        former = self._status if self._used is not None else IndexStatus(self._rules.name)
        try:
            start_s = time.monotonic()
            self._status = replace(former, state="building", version=model.version)
            built = _giving_way(lambda: BuiltIndex.of(self._rules.make(), table, is_wanted))
            build_s = time.monotonic() - start_s
            self._may_begin_s = time.monotonic() + max(_REST * build_s, _MIN_REST_S)
            if not is_wanted():
                self._status = IndexStatus(self._rules.name)
                return
            self._status = IndexStatus(
                self._rules.name, "measuring", model.version, built.num_indexed, built.index.num_bytes, build_s
            )
            self._measure(built)
        except Exception as error:  # Another's code may fail in any way: answers stay exact.
            self._used = None
            reason = " ".join(str(error).split()) or type(error).__name__
            self._status = IndexStatus(self._rules.name, "failed", model.version, reason=reason)
            self._is_decided = True
            logger.error("index_failed", index=self._rules.name, version=model.version, exc_info=error)

    def _measure(self, built: BuiltIndex) -> None:
        """Measure an index beside the exact answers, and use it or not.

        Raises:
            Exception: Whatever the index raises.
        """
        scorer = self._scorer()
        table = scorer.serving.table
        if table is None or table.model is not built.model:  # Another is served by now.
            self._status = IndexStatus(self._rules.name)
            return
        exact = replace(scorer, serving=replace(scorer.serving, index=None))
        changed = built.changed_rows(table)
        status = replace(self._status, num_changed=len(changed))
        queries, found = _giving_way(lambda: self._recall(exact, IndexedItems(built, table, changed, 0, 0)))
        status = replace(status, num_users=len(queries))
        if found is None:
            self._decide(replace(status, state="unmeasured"), None)
            return
        indexed, recall = found
        num_candidates = indexed.num_candidates
        status = replace(status, recall=recall, num_candidates=num_candidates)
        if recall < self._rules.min_recall:
            self._decide(replace(status, state="refused"), None)
            return
        by_index = replace(exact, serving=replace(exact.serving, index=indexed))
        exact_s, index_s = _seconds(exact, by_index, queries[:_NUM_TIMED], self._clock_s)
        status = replace(status, exact_ms=1e3 * exact_s, index_ms=1e3 * index_s)
        if index_s >= exact_s:
            self._decide(replace(status, state="slower"), None)
            return
        most = int(num_candidates * exact_s / index_s)
        used = replace(indexed, max_candidates=most, counts=AnswerCounts())
        self._decide(replace(status, state="used"), used)

    def _recall(self, exact: Scorer, empty: IndexedItems) -> tuple[list[BoundQuery], tuple[IndexedItems, float] | None]:
        """Return queries, and the index that asks for the fewest rows that are enough, else the most, with its recall.

        None for both if there are too few users.

        Raises:
            Exception: Whatever the index raises.
        """
        queries = _queries(exact)
        if len(queries) < _MIN_MEASURED:
            return queries, None
        answers = [_rows(exact, query) for query in queries]
        if exact.serving.coarse is not None:
            exact.serving.coarse.refresh()  # The exact way is to be as quick as it can be.
        built, table = empty.built, empty.table
        for num_candidates in _CANDIDATES:
            most = _WIDENED * num_candidates
            indexed = replace(empty, num_candidates=num_candidates, max_candidates=most, counts=AnswerCounts())
            by_index = replace(exact, serving=replace(exact.serving, index=indexed))
            recall = float(
                np.mean(
                    [_share(_rows(by_index, query), wanted) for query, wanted in zip(queries, answers, strict=True)]
                )
            )
            if indexed.counts.failed:
                built.index.search(table.vectors[np.flatnonzero(table.has_vector)[0]], num_candidates)
                raise RuntimeError("a search failed")
            if recall >= self._rules.min_recall:
                break
        return queries, (indexed, recall)

    def _decide(self, status: IndexStatus, used: IndexedItems | None) -> None:
        if used is not None:
            self._counts = used.counts
        self._used = used
        self._is_decided = status.state != "unmeasured"  # More users may come.
        self._status = status
        fields = {
            "index": status.name,
            "version": status.version,
            "items": status.num_items,
            "recall": round(status.recall, 4),
            "min_recall": self._rules.min_recall,
            "users": status.num_users,
            "index_ms": round(status.index_ms, 3),
            "exact_ms": round(status.exact_ms, 3),
            "build_s": round(status.build_s, 1),
            "bytes": status.num_bytes,
        }
        if status.state == "used":
            logger.info("index_used", **fields)
        elif status.state == "refused":
            logger.warning("index_refused", **fields)
        elif status.state == "slower":
            logger.info("index_slower", **fields)
        else:
            logger.info("index_unmeasured", **fields)


def _giving_way(work: Callable[[], Made]) -> Made:
    """Do work in a thread that gives way to all others, and return what it makes.

    Raises:
        Exception: Whatever the work raises.
    """
    made: list[Made] = []
    failures: list[Exception] = []

    def run() -> None:
        if sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        try:
            made.append(work())
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="index", daemon=True)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return made[0]


def _queries(scorer: Scorer) -> list[BoundQuery]:
    """Return queries of some users that have a vector, as of the newest event, for items that they have not seen."""
    view, serving = scorer.view, scorer.serving
    num_users = view.num_nodes(USER)
    rows = np.random.default_rng(0).permutation(num_users)[:_DRAWN]
    moment = Moment(view.newest_ms or 0)
    queries = []
    for user_id in filter(None, view.nodes(USER).ids.ids(rows)):
        query = scorer.bind(Query(moment, user_id, count=MEASURED_COUNT, exclude_seen=("*",)))
        if serving.users.find(view, serving.table, query).vector is not None:
            queries.append(query)
        if len(queries) == NUM_MEASURED:
            break
    return queries


def _rows(scorer: Scorer, query: BoundQuery) -> set[int]:
    return set(BestItems(scorer, query).rows.tolist())


def _share(found: set[int], wanted: set[int]) -> float:
    return len(found & wanted) / len(wanted) if wanted else 1.0


def _seconds(
    exact: Scorer, by_index: Scorer, queries: Sequence[BoundQuery], clock_s: Callable[[], float]
) -> tuple[float, float]:
    """Return the mean time of an exact answer and of one by the index, in seconds: the shortest of several, in turn."""
    both = (exact, by_index)
    shortest = np.full((len(queries), 2), np.inf)
    for position, query in enumerate(queries):
        for _ in range(_TIMES):
            for way, scorer in enumerate(both):
                start_s = clock_s()
                BestItems(scorer, query)
                shortest[position, way] = min(shortest[position, way], clock_s() - start_s)
    exact_s, index_s = shortest.mean(axis=0).tolist()
    return exact_s, index_s
