"""A server's memory beside the bare arrays of what it holds: vectors of items, edges, and ids as bytes.

A process of its own restores a checkpoint and loads a model from a registry, as the server does, and recommends to some
users. The model is one of random numbers: how good it is plays no part. Resident memory is told apart into what is this
process's alone and what are pages of files, which the system takes back when others need the room.
"""

import dataclasses
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from benches.figures import Figure, Limit
from benches.live_bytes import live_bytes
from benches.sizes import Sizes
from benches.synthetic import cut, make_interactions

from springtide.checkpoint import CheckpointStore
from springtide.events import EventBatch, Interactions
from springtide.model.registry import ModelArtifact, ModelStore
from springtide.plugins.loading import Plugins, load_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings, TrainingSettings
from springtide.state import LiveState

_HERE = Path(__file__).parents[1]
_EDGE_BYTES = 4 + 4 + 8 + 4  # Source, target, time and weight.
_NUM_QUERIES = 1_000


def run(sizes: Sizes) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="springtide-bench-") as folder:
        made = _apart("prepare", folder, *map(str, (sizes.open_edges, sizes.open_users, sizes.open_items)))
        found = _apart("serve", folder)
    bare = Limit("bare arrays: items' vectors, edges, ids", [made["bare"]])
    of_parts = (
        Figure(f"held: {name}", "MiB", [size], bare)
        for name, size in found["parts"].items()
        if size >= made["bare"] / 100
    )
    what = f"{sizes.open_items:,} items, {sizes.open_users:,} users, {sizes.open_edges:,} edges"
    imports = Limit("the same before it has data", [found["imports"]])
    return [
        Figure(f"memory, {what}", "MiB", [found["anonymous"]], bare),
        Figure("memory, without libraries", "MiB", [found["anonymous"] - found["imports"]], bare),
        Figure("memory at most, while it starts", "MiB", [found["peak"]], bare),
        Figure("pages of files", "MiB", [found["file"]], imports),
        Figure("held, all parts", "MiB", [sum(found["parts"].values())], bare),
        *of_parts,
        *(Figure(f"start: {name}", "s", [seconds], None) for name, seconds in found["seconds"].items()),
    ]


