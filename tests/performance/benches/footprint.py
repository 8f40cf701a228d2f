"""What it takes to run: memory, starts, disk, and the way from a file to personal answers, on a public data set.

The file: MovieLens 100K, its first 61,788 ratings in the order of time, of users and films that have at least five of
them; what follows is asked for. Every command is the one that a user types. The limit of the answers is a bare
`grpc.aio` echo of the same size.
"""

import contextlib
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import psutil
from benches.figures import Figure, Limit
from benches.load import generate_load
from benches.serving import child
from benches.sizes import Sizes
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc

from springtide.evaluation.data import fetch
from springtide.events import Interactions
from springtide.v1 import admin_pb2, admin_pb2_grpc, recommender_pb2_grpc
from springtide.v1 import recommender_pb2 as pb
from springtide_services.addresses import free_port
from springtide_services.local.broker import EmbeddedBroker

_ROOT = Path(__file__).parents[3]
_SPRINGTIDE = str(Path(sys.executable).with_name("springtide"))
_METHOD = "/springtide.v1.RecommenderService/Recommend"
_COUNT = 20
_MIN_EVENTS = 5
_START_BUDGET_S = 60.0
_ANSWERS_BUDGET_S = 600.0
_REST_S = 3.0  # After a training ends, until its process has gone.
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Split:
    """Events to load, their users, and for each user who has both: the items that came later and were new to them."""

    lines: Sequence[str]
    users: Sequence[str]
    end_ms: int
    new_items: dict[str, set[str]]


@dataclass(frozen=True, slots=True)
class Processes:
    """The server and the trainer, and where the server listens."""

    server: psutil.Process
    trainer: psutil.Process
    address: str


def run(sizes: Sizes) -> list[Figure]:
    split = _split(sizes.footprint_events)
    with tempfile.TemporaryDirectory(prefix="springtide-footprint-") as name, EmbeddedBroker() as broker:
        folder = Path(name)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SPRINGTIDE_", "OPENBLAS_"))},
            "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "SPRINGTIDE_SERVER__PORT": str(free_port()),
            "SPRINGTIDE_SERVER__ADMIN_PORT": str(free_port()),
        }
        if sizes.footprint_steps is not None:
            environment["SPRINGTIDE_TRAINING__STEPS"] = str(sizes.footprint_steps)
        figures = _start_figures(folder, environment, sizes.repetitions)
        with _processes(folder, environment) as processes:
            figures += _run_figures(processes, folder, environment, split, sizes)
    if sizes.footprint_installs:
        figures.append(Figure("venv of a server: `pip install .`", "MiB", [_installed_mib("")]))
        figures.append(Figure("venv of a trainer: `pip install '.[train]'`", "MiB", [_installed_mib("[train]")]))
    return figures


def _start_figures(folder: Path, environment: dict[str, str], repetitions: int) -> list[Figure]:
    """Time commands, and a server with nothing to restore."""
    starts, helps, statuses = [], [], []
    for _ in range(repetitions):
        started = time.perf_counter()
        with _command(["serve"], folder, environment):
            _wait_until_serving(environment)
            starts.append(time.perf_counter() - started)
            statuses.append(_timed(["status"], folder, environment))
        helps.append(_timed(["--help"], folder, environment))
        shutil.rmtree(folder / "springtide-state", ignore_errors=True)
    return [
        Figure("`serve` to serving, nothing to restore", "s", starts),
        Figure("`springtide --help`", "s", helps),
        Figure("`springtide status`", "s", statuses),
    ]


