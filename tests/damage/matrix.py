"""Damages each file of checkpoints and models in each way, starts from what is left, and prints what was lost.

After each damage the state is restored as a server does, the events after its position are applied again from the log,
and the result must be the state that the log gives in one go.
"""

import argparse
import contextlib
import json
import logging
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import structlog
from rich.console import Console
from rich.table import Table

from springtide.checkpoint import CheckpointLock, CheckpointStore
from springtide.checkpoint.fallback import restore_newest
from springtide.checkpoint.lock_file import LOCK_FILE
from springtide.checkpoint.lock_timing import LockTiming
from springtide.events.model import EventBatch, Interactions, NodeDelete, NodeUpsert
from springtide.model.manifest import ModelManifest
from springtide.model.registry import ModelArtifact, ModelStore
from springtide.plugins.loading import load_serving_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide.state import LiveState, StreamPosition
from springtide.state_content import state_content
from springtide.steering.store import SteeringStore
from springtide.steering.values import Rule, Steering
from springtide.storage import Storage

Damage = Callable[[bytes, random.Random], bytes | None]

_CHECKPOINTS_AT = (6, 7, 8)  # After so many of the log's batches.
_KINDS = ("edges", "ids", "attributes", "lifetimes", "tombstones", "weight", "seen", "manifests", "leases")
_TIMING = LockTiming.replacing_after(0.3)  # A lease that cannot be read is waited for.


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

    def __init__(self, url: str, num_events: int) -> None:
        self._settings = Settings()
        self._plugins = load_serving_plugins(self._settings)
        self._log = log_of(10, num_events)
        self._url = url
        state, original = self._new_state(), f"{url}/original"
        with CheckpointLock(original, _TIMING) as lock:
            store = CheckpointStore(original, lock=lock)
            for offset in _CHECKPOINTS_AT:
                self._read_to(state, offset)
                store.write(state.snapshot())
        self._original = {
            name: content for name, content in contents_of(Storage(original)).items() if name != LOCK_FILE
        }
        wanted = self._new_state()
        self._read_to(wanted, len(self._log))
        self._wanted, self._num_edges = state_content(wanted), wanted.graph.num_edges

    def run(self, matrix: Matrix, seed: int, share: float) -> None:
        """Damage each file once in each way, or a share of all these at random."""
        for name, how in chosen(self._original, seed, share):
            kind = next(kind for kind in _KINDS if kind in name)
            own = name.rpartition("/")[2].startswith(f"{_last_name():08d}") or kind == "leases"
            with damaged(self._url, self._original, name, how, seed) as url:
                started = time.perf_counter()
                num_lost = 0
                if kind == "leases":
                    with CheckpointLock(url, _TIMING) as lock:
                        num_lost = int(lock.fence < 2)  # As if there never was one.
                restored = restore_newest(CheckpointStore(url), self._new_state, sets_aside=True)
                self._read_to(restored.state, len(self._log))
                took_s = time.perf_counter() - started
            num_lost = num_lost or self._num_edges - restored.state.graph.num_edges
            num_lost = num_lost or int(state_content(restored.state) != self._wanted)
            what = f"checkpoint: {kind.removesuffix('s') if kind in ('manifests', 'leases') else kind}"
            matrix.note(what + ("" if own else ", of earlier ones"), how, bool(restored.damaged), num_lost, took_s)

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

    def __init__(self, url: str) -> None:
        self._url = url
        store = ModelStore(f"{url}/original")
        for number in range(3):
            manifest = ModelManifest("", 0, "retrain", parts={}, settings={}, graph_cut={})
            tensors = {"vectors": np.full((100, 16), number, np.float32)}
            store.publish(ModelArtifact(manifest, tensors, {"user": ["ann"], "item": ["a", "b"]}))
        self._original = contents_of(Storage(f"{url}/original"))

    def run(self, matrix: Matrix, seed: int, share: float) -> None:
        """Damage each file of the current version, and of the pointer, once in each way, or a share of all these."""
        versions = ("000003", "pointer", "current.json")
        candidates = [name for name in self._original if name.partition("/")[0] in versions]
        for name, how in chosen(candidates, seed, share):
            with damaged(self._url, self._original, name, how, seed) as url:
                started = time.perf_counter()
                champion = ModelStore(url).load_champion()
                took_s = time.perf_counter() - started
            what = f"model: {name.partition('/')[2] if name.startswith('000003') else 'pointer'}"
            is_wrong = champion is None or champion.artifact.manifest.version not in ("000003", "000002")
            matrix.note(what, how, champion is not None and bool(champion.faults), int(is_wrong), took_s)


