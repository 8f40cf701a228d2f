"""The server measures itself on the stream, and serves baselines as it serves models: over a real broker and gRPC."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
import pytest

from springtide.clock import Deadline
from springtide.model.registry import ModelStore
from springtide.plugins.loading import load_plugins
from springtide.ranking.baseline_artifact import baseline_artifact
from springtide.settings.model import KafkaSettings, LiveQualitySettings, PartSettings, Settings
from springtide.state import LiveState
from springtide.v1 import admin_pb2, events_pb2
from springtide.v1 import recommender_pb2 as pb
from springtide_services.cli.status_tables import show_status
from springtide_services.stream.ingest import IngestLoop
from springtide_services.stream.topics import ensure_topics

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Eventually = Callable[..., Awaitable[float]]
Publish = Callable[[Settings, Sequence[events_pb2.Event]], pb.GraphPosition]
MakePurchase = Callable[..., events_pb2.Event]


def test_what_is_read_again_after_a_start_is_not_asked_for(
    fresh_kafka: Callable[..., KafkaSettings], make_purchase: MakePurchase, publish: Publish
) -> None:
    settings = Settings(kafka=fresh_kafka())
    ensure_topics(settings)
    publish(settings, [make_purchase(f"u{number}", "old") for number in range(20)])
    state, asked = LiveState(settings, {}), []
    ingest = IngestLoop(settings, state, None)
    ingest.hooks.before_apply = lambda batch: asked.append((list(batch.interactions.item_ids), state.num_events))
    ingest.start()
    try:
        deadline = Deadline.after(60.0)
        while not ingest.is_caught_up:
            assert not deadline.is_over()
        assert ingest.wait_for(publish(settings, [make_purchase("u1", "new")]).next_offsets, Deadline.after(60.0))
    finally:
        ingest.stop()
    assert asked == [(["new"], 20)]


def test_status_says_how_well_new_events_were_foretold(
    settings: Settings,
    run_server: RunServer,
    eventually: Eventually,
    make_purchase: MakePurchase,
    diagonal_stream: list[events_pb2.Event],
    capsys: pytest.CaptureFixture[str],
    publish: Publish,
) -> None:
    publish(settings, diagonal_stream)
    settings = settings.model_copy(update={"live_quality": LiveQualitySettings(max_events_per_s=1_000)})

    async def scenario() -> admin_pb2.LiveQuality:
        async with run_server(settings) as running:

            async def is_asked(prefix: str, is_enough: Callable[[admin_pb2.LiveQuality], bool]) -> bool:
                """Let somebody take something, and return whether enough was asked for; ranking may rest meanwhile."""
                names.append(f"{prefix}{len(names)}" if prefix else "i3")
                position = await asyncio.to_thread(publish, settings, [make_purchase("u1", names[-1])])
                asked = pb.RecommendRequest(user="u1", min_position=position)
                await running.recommender.Recommend(asked)
                status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
                return is_enough(status.live_quality)

            names: list[str] = []
            await eventually(lambda: is_asked("", lambda quality: quality.recent.all.num_questions >= 2))
            await eventually(lambda: is_asked("new", lambda quality: quality.recent.new_to_user.num_questions >= 1))
            await asyncio.to_thread(show_status, running.server.admin_address, as_json=False)
            status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
            return status.live_quality

    recent = (quality := asyncio.run(scenario())).recent
    assert recent.all.num_questions == recent.new_to_user.num_questions + 2
    assert recent.new_to_user.hit_rate_at_20 == 0.0, "nobody foretells what was never seen"
    assert recent.all.hit_rate_at_20 == pytest.approx(2 / recent.all.num_questions)
    assert [window.model_version for window in quality.versions] == [""]
    assert not quality.HasField("drop")
    shown = " ".join(capsys.readouterr().out.split())
    assert "stream reading, 0 events behind" in shown
    assert f"fallback {recent.all.num_questions} {recent.all.ndcg_at_20:.4f}" in shown


def test_a_baseline_serves_and_says_what_it_cannot_do(
    settings: Settings,
    run_server: RunServer,
    eventually: Eventually,
    diagonal_stream: list[events_pb2.Event],
    publish: Publish,
) -> None:
    position = publish(settings, diagonal_stream)
    plugins = load_plugins()

    async def scenario() -> None:
        async with run_server(settings) as running:
            await running.recommender.Recommend(pb.RecommendRequest(min_position=position))
            state = running.server._loaded.answering.state
            view = state.graph.view()
            interactions = state.positive_interactions(view)
            baseline = plugins.make("baseline", PartSettings(name="popularity"))
            baseline.fit(interactions, view.num_nodes("user"), view.num_nodes("item"))
            artifact = baseline_artifact("popularity", {}, baseline, view, interactions, settings, plugins)
            ModelStore(settings.model.url).publish(artifact)

            async def is_served() -> bool:
                status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
                return bool(status.model_version == "000001")

            await eventually(is_served)
            view = pb.RECOMMEND_VIEW_FULL
            answer = await running.recommender.Recommend(pb.RecommendRequest(user="u1", count=3, view=view))
            assert (answer.model_version, answer.personalization) == ("000001", pb.PERSONALIZATION_FALLBACK)
            # Each item has seven users; it is the score that popularity gives.
            assert [(item.score, item.cosine, list(item.weights)) for item in answer.items] == [(7.0, 0.0, [])] * 3
            explanation = await running.recommender.Explain(pb.ExplainRequest(user="u1", item="i3"))
            assert (explanation.sentence, len(explanation.weights)) == ("ranked by the baseline popularity", 0)
            with pytest.raises(grpc.aio.AioRpcError, match="similar items need a model") as refused:
                await running.recommender.SimilarItems(pb.SimilarItemsRequest(item="i3"))
            assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
            [model] = (await running.admin.ListModels(admin_pb2.ListModelsRequest())).models
            assert (model.training, model.num_interactions) == ("baseline", len(diagonal_stream))
            assert model.parts["baseline"].startswith("popularity (springtide ")

    asyncio.run(scenario())