def _run_figures(
    processes: Processes, folder: Path, environment: dict[str, str], split: Split, sizes: Sizes
) -> list[Figure]:
    """Load the file, wait for the model, and measure answers and memory."""
    file = folder / "events.csv"
    file.write_text("\n".join(["user,item,type,timestamp", *split.lines]) + "\n", encoding="utf-8")
    with (
        grpc.insecure_channel(processes.address) as channel,
        grpc.insecure_channel(f"127.0.0.1:{environment['SPRINGTIDE_SERVER__ADMIN_PORT']}") as admin_channel,
    ):
        recommend = recommender_pb2_grpc.RecommenderServiceStub(channel).Recommend
        users = split.users
        started = time.perf_counter()
        _timed(["publish", str(file)], folder, environment)
        published_s = time.perf_counter() - started
        deadline = started + _ANSWERS_BUDGET_S
        while recommend(pb.RecommendRequest(user=users[0])).personalization != pb.PERSONALIZATION_LEARNED:
            assert time.perf_counter() < deadline, f"no model after {_ANSWERS_BUDGET_S:g} s"
            time.sleep(0.05)
        trained_s = time.perf_counter() - started
        request = {"count": _COUNT, "exclude_seen": ["*"]}
        answers = {user: recommend(pb.RecommendRequest(user=user, **request)) for user in users}
        answered_s = time.perf_counter() - started
        moment = pb.Context(event_time=Timestamp(seconds=split.end_ms // 1_000))
        at_end = {
            user: recommend(pb.RecommendRequest(user=user, context=moment, **request)) for user in split.new_items
        }
        requests = [pb.RecommendRequest(user=user, **request).SerializeToString() for user in users]
        status = admin_pb2_grpc.AdminServiceStub(admin_channel).GetStatus(admin_pb2.GetStatusRequest())
        num_bytes = len(answers[users[0]].SerializeToString())
        figures = [
            Figure(f"{sum(status.num_edges.values()):,} events: file to published", "s", [published_s]),
            Figure("file to the first model", "s", [trained_s]),
            Figure(f"file to personal answers for all {len(users):,} users", "s", [answered_s]),
            Figure(
                f"NDCG@{_COUNT} of {len(split.new_items)} users' new items, without a time",
                "",
                [_ndcg(answers, split)],
                Limit("asked at the end of the data", [_ndcg(at_end, split)]),
            ),
        ]
    time.sleep(_REST_S)
    resident = [processes.server.memory_info().rss / _MIB]
    with child("echo", str(num_bytes)) as echo:
        for num_clients in (1, 32):
            ours, bare = [], []
            for _ in range(sizes.repetitions):
                bare.append(_rate(echo.line, requests, num_clients, sizes.load_s))
                ours.append(_rate(processes.address, requests, num_clients, sizes.load_s))
            limit = Limit("a bare grpc.aio echo", bare)
            figures.append(Figure(f"answers, {num_clients} client{'s' * (num_clients > 1)}", "1/s", ours, limit))
    resident.append(processes.server.memory_info().rss / _MIB)
    figures += [
        Figure("server's RSS, all asked once", "MiB", resident[:1]),
        Figure("server's RSS, after the load", "MiB", resident[1:]),
        Figure("server's threads", "", [processes.server.num_threads()]),
        Figure("trainer's RSS between trainings", "MiB", [_family_mib(processes.trainer)]),
    ]
    return figures


def _split(num_events: int) -> Split:
    interactions = fetch("movielens-100k").interactions
    users, items = interactions.user_ids, interactions.item_ids
    kept, count = np.zeros(0, np.int64), num_events
    while len(kept) < num_events and count < len(interactions):  # The more that are looked at, the more are kept.
        kept = _with_enough(interactions, count)
        count += max(num_events - len(kept), 1)
    kept = kept[:num_events]
    end_ms = int(interactions.timestamps_ms[kept[-1]])
    seen: dict[str, set[str]] = {}
    for event in kept.tolist():
        user = users[interactions.user_codes[event]]
        seen.setdefault(user, set()).add(items[interactions.item_codes[event]])
    known = set().union(*seen.values())
    new_items: dict[str, set[str]] = {}
    for event in np.flatnonzero(interactions.timestamps_ms > end_ms).tolist():
        user, item = users[interactions.user_codes[event]], items[interactions.item_codes[event]]
        if user in seen and item in known and item not in seen[user]:
            new_items.setdefault(user, set()).add(item)
    lines = [
        f"{users[interactions.user_codes[event]]},{items[interactions.item_codes[event]]},purchase,"
        f"{int(interactions.timestamps_ms[event]) // 1_000}"
        for event in kept.tolist()
    ]
    return Split(lines, sorted(seen), end_ms, new_items)


def _with_enough(interactions: Interactions, count: int) -> np.ndarray:
    """Return which of the first events are of users and items with enough of them, int64 ``[n]``."""
    kept = np.arange(count)
    while True:
        num_before = len(kept)
        for rows in (interactions.user_codes, interactions.item_codes):
            kept = kept[np.bincount(rows[kept])[rows[kept]] >= _MIN_EVENTS]
        if len(kept) == num_before:
            return kept


def _ndcg(answers: dict[str, pb.RecommendResponse], split: Split) -> float:
    """Return the mean NDCG of answers, with as many relevant items at the top as the ideal."""
    gains = []
    for user, wanted in split.new_items.items():
        answer = answers[user]
        ideal = sum(1 / math.log2(rank + 2) for rank in range(min(_COUNT, len(wanted))))
        found = sum(1 / math.log2(rank + 2) for rank, item in enumerate(answer.items) if item.item in wanted)
        gains.append(found / ideal)
    return statistics.mean(gains)


def _rate(address: str, requests: Sequence[bytes], num_clients: int, seconds: float) -> float:
    return len(generate_load(address, _METHOD, requests, num_clients, seconds)) / seconds


@contextlib.contextmanager
def _processes(folder: Path, environment: dict[str, str]) -> Iterator[Processes]:
    with (
        _command(["serve"], folder, environment) as server,
        _command(["train", "--schedule"], folder, environment) as trainer,
    ):
        _wait_until_serving(environment)
        yield Processes(server, trainer, _address(environment))


@contextlib.contextmanager
def _command(words: Sequence[str], folder: Path, environment: dict[str, str]) -> Iterator[psutil.Process]:
    """Run a command of ours until the end of the block; its log is a file beside its state."""
    with (folder / f"{words[0]}.log").open("wb") as log:
        process = subprocess.Popen([_SPRINGTIDE, *words], cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


def _timed(words: Sequence[str], folder: Path, environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run([_SPRINGTIDE, *words], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def _address(environment: dict[str, str]) -> str:
    return f"127.0.0.1:{environment['SPRINGTIDE_SERVER__PORT']}"


def _wait_until_serving(environment: dict[str, str]) -> None:
    deadline = time.monotonic() + _START_BUDGET_S
    with grpc.insecure_channel(_address(environment), [("grpc.initial_reconnect_backoff_ms", 20)]) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while True:
            with contextlib.suppress(grpc.RpcError):
                answer = health.Check(health_pb2.HealthCheckRequest(), timeout=1.0)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            assert time.monotonic() < deadline, "the server was not serving in time"
            time.sleep(0.02)


def _family_mib(process: psutil.Process) -> float:
    """Return the memory of a process and its children."""
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True))) / _MIB


def _installed_mib(extra: str) -> float:
    """Return the size of a new environment, as pip installs it from this checkout."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [str(Path(folder) / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-c", str(_ROOT / "constraints.txt"), f"{_ROOT}{extra}"], check=True)
        return sum(path.lstat().st_size for path in Path(folder).rglob("*")) / _MIB
