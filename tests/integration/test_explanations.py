"""Explanations through the real server, by a gRPC client and by the command line."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import grpc
import networkx as nx
import pytest
from google.protobuf.duration_pb2 import Duration
from typer.testing import CliRunner

from springtide.settings.model import Settings
from springtide.v1 import admin_pb2, events_pb2
from springtide.v1 import recommender_pb2 as pb
from springtide_services.cli.app import app
from springtide_services.training.training_run import train_once

Publish = Callable[[Settings, list[events_pb2.Event]], pb.GraphPosition]
RunServer = Callable[[Settings], AbstractAsyncContextManager[Any]]
AMPLE = Duration(seconds=10)


def titled(item: str, title: str, group: str) -> events_pb2.Event:
    upsert = events_pb2.NodeUpsert(type="item", id=item)
    upsert.texts["title"] = title
    upsert.categories["group"].values.append(group)
    event = events_pb2.Event(node_upsert=upsert)
    event.event_time.FromSeconds(1_700_000_000)
    return event


async def run_cli(*arguments: str) -> str:
    result = await asyncio.to_thread(CliRunner().invoke, app, ["explain", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_an_item_is_explained_by_the_live_graph(
    settings: Settings,
    run_server: RunServer,
    diagonal_stream: list[events_pb2.Event],
    make_purchase: Callable[..., events_pb2.Event],
    publish: Publish,
    eventually: Callable[..., Any],
    tmp_path: Path,
) -> None:
    upserts = [titled("i1", "one", "odd"), titled("i3", "three", "odd")]
    newcomer = [make_purchase("new", "i1", seconds_ago=30), make_purchase("new", "i5", seconds_ago=20)]
    settings = settings.model_copy(
        update={"explain": settings.explain.model_copy(update={"name_attribute": "title", "language": "de"})}
    )

    async def scenario() -> None:
        async with run_server(settings) as running:
            position = publish(settings, [*diagonal_stream, *upserts])
            await running.recommender.Recommend(pb.RecommendRequest(min_position=position, wait=AMPLE))
            await running.admin.StartTraining(admin_pb2.StartTrainingRequest())
            await asyncio.to_thread(train_once, settings, "retrain")

            async def has_model() -> bool:
                return bool((await running.admin.GetStatus(admin_pb2.GetStatusRequest())).model_version)

            await eventually(has_model)
            position = publish(settings, newcomer)
            await running.recommender.Recommend(pb.RecommendRequest(min_position=position, wait=AMPLE))
            request = pb.ExplainRequest(user="new", item="i3", time_limit=AMPLE, count=5, max_paths=20, language="en")
            explained = await running.recommender.Explain(request)

            people = {path.nodes[0].id: path for path in explained.paths if path.kind == "people"}
            # u1 to u15 but for u3 had i3; of them u1 had not i1, and u5 not i5.
            assert people["i1"].num_people == people["i1"].num_recent_people == 6
            assert people["i5"].num_people == 6
            assert not any(path.is_lower_bound for path in explained.paths)
            [shared] = [path for path in explained.paths if path.kind == "attribute"]
            assert (shared.attribute, shared.value, shared.nodes[0].id) == ("group", "odd", "i1")
            assert {event.item for event in explained.events} == {"i1", "i5"}
            assert {event.relation for event in explained.events} == {"purchase"}
            assert explained.reason.startswith("it has group odd, as one has") or " one; 6 people" in explained.reason
            assert {each.side for each in explained.neighbours} == {"user", "item"}
            assert not explained.is_cut
            if explained.HasField("counterfactual"):
                assert set(explained.counterfactual.items) <= {"i1", "i5"}

            german = await running.recommender.Explain(pb.ExplainRequest(user="new", item="i3", time_limit=AMPLE))
            assert german.reason != explained.reason
            with pytest.raises(grpc.aio.AioRpcError, match=r"no language 'xx' \(choices: de, en\)"):
                await running.recommender.Explain(pb.ExplainRequest(user="new", item="i3", language="xx"))
            for wrong in ({"max_paths": 101}, {"time_limit": Duration(seconds=11)}, {"count": 0}):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await running.recommender.Explain(pb.ExplainRequest(user="new", item="i3", **wrong))
                assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT

            view = pb.RECOMMEND_VIEW_FULL
            full = await running.recommender.Recommend(
                pb.RecommendRequest(user="new", count=4, view=view, exclude_seen=["*"], language="en")
            )
            assert all(item.reason and item.paths for item in full.items)
            plain = await running.recommender.Recommend(
                pb.RecommendRequest(user="new", count=4, view=pb.RECOMMEND_VIEW_WEIGHTS, exclude_seen=["*"])
            )
            assert [item.item for item in plain.items] == [item.item for item in full.items]
            assert not any(item.reason or item.paths for item in plain.items)

            address = ("new", "i3", "--address", running.server.address)
            shown = await run_cli(*address, "--language", "en")
            assert "people who had i1" in shown
            assert "what the user's own events add to the score" in shown
            found = json.loads(await run_cli(*address, "--json", "--max-paths", "20"))
            assert len(found["paths"]) == len(explained.paths)
            png, graphml = tmp_path / "why.png", tmp_path / "why.graphml"
            await run_cli(*address, "--png", str(png), "--graphml", str(graphml))
            assert png.read_bytes().startswith(b"\x89PNG")
            graph = nx.read_graphml(graphml)
            assert nx.has_path(graph, "user:new", "item:i3")
            assert {data["num_people"] for _, data in graph.nodes(data=True) if data["kind"] == "people"} == {6}

    asyncio.run(scenario())
