"""A server whose clock is set back by days while it runs: it reads, answers, writes checkpoints, and keeps its lock."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from springtide.checkpoint import CheckpointStore
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.v1 import admin_pb2, admin_pb2_grpc, events_pb2, recommender_pb2_grpc
from springtide.v1 import recommender_pb2 as pb
from springtide_services.addresses import free_port

BUDGET_S = 60.0
HOURS_BACK = 20  # Events may lie a day ahead of the server's clock (events.max_future_s).
# The clock of the process is that of the machine and what the file says, in seconds.
SERVE = """
import sys, time
from pathlib import Path

offset = Path(sys.argv[2])
now, now_ns = time.time, time.time_ns
time.time = lambda: now() + float(offset.read_text())
time.time_ns = lambda: now_ns() + int(1e9 * float(offset.read_text()))

from springtide.settings.model import Settings
from springtide_services.logs import configure_logging
from springtide_services.serving.server import serve

configure_logging()
serve(Settings.model_validate_json(sys.argv[1]))
"""


@pytest.fixture
def served(settings: Settings, tmp_path: Path) -> Iterator[tuple[Settings, subprocess.Popen[bytes], Path]]:
    offset = tmp_path / "offset"
    offset.write_text("0")
    server = settings.server.model_copy(update={"port": free_port(), "admin_port": free_port()})
    checkpoint = settings.checkpoint.model_copy(update={"every_s": 0.5})
    settings = settings.model_copy(update={"server": server, "checkpoint": checkpoint})
    command = [sys.executable, "-c", SERVE, settings.model_dump_json(), str(offset)]
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(command, stderr=log, env=os.environ)
    try:
        yield settings, process, offset
    finally:
        process.kill()
        process.wait()


@pytest.mark.fault("clock set back under a server")
def test_nothing_is_lost_and_nothing_stands_still_when_the_clock_is_set_back(
    served: tuple[Settings, subprocess.Popen[bytes], Path],
    publish: Callable[[Settings, Sequence[events_pb2.Event]], pb.GraphPosition],
    make_purchase: Callable[..., events_pb2.Event],
    record_property: Callable[[str, object], None],
) -> None:
    settings, process, offset = served
    store = CheckpointStore(settings.checkpoint.url)

    def until(is_so: Callable[[], Any]) -> float:
        started_s = time.monotonic()
        while not is_so():
            assert process.poll() is None
            assert time.monotonic() - started_s < BUDGET_S
            time.sleep(0.05)
        return time.monotonic() - started_s

    def newest() -> int:
        found = store.latest()
        return 0 if found is None else found.num_events

    with (
        grpc.insecure_channel(f"127.0.0.1:{settings.server.port}") as channel,
        grpc.insecure_channel(f"127.0.0.1:{settings.server.admin_port}") as admin_channel,
    ):
        recommend = recommender_pb2_grpc.RecommenderServiceStub(channel).Recommend
        status = admin_pb2_grpc.AdminServiceStub(admin_channel).GetStatus

        def items_once_read(position: pb.GraphPosition) -> list[str]:
            request = pb.RecommendRequest(user="u0", count=10, min_position=position)
            request.wait.FromSeconds(10)
            while (answer := recommend(request, timeout=BUDGET_S, wait_for_ready=True)).is_behind_min_position:
                assert process.poll() is None
            return [item.item for item in answer.items]

        before = publish(settings, [make_purchase(f"u{number}", "tea", seconds_ago=60) for number in range(20)])
        until(lambda: newest() == 20)
        assert items_once_read(before) == ["tea"]

        offset.write_text(str(-3_600 * HOURS_BACK))
        events = [make_purchase(f"u{number % 20}", f"i{number % 5}") for number in range(200)]
        after = publish(settings, events)
        assert len(items_once_read(after)) == 6, "what was bought after the jump is known"
        record_property("recovered_s", until(lambda: newest() == 220))
        answer = status(admin_pb2.GetStatusRequest(), timeout=BUDGET_S)
        assert sum(answer.num_edges.values()) == 220

        offset.write_text("0")  # And set right again.
        publish(settings, [make_purchase("u1", "umbrella")])
        until(lambda: newest() == 221)
    process.send_signal(signal.SIGTERM)
    assert process.wait(BUDGET_S) == 0
    restored = LiveState(settings, {})
    checkpoint = store.latest()
    assert checkpoint is not None
    store.restore(checkpoint, restored)
    assert restored.num_events == 221
