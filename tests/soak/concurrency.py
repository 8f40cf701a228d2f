"""Threads read, rank, refresh, swap models and write checkpoints while one applies events; what they see must be whole.

Exit code 1 if anything was seen that cannot be. `make soak-threads` runs it.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from springtide.checkpoint import CheckpointStore
from springtide.events.model import EventBatch, Interactions, NodeDelete, NodeUpsert
from springtide.graph import GraphView
from springtide.interactions import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_model import ServingModel
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.testing import START_MS, interactions_of, quick_model, quick_settings, state_of

PURCHASE = ("user", "purchase", "item")
NUM_USERS, NUM_ITEMS = 400, 300
MAX_EDGES = 20_000
_STEP_MS = 50  # Between two events.
_END_S = 60.0  # A thread that does not end by then hangs.


class Soak:
    """One state, and the threads around it.

    Attributes:
        counts: How often each thing was done.
        failures: What was seen that cannot be, in words.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self._settings = Settings.model_validate(
            {"graph": {"max_edges": MAX_EDGES, "max_nodes": 2 * (NUM_USERS + NUM_ITEMS)}}
        )
        self._plugins = load_plugins(self._settings.plugins)
        self._state = self._new_state()
        self._ranker = Ranker(self._state, self._settings.ranking)
        self._models = [self._model(number) for number in range(2)]
        self._store = CheckpointStore(str(folder))
        self._copier = ThreadPoolExecutor(1)
        self._writer = ThreadPoolExecutor(1)
        self._chance = random.Random(seed)
        self._seed = seed
        self._ends = threading.Event()
        self._now_ms = START_MS
        # Users and when they were deleted, each once: noted after the deletion was applied.
        self._deleted: dict[str, int] = {}
        self.counts = Counter[str]()
        self.failures: list[str] = []

    def run(self, seconds: float) -> None:
        """Let all threads work for a while."""
        works: dict[str, Callable[[random.Random], None]] = {
            "batches applied": self._apply,
            "views read": self._read,
            "views read twice": self._read_twice,
            "answers": self._rank,
            "refreshes": self._refresh,
            "swaps": self._swap,
        }
        threads = [
            threading.Thread(target=self._work, args=(name, work, f"{self._seed} {name}"), daemon=True)
            for name, work in works.items()
        ]
        for thread in threads:
            thread.start()
        self._ends.wait(seconds)
        self._ends.set()
        for thread in threads:
            thread.join(_END_S)
            if thread.is_alive():
                self.failures.append(f"a thread hangs: {thread.name}")
        self._writer.shutdown()
        self._copier.shutdown()
        self._check_restored()
        self._ranker.close()

    def _work(self, name: str, work: Callable[[random.Random], None], seed: str) -> None:
        chance = random.Random(seed)
        while not self._ends.is_set():
            try:
                work(chance)
            except Exception:
                self.failures.append(f"{name}: {traceback.format_exc()}")
                self._ends.set()
            self.counts[name] += 1

    def _new_state(self) -> LiveState:
        return LiveState(self._settings, make_context_weights(self._settings.ranking, self._plugins))

    def _model(self, seed: int) -> ServingModel:
        events = [(f"u{n % NUM_USERS}", f"i{(n * 7 + seed) % NUM_ITEMS}", START_MS - n * 1_000) for n in range(2_000)]
        settings = quick_settings(training={"steps": 5})
        return ServingModel.from_artifact(quick_model(state_of(events, settings), settings), self._plugins)

    def _apply(self, chance: random.Random) -> None:
        """Apply what a stream brings: purchases, changes of items, now and then a deletion; keep to the bounds."""
        count = chance.choice([1, 10, 500])
        users = np.array([chance.randrange(NUM_USERS) for _ in range(count)], np.int32)
        items = np.array([chance.randrange(NUM_ITEMS) for _ in range(count)], np.int32)
        times = self._now_ms + _STEP_MS * np.arange(1, count + 1)
        self._now_ms = int(times[-1])
        user_ids, user_codes = np.unique(users, return_inverse=True)
        item_ids, item_codes = np.unique(items, return_inverse=True)
        interactions = Interactions(
            *([f"u{user}" for user in user_ids.tolist()], user_codes.astype(np.int32)),
            *([f"i{item}" for item in item_ids.tolist()], item_codes.astype(np.int32)),
            *(["purchase"], np.zeros(count, np.int16), times, np.full(count, np.nan, np.float32)),
        )
        item = f"i{chance.randrange(NUM_ITEMS)}"
        upserts = [NodeUpsert("item", item, {"tag": (f"t{chance.randrange(50)}",)}, {}, {}, self._now_ms)]
        self._state.apply(EventBatch(interactions, upserts))
        if chance.random() < 0.05:
            user = f"u{chance.randrange(NUM_USERS)}"
            delete = NodeDelete("user", user, self._now_ms)
            self._state.apply(EventBatch(interactions_of(()), deletes=[delete]))
            self._deleted[user] = self._now_ms
            self.counts["deletions"] += 1
        if chance.random() < 0.02:
            for edge_type in self._state.graph.edge_types:
                self._state.graph.store(edge_type).sweep()
            self.counts["sweeps"] += 1
        self._state.reclaim(time.monotonic())
        if chance.random() < 0.02 and not self._state.is_learning_late:
            snapshot = self._state.snapshot(self._copier)
            self._writer.submit(self._write, snapshot).add_done_callback(self._note_written)
        if self._state.graph.num_edges > MAX_EDGES + MAX_EDGES // 8:
            raise AssertionError(f"wanted at most {MAX_EDGES} edges and an eighth, got {self._state.graph.num_edges}")

    def _write(self, snapshot: object) -> None:
        self._store.write(snapshot)  # type: ignore[arg-type]

    def _note_written(self, written: object) -> None:
        error = written.exception()  # type: ignore[attr-defined]
        self.counts["checkpoints"] += 1
        if error is not None:
            self.failures.append(f"checkpoint: {error!r}")

    def _read(self, chance: random.Random) -> None:
        deleted = dict(self._deleted)  # Before the view: all of these were applied.
        view = self._state.graph.view()
        check_view(view)
        table, edges = view.nodes("user"), view.edges(PURCHASE)
        for user, deleted_ms in list(deleted.items())[-20:]:
            row = table.ids.row(user)
            if 0 <= row < view.num_nodes("user"):
                old = edges.timestamps_ms[edges.source == row]
                # The row may be another user's by now; then its id has changed.
                if table.ids.row(user) == row and (old <= deleted_ms).any():
                    raise AssertionError(f"{user}: wanted no event until {deleted_ms}, got one at {old.min()}")

    def _read_twice(self, chance: random.Random) -> None:
        view = self._state.graph.view()
        first = digest(view)
        time.sleep(chance.random() / 20)  # Others write meanwhile; a view must not change.
        if digest(view) != first:
            raise AssertionError("a view changed after it was taken")

    def _rank(self, chance: random.Random) -> None:
        users = [f"u{chance.randrange(NUM_USERS + 20)}" for _ in range(4)]
        queries = [Query(Moment(self._now_ms), user, count=chance.choice([1, 10, 200])) for user in users]
        for query, ranked in zip(queries, self._ranker.recommend(queries), strict=True):
            scores = [item.score for item in ranked.items]
            names = [item.item_id for item in ranked.items]
            if scores != sorted(scores, reverse=True) or not np.isfinite(scores).all():
                raise AssertionError(f"wanted finite scores, best first, got {scores}")
            if len(set(names)) != len(names) or len(names) > query.count or not all(names):
                raise AssertionError(f"wanted at most {query.count} different items, got {names}")

    def _refresh(self, chance: random.Random) -> None:
        self._ranker.refresh(self._now_ms)
        time.sleep(chance.random() / 20)  # About as often as it is done when many models come.

    def _swap(self, chance: random.Random) -> None:
        self._ranker.swap(chance.choice([*self._models, None]))
        time.sleep(chance.random() / 10)  # As in ``_refresh``.

    def _check_restored(self) -> None:
        """What a restart finds is the state, once the last checkpoint was written."""
        self._state.settle()
        self._store.write(self._state.snapshot())
        latest, again = self._store.latest(), self._new_state()
        assert latest is not None
        self._store.restore(latest, again)
        if digest(again.graph.view()) != digest(self._state.graph.view()):
            self.failures.append("the last checkpoint is not the state")


