"""What a page of another site, or a name that an attacker has pointed here, gets from the console."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import grpc
import httpx
import pytest

from springtide.settings.model import Settings
from springtide_services.console.app import make_app
from springtide_services.gateway.upstream import Upstream

STATUS = "/springtide.v1.AdminService/GetStatus"
JSON = {"content-type": "application/json"}


def answer(
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
    settings: Settings | None = None,
    base: str = "http://127.0.0.1:8088",
) -> httpx.Response:
    """Ask a console whose server is away: what is refused before it is asked needs none."""

    async def ask() -> httpx.Response:
        channel, admin = (grpc.aio.insecure_channel("127.0.0.1:1") for _ in range(2))
        upstream = Upstream(channel, admin)
        app = make_app(upstream, settings or Settings())
        try:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base) as client:
                return await client.request(method, path, headers=headers, content=content)
        finally:
            await upstream.close()

    return asyncio.run(ask())


def test_each_response_forbids_what_the_pages_do_not_need() -> None:
    for path in ("/", "/static/app.js", "/nothing", "/healthz"):
        headers = answer("GET", path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == "same-origin"


@pytest.mark.parametrize("host", ["127.0.0.1:8088", "localhost:8088", "[::1]:8088", "127.0.0.1"])
def test_names_of_this_machine_are_answered(host: str) -> None:
    assert answer("GET", "/", {"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8088", "127.0.0.1.evil.example", "192.168.1.5", "a:b"])
def test_another_name_is_refused_although_it_leads_here(host: str) -> None:
    response = answer("GET", "/", {"host": host})
    assert response.status_code == 421
    assert response.json()["code"] == "permission_denied"
    assert "console.allow_hosts" in response.json()["message"]


def test_an_allowed_name_is_answered_and_where_tokens_are_asked_for_all_are(tmp_path: Path) -> None:
    settings = Settings.model_validate({"console": {"allow_hosts": ["console.shop.example"]}})
    assert answer("GET", "/", {"host": "console.shop.example"}, settings=settings).status_code == 200
    assert answer("GET", "/", {"host": "evil.example"}, settings=settings).status_code == 421
    (tmp_path / "tokens").touch()
    with_tokens = Settings.model_validate({"server": {"tokens": {"file": str(tmp_path / "tokens")}}})
    assert answer("GET", "/static/app.js", {"host": "evil.example"}, settings=with_tokens).status_code == 200


def test_an_open_console_is_reached_by_its_addresses() -> None:
    settings = Settings.model_validate({"console": {"host": "0.0.0.0"}, "server": {"insecure": True}})
    assert answer("GET", "/", {"host": "192.168.1.5:8088"}, settings=settings).status_code == 200
    assert answer("GET", "/", {"host": "evil.example:8088"}, settings=settings).status_code == 421


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain;json"],
)
def test_what_any_page_may_send_without_asking_changes_nothing(kind: str) -> None:
    response = answer("POST", STATUS, {"content-type": kind} if kind else {}, b"{}")
    assert response.status_code == 415
    assert "application/json" in response.json()["message"]


def test_a_page_of_another_site_is_refused_unless_it_is_named() -> None:
    theirs = {**JSON, "origin": "https://shop.example"}
    refused = answer("POST", STATUS, theirs, b"{}")
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
    settings = Settings.model_validate({"console": {"allow_origins": ["https://shop.example"]}})
    assert answer("POST", STATUS, theirs, b"{}", settings).status_code == 503  # The server is away.
    assert answer("POST", STATUS, {**JSON, "origin": "http://127.0.0.1:8088"}, b"{}").status_code == 503


def test_a_request_that_is_too_large_is_refused_whether_it_says_so_or_not() -> None:
    settings = Settings.model_validate({"server": {"max_request_bytes": 1_000}})
    large = b'{"x": "' + b"x" * 2_000 + b'"}'
    assert answer("POST", STATUS, JSON, large, settings).status_code == 413

    async def parts() -> object:
        yield large

    chunked = answer("POST", STATUS, JSON, parts(), settings)  # type: ignore[arg-type]
    assert chunked.json()["code"] == "resource_exhausted"


def test_what_is_not_there_is_said_in_json_and_folders_are_not_listed() -> None:
    for path in ("/nothing", "/static/", "/static/pages", "/static/../app.py", "/static/%2e%2e/app.py"):
        response = answer("GET", path)
        assert response.status_code == 404, path
        assert response.json()["code"] == "not_found"
    assert answer("GET", STATUS).status_code == 405


def test_static_files_have_their_types_and_are_not_sent_twice() -> None:
    first = answer("GET", "/static/app.js")
    assert first.headers["content-type"].startswith("text/javascript")
    assert answer("GET", "/static/style.css").headers["content-type"].startswith("text/css")
    again = answer("GET", "/static/app.js", {"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["cache-control"] == "no-cache"


def test_it_lives_without_its_server_and_says_that_it_is_away() -> None:
    assert answer("GET", "/healthz").json() == {"status": "ok"}
    ready = answer("GET", "/readyz")
    assert (ready.status_code, ready.json()["code"]) == (503, "unavailable")
    assert "does not answer" in ready.json()["message"]
