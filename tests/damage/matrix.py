"""Damages each file of checkpoints and models in each way, starts from what is left, and prints what was lost.

After each damage the state is restored as a server does, the events after its position are applied again from the log,
and the result must be the state that the log gives in one go.
"""

import argparse
import json
import logging
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import structlog
from rich.console import Console
from rich.table import Table

from springtide.checkpoint import CheckpointStore
from springtide.checkpoint.fallback import restore_newest
from springtide.events.model import EventBatch, Interactions, NodeDelete, NodeUpsert
from springtide.model.manifest import ModelManifest
from springtide.model.registry import ModelArtifact, ModelStore
from springtide.plugins.loading import load_serving_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide.state import LiveState, StreamPosition
from springtide.state_content import state_content

Damage = Callable[[bytes, random.Random], bytes | None]

_CHECKPOINTS_AT = (6, 7, 8)  # After so many of the log's batches.
_KINDS = ("edges", "ids", "attributes", "lifetimes", "tombstones", "weight", "seen", "manifests")


def flip(content: bytes, chance: random.Random) -> bytes:
    """Flip one bit."""
    at = chance.randrange(len(content))
    return bytes([*content[:at], content[at] ^ 1 << chance.randrange(8), *content[at + 1 :]])


def tear(content: bytes, chance: random.Random) -> bytes:
    """Leave the beginning, and noise in place of the rest."""
    at = chance.randrange(len(content))
    return content[:at] + chance.randbytes(len(content) - at)


DAMAGES: dict[str, Damage] = {
    "flipped bit": flip,
    "truncated": lambda content, chance: content[: chance.randrange(len(content))],
    "empty": lambda content, chance: b"",
    "missing": lambda content, chance: None,
    "torn": tear,
}


@dataclass
class Row:
    """What became of one kind of damage.

    Attributes:
        num_injected: How often it was injected.
        num_passed_over: How often a damaged checkpoint or model was passed over; it may have been left unused.
        num_lost: Events that the state lacked afterwards, or wrong states; for models, starts without a model.
        slowest_s: The longest time until the state was whole, or a model was there, in seconds.
    """

    num_injected: int = 0
    num_passed_over: int = 0
    num_lost: int = 0
    slowest_s: float = 0.0


@dataclass
class Matrix:
    """The table: rows by what was damaged and how."""

    rows: dict[tuple[str, str], Row] = field(default_factory=dict)

    def note(self, what: str, how: str, is_passed_over: bool, num_lost: int, took_s: float) -> None:
        """Add what became of one damage."""
        row = self.rows.setdefault((what, how), Row())
        row.num_injected += 1
        row.num_passed_over += is_passed_over
        row.num_lost += num_lost
        row.slowest_s = max(row.slowest_s, took_s)

    @property
    def num_lost(self) -> int:
        """Everything that was lost."""
        return sum(row.num_lost for row in self.rows.values())

    def table(self) -> Table:
        """Return the table for a console."""
        table = Table("damaged", "how", "times", "passed over", "lost", "recovered within", box=None, pad_edge=False)
        for (what, how), row in sorted(self.rows.items()):
            counts = (f"{row.num_injected:,}", f"{row.num_passed_over:,}", f"{row.num_lost:,}")
            table.add_row(what, how, *counts, f"{1_000 * row.slowest_s:,.0f} ms")
        return table

    def write_rows(self, path: Path) -> None:
        """Append the rows to a file for the table of `make faults`, as JSON lines."""
        with path.open("a") as file:
            for (what, how), row in sorted(self.rows.items()):
                times, took_s = row.num_injected, row.slowest_s
                note = {"fault": f"{what}: {how}", "where": "make damage", "times": times, "lost": row.num_lost}
                file.write(json.dumps(note | {"recovered_s": took_s}) + "\n")


def log_of(num_batches: int, num_events: int) -> list[EventBatch]:
    """Return a stream: purchases, upserts, and a deletion at its beginning."""
    log = []
    for number in range(num_batches):
        numbers = np.arange(number * num_events, (number + 1) * num_events)
        purchases = Interactions(
            *([f"u{n}" for n in range(50)], (numbers % 50).astype(np.int32)),
            *([f"i{n}" for n in range(30)], (numbers * 7 % 30).astype(np.int32)),
            *(["purchase"], np.zeros(num_events, np.int16), 1_700_000_000_000 + 60_000 * numbers),
            np.full(num_events, np.nan, np.float32),
        )
        upserts = [NodeUpsert("item", f"new{number}", {"brand": (f"b{number}",)}, {"price": 1.5}, {"name": "eau"})]
        deletes = [NodeDelete("user", "gone", 5)] if number == 0 else []
        log.append(EventBatch(purchases, upserts, deletes=deletes))
    return log


