"""Checkpoints beside the disk: writing, restoring, and how long the thread that applies events is held up by one."""

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from benches.figures import Figure, Limit, percentile
from benches.sizes import Sizes
from benches.synthetic import cut, make_interactions

from springtide.checkpoint import Checkpoint, CheckpointStore
from springtide.events import EventBatch
from springtide.plugins.loading import load_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide.state import LiveState, StateSnapshot

_ROWS_PER_BATCH = 100
_PIECE = 1 << 24  # Bytes that the plain file is written by.


def run(sizes: Sizes) -> list[Figure]:
    settings, plugins = Settings(), load_plugins()
    interactions = make_interactions(sizes.checkpoint_edges, sizes.checkpoint_users, sizes.checkpoint_items)
    later = [EventBatch(part) for part in cut(interactions.take(np.arange(min(20_000, len(interactions)))), 100)]
    state = LiveState(settings, make_context_weights(settings.ranking, plugins))
    state.apply(EventBatch(interactions))
    del interactions
    with tempfile.TemporaryDirectory() as folder:
        held_up, usual, checkpoint, wrote_s = _written_while_applied(state, folder, later)
        num_bytes = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        plain = Path(folder) / "plain"
        plain_write_s = _plain_write_s(plain, num_bytes)
        alone = time.perf_counter()
        CheckpointStore(f"{folder}/alone").write(state.snapshot())
        alone = time.perf_counter() - alone
        del state
        started = time.perf_counter()
        with plain.open("rb") as file:
            while file.read(_PIECE):
                pass
        plain_read_s = time.perf_counter() - started
        empty = LiveState(settings, make_context_weights(settings.ranking, plugins))
        started = time.perf_counter()
        CheckpointStore(folder).restore(checkpoint, empty)
        restored_s = time.perf_counter() - started
    what = f"{sizes.checkpoint_edges:,} edges, {num_bytes / 1e6:,.0f} MB"
    file = "a plain file of as many bytes, synced"
    return [
        Figure(f"checkpoint written, {what}", "s", [alone], Limit(file, [plain_write_s])),
        Figure("checkpoint written beside a writer", "s", [wrote_s], Limit(file, [plain_write_s])),
        Figure(f"checkpoint restored, {what}", "s", [restored_s], Limit("the plain file's read", [plain_read_s])),
        Figure("longest stop of the writer for a checkpoint", "ms", [held_up], Limit("p99 of a batch alone", [usual])),
    ]


def _written_while_applied(
    state: LiveState, folder: str, batches: list[EventBatch]
) -> tuple[float, float, Checkpoint, float]:
    """Write a checkpoint as the server does, while batches are applied.

    Returns:
        How long the snapshot and the longest of the first batches took together, milliseconds; the 99th percentile of a
        batch alone, milliseconds; the checkpoint; and how long it took, seconds.
    """
    alone = [_apply_ms(state, batch) for batch in batches[: len(batches) // 2]]
    store, results = CheckpointStore(folder), []

    def write(snapshot: StateSnapshot, started: float) -> None:
        results.append((store.write(snapshot), time.perf_counter() - started))

    with ThreadPoolExecutor(1) as writer:
        started = time.perf_counter()
        snapshot = state.snapshot(writer)
        snapshot_ms = 1_000 * (time.perf_counter() - started)
        writing = writer.submit(write, snapshot, started)
        meanwhile = []
        while not writing.done() or len(meanwhile) < len(batches) // 2:
            meanwhile.append(_apply_ms(state, batches[len(batches) // 2 + len(meanwhile) % (len(batches) // 2)]))
            time.sleep(0.001)
        writing.result()
    checkpoint, took_s = results[0]
    return max(snapshot_ms, *meanwhile), percentile(alone, 0.99), checkpoint, took_s


def _apply_ms(state: LiveState, batch: EventBatch) -> float:
    started = time.perf_counter()
    state.apply(batch)
    return 1_000 * (time.perf_counter() - started)


def _plain_write_s(path: Path, num_bytes: int) -> float:
    piece = os.urandom(_PIECE)
    started = time.perf_counter()
    with path.open("wb") as file:
        for _ in range(-(-num_bytes // _PIECE)):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return time.perf_counter() - started
