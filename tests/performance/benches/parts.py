"""What an event costs the thread that applies it, part by part, at growing sizes: CPU time in ns.

States take turns, some at a time: the first one after a change finds the caches of the other state, and is left out.
"""

import contextlib
import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from benches.figures import Figure, Limit
from benches.sizes import Sizes
from benches.synthetic import cut, in_turn, make_interactions

from springtide.events import EventBatch
from springtide.graph import applying
from springtide.graph.lifetimes import Lifetimes
from springtide.graph.store import EdgeStore
from springtide.interactions import Observed
from springtide.plugins.loading import load_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import GraphSettings, Settings
from springtide.state import LiveState

_AT_ONCE = 1_000_000  # Edges that a state is filled with at once.
_ROWS_PER_BATCH, _BATCHES_PER_TURN, _TURNS, _TOGETHER = 5_000, 20, 12, 4
_WHOLE = "whole apply"

Spent = dict[str, int]  # Nanoseconds by part.


def run(sizes: Sizes) -> list[Figure]:
    states = [_made(num_edges, num_items, sizes) for num_edges, num_items in sizes.growth[:2]]
    taken: list[dict[str, list[float]]] = [defaultdict(list) for _ in states]
    for first in range(0, _TURNS, _TOGETHER):
        for (state, turns), found in zip(states, taken, strict=True):
            for number, batches in enumerate(turns[first : first + _TOGETHER]):
                spent = _applied(state, batches)
                for part, ns in spent.items() if number else ():
                    found[part].append(ns / sum(len(batch.interactions) for batch in batches))
    return [
        Figure(f"{part}, {num_edges:,} edges, {num_items:,} items", "ns/event", found[part], Limit("first size", base))
        for part, base in taken[0].items()
        for (num_edges, num_items), found in zip(sizes.growth[:2], taken, strict=True)
    ]


def _made(num_edges: int, num_items: int, sizes: Sizes) -> tuple[LiveState, list[list[EventBatch]]]:
    """Return a state with its edges, and the turns of batches to apply to it."""
    settings = Settings(graph=GraphSettings(max_edges=None))
    state = LiveState(settings, make_context_weights(settings.ranking, load_plugins()))
    num_parts = -(-num_edges // _AT_ONCE)
    for number in range(num_parts):
        part = make_interactions(min(_AT_ONCE, num_edges), sizes.growth_users, num_items, seed=2 + number)
        state.apply(EventBatch(in_turn(part, number, num_parts + 1)))
    num_more = min(num_edges, _TURNS * _BATCHES_PER_TURN * _ROWS_PER_BATCH)
    more = in_turn(make_interactions(num_more, sizes.growth_users, num_items, seed=1), num_parts, num_parts + 1)
    rows_per_turn = num_more // _TURNS
    batches = [EventBatch(part) for part in cut(more, min(_ROWS_PER_BATCH, rows_per_turn))]
    per_turn = len(batches) // _TURNS
    return state, [batches[per_turn * turn : per_turn * (turn + 1)] for turn in range(_TURNS)]


def _applied(state: LiveState, batches: list[EventBatch]) -> Spent:
    spent: Spent = {_WHOLE: 0}
    with _timed(state, spent):
        started = time.thread_time_ns()
        for batch in batches:
            state.apply(batch, more_follow=True)
        state.settle()
        spent[_WHOLE] = time.thread_time_ns() - started
    return spent


@contextlib.contextmanager
def _timed(state: LiveState, spent: Spent) -> Iterator[None]:
    """Add up the CPU time of parts while it lasts; what a part calls is its own, too."""
    parts: list[tuple[object, str, Callable[..., str]]] = [
        (applying, "enter", lambda graph, node_type, *_: f"ids of {node_type}s"),
        (Lifetimes, "note", lambda *_: "newest times of nodes"),
        (EdgeStore, "append", lambda *_: "columns and chains"),
        (Observed, "by_items", lambda *_: "order of items"),
    ]
    for name, weight in state.context_weights.items():
        if "observe" in vars(type(weight)):
            parts.append((type(weight), "observe", functools.partial(lambda label, *_: label, f"weight {name}")))
    with contextlib.ExitStack() as patches:
        for owner, name, label in parts:
            patches.enter_context(mock.patch.object(owner, name, _timer(getattr(owner, name), label, spent)))
        yield


def _timer(method: Callable[..., Any], label: Callable[..., str], spent: Spent) -> Callable[..., Any]:
    def timed(*args: Any, **named: Any) -> Any:
        started = time.thread_time_ns()
        try:
            return method(*args, **named)
        finally:
            part = label(*args)
            spent[part] = spent.get(part, 0) + time.thread_time_ns() - started

    return timed
