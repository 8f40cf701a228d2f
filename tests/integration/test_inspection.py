"""A look at nodes through a real server: found, shown whole, refused clearly."""

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from typer.testing import CliRunner

from springtide.model.registry import ModelStore
from springtide.settings.model import KafkaSettings, Settings
from springtide.testing import START_MS, quick_model, quick_settings, state_of
from springtide.v1 import events_pb2, inspection_pb2_grpc, recommender_pb2, recommender_pb2_grpc
from springtide.v1 import inspection_pb2 as pb
from springtide_services.cli.app import app
from springtide_services.serving.server import Server
from springtide_services.stream.producer import EventPublisher
from springtide_services.stream.topics import ensure_topics

NOW_S = int(time.time())
TITLES = {"tea": "Green Tea", "pot": "Tea pot", "mug": "Mug"}


@dataclass(frozen=True)
class Shop:
    """A server, whose graph has all events, and stubs of it."""

    server: Server
    inspection: inspection_pb2_grpc.InspectionServiceStub
    admin_address: str


def bought(user: str, item: str, days_ago: int, **context: str) -> events_pb2.Event:
    event = events_pb2.Event(interaction=events_pb2.Interaction(user=user, item=item, type="purchase"))
    event.interaction.context.update(context)
    event.event_time.FromSeconds(NOW_S - 86_400 * days_ago)
    return event


def titled(item: str, title: str) -> events_pb2.Event:
    event = events_pb2.Event(node_upsert=events_pb2.NodeUpsert(type="item", id=item))
    event.node_upsert.texts["title"] = title
    event.node_upsert.categories["kind"].values.append("drink" if item == "tea" else "dish")
    event.event_time.FromSeconds(NOW_S - 86_400 * 400)
    return event


def publish_model(settings: Settings) -> None:
    """Publish a model of the shop's items, who goes with whom made up: without it there is no map."""
    pairs = [(f"u{number}", item, START_MS + number) for number, item in enumerate([*TITLES, "tea", "pot"] * 4)]
    ModelStore(settings.model.url).publish(quick_model(state_of(pairs, settings), settings))


def events() -> list[events_pb2.Event]:
    """Ann had tea thrice and a pot, ben tea, cy all three."""
    return [
        *(titled(item, title) for item, title in TITLES.items()),
        *(bought("ann", "tea", days_ago, place="Graz") for days_ago in (1, 20, 30)),
        bought("ann", "pot", 2),
        bought("ben", "tea", 3, place="Linz"),
        *(bought("cy", item, 5) for item in TITLES),
    ]


def settings_of(broker: str, folder: Any) -> Settings:
    suffix = f"inspection-{os.getpid()}"
    kafka = KafkaSettings(
        bootstrap_servers=broker, topic=f"test.{suffix}", dead_letter_topic=f"test.{suffix}-dead", num_partitions=1
    )
    return quick_settings(
        checkpoint={"url": str(folder / "checkpoints")},
        model={"url": str(folder / "models")},
        ranking={"context_weights": {"place": {}}},
        server={"port": 0},
    ).model_copy(update={"kafka": kafka})


