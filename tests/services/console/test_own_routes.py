"""The routes that the console answers itself: events in, and who may call which."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from springtide.clock import wall_ms
from springtide.settings.model import KafkaSettings, Settings
from springtide.v1 import events_pb2
from springtide_services.access.roles import ROLES_OF_ROUTES, Role
from springtide_services.access.token_file import add_token
from springtide_services.access.tokens import make_token
from springtide_services.console.app import make_app
from springtide_services.gateway import events_in
from springtide_services.gateway.upstream import Upstream
from springtide_services.stream.whole_topic import records_of

AT = "2024-05-01T12:00:00Z"
Call = Callable[..., Awaitable[httpx.Response]]


def with_app(settings: Settings, ask: Callable[[Call], Awaitable[None]]) -> None:
    """Let a test ask a console whose server is away."""

    async def scenario() -> None:
        app = make_app(Upstream(*(grpc.aio.insecure_channel("127.0.0.1:1") for _ in range(2))), settings)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", timeout=60) as client,
        ):

            async def call(method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
                content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
                return await client.request(
                    method, path, content=content, headers={"content-type": "application/json", **headers}
                )

            await ask(call)

    asyncio.run(scenario())


def purchase(user: str) -> dict[str, Any]:
    return {"eventTime": AT, "interaction": {"user": user, "item": "tea", "type": "purchase"}}


def stored(kafka: KafkaSettings) -> list[tuple[int, int, str, str]]:
    """Partition, offset, key and user of each record."""
    records = records_of(kafka, kafka.topic)
    return sorted(
        (each.partition, each.offset, each.key.decode(), events_pb2.Event.FromString(each.value).interaction.user)
        for each in records
    )


def test_events_are_stored_by_their_users_and_the_answer_says_where(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    kafka = fresh_kafka()

    async def ask(call: Call) -> None:
        one = await call("POST", "/v1/events", purchase("ann"))
        assert one.status_code == 200
        assert one.json()["numPublished"] == 1
        many = await call("POST", "/v1/events", [purchase(f"user {number}") for number in range(20)])
        lines = b"\n".join(json.dumps(purchase(user)).encode() for user in ("ann", "eve"))
        last = await call("POST", "/v1/events", lines, **{"content-type": "application/x-ndjson"})
        found = stored(kafka)
        assert len(found) == 23
        assert all(key == user for _, _, key, user in found)
        ends = {str(partition): str(offset + 1) for partition, offset, _, _ in found}
        assert {**many.json()["position"]["nextOffsets"], **last.json()["position"]["nextOffsets"]} == ends

    with_app(Settings(kafka=kafka), ask)


def test_bad_events_are_refused_and_the_good_ones_are_stored(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    kafka = fresh_kafka()

    async def ask(call: Call) -> None:
        answer = await call("POST", "/v1/events", [purchase("ann"), purchase(""), purchase("bob")])
        assert (answer.status_code, answer.json()["numPublished"]) == (200, 2)
        assert [(each["index"], each["reason"]) for each in answer.json()["refused"]] == [(1, "empty_id")]
        none = await call("POST", "/v1/events", purchase(""))
        assert (none.status_code, none.json()["code"]) == (400, "invalid_argument")
        assert none.json()["message"].startswith("no event was published; event 0: interaction.user")
        assert none.json()["position"] == {}
        broken = await call("POST", "/v1/events", b"{")
        assert (broken.status_code, broken.json()["code"]) == (400, "invalid_argument")
        assert [user for _, _, _, user in sorted(stored(kafka), key=lambda each: each[3])] == ["ann", "bob"]

    with_app(Settings(kafka=kafka), ask)


def test_too_many_events_are_refused_whole(fresh_kafka: Callable[..., KafkaSettings]) -> None:
    settings = Settings.model_validate({"kafka": fresh_kafka().model_dump(), "console": {"max_events": 2}})

    async def ask(call: Call) -> None:
        answer = await call("POST", "/v1/events", [purchase("ann")] * 3)
        assert (answer.status_code, answer.json()["code"]) == (413, "resource_exhausted")
        assert stored(settings.kafka) == []

    with_app(settings, ask)


def test_without_a_kafka_it_is_said_that_there_is_none() -> None:
    async def ask(call: Call) -> None:
        for method, path in (("POST", "/v1/events"), ("GET", "/v1/events"), ("GET", "/v1/dead-letters")):
            answer = await call(method, path, purchase("ann") if method == "POST" else None)
            assert (answer.status_code, answer.json()["code"]) == (501, "unimplemented")
            assert "kafka.bootstrap_servers" in answer.json()["message"]

    with_app(Settings(), ask)


def test_a_broker_that_is_away_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_in, "_PATIENCE_S", 0.2)

    async def ask(call: Call) -> None:
        answer = await call("POST", "/v1/events", purchase("ann"))
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["retry-after"] == "1"
        assert "127.0.0.1:1" in answer.json()["message"]

    with_app(Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1")), ask)


ROUTES: Mapping[str, tuple[str, str, Any]] = {
    "POST /v1/events": ("POST", "/v1/events", {}),
    "GET /v1/events": ("GET", "/v1/events", None),
    "GET /v1/dead-letters": ("GET", "/v1/dead-letters", None),
    "GET /v1/dead-letters?reason": ("GET", "/v1/dead-letters?reason=undecodable", None),
    "POST /v1/dead-letters:replay": ("POST", "/v1/dead-letters:replay", {"reason": "undecodable"}),
}


def test_each_route_is_for_its_roles(tmp_path: Path) -> None:
    assert ROUTES.keys() == ROLES_OF_ROUTES.keys()
    shown = {}
    for role in Role:
        text, token = make_token(role.value, (role,), wall_ms())
        add_token(tmp_path / "tokens", token)
        shown[role] = text
    settings = Settings.model_validate({"server": {"tokens": {"file": str(tmp_path / "tokens")}}})

    async def ask(call: Call) -> None:
        for name, (method, path, body) in ROUTES.items():
            for role, text in shown.items():
                answer = await call(method, path, body, authorization=f"Bearer {text}")
                # Who may is told that there is no Kafka.
                assert answer.status_code == (501 if role in ROLES_OF_ROUTES[name] else 403), (name, role)
            nobody = await call(method, path, body)
            assert (nobody.status_code, nobody.json()["code"]) == (401, "unauthenticated")
            assert (await call(method, path, body, **{"api-key": "sk-nonsense"})).status_code == 401

    with_app(settings, ask)


def test_the_openapi_document_has_each_route_and_all_that_it_refers_to() -> None:
    async def ask(call: Call) -> None:
        document = (await call("GET", "/openapi.json")).json()
        methods = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
        assert {name.partition("?")[0] for name in ROLES_OF_ROUTES} <= methods
        assert "Event" in document["components"]["schemas"]

    with_app(Settings(), ask)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"everything": true}', b'{"reason": 1}', b"{"])
def test_a_replay_that_names_nothing_is_refused(body: bytes) -> None:
    async def ask(call: Call) -> None:
        answer = await call("POST", "/v1/dead-letters:replay", body)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")

    with_app(Settings(), ask)


def test_a_limit_that_is_none_is_refused() -> None:
    async def ask(call: Call) -> None:
        for limit in ("0", "x", "1000000", "-1"):
            answer = await call("GET", f"/v1/dead-letters?reason=undecodable&limit={limit}")
            assert answer.status_code == 400
            assert "wanted 1 to 500" in answer.json()["message"]

    with_app(Settings(), ask)
