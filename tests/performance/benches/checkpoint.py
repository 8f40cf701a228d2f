"""Checkpoints beside the disk: writing, restoring, and how long the thread that applies events is held up by one.

Every tenth item has attributes, some of which change all the time. What grows for the first time after the state was
made is no checkpoint's doing: some batches are applied before any turn is timed. Files are read from the disk: what the
system has of them in memory is dropped before they are read.

A restored state takes memory, the plain file's read takes none. Where a host supplies memory only once it is
touched, that alone takes up to twenty times as long as clearing it. So as much is touched and given back before each
restore, as if a process with this state had just ended. Restores some time after that are a figure of their own:
by then such a host has taken memory back.
"""

import contextlib
import gc
import mmap
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from benches.figures import Figure, Limit, percentile
from benches.sizes import Sizes
from benches.synthetic import cut, in_turn, make_interactions

from springtide.checkpoint import CheckpointStore
from springtide.events import EventBatch
from springtide.events.model import NodeUpsert
from springtide.plugins.loading import load_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import CheckpointSettings, GraphSettings, Settings
from springtide.state import LiveState, StreamPosition
from springtide_services.stream.checkpointing import Checkpointer

_EVENTS_PER_S = 10_000
_ROWS_PER_BATCH = 100
_UPSERTS_PER_BATCH = 5
_ITEMS_PER_ATTRIBUTES = 10  # One of so many items has some.
_NUM_WARM = 200  # Batches before turns are timed.
_MEMORY_PER_BYTE = 3  # Of a checkpoint's files: its state, and what the system keeps of the files, take less.
_IDLE_S = 10  # Some times as long as Linux waits until it reports free memory to its host.
_PIECE = 1 << 24  # Bytes that the plain file is written and read by.
_ROWS_AT_ONCE = 2_000_000  # Of the events that the state is made of: bounds what making them takes.


def run(sizes: Sizes) -> list[Figure]:
    # By default the oldest of more than 50 million edges are dropped, and 100 million are wanted with `--big`.
    settings, plugins = Settings(graph=GraphSettings(max_edges=None)), load_plugins()

    def new_state() -> LiveState:
        return LiveState(settings, make_context_weights(settings.ranking, plugins))

    state = new_state()
    starts = range(0, sizes.checkpoint_edges, _ROWS_AT_ONCE)
    for seed, start in enumerate(starts):
        num = min(_ROWS_AT_ONCE, sizes.checkpoint_edges - start)
        some = make_interactions(num, sizes.checkpoint_users, sizes.checkpoint_items, seed)
        state.apply(EventBatch(in_turn(some, seed, len(starts))))
    for item in range(0, sizes.checkpoint_items, _ITEMS_PER_ATTRIBUTES):
        state.graph.upsert(_upsert(item, 0))
    some = make_interactions(20_000, sizes.checkpoint_users, sizes.checkpoint_items, 100)
    batches = [
        EventBatch(
            part,
            [
                _upsert((number * 7_919 + each * 31) % sizes.checkpoint_items, number)
                for each in range(_UPSERTS_PER_BATCH)
            ],
        )
        for number, part in enumerate(cut(some, _ROWS_PER_BATCH))
    ]
    repetitions = 1 if sizes.checkpoint_edges > _ROWS_AT_ONCE * 10 else min(sizes.repetitions, 3)
    written: list[float] = []
    plain_written: list[float] = []
    restored: list[float] = []
    plain_read: list[float] = []
    later: list[float] = []
    with tempfile.TemporaryDirectory(prefix="springtide-bench-", dir=".") as folder:
        stops, alone, beside = _beside_events(state, batches, f"{folder}/beside", sizes)
        for number in range(repetitions):
            at = Path(folder) / str(number)
            written.append(_seconds(partial(_write, state, at)))
            num_bytes = sum(path.stat().st_size for path in at.rglob("*") if path.is_file())
            plain_written.append(_seconds(partial(_write_plain, Path(folder) / "plain", num_bytes)))
        del state
        for number in range(repetitions):
            gc.collect()  # Or the former state may still be in memory.
            _drop_pages(Path(folder))
            plain_read.append(_seconds(partial(_read_plain, Path(folder) / "plain")))
            _drop_pages(Path(folder))
            _touch(_MEMORY_PER_BYTE * num_bytes)
            restored.append(_seconds(partial(_restore, Path(folder) / str(number), new_state())))
        for number in range(repetitions):
            gc.collect()
            _drop_pages(Path(folder))
            time.sleep(_IDLE_S if sizes.load_s >= 1 else 0)
            later.append(_seconds(partial(_restore, Path(folder) / str(number), new_state())))
    what = f"{sizes.checkpoint_edges:,} edges, {num_bytes / 1e6:,.0f} MB"
    file = Limit("a plain file of as many bytes, synced", plain_written)
    plain = Limit("the plain file's read, from the disk", plain_read)
    usual = f"longest of as many batches alone, {_EVENTS_PER_S:,} events/s"
    return [
        Figure(f"checkpoint written, {what}", "s", written, file),
        Figure("checkpoint written beside a writer", "s", beside, file),
        Figure(f"checkpoint restored, {what}", "s", restored, plain),
        Figure("the same, where memory was idle before", "s", later, plain),
        Figure("longest stop of the writer for a checkpoint", "ms", [max(stops)], Limit(usual, [max(alone)])),
        Figure("the same, p99", "ms", [percentile(stops, 0.99)], Limit(usual, [percentile(alone, 0.99)])),
        Figure("the same, p50", "ms", [percentile(stops, 0.5)], Limit(usual, [percentile(alone, 0.5)])),
    ]


