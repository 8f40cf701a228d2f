"""Generations of users that come, are learned from, and are deleted: memory, training and model stay as they are.

Each generation is applied, deleted and reclaimed as the ingest does it, except that rows do not wait for the minute to
pass, and that so few deletions are remembered that they reach their bound on the way. Then a checkpoint is written, and
a process of its own restores it and trains, as the trainer's does. The first generation is not a figure: arrays get
their size then. Memory is what this process has, live is what the state holds of it, part by part: the rest is
libraries, and freed blocks that the C library keeps.
"""

import gc
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from benches.figures import Figure, Limit
from benches.live_bytes import live_bytes
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

_MS_PER_DAY = 86_400_000
_REMEMBERED = 3  # Generations whose deletions are remembered.
_UNITS = {"rows": "rows", "retrain": "s", "model": "MiB", "memory": "MiB", "live": "MiB"}  # Parts are in MiB.
_SMALL_MIB = 0.5  # Parts that are never larger are in none of the tables.


def run(sizes: Sizes) -> list[Figure]:
    settings, plugins = Settings(), load_plugins()
    few = settings.training.model_copy(update={"steps": 12, "fine_tune_steps": 4, "min_passes": 0.0})
    graph = settings.graph.model_copy(update={"max_deletions": _REMEMBERED * sizes.generation_users})
    settings = settings.model_copy(update={"training": few, "graph": graph})
    state = _new_state(settings, plugins)
    stay = make_interactions(sizes.generation_edges, sizes.generation_users // 10, sizes.items // 10)
    state.apply(EventBatch(stay))
    newest_ms = int(stay.timestamps_ms.max())
    measured: dict[str, list[float]] = defaultdict(list)
    for generation in range(1 + sizes.generations):
        newest_ms += 2 * _MS_PER_DAY
        _come_and_go(state, sizes, generation, newest_ms)
        with tempfile.TemporaryDirectory() as folder:
            CheckpointStore(folder).write(state.snapshot())
            trained = _retrain_apart(folder, settings)
        gc.collect()
        parts = live_bytes(state)
        if generation:
            measured["rows"].append(float(len(state.graph.nodes("user"))))
            measured["retrain"].append(trained["seconds"])
            measured["model"].append(trained["model_bytes"] / 2**20)
            measured["memory"].append(_resident_bytes() / 2**20)
            measured["live"].append(sum(parts.values()) / 2**20)
            for name, num_bytes in parts.items():
                measured[name].append(num_bytes / 2**20)
    shown = {name: each for name, each in measured.items() if name in _UNITS or max(each) >= _SMALL_MIB}
    print(f"\n{_by_generation(shown)}\n")
    middle = sizes.generations // 2
    return [
        Figure(
            f"{name}, later half", _UNITS.get(name, "MiB"), each[middle:], Limit("earlier half", each[:middle] or each)
        )
        for name, each in shown.items()
    ]


def _by_generation(measured: dict[str, list[float]]) -> str:
    """Return a table in Markdown with a row for each generation."""
    rows = [["generation", *(f"{name}, {_UNITS.get(name, 'MiB')}" for name in measured)]]
    for number, values in enumerate(zip(*measured.values(), strict=True), start=1):
        rows.append([str(number), *(f"{value:,.0f}" if value >= 1_000 else f"{value:.1f}" for value in values)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * (width - 1) + ":" for width in widths])
    lines = [" | ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


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


def _retrain_apart(folder: str, settings: Settings) -> dict[str, float]:
    """Train on the checkpoint in a process of its own; return the seconds without imports, and the model's bytes."""
    command = [sys.executable, "-m", "benches.generations", folder, settings.model_dump_json()]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _retrain(folder: str, settings: Settings) -> dict[str, float]:
    from springtide.training.train import train  # It imports torch, which only the training has.

    plugins = load_plugins()
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
    num_bytes = sum(path.stat().st_size for path in Path(folder, "models").rglob("*") if path.is_file())
    return {"seconds": seconds, "model_bytes": num_bytes}


def _new_state(settings: Settings, plugins: Plugins) -> LiveState:
    return LiveState(settings, make_context_weights(settings.ranking, plugins))


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4_096


if __name__ == "__main__":
    print(json.dumps(_retrain(sys.argv[1], Settings.model_validate_json(sys.argv[2]))))
