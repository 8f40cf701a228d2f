"""A server with an index: built for its model, measured, and used, refused or left, as its log and its status say."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from springtide.clock import wall_ms
from springtide.events import EventBatch, Interactions
from springtide.graph.applying import ITEM, USER
from springtide.model.registry import ModelArtifact, ModelStore
from springtide.plugins.loading import load_plugins
from springtide.ranking.serving_model import ServingModel
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.training.train import train
from springtide.v1 import admin_pb2, events_pb2
from springtide.v1 import recommender_pb2 as pb
from springtide_services.stream.producer import EventPublisher
from springtide_services.stream.topics import ensure_topics
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

NUM_ITEMS, NUM_USERS, NUM_TASTES, WIDTH = 60_000, 120, 300, 64

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


def with_index(settings: Settings, index: str | dict[str, Any], **plugins: Any) -> Settings:
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


def many_purchases() -> Interactions:
    """Every item is bought once."""
    random = np.random.default_rng(5)
    now_ms = wall_ms()
    return Interactions(
        user_ids=[f"u{number}" for number in range(NUM_USERS)],
        user_codes=random.integers(0, NUM_USERS, NUM_ITEMS).astype(np.int32),
        item_ids=[f"i{number}" for number in range(NUM_ITEMS)],
        item_codes=np.arange(NUM_ITEMS, dtype=np.int32),
        relations=("purchase",),
        relation_codes=np.zeros(NUM_ITEMS, np.int16),
        timestamps_ms=np.sort(random.integers(now_ms - 86_400_000, now_ms - 1_000, NUM_ITEMS)),
        values=np.full(NUM_ITEMS, np.nan, np.float32),
    )


def with_tastes(artifact: ModelArtifact) -> ModelArtifact:
    """Return a model whose items lie around some tastes, as those of a training of many steps do, and users at one."""
    random = np.random.default_rng(6)
    sides = ServingModel.from_artifact(artifact, load_plugins()).sides
    tastes = random.normal(size=(NUM_TASTES, WIDTH))
    vectors = np.array(artifact.tensors["vectors"])
    start = 0
    for name, spread in ((USER, 0.1), (ITEM, 0.7)):
        num = len(sides[name].vectors)
        of_side = tastes[random.integers(0, NUM_TASTES, num)] + spread * random.normal(size=(num, WIDTH))
        vectors[start : start + num] = of_side / np.linalg.norm(of_side, axis=1, keepdims=True)
        start += num
    assert start == len(vectors), "users and items are all that it knows"
    return dataclasses.replace(artifact, tensors={**artifact.tensors, "vectors": vectors})


@pytest.mark.long
def test_a_real_server_uses_an_index_that_is_quicker_and_its_answers_hold_the_exact_ones(
    settings: Settings, run_server: RunServer, eventually: Eventually, tmp_path: Path
) -> None:
    pytest.importorskip("usearch")
    # Nothing is said of the moment, so an exact answer looks at all 60,000 items; the index at a few hundred.
    changed = {
        "ranking": settings.ranking.model_dump() | {"context_weights": {"repeat": {}}},
        "model": settings.model.model_dump() | {"width": WIDTH},
        "training": settings.training.model_dump() | {"steps": 2, "fine_tune_steps": 2},
    }
    exact = Settings.model_validate(settings.model_dump() | changed)
    purchases = many_purchases()
    ensure_topics(exact)
    with EventPublisher(exact) as publisher:
        publisher.publish_interactions(purchases)
    state = LiveState(exact, make_context_weights(exact.ranking, load_plugins()))
    state.apply(EventBatch(purchases))
    ModelStore(exact.model.url).publish(with_tastes(train(state, exact, load_plugins(), mode="retrain")))
    # Fewer links are tried than by default: it is built in a third of the time.
    indexed = with_index(exact, {"name": "usearch", "options": {"expansion_add": 40}})
    elsewhere = exact.checkpoint.model_copy(update={"url": str(tmp_path / "of the exact one")})
    requests = [pb.RecommendRequest(user=user, count=20, exclude_seen=["*"]) for user in purchases.user_ids[:50]]

    async def scenario() -> None:
        exact_server = exact.model_copy(update={"checkpoint": elsewhere})
        async with run_server(indexed) as by_index, run_server(exact_server) as beside:

            async def status() -> admin_pb2.IndexStatus:
                return (await by_index.admin.GetStatus(admin_pb2.GetStatusRequest())).index

            async def is_decided() -> bool:
                return (await status()).state not in ("waiting", "building", "measuring")

            await eventually(is_decided, within_s=300.0)
            decided = await status()
            assert decided.state == "used", decided
            assert decided.recall_at_20 >= 0.99
            assert decided.index_ms < decided.exact_ms
            assert decided.num_items == NUM_ITEMS

            async def is_asked() -> bool:
                await by_index.recommender.Recommend(requests[0])
                return (await status()).num_by_index > 0

            await eventually(is_asked)
            before, shares = (await status()).num_by_index, []
            for request in requests:
                found = {item.item: item.score for item in (await by_index.recommender.Recommend(request)).items}
                wanted = {item.item: item.score for item in (await beside.recommender.Recommend(request)).items}
                both = found.keys() & wanted.keys()
                assert [found[item] for item in both] == [wanted[item] for item in both]
                shares.append(len(both) / len(wanted))
            after = await status()
            assert after.num_by_index - before == len(requests)
            assert after.num_failed == 0
            assert np.mean(shares) >= 0.98

    asyncio.run(scenario())
