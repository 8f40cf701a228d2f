"""A server with an index: built for its model, measured, and used, refused or left, as its log and its status say."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from springtide.settings.model import Settings
from springtide.v1 import admin_pb2, events_pb2
from springtide.v1 import recommender_pb2 as pb
from springtide_services.training.training_run import train_once

POOR = """
import numpy as np
from springtide.plugins.contracts import Index
from springtide.plugins.hookspecs import hookimpl


class Poor(Index):
    def build(self, vectors, rows, is_wanted):
        self.vectors, self.rows = vectors, rows

    def search(self, vector, count):
        return self.rows[np.argsort(self.vectors[self.rows] @ vector)[:count]]


@hookimpl
def register_indexes(register):
    register("poor", Poor)
"""

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Publish = Callable[[Settings, Sequence[events_pb2.Event]], pb.GraphPosition]
Eventually = Callable[..., Awaitable[float]]


def outcome_of(
    settings: Settings,
    run_server: RunServer,
    eventually: Eventually,
    publish: Publish,
    stream: list[events_pb2.Event],
) -> tuple[admin_pb2.IndexStatus, list[str], list[dict[str, Any]]]:
    """Return the status of the index of a trained model, the answer to a request, and the log of the index."""
    position = publish(settings, stream)

    async def scenario() -> tuple[admin_pb2.IndexStatus, list[str]]:
        async with run_server(settings) as running:
            await running.recommender.Recommend(pb.RecommendRequest(min_position=position))
            assert (await running.admin.GetStatus(admin_pb2.GetStatusRequest())).index.state == "waiting"
            await running.admin.StartTraining(admin_pb2.StartTrainingRequest())
            await asyncio.to_thread(train_once, settings)

            async def is_decided() -> bool:
                index = (await running.admin.GetStatus(admin_pb2.GetStatusRequest())).index
                return index.state not in ("waiting", "building", "measuring")

            await eventually(is_decided, within_s=60.0)
            status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
            answer = await running.recommender.Recommend(pb.RecommendRequest(user="u4", count=3, exclude_seen=["*"]))
            return status.index, [item.item for item in answer.items]

    with capture_logs() as logs:
        status, items = asyncio.run(scenario())
    return status, items, [dict(entry) for entry in logs if entry["event"].startswith("index_")]


def with_index(settings: Settings, index: str, **plugins: Any) -> Settings:
    ranking = settings.ranking.model_dump() | {"index": index, "index_min_items": 4, "index_min_recall": 0.99}
    changed = {"ranking": ranking, "plugins": plugins, "gate": {"is_on": False}}
    return Settings.model_validate(settings.model_dump() | changed)


def test_real_usearch_is_measured_and_left_where_exact_answers_are_as_fast(
    settings: Settings,
    run_server: RunServer,
    eventually: Eventually,
    publish: Publish,
    diagonal_stream: list[events_pb2.Event],
) -> None:
    pytest.importorskip("usearch")
    status, items, logs = outcome_of(with_index(settings, "usearch"), run_server, eventually, publish, diagonal_stream)
    assert status.name == "usearch"
    # Sixteen items: all of them are looked at either way, and which takes less time is chance.
    assert status.state in ("slower", "used")
    assert status.recall_at_20 == 1.0
    assert (status.num_items, status.num_users, status.model_version) == (16, 16, "000001")
    assert status.num_bytes > 0
    assert min(status.index_ms, status.exact_ms) > 0.0
    assert [(entry["event"], entry["recall"]) for entry in logs] == [(f"index_{status.state}", 1.0)]
    assert items[0] == "i4"


def test_a_poor_index_of_a_plugin_is_refused_and_answers_stay_exact(
    settings: Settings,
    run_server: RunServer,
    eventually: Eventually,
    publish: Publish,
    make_purchase: Callable[..., events_pb2.Event],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    size = 60
    even_and_odd = [
        make_purchase(f"u{user}", f"i{item}", (user * size + item) * 1_000)
        for user in range(size)
        for item in range(user % 2, size, 2)
        if item != user
    ]
    # The head of a short order has a few of sixty items, as that of a long one has a few of a million.
    monkeypatch.setattr("springtide.ranking.indexed_items._PROBED", 0)
    monkeypatch.setattr("springtide.ranking.weights._MIN_ORDERED", 1)
    monkeypatch.setattr("springtide.ranking.indexing._CANDIDATES", (20,))
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "poor.py").write_text(POOR)
    wanted = with_index(settings, "poor", folder=str(folder))
    status, items, logs = outcome_of(wanted, run_server, eventually, publish, even_and_odd)
    assert (status.name, status.state) == ("poor", "refused")
    assert status.recall_at_20 < 0.99
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("index_refused", "warning")]
    assert items[0] == "i4"
