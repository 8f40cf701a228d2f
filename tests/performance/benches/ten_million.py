"""Ten million items in one process: exact answers by the bound, how long they take, and bytes an item.

The model is one of random numbers, in a mapped file as a model's arrays are. State and model together are what a server
of such a catalogue holds; what requests need of a moment is in memory too.
"""

import ctypes
import dataclasses
import functools
import gc
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from benches.figures import Figure, percentile
from benches.memory import resident
from benches.ranking import EXPONENTS, WIDTH, ask, check, model_with
from benches.sizes import Sizes
from benches.synthetic import cut, make_interactions

from springtide.events import EventBatch
from springtide.graph.applying import ITEM, USER
from springtide.interactions import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide.state import LiveState

_USERS = 20_000
_QUERIES = 1_000
_CHECKED = 5
_AT_ONCE = 500_000  # Rows of interactions or vectors.
_MIB = 2**20


def run(sizes: Sizes) -> list[Figure]:
    num_items = sizes.one_process_items
    before = resident()["RssAnon"]
    with tempfile.TemporaryDirectory(prefix="springtide-bench-") as folder:
        ranker, moment, users = _served(num_items, folder)
        queries = [Query(moment, user_id=user, exclude_seen=("*",)) for user in users]
        ranker.refresh(moment.timestamp_ms)
        first = _taken_ms(ranker, queries)
        again = _taken_ms(ranker, queries)
        _release()
        held = resident()["RssAnon"] - before
        check(ranker, queries[:_CHECKED])
        what = f"Recommend, {num_items:,} items in one process, all weights"
        return [
            *(
                Figure(f"{what}, {which}, p{100 * share:.0f}", "ms", [percentile(taken, share)])
                for which, taken in (("a user's first time", first), ("again", again))
                for share in (0.5, 0.99)
            ),
            Figure("memory an item, vectors of 64 float32 among it", "bytes", [held * _MIB / num_items]),
            Figure("pages of the model's file, an item", "bytes", [float(4 * WIDTH)]),
        ]


def _served(num_items: int, folder: str) -> tuple[Ranker, Moment, Sequence[str]]:
    """Return a ranker over so many items, the moment of the newest event, and users to ask for."""
    settings = Settings()
    state = LiveState(settings, make_context_weights(settings.ranking, load_plugins()))
    for part in cut(make_interactions(num_items + num_items // 10, min(_USERS, num_items), num_items), _AT_ONCE):
        state.apply(EventBatch(part))
    _release()
    view = state.graph.view()
    assert view.newest_ms is not None
    model = model_with(state, functools.partial(_mapped_vectors, folder))
    ranker = Ranker(state, settings.ranking)
    ranker.swap(dataclasses.replace(model, exponents=EXPONENTS))
    return ranker, Moment(view.newest_ms), view.nodes(USER).ids.ids(np.arange(min(_QUERIES, view.num_nodes(USER))))


def _mapped_vectors(folder: str, node_type: str, num: int) -> npt.NDArray[np.float32]:
    """Return random unit vectors, float32 ``[num, 64]``, pages of a file."""
    path = Path(folder, f"{node_type}.npy")
    random = np.random.default_rng(4 if node_type == ITEM else 5)
    mapped = np.lib.format.open_memmap(path, "w+", np.float32, (num, WIDTH))
    for start in range(0, num, _AT_ONCE):
        part = random.standard_normal((min(_AT_ONCE, num - start), WIDTH), np.float32)
        mapped[start : start + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)
    mapped.flush()
    del mapped
    return np.load(path, mmap_mode="r").view(np.ndarray)


def _taken_ms(ranker: Ranker, queries: Sequence[Query]) -> list[float]:
    taken = []
    for query in queries:
        started = time.perf_counter()
        ask(ranker, query)
        taken.append(1_000 * (time.perf_counter() - started))
    return taken


def _release() -> None:
    """Give freed memory back to the system, so that it is not counted."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
