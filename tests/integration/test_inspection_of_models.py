"""What a running server has learned, as its InspectionService shows it: seasons, models, who changed what serves."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from springtide.settings.model import KafkaSettings, ServerSettings, Settings
from springtide.testing import quick_settings
from springtide.v1 import admin_pb2, events_pb2, inspection_pb2
from springtide.v1 import recommender_pb2 as pb
from springtide_services.training.training_run import train_once

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Eventually = Callable[..., Awaitable[float]]
Publish = Callable[[Settings, Sequence[events_pb2.Event]], pb.GraphPosition]


@dataclass(frozen=True)
class Seen:
    """What one server has answered, after two trainings; the calls that are refused are there with their status."""

    season: inspection_pb2.GetSeasonResponse
    in_season: inspection_pb2.ListInSeasonResponse
    first: inspection_pb2.GetModelResponse
    served: inspection_pb2.GetModelResponse
    changes: inspection_pb2.ListModelChangesResponse
    quality: inspection_pb2.GetQualityResponse
    refused: dict[str, tuple[grpc.StatusCode, str]]


@pytest.fixture
def seen(
    tmp_path: Path,
    fresh_kafka: Callable[..., KafkaSettings],
    run_server: RunServer,
    eventually: Eventually,
    diagonal_stream: list[events_pb2.Event],
    make_purchase: Callable[..., events_pb2.Event],
    publish: Publish,
) -> Seen:
    settings = quick_settings(
        checkpoint={"url": str(tmp_path / "checkpoints")},
        model={"url": str(tmp_path / "models"), "width": 8},
        ranking={"context_weights": {"popularity": {}, "calendar": {}}, "item_refresh_s": 0.1},
        training={"first_model_pause_s": None},
    ).model_copy(update={"kafka": fresh_kafka(), "server": ServerSettings(port=0)})
    half_a_year_ago = [make_purchase(f"u{user}", "nog", seconds_ago=180 * 86_400) for user in range(12)]
    position = publish(settings, [*half_a_year_ago, *diagonal_stream])

    async def scenario() -> Seen:
        async with run_server(settings) as running:
            inspection, refused = running.inspection, {}

            async def refuse(name: str, call: grpc.aio.UnaryUnaryCall) -> None:
                with pytest.raises(grpc.aio.AioRpcError) as error:
                    await call
                refused[name] = error.value.code(), error.value.details()

            async def is_measured() -> bool:
                """Let somebody take something, and return whether it was asked for; ranking may rest meanwhile."""
                position = await asyncio.to_thread(publish, settings, [make_purchase("u1", "i3")])
                await running.recommender.Recommend(pb.RecommendRequest(min_position=position))
                return bool((await inspection.GetQuality(inspection_pb2.GetQualityRequest())).points)

            await running.recommender.Recommend(pb.RecommendRequest(min_position=position))
            await eventually(is_measured)
            await refuse("no model", inspection.GetModel(inspection_pb2.GetModelRequest()))
            await running.admin.StartTraining(admin_pb2.StartTrainingRequest())
            for mode in ("retrain", "fine_tune"):
                await asyncio.to_thread(train_once, settings, mode)
            first = admin_pb2.PromoteModelRequest(version="000001", reason="it was better in spring")
            await running.admin.PromoteModel(first)
            await running.admin.RollbackModel(admin_pb2.RollbackModelRequest(reason="no, it was not"))
            long = admin_pb2.PromoteModelRequest(version="000001", reason="x" * 1_001)
            await refuse("long reason", running.admin.PromoteModel(long))
            await refuse(
                "long reason back", running.admin.RollbackModel(admin_pb2.RollbackModelRequest(reason="x" * 1_001))
            )
            await refuse("version", inspection.GetModel(inspection_pb2.GetModelRequest(version="7")))
            await refuse("item", inspection.GetSeason(inspection_pb2.GetSeasonRequest(name="i")))
            await refuse("weight", inspection.GetSeason(inspection_pb2.GetSeasonRequest(name="i1", weight="tides")))
            await refuse("changes", inspection.ListModelChanges(inspection_pb2.ListModelChangesRequest(page_size=-1)))
            return Seen(
                await inspection.GetSeason(inspection_pb2.GetSeasonRequest(name="nog")),
                await inspection.ListInSeason(inspection_pb2.ListInSeasonRequest(page_size=3, min_interactions=1)),
                await inspection.GetModel(inspection_pb2.GetModelRequest(version="000001")),
                await inspection.GetModel(inspection_pb2.GetModelRequest()),
                await inspection.ListModelChanges(inspection_pb2.ListModelChangesRequest(page_size=2)),
                await inspection.GetQuality(inspection_pb2.GetQualityRequest()),
                refused,
            )

    return asyncio.run(scenario())


def test_a_server_shows_what_it_has_learned(seen: Seen) -> None:
    """All in one, since the server and its trainings take seconds."""
    spans = {profile.span: profile for profile in seen.season.profiles}
    assert {span: len(profile.lifts) for span, profile in spans.items()} == {"year": 72, "week": 7, "day": 24}
    assert (seen.season.title, seen.season.num_interactions) == ("nog", 12)
    assert {max(profile.counts) for profile in spans.values()} == {12}
    year = spans["year"]
    assert year.lifts[list(year.counts).index(12)] == max(year.lifts) > 1 > min(year.lifts)

    assert [len(item.lifts) for item in seen.in_season.items] == [3, 3, 3]
    assert all(item.lift > 1 and item.num_interactions >= 7 for item in seen.in_season.items)

    kinds = [part.kind for part in seen.first.parts]
    assert kinds == sorted(kinds)
    assert {"encoder", "loss"} <= set(kinds)
    assert [(curve.name, curve.step) for curve in seen.first.curves] == [
        ("loss of learn", "step"),
        ("loss of learn the latest", "step"),
    ]
    assert seen.first.curves[0].values[-1] < seen.first.curves[0].values[0]
    assert [curve.name for curve in seen.served.curves] == ["loss of learn the latest"], "it is fine-tuned"
    assert (seen.served.model.version, seen.served.model.is_current) == ("000002", True)
    assert ("cosine", "cosine") in {(each.weight, each.factor) for each in seen.first.exponents}
    assert seen.first.temperature > 0
    assert seen.first.checkpoint

    back, promoted = seen.changes.changes
    assert [(each.action, each.to_version, each.reason) for each in (promoted, back)] == [
        ("promote", "000001", "it was better in spring"),
        ("roll_back", "000002", "no, it was not"),
    ]
    assert promoted.actor

    [point, *_] = seen.quality.points
    assert (point.model_version, point.new_to_user.num_questions) == ("", 0)
    assert 0 < point.start_time.seconds <= point.end_time.seconds
    assert {(each.split, each.segment) for each in seen.quality.segments} == {
        ("events of the user", "6 to 20"),
        ("events of the item", "1 to 9"),
        ("type of the event", "purchase"),
    }
    assert {each.all.num_questions for each in seen.quality.segments} == {point.all.num_questions}

    code = grpc.StatusCode
    wanted = {
        "no model": (code.FAILED_PRECONDITION, "no model serves yet"),
        "long reason": (code.INVALID_ARGUMENT, "reason: wanted at most 1,000 characters, got 1,001"),
        "long reason back": (code.INVALID_ARGUMENT, "reason: wanted at most 1,000 characters, got 1,001"),
        "version": (code.NOT_FOUND, "no model version '7' (choices: 000002, 000001)"),
        "item": (code.NOT_FOUND, "no item with the id 'i' (near it: "),
        "weight": (code.INVALID_ARGUMENT, "weight: no context weight 'tides' that knows seasons (choices: calendar)"),
        "changes": (code.INVALID_ARGUMENT, "page_size: wanted 0 to 1,000, got -1"),
    }
    assert {name: found for name, (found, _) in seen.refused.items()} == {
        name: found for name, (found, _) in wanted.items()
    }
    for name, (_, words) in wanted.items():
        assert words in seen.refused[name][1]