def check_view(view: GraphView) -> None:
    """Raise AssertionError if a view has what cannot be."""
    edges = view.edges(PURCHASE)
    for rows, node_type in ((edges.source, "user"), (edges.target, "item")):
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < view.num_nodes(node_type):
            raise AssertionError(f"{node_type}: wanted rows below {view.num_nodes(node_type)}, got up to {rows.max()}")
    num_users = view.num_nodes("user")
    found = edges.recent_targets(np.arange(0, num_users, 7), 5)
    times = np.where(found.rows >= 0, found.timestamps_ms, 0)
    if (np.diff(times, axis=1) > 0).any():
        raise AssertionError("wanted the latest neighbours first")
    if (found.rows >= view.num_nodes("item")).any():
        raise AssertionError("a neighbour is no item of the view")


def digest(view: GraphView) -> tuple[int, int, int, int, float]:
    """Return sums over all edges of a view."""
    edges = view.edges(PURCHASE)
    order = np.arange(1, len(edges) + 1, dtype=np.int64)
    return (
        len(edges),
        int((edges.source * order).sum()),
        int((edges.target * order).sum()),
        int((edges.timestamps_ms * order).sum()),
        float(edges.weights.sum()),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=180.0, help="how long all threads work")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="springtide-concurrency-") as folder:
        soak = Soak(options.seed, Path(folder))
        soak.run(options.seconds)
    for what, count in sorted(soak.counts.items()):
        print(f"  {what:<30} {count:>9,}")
    for failure in soak.failures:
        print(f"SEEN: {failure}")
    print(f"concurrency: {'failed' if soak.failures else 'passed'} (seed {options.seed})")
    if path := os.environ.get("TABLE_ROWS", ""):
        row = {"fault": "threads read, swap and write while events come", "where": "make soak-threads", "lost": 0}
        with open(path, "a") as file:
            row |= {"times": soak.counts["batches applied"], "failed": bool(soak.failures)}
            file.write(json.dumps(row) + "\n")
    return int(bool(soak.failures))


if __name__ == "__main__":
    sys.exit(main())