def _apart(role: str, *arguments: str) -> Any:
    """Run a part of this bench in a process of its own; return what it says."""
    command = [sys.executable, "-m", "benches.memory", role, *arguments]
    done = subprocess.run(command, cwd=_HERE, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _prepare(folder: str, num_edges: int, num_users: int, num_items: int) -> dict[str, float]:
    """Write a checkpoint, and a model of random numbers that knows all its users and items."""
    from springtide.training.train import train  # It imports torch, which the server has not.

    few = TrainingSettings(steps=2, fine_tune_steps=2, min_passes=0, exponent_slice=0.005)
    settings, plugins = Settings(training=few), load_plugins()
    small = _new_state(settings, plugins)
    small.apply(EventBatch(make_interactions(5_000, 200, 500)))
    trained = train(small, settings, plugins, mode="retrain")
    interactions = make_interactions(num_edges, num_users, num_items)
    state = _new_state(settings, plugins)
    for part in cut(interactions, 100_000):
        state.apply(EventBatch(part))
    CheckpointStore(f"{folder}/checkpoints").write(state.snapshot())
    ModelStore(f"{folder}/models").publish(_grown(trained, interactions))
    vectors = num_items * trained.tensors["vectors"].shape[1] * 4
    ids = sum(map(len, interactions.user_ids)) + sum(map(len, interactions.item_ids))
    return {"bare": (vectors + num_edges * _EDGE_BYTES + ids) / 2**20}


def _grown(trained: ModelArtifact, interactions: Interactions) -> ModelArtifact:
    """Return a model with random vectors for all users and items, in place of those that were trained."""
    random = np.random.default_rng(1)
    node_ids = {"user": list(interactions.user_ids), "item": list(interactions.item_ids)}
    num_nodes = sum(map(len, node_ids.values())) + len(trained.tensors["vectors"])
    num_nodes -= sum(map(len, trained.node_ids.values()))  # What is left are attribute values.
    num_layers, _, width = trained.tensors["levels"].shape
    levels = random.standard_normal((num_layers, num_nodes, width), np.float32)
    tensors = {
        **trained.tensors,
        "levels": levels,
        "vectors": levels[0] / np.linalg.norm(levels[0], axis=1, keepdims=True),
        "degree": np.ones(num_nodes, np.float32),
        "num_interactions": np.bincount(interactions.user_codes, minlength=len(interactions.user_ids)),
        "time_sums": np.zeros(len(interactions.user_ids), np.int64),  # So half of the users are folded in.
    }
    even = np.arange(len(interactions.user_ids)) % 2 == 0
    np.add.at(tensors["time_sums"], interactions.user_codes, interactions.timestamps_ms)
    tensors["time_sums"] += even
    for index, node_type in enumerate(trained.manifest.schema["node_types"]):
        if node_type in node_ids:
            tensors[f"inputs.ids.{index}"] = levels[0, : len(node_ids[node_type])]
    return dataclasses.replace(trained, tensors=tensors, node_ids=node_ids)


def _serve(folder: str) -> dict[str, Any]:
    """Start as a server does, recommend to some users, and return what memory there is, in MiB."""
    import springtide_services.serving.server  # noqa: F401  # What a server imports.
    from springtide.interactions import Moment
    from springtide.ranking.query import Query
    from springtide.ranking.ranker import Ranker
    from springtide.ranking.serving_baseline import load_served
    from springtide_services.thread_pools import limit_heaps

    limit_heaps()
    settings, plugins = Settings(), load_plugins()
    imports = resident()["RssAnon"]
    seconds: dict[str, float] = defaultdict(float)
    started = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal started
        now = time.perf_counter()
        seconds[name] += now - started
        started = now

    state, checkpoints = _new_state(settings, plugins), CheckpointStore(f"{folder}/checkpoints")
    checkpoint = checkpoints.latest()
    assert checkpoint is not None, "it was written just now"
    checkpoints.restore(checkpoint, state)
    lap("checkpoint")
    ranker = Ranker(state, settings.ranking)
    models = ModelStore(f"{folder}/models")
    artifact = models.load(models.versions()[0])
    lap("model, read")
    served = load_served(artifact, plugins)
    del artifact
    lap("model, made ready")
    ranker.swap(served)
    del served
    lap("swap")
    users = state.graph.nodes("user").ids.ids(np.arange(min(_NUM_QUERIES, len(state.graph.nodes("user")))))
    now_ms = state.graph.newest_ms or 0
    for start in range(0, len(users), 32):
        ranker.recommend([Query(Moment(now_ms), user_id=user_id) for user_id in users[start : start + 32]])
    ranker.refresh()
    lap("1,000 answers")
    gc.collect()
    memory_now = resident()
    parts = live_bytes(state, {"model, items' table and caches": [ranker]})
    return {
        "imports": imports,
        "anonymous": memory_now["RssAnon"],
        "file": memory_now["RssFile"],
        "peak": memory_now["VmHWM"],
        "parts": {name: size / 2**20 for name, size in parts.items()},
        "seconds": seconds,
    }


def _new_state(settings: Settings, plugins: Plugins) -> LiveState:
    return LiveState(settings, make_context_weights(settings.ranking, plugins))


def resident() -> dict[str, float]:
    """Return the memory of this process by name, as Linux tells it, in MiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    sizes = (line.split() for line in lines if line.endswith(" kB"))
    return {name.rstrip(":"): int(size) / 1024 for name, size, _ in sizes}


if __name__ == "__main__":
    role, folder, *numbers = sys.argv[1:]
    print(json.dumps(_serve(folder) if role == "serve" else _prepare(folder, *map(int, numbers))))
