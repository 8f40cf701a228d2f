"""Recommend over a million items in an open loop: requests come at their own pace, whatever the server does."""

import dataclasses
import json
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
from benches.children import METHOD
from benches.figures import Figure, Limit, percentile
from benches.serving import child, serving
from benches.sizes import Sizes

from springtide.v1 import recommender_pb2 as pb

_HERE = Path(__file__).parents[1]
_NUM_REQUESTS = 20_000  # Distinct ones, as they come from people: who is active more often asks more often.
_ANSWER_BYTES = 700


def run(sizes: Sizes) -> list[Figure]:
    of_open = dataclasses.replace(
        sizes, users=sizes.open_users, items=sizes.open_items, served_interactions=sizes.open_edges
    )
    with serving(of_open) as server, child("echo", str(_ANSWER_BYTES)) as echo:
        askers = np.random.default_rng(3).choice(server.interactions.user_codes, _NUM_REQUESTS)
        requests = [
            pb.RecommendRequest(user=server.interactions.user_ids[code], exclude_seen=["*"]).SerializeToString()
            for code in askers.tolist()
        ]
        ours: list[list[float]] = []
        bare: list[list[float]] = []
        used: list[float] = []
        process = psutil.Process(server.pid)
        for _ in range(min(sizes.repetitions, 3)):
            bare.append(_load(echo.line, requests, sizes))
            started, before = time.perf_counter(), process.cpu_times()
            ours.append(_load(server.address, requests, sizes))
            after = process.cpu_times()
            spent_s = after.user + after.system - before.user - before.system
            used.append(spent_s / (time.perf_counter() - started))
        what = f"Recommend, {sizes.open_items:,} items, {sizes.open_per_s:,}/s in an open loop"
        limit = "bare grpc.aio echo, same load"
        return [
            *(
                Figure(f"{what}, p{100 * share:.0f}", "ms", _at(ours, share), Limit(limit, _at(bare, share)))
                for share in (0.5, 0.9, 0.99)
            ),
            Figure(f"{what}, cores in use", "cores", used),
        ]


def _at(of: Sequence[Sequence[float]], share: float) -> list[float]:
    return [1_000 * percentile(latencies, share) for latencies in of]


def _load(address: str, requests: Sequence[bytes], sizes: Sizes) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        bodies = Path(folder, "requests")
        bodies.write_bytes(pickle.dumps(list(requests)))
        command = [sys.executable, "-m", "benches.children", "open-load", address, METHOD, str(bodies)]
        command += [str(sizes.open_per_s), str(sizes.open_s)]
        done = subprocess.run(command, cwd=_HERE, stdout=subprocess.PIPE, check=True)
    latencies: list[float] = json.loads(done.stdout)
    return latencies
