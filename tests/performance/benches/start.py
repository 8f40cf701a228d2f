"""How long a server takes from its start to its first answer, with a checkpoint and a model in its folder.

The process is started as `springtide serve` is, on a stream that has nothing new. What it says tells its parts: it
listens at once, and says that it does not serve yet.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grpc
from benches.figures import Figure, Limit
from benches.serving import child
from benches.sizes import Sizes
from grpc_health.v1 import health_pb2, health_pb2_grpc

from springtide.settings.model import CheckpointSettings, KafkaSettings, ModelSettings, ServerSettings, Settings
from springtide.v1 import recommender_pb2, recommender_pb2_grpc
from springtide_services.local.broker import EmbeddedBroker
from springtide_services.stream.topics import ensure_topics

_HERE = Path(__file__).parents[1]
_BUDGET_S = 120.0
_PIECE = 1 << 24  # Bytes that files are read by.


def run(sizes: Sizes) -> list[Figure]:
    numbers = (sizes.start_edges, sizes.open_users, sizes.open_items)
    with tempfile.TemporaryDirectory(prefix="springtide-bench-") as folder, EmbeddedBroker() as broker:
        prepare = [sys.executable, "-m", "benches.memory", "prepare", folder, *map(str, numbers)]
        subprocess.run(prepare, cwd=_HERE, stdout=subprocess.DEVNULL, check=True)
        settings = Settings(
            kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers),
            checkpoint=CheckpointSettings(url=f"{folder}/checkpoints"),
            model=ModelSettings(url=f"{folder}/models"),
            server=ServerSettings(port=0),
        )
        ensure_topics(settings)
        laps = [_start(settings) for _ in range(min(sizes.repetitions, 3))]
        read_s = [_read_s(Path(folder)) for _ in laps]
    what = f"{numbers[0]:,} edges, {numbers[2]:,} items"
    files = Limit("checkpoint's and model's files, read once", read_s)
    listening, serving, answered = zip(*laps, strict=True)
    return [
        Figure(f"server's start to its first answer, {what}", "s", answered, files),
        Figure("server's start to health SERVING", "s", serving, files),
        Figure("server's start to listening", "s", listening, files),
    ]


def _start(settings: Settings) -> tuple[float, float, float]:
    """Start a server; return after how many seconds it listens, serves, and has answered."""
    started = time.monotonic()
    with child("serve", settings.model_dump_json()) as server, grpc.insecure_channel(server.line) as channel:
        listening_s = time.monotonic() - started
        health = health_pb2_grpc.HealthStub(channel)
        while health.Check(health_pb2.HealthCheckRequest()).status != health_pb2.HealthCheckResponse.SERVING:
            assert time.monotonic() - started < _BUDGET_S, "the server was not ready in time"
            time.sleep(0.02)
        serving_s = time.monotonic() - started
        ask = recommender_pb2_grpc.RecommenderServiceStub(channel).Recommend
        answer = ask(recommender_pb2.RecommendRequest(user="user-0000001", exclude_seen=["*"]))
        assert answer.items, "wanted an answer from the model"
        return listening_s, serving_s, time.monotonic() - started


def _read_s(folder: Path) -> float:
    started = time.monotonic()
    for path in folder.rglob("*"):
        with contextlib.suppress(IsADirectoryError), path.open("rb", buffering=0) as file:
            while file.read(_PIECE):
                pass
    return time.monotonic() - started