@pytest.fixture(scope="module")
def shop(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A server that runs in a thread, for all tests here."""
    settings = settings_of(broker, tmp_path_factory.mktemp("inspection"))
    publish_model(settings)
    ensure_topics(settings)
    with EventPublisher(settings) as publisher:
        sent = [publisher.publish(event) for event in events()]
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def done(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(120)

    async def make() -> Server:
        return Server(settings)

    server = done(make())
    try:
        done(server.start())
        with grpc.insecure_channel(server.address) as public, grpc.insecure_channel(server.admin_address) as admin:
            request = recommender_pb2.RecommendRequest(user="ann")
            request.min_position.next_offsets.update({partition: offset + 1 for partition, offset in sorted(sent)})
            request.wait.FromSeconds(5)
            until(lambda: not is_behind(recommender_pb2_grpc.RecommenderServiceStub(public), request))
            yield Shop(server, inspection_pb2_grpc.InspectionServiceStub(admin), server.admin_address)
    finally:
        done(server.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def is_behind(recommender: recommender_pb2_grpc.RecommenderServiceStub, request: Any) -> bool:
    try:
        return bool(recommender.Recommend(request, timeout=60).is_behind_min_position)
    except grpc.RpcError:  # It is loading.
        return True


def until(is_so: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def refused(call: Callable[..., Any], request: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as error:
        call(request, timeout=60)
    return error.value.code(), error.value.details()


def test_nodes_are_found_by_id_and_by_name(shop: Shop) -> None:
    answer = shop.inspection.SearchNodes(pb.SearchNodesRequest(type="item", text="TEA"))
    assert [(node.id, node.name, node.num_interactions) for node in answer.nodes] == [
        ("tea", "Green Tea", 5),
        ("pot", "Tea pot", 2),
    ]
    assert not answer.has_more
    assert answer.nodes[0].latest_time.seconds == NOW_S - 86_400
    first = shop.inspection.SearchNodes(pb.SearchNodesRequest(type="user", page_size=1))
    assert ([node.id for node in first.nodes], first.has_more) == (["ann"], True), "the one with the most interactions"


def test_a_node_is_shown_whole(shop: Shop) -> None:
    ann = shop.inspection.GetNode(pb.GetNodeRequest(type="user", id="ann", max_interactions=2))
    assert [(each.other.name, each.type, dict(each.context)) for each in ann.interactions] == [
        ("Green Tea", "purchase", {"place": "Graz"}),
        ("Tea pot", "purchase", {}),
    ]
    assert (ann.node.num_interactions, ann.num_counted, ann.days_per_count) == (4, 4, 1)
    assert [count.count for count in ann.counts] == [1, 1, 1, 1]
    assert ann.first_time.seconds == NOW_S - 30 * 86_400
    tea = shop.inspection.GetNode(pb.GetNodeRequest(type="item", id="tea"))
    assert tea.attributes["title"].text == "Green Tea"
    assert tea.attributes["kind"].categories == ["drink"]
    assert dict(tea.num_edges) == {"user:purchase:item": 5}
    assert [each.other.id for each in tea.interactions] == ["ann", "ben", "cy", "ann", "ann"]


def test_a_neighbourhood_is_nodes_and_edges(shop: Shop) -> None:
    ben = shop.inspection.GetNeighbourhood(pb.GetNeighbourhoodRequest(type="user", id="ben"))
    assert [(each.node.name, each.depth) for each in ben.nodes] == [
        *(("ben", 0), ("Green Tea", 1)),
        *(("ann", 2), ("cy", 2)),
    ]
    edges = {(ben.nodes[each.source].node.id, ben.nodes[each.target].node.id): each.count for each in ben.edges}
    assert edges == {("ben", "tea"): 1, ("ann", "tea"): 3, ("cy", "tea"): 1}
    assert not ben.is_cut
    cut = shop.inspection.GetNeighbourhood(pb.GetNeighbourhoodRequest(type="user", id="cy", max_edges=1, depth=1))
    assert (len(cut.nodes), cut.is_cut) == (2, True)


def test_attributes_and_circumstances_are_listed(shop: Shop) -> None:
    listed = shop.inspection.ListAttributes(pb.ListAttributesRequest())
    assert (listed.item_type, listed.name_attribute) == ("item", "title")
    found = {(each.node_type, each.name): (each.kind, each.num_nodes, list(each.values)) for each in listed.attributes}
    assert found == {("item", "kind"): ("category", 3, ["dish", "drink"]), ("item", "title"): ("text", 3, [])}
    assert [(each.name, list(each.values)) for each in listed.circumstances] == [("place", ["Graz", "Linz"])]


def test_the_map_has_the_items_and_marks_the_nearest(shop: Shop) -> None:
    request = pb.GetMapRequest(color_by="kind", near="tea", num_near=1)
    until(
        lambda: len(shop.inspection.GetMap(pb.GetMapRequest()).points) == len(TITLES)
    )  # New items have no vector yet.
    answer = shop.inspection.GetMap(request)
    assert answer.model_version == "000001"
    assert {(point.item, point.name, point.group) for point in answer.points} == {
        *(("tea", "Green Tea", "drink"), ("pot", "Tea pot", "dish"), ("mug", "Mug", "dish")),
    }
    cosines = {point.item: point.cosine for point in answer.points if point.HasField("cosine")}
    assert cosines["tea"] == 1.0
    assert len(cosines) == 2
    assert shop.inspection.GetMap(request) == answer, "it is laid out once"


def test_an_unknown_node_is_not_found_and_near_ids_are_named(shop: Shop) -> None:
    code, words = refused(shop.inspection.GetNode, pb.GetNodeRequest(type="user", id="anna"))
    assert (code, words) == (grpc.StatusCode.NOT_FOUND, "no user with the id 'anna' (near: ann)")


@pytest.mark.parametrize(
    ("method", "request_", "words"),
    [
        ("SearchNodes", pb.SearchNodesRequest(type="brand"), "no node type 'brand' (choices: item, user)"),
        ("SearchNodes", pb.SearchNodesRequest(type="item", page_size=201), "page_size"),
        ("SearchNodes", pb.SearchNodesRequest(type="item", text="x" * 1_001), "text"),
        ("GetNode", pb.GetNodeRequest(type="item"), "id: wanted 1 to 256 bytes"),
        ("GetNeighbourhood", pb.GetNeighbourhoodRequest(type="item", id="tea", depth=4), "depth"),
        ("GetMap", pb.GetMapRequest(max_items=9), "wanted 10 to 5,000"),
        ("GetMap", pb.GetMapRequest(color_by="shade"), "no category attribute 'shade' (choices: kind)"),
        ("GetNode", pb.GetNodeRequest(type="item", id="tea", max_interactions=-1), "max_interactions"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_in_words(shop: Shop, method: str, request_: Any, words: str) -> None:
    code, said = refused(getattr(shop.inspection, method), request_)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert words in said


def run_cli(shop: Shop, *arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments, "--address", shop.admin_address])
    assert result.exit_code == 0, result.output
    return result.output


def test_operators_find_and_see_nodes_without_a_browser(shop: Shop) -> None:
    lines = run_cli(shop, "search", "item", "tea").splitlines()
    assert [line.split()[0] for line in lines] == ["id", "tea", "pot"]
    assert "Green Tea" in lines[1]
    assert json.loads(run_cli(shop, "search", "user", "--count", "1", "--json"))["nodes"][0]["id"] == "ann"
    shown = run_cli(shop, "inspect", "user", "ann")
    assert "4 interactions" in shown
    assert "edges user:purchase:item" in shown
    assert "place Graz" in shown
    assert json.loads(run_cli(shop, "inspect", "item", "tea", "--json"))["attributes"]["title"]["text"] == "Green Tea"
    unknown = CliRunner().invoke(app, ["inspect", "user", "anna", "--address", shop.admin_address])
    assert "near: ann" in str(unknown.exception)