def _upsert(item: int, number: int) -> NodeUpsert:
    return NodeUpsert(
        "item",
        f"item-{item:07}",
        {"brand": (f"brand {item % 20_000}",), "tags": (f"tag {item % 500}", f"tag {(item + number) % 500}")},
        {"price": float(item % 97 + number)},
        {"title": f"the title of item number {item}"},
        number,
    )


def _beside_events(
    state: LiveState, batches: list[EventBatch], folder: str, sizes: Sizes
) -> tuple[list[float], list[float], list[float]]:
    """Write checkpoints as the server does, while batches are applied at their pace, as its ingest does.

    Returns:
        How long each turn took, milliseconds, while a checkpoint was written; the same without one; and how long each
        checkpoint took, seconds.
    """
    settings = CheckpointSettings(url=folder, every_s=86_400, every_events=10**12)
    checkpointer = Checkpointer(settings, state, CheckpointStore(folder))
    state.position = StreamPosition("bench", "", {0: 1})
    turns, took, stops = _turns(state, batches, checkpointer), [], []
    for _ in range(_NUM_WARM):
        next(turns)
    for _ in range(min(sizes.repetitions, 3)):
        started, request = time.perf_counter(), checkpointer.ask()
        while not request.done() or state.is_learning_late:
            stops.append(next(turns))
        took.append(time.perf_counter() - started)
    alone = [next(turns) for _ in range(len(stops))]
    checkpointer.finish()
    return stops, alone, took


def _turns(state: LiveState, batches: list[EventBatch], checkpointer: Checkpointer) -> Iterator[float]:
    """Do what the ingest loop does with one batch, again and again; yield how long it took, milliseconds."""
    number, due = 0, time.perf_counter()
    while True:
        started = time.perf_counter()
        state.apply(batches[number % len(batches)])
        state.reclaim(time.monotonic())
        checkpointer.write_if_due()
        ended = time.perf_counter()
        yield 1_000 * (ended - started)
        number, due = number + 1, max(due + _ROWS_PER_BATCH / _EVENTS_PER_S, ended - 0.1)
        time.sleep(max(0.0, due - time.perf_counter()))


def _write(state: LiveState, folder: Path) -> None:
    with ThreadPoolExecutor(1) as copier:  # As the server does.
        CheckpointStore(str(folder)).write(state.snapshot(copier))


def _restore(folder: Path, empty: LiveState) -> None:
    store = CheckpointStore(str(folder))
    checkpoint = store.latest()
    assert checkpoint is not None, "it was written just now"
    store.restore(checkpoint, empty)


def _seconds(do: Callable[[], object]) -> float:
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


def _write_plain(path: Path, num_bytes: int) -> None:
    piece = os.urandom(_PIECE)
    with path.open("wb", buffering=0) as file:
        for _ in range(-(-num_bytes // _PIECE)):
            file.write(piece)
        os.fsync(file.fileno())


def _read_plain(path: Path) -> None:
    piece = bytearray(_PIECE)
    with path.open("rb", buffering=0) as file:
        while file.readinto(piece):
            pass


def _touch(num_bytes: int) -> None:
    """Write to as much memory, in large pages, and give it back."""
    with mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        with contextlib.suppress(AttributeError, OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
        for at in range(0, num_bytes, mmap.PAGESIZE):
            memory[at] = 1


def _drop_pages(folder: Path) -> None:
    """Let the system forget what it has of files in memory."""
    for path in folder.rglob("*"):
        with contextlib.suppress(IsADirectoryError), path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
