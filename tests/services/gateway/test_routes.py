"""The gateway's routes where there is no server, and what passes between them and gRPC."""

import asyncio
from collections.abc import Mapping

import grpc
import httpx
import pytest
from starlette.applications import Starlette

from springtide.settings.model import Settings
from springtide_services.addresses import free_port
from springtide_services.gateway.metadata import HeaderError, metadata_of
from springtide_services.gateway.routes import gateway_middleware, gateway_routes
from springtide_services.gateway.upstream import Upstream, all_methods


async def _post_without_a_server(path: str) -> httpx.Response:
    nobody = f"127.0.0.1:{free_port()}"
    upstream = Upstream(grpc.aio.insecure_channel(nobody), grpc.aio.insecure_channel(nobody))
    settings = Settings()
    app = Starlette(routes=gateway_routes(upstream, settings), middleware=gateway_middleware(settings))
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
            return await client.post(path, json={}, headers={"origin": "https://shop.example"})
    finally:
        await upstream.close()


@pytest.mark.parametrize("path", [path for path, method in all_methods().items() if not method.is_streaming])
def test_each_method_without_its_server_is_unavailable(path: str) -> None:
    answer = asyncio.run(_post_without_a_server(path))
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "does not answer" in answer.json()["message"]
    assert "127.0.0.1" not in answer.text, "addresses behind the gateway are nobody's business"


def test_no_page_of_another_origin_may_call_by_default() -> None:
    answer = asyncio.run(_post_without_a_server("/springtide.v1.RecommenderService/Recommend"))
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("headers", "client", "metadata"),
    [
        ({"authorization": "Bearer a", "cookie": "b", "host": "c"}, None, {"authorization": "Bearer a"}),
        ({"api-key": "a", "traceparent": "00-b"}, None, {"api-key": "a", "traceparent": "00-b"}),
        ({}, "192.0.2.1:5000", {"springtide-actor": "gateway client 192.0.2.1"}),
        ({"springtide-actor": "ann"}, "192.0.2.1:5000", {"springtide-actor": "ann"}),
    ],
    ids=["token", "key and trace", "nobody", "somebody"],
)
def test_metadata_is_token_trace_and_actor(
    headers: Mapping[str, str], client: str | None, metadata: Mapping[str, str]
) -> None:
    assert dict(metadata_of(headers, client)) == metadata


@pytest.mark.parametrize("value", ["Bearer ä", "a\x7fb"])
def test_value_that_grpc_cannot_carry_is_refused(value: str) -> None:
    with pytest.raises(HeaderError, match="authorization: wanted printable ASCII"):
        metadata_of({"authorization": value}, None)