class Checkpoints:
    """Damages checkpoints of a stream."""

    def __init__(self, folder: Path, num_events: int) -> None:
        self._settings = Settings()
        self._plugins = load_serving_plugins(self._settings)
        self._log = log_of(10, num_events)
        self._folder = folder
        self._original = folder / "original"
        state, store = self._new_state(), CheckpointStore(str(self._original))
        for offset in _CHECKPOINTS_AT:
            self._read_to(state, offset)
            store.write(state.snapshot())
        wanted = self._new_state()
        self._read_to(wanted, len(self._log))
        self._wanted, self._num_edges = state_content(wanted), wanted.graph.num_edges

    def run(self, matrix: Matrix, seed: int) -> None:
        """Damage each file once in each way."""
        for path in sorted(path for path in self._original.rglob("*") if path.is_file()):
            name = path.relative_to(self._original)
            kind = next(kind for kind in _KINDS if kind in str(name))
            own = path.name.startswith(f"{_last_name():08d}")
            for how, damage in DAMAGES.items():
                url = shutil.copytree(self._original, self._folder / "damaged")
                inflict(url / name, damage, random.Random(f"{seed} {name} {how}"))
                started = time.perf_counter()
                restored = restore_newest(CheckpointStore(str(url)), self._new_state, sets_aside=True)
                self._read_to(restored.state, len(self._log))
                took_s = time.perf_counter() - started
                num_lost = self._num_edges - restored.state.graph.num_edges
                num_lost = num_lost or int(state_content(restored.state) != self._wanted)
                what = f"checkpoint: {kind.removesuffix('s') if kind == 'manifests' else kind}"
                matrix.note(what + ("" if own else ", of earlier ones"), how, bool(restored.damaged), num_lost, took_s)
                shutil.rmtree(url)

    def _new_state(self) -> LiveState:
        return LiveState(self._settings, make_context_weights(self._settings.ranking, self._plugins))

    def _read_to(self, state: LiveState, offset: int) -> None:
        begin = 0 if state.position is None else state.position.next_offsets[0]
        for batch in self._log[begin:offset]:
            state.apply(batch)
        state.position = StreamPosition("events", "id", {0: offset})
        state.settle()


def _last_name() -> int:
    return len(_CHECKPOINTS_AT)


class Models:
    """Damages a registry of three models."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._original = folder, folder / "original"
        store = ModelStore(str(self._original))
        for number in range(3):
            manifest = ModelManifest("", 0, "retrain", parts={}, settings={}, graph_cut={})
            tensors = {"vectors": np.full((100, 16), number, np.float32)}
            store.publish(ModelArtifact(manifest, tensors, {"user": ["ann"], "item": ["a", "b"]}))

    def run(self, matrix: Matrix, seed: int) -> None:
        """Damage each file of the current version, and of the pointer, once in each way."""
        versions = ("000003", "pointer", "current.json")
        for path in sorted(path for path in self._original.rglob("*") if path.is_file()):
            name = path.relative_to(self._original)
            if name.parts[0] not in versions:
                continue
            for how, damage in DAMAGES.items():
                url = shutil.copytree(self._original, self._folder / "damaged")
                inflict(url / name, damage, random.Random(f"{seed} {name} {how}"))
                started = time.perf_counter()
                champion = ModelStore(str(url)).load_champion()
                took_s = time.perf_counter() - started
                what = f"model: {'pointer' if name.parts[0] != '000003' else name.name}"
                is_wrong = champion is None or champion.artifact.manifest.version not in ("000003", "000002")
                matrix.note(what, how, champion is not None and bool(champion.faults), int(is_wrong), took_s)
                shutil.rmtree(url)


def inflict(path: Path, damage: Damage, chance: random.Random) -> None:
    """Damage a file."""
    changed = damage(path.read_bytes(), chance)
    if changed is None:
        path.unlink()
    else:
        path.write_bytes(changed)


def measure(num_rounds: int, num_events: int) -> Matrix:
    """Damage everything so many times, with other bits each time."""
    matrix = Matrix()
    with tempfile.TemporaryDirectory() as folder:
        parts: Iterator[Checkpoints | Models] = iter(
            (Checkpoints(Path(folder) / "checkpoints", num_events), Models(Path(folder) / "models"))
        )
        for part in parts:
            for seed in range(num_rounds):
                part.run(matrix, seed)
    return matrix


def main() -> None:
    """Print the table; exit with 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="how often each file is damaged in each way")
    parser.add_argument("--events", type=int, default=2_000, help="events between two of ten places in the log")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # It is counted here.
    matrix = measure(options.rounds, options.events)
    Console().print(matrix.table())
    if path := os.environ.get("TABLE_ROWS", ""):
        matrix.write_rows(Path(path))
    sys.exit(1 if matrix.num_lost else 0)


if __name__ == "__main__":
    main()
