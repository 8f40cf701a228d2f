"""Rules, scenarios and experiments through a real server: changed by calls, followed by others, kept, told."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
import pytest

from springtide.settings.model import Settings
from springtide.v1 import admin_pb2 as pb
from springtide.v1 import steering_pb2

Run = Callable[..., AbstractAsyncContextManager[Any]]


def block(name: str, *items: str) -> steering_pb2.Rule:
    return steering_pb2.Rule(name=name, action=steering_pb2.RULE_ACTION_BLOCK, items=items)


def put(*rules: steering_pb2.Rule, **fields: Any) -> pb.UpdateSteeringRequest:
    return pb.UpdateSteeringRequest(put=steering_pb2.Steering(rules=rules), **fields)


def test_a_rule_that_is_put_is_seen_listed_and_survives_a_restart(settings: Settings, run_server: Run) -> None:
    async def run() -> None:
        async with run_server(settings) as running:
            updated = await running.admin.UpdateSteering(
                put(block("promo-ended", "i1", "i2"), reason="the promotion ended")
            )
            assert (updated.version, list(updated.changes)) == (
                1,
                ["Rule promo-ended is new: blocks 2 items (i1, i2)."],
            )
            assert [warning.partition(" that")[0] for warning in updated.warnings] == ["Rule promo-ended names 2 items"]
            steering = await running.admin.GetSteering(pb.GetSteeringRequest())
            assert (steering.version, list(steering.steering.rules)) == (1, [block("promo-ended", "i1", "i2")])
            (change,) = (await running.admin.ListSteeringChanges(pb.ListSteeringChangesRequest())).changes
            assert (change.reason, list(change.changes)) == ("the promotion ended", list(updated.changes))
            assert change.actor.startswith("ipv4:127.0.0.1:")
            dry = await running.admin.UpdateSteering(pb.UpdateSteeringRequest(replace=True, dry_run=True))
            assert (dry.version, list(dry.changes)) == (1, ["Rule promo-ended is removed."])
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await running.admin.UpdateSteering(put(block("other", "i1"), version=7))
            assert refused.value.code() == grpc.StatusCode.ABORTED
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await running.admin.UpdateSteering(put(block("fine", "i1"), block("not fine", "i1")))
            assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            status = (await running.admin.GetStatus(pb.GetStatusRequest())).steering
            assert (status.version, status.num_rules, status.fault) == (1, 1, "")
        async with run_server(settings) as running:
            steering = await running.admin.GetSteering(pb.GetSteeringRequest())
            assert (steering.version, list(steering.steering.rules)) == (1, [block("promo-ended", "i1", "i2")])

    asyncio.run(run())


def test_two_servers_on_one_store_follow_each_other(
    settings: Settings, run_server: Run, eventually: Callable[..., Awaitable[float]]
) -> None:
    async def run() -> None:
        checkpoint = settings.checkpoint.model_copy(update={"role": "auto"})
        async with (
            run_server(settings.model_copy(update={"checkpoint": checkpoint})) as first,
            run_server(settings.model_copy(update={"checkpoint": checkpoint})) as second,
        ):
            await asyncio.gather(
                first.admin.UpdateSteering(put(block("one", "i1"))),
                second.admin.UpdateSteering(put(block("two", "i2"))),
            )

            async def both_have_both() -> bool:
                answers = [await each.admin.GetSteering(pb.GetSteeringRequest()) for each in (first, second)]
                return all([rule.name for rule in each.steering.rules] == ["one", "two"] for each in answers)

            await eventually(both_have_both)

    asyncio.run(run())