class Steerings:
    """Damages a store of rules of three versions."""

    def __init__(self, url: str) -> None:
        self._url = url
        store = SteeringStore(f"{url}/original")
        for number in range(3):
            rules = tuple(Rule(f"r{each}", "block", (f"i{each}",)) for each in range(number + 1))
            store.change(lambda _, rules=rules: Steering(rules))
        self._original = contents_of(Storage(f"{url}/original"))

    def run(self, matrix: Matrix, seed: int, share: float) -> None:
        """Damage each file of the newest version once in each way, or a share of all these; then make a change."""
        for name, how in chosen([name for name in self._original if name.endswith("3.json")], seed, share):
            with damaged(self._url, self._original, name, how, seed) as url:
                started = time.perf_counter()
                stored = SteeringStore(url).load()
                took_s = time.perf_counter() - started
                is_version = name.startswith("versions")
                is_passed_over = bool(stored.fault)
                is_wrong = len(stored.steering.rules) not in ((2, 3) if is_version else (3,))
                is_wrong |= len(stored.steering.rules) == 2 and not is_passed_over  # What is lost is said.
                after, _ = SteeringStore(url).change(lambda steering: Steering(steering.rules[1:]))
                is_wrong |= after.version != 4 or SteeringStore(url).load().steering != after
            what = f"rules: {'version' if is_version else 'list of changes'}"
            matrix.note(what, how, is_passed_over, int(is_wrong), took_s)


def contents_of(storage: Storage, folder: str = "") -> dict[str, bytes]:
    """Return all files of a folder and its folders, by name."""
    files, contents = storage.sizes(folder), dict[str, bytes]()
    for each in storage.list(folder):
        name = f"{folder}/{each}".lstrip("/")
        contents |= {name: storage.read(name)} if each in files else contents_of(storage, name)
    return contents


def chosen(names: Iterable[str], seed: int, share: float) -> Iterator[tuple[str, str]]:
    """Yield which files are damaged how."""
    chance = random.Random(f"{seed} chosen")
    for name in sorted(names):
        yield from ((name, how) for how in DAMAGES if chance.random() < share)


@contextlib.contextmanager
def damaged(url: str, original: Mapping[str, bytes], name: str, how: str, seed: int) -> Iterator[str]:
    """Yield the URL of a copy with one damaged file."""
    storage = Storage(f"{url}/damaged")
    for each, content in original.items():
        changed = DAMAGES[how](content, random.Random(f"{seed} {name} {how}")) if each == name else content
        if changed is not None:
            put(storage, each, changed)
    yield storage.url
    storage.delete_folder("")


def put(storage: Storage, name: str, content: bytes) -> None:
    """Write a file, to a local folder without waiting for the disk."""
    if storage.local_folder is None:
        storage.write(name, content)
        return
    path = storage.local_folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def measure(num_rounds: int, num_events: int, url: str = "", share: float = 1.0) -> Matrix:
    """Damage everything so many times, with other bits each time.

    Args:
        num_rounds: How many times.
        num_events: Events between two places in the log.
        url: Where to; a temporary folder if empty.
        share: Which share of all damages to try in each round, at random.
    """
    matrix = Matrix()
    with tempfile.TemporaryDirectory() as folder:
        url = url or folder
        parts = (Checkpoints(f"{url}/checkpoints", num_events), Models(f"{url}/models"), Steerings(f"{url}/steering"))
        for part in parts:
            for seed in range(num_rounds):
                part.run(matrix, seed, share)
    return matrix


@contextlib.contextmanager
def on_s3() -> Iterator[str]:
    """Yield the URL of a bucket on a server of this machine."""
    sys.path.append(str(Path(__file__).parents[1]))
    import s3_server

    with s3_server.s3_server() as address:
        os.environ.update(s3_server.environment_for(address))
        yield s3_server.new_bucket(address)


def main() -> None:
    """Print the table; exit with 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="how often each file is damaged in each way")
    parser.add_argument("--events", type=int, default=2_000, help="events between two of ten places in the log")
    parser.add_argument("--url", default="", help="folder or object store to do it in, such as s3://bucket/damage")
    parser.add_argument("--s3", action="store_true", help="do it on an S3 server of this machine")
    parser.add_argument("--share", type=float, default=1.0, help="share of all damages that is tried in each round")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # It is counted here.
    with on_s3() if options.s3 else contextlib.nullcontext(options.url) as url:
        matrix = measure(options.rounds, options.events, url, options.share)
    Console().print(matrix.table())
    if path := os.environ.get("TABLE_ROWS", ""):
        matrix.write_rows(Path(path))
    sys.exit(1 if matrix.num_lost else 0)


if __name__ == "__main__":
    main()
