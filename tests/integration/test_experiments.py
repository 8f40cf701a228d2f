"""Experiments through a real server: put by a call, told by answers, carried back by events, counted, kept."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from typer.testing import CliRunner

from springtide.recommendation_ids import arms_of, experiment_hash
from springtide.settings.model import Settings
from springtide.v1 import admin_pb2, events_pb2, steering_pb2
from springtide.v1 import recommender_pb2 as pb
from springtide_services.cli.app import app
from springtide_services.training.training_run import train_once

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Eventually = Callable[..., Awaitable[float]]
Publish = Callable[[Settings, Sequence[events_pb2.Event]], pb.GraphPosition]
MakePurchase = Callable[..., events_pb2.Event]
WAIT = Duration(seconds=10)
USERS = [f"u{number}" for number in range(16)]


def experiment(**of_other: Any) -> admin_pb2.UpdateSteeringRequest:
    variants = [steering_pb2.Variant(name="now", share=0.5), steering_pb2.Variant(name="new", share=0.5, **of_other)]
    return admin_pb2.UpdateSteeringRequest(
        put=steering_pb2.Steering(
            experiments=[steering_pb2.Experiment(name="home", variants=variants, conversions=["purchase"])]
        )
    )


async def answers(running: Any, position: pb.GraphPosition | None = None) -> dict[str, pb.RecommendResponse]:
    return {
        user: await running.recommender.Recommend(
            pb.RecommendRequest(user=user, count=3, min_position=position, wait=WAIT)
        )
        for user in USERS
    }


async def result(running: Any) -> admin_pb2.GetExperimentResponse:
    return await running.admin.GetExperiment(admin_pb2.GetExperimentRequest(name="home"))


def counts(response: admin_pb2.GetExperimentResponse) -> dict[str, tuple[int, int, int]]:
    return {each.variant: (each.num_users, each.num_converted, each.num_conversions) for each in response.variants}


def test_answers_carry_variants_events_carry_them_back_and_a_restart_keeps_the_counts(
    settings: Settings,
    run_server: RunServer,
    make_purchase: MakePurchase,
    diagonal_stream: list[events_pb2.Event],
    publish: Publish,
) -> None:
    position = publish(settings, diagonal_stream)

    async def scenario() -> None:
        async with run_server(settings) as running:
            plain = await answers(running, position)
            assert all(arms_of(each.recommendation_id) == () for each in plain.values())
            assert len({each.recommendation_id for each in plain.values()}) == len(USERS)

            await running.admin.UpdateSteering(experiment(weights={"popularity": 0.0}))
            given = await answers(running)
            variants = {user: each.experiment_arms[0].variant for user, each in given.items()}
            assert set(variants.values()) == {"now", "new"}
            for user, answer in given.items():
                index = ["now", "new"].index(variants[user])
                assert arms_of(answer.recommendation_id) == ((experiment_hash("home"), index),)
            assert {
                user: each.experiment_arms[0].variant for user, each in (await answers(running)).items()
            } == variants
            assert not (await running.recommender.Recommend(pb.RecommendRequest())).experiment_arms

            # All of one variant buy, and those of the other one look; half of all do it twice.
            events = []
            for number, user in enumerate(USERS):
                for _ in range(1 + number % 2):
                    event = make_purchase(user, given[user].items[0].item, seconds_ago=1)
                    event.interaction.type = "purchase" if variants[user] == "new" else "view"
                    event.interaction.recommendation_id = given[user].recommendation_id
                    events.append(event)
            other = make_purchase("u1", "i1", seconds_ago=1)
            other.interaction.recommendation_id = "another shop's name"
            await answers(running, publish(settings, [*events, other]))

            found = await result(running)
            num_new, num_now = (list(variants.values()).count(name) for name in ("new", "now"))
            num_bought = sum(1 + USERS.index(user) % 2 for user, variant in variants.items() if variant == "new")
            assert counts(found) == {"now": (num_now, 0, 0), "new": (num_new, num_new, num_bought)}
            assert found.variants[1].difference == 1.0
            assert found.variants[1].difference_low < 1.0 == found.variants[1].difference_high
            assert found.variants[1].p_value < 1.0
            assert found.winner == ""  # Of a handful of users: that is open.

            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await running.admin.GetExperiment(admin_pb2.GetExperimentRequest(name="hom"))
            assert refused.value.code() == grpc.StatusCode.NOT_FOUND
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await running.admin.GetExperiment(admin_pb2.GetExperimentRequest(name="home", confidence=2.0))
            assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        async with run_server(settings) as running:
            assert await result(running) == found

    asyncio.run(scenario())


def test_variant_is_served_by_its_model_and_by_the_commands(
    settings: Settings,
    run_server: RunServer,
    eventually: Eventually,
    diagonal_stream: list[events_pb2.Event],
    publish: Publish,
) -> None:
    position = publish(settings, diagonal_stream)

    async def scenario() -> None:
        async with run_server(settings) as running:
            await answers(running, position)
            versions: list[str] = []
            for _ in range(2):
                await running.admin.StartTraining(admin_pb2.StartTrainingRequest())
                await asyncio.to_thread(train_once, settings, "retrain")

                async def has_another() -> bool:
                    status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
                    return bool(status.model_version) and status.model_version not in versions

                await eventually(has_another)
                versions.append((await running.admin.GetStatus(admin_pb2.GetStatusRequest())).model_version)
            earlier, current = versions
            await running.admin.UpdateSteering(experiment(model_version=earlier))

            async def is_loaded() -> bool:
                status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
                return list(status.variant_versions) == [earlier]

            await eventually(is_loaded)
            served = {
                (each.experiment_arms[0].variant, each.model_version) for each in (await answers(running)).values()
            }
            assert served == {("now", current), ("new", earlier)}

            await running.admin.UpdateSteering(experiment(model_version="none-such"))

            async def is_missed() -> bool:
                status = await running.admin.GetStatus(admin_pb2.GetStatusRequest())
                return not status.variant_versions and "none-such" in status.variant_faults

            await eventually(is_missed)
            for answer in (await answers(running)).values():
                assert (len(answer.experiment_arms), answer.model_version) == (0, current)

            address = running.server.admin_address

            async def said(*words: str) -> str:
                run = await asyncio.to_thread(CliRunner().invoke, app, ["experiments", *words, "--address", address])
                assert run.exit_code == 0, run.output
                return run.output

            assert "now 50.0%, new 50.0%" in await said("list")
            assert "none-such" in await said("show", "home")
            assert "open at 95.0% confidence" in await said("result", "home")
            assert [each["variant"] for each in json.loads(await said("result", "home", "--json"))["variants"]] == [
                "now",
                "new",
            ]
            run = await asyncio.to_thread(CliRunner().invoke, app, ["experiments", "show", "hom", "--address", address])
            assert run.exit_code != 0

    asyncio.run(scenario())
