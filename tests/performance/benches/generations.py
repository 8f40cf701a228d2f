"""Generations of users that come, are learned from, and are deleted: memory, training and model stay as they are.

Each generation is applied, deleted and reclaimed as the ingest does it, except that rows do not wait for the minute to
pass. Then a checkpoint is written, and a training restores it, as the trainer does. The first generation is not a
figure: it also compiles, and arrays get their size.
"""

import gc
import tempfile
import time
from pathlib import Path

import numpy as np
from benches.figures import Figure, Limit
from benches.sizes import Sizes
from benches.synthetic import make_interactions

from springtide.checkpoint import CheckpointStore
from springtide.events import EventBatch
from springtide.events.model import Interactions, NodeDelete
from springtide.graph.reclaiming import FADE_S, REST_S
from springtide.model.registry import ModelStore
from springtide.plugins.loading import Plugins, load_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.training.train import train

_MS_PER_DAY = 86_400_000


def run(sizes: Sizes) -> list[Figure]:
    settings, plugins = Settings(), load_plugins()
    few = settings.training.model_copy(update={"steps": 12, "fine_tune_steps": 4, "min_passes": 0.0})
    settings = settings.model_copy(update={"training": few})
    state = _new_state(settings, plugins)
    stay = make_interactions(sizes.generation_edges, sizes.generation_users // 10, sizes.items // 10)
    state.apply(EventBatch(stay))
    newest_ms = int(stay.timestamps_ms.max())
    measured: dict[str, list[float]] = {"memory": [], "rows": [], "retrain": [], "model": []}
    for generation in range(1 + sizes.generations):
        newest_ms += 2 * _MS_PER_DAY
        _come_and_go(state, sizes, generation, newest_ms)
        with tempfile.TemporaryDirectory() as folder:
            CheckpointStore(folder).write(state.snapshot())
            seconds, model_bytes = _retrain(folder, settings, plugins)
        gc.collect()
        measured["memory"].append(_resident_bytes() / 2**20)
        measured["rows"].append(float(len(state.graph.nodes("user"))))
        measured["retrain"].append(seconds)
        measured["model"].append(model_bytes / 2**20)
    units = {"memory": "MiB", "rows": "rows", "retrain": "s", "model": "MiB"}
    return [
        Figure(f"{what}, generation {number}", units[what], [each[number]], Limit("that of generation 1", [each[1]]))
        for what, each in measured.items()
        for number in range(1, 1 + sizes.generations)
    ]


def _come_and_go(state: LiveState, sizes: Sizes, generation: int, now_ms: int) -> None:
    events = make_interactions(sizes.generation_edges, sizes.generation_users, sizes.items // 10)
    times = events.timestamps_ms - events.timestamps_ms.max() + now_ms
    users = [f"g{generation}-{user_id}" for user_id in events.user_ids]
    state.apply(EventBatch(_replaced(events, users, times)))
    nothing = _replaced(events.take(np.empty(0, np.int64)), users, np.empty(0, np.int64))
    deleted_ms = now_ms + _MS_PER_DAY
    for start in range(0, len(users), 5_000):
        deletes = [NodeDelete("user", user_id, deleted_ms) for user_id in users[start : start + 5_000]]
        state.apply(EventBatch(nothing, deletes=deletes))
    for wait_s in (0.0, REST_S, REST_S + FADE_S):
        state.reclaim(1_000.0 * generation + wait_s)


def _replaced(events: Interactions, users: list[str], times: np.ndarray) -> Interactions:
    return Interactions(
        *(users, events.user_codes, events.item_ids, events.item_codes),
        *(events.relations, events.relation_codes, times, events.values),
    )


def _retrain(folder: str, settings: Settings, plugins: Plugins) -> tuple[float, int]:
    """Restore the checkpoint and train on it; return the seconds of both, and the bytes of the model."""
    started = time.perf_counter()
    checkpoints = CheckpointStore(folder)
    checkpoint = checkpoints.latest()
    assert checkpoint is not None, "it was written just now"
    state = _new_state(settings, plugins)
    checkpoints.restore(checkpoint, state)
    state.compact()
    artifact = train(state, settings, plugins, mode="retrain")
    seconds = time.perf_counter() - started
    ModelStore(f"{folder}/models").publish(artifact)
    return seconds, sum(path.stat().st_size for path in Path(folder, "models").rglob("*") if path.is_file())


def _new_state(settings: Settings, plugins: Plugins) -> LiveState:
    return LiveState(settings, make_context_weights(settings.ranking, plugins))


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4_096
