"""What a running server says of its calls, its memory and its stream: in its status, and to Prometheus."""

import asyncio
import contextlib
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
import yaml

from springtide.clock import wall_ms
from springtide.errors import SettingsError
from springtide.settings.model import MetricsSettings, Settings
from springtide.v1 import admin_pb2, events_pb2
from springtide.v1 import recommender_pb2 as pb
from springtide_services.access.roles import Role
from springtide_services.access.tokens import make_token
from springtide_services.addresses import free_port
from springtide_services.metrics import catalogue
from springtide_services.metrics.endpoint import MetricsEndpoint
from springtide_services.metrics.samples import Sample

RunServer = Callable[..., AbstractAsyncContextManager[Any]]
Publish = Callable[[Settings, Sequence[events_pb2.Event]], pb.GraphPosition]
Eventually = Callable[..., Awaitable[float]]
DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_status_has_the_calls_and_the_memory(
    on_each_engine: Settings,
    run_server: RunServer,
    publish: Publish,
    diagonal_stream: list[events_pb2.Event],
    eventually: Eventually,
) -> None:
    settings, begun_ms = on_each_engine, wall_ms()

    async def scenario() -> None:
        async with run_server(settings) as running:
            position = await asyncio.to_thread(publish, settings, [*diagonal_stream, diagonal_stream[0]])
            request = pb.RecommendRequest(user="u3", min_position=position)
            request.wait.FromSeconds(10)
            for _ in range(3):
                await running.recommender.Recommend(request)
            with pytest.raises(grpc.aio.AioRpcError):
                await running.recommender.Recommend(pb.RecommendRequest(count=-1))
            status = admin_pb2.GetStatusResponse()

            async def is_counted() -> bool:
                status.CopyFrom(await running.admin.GetStatus(admin_pb2.GetStatusRequest()))
                return sum(calls()["RecommenderService/Recommend"].num_ended.values()) == 4

            def calls() -> dict[str, admin_pb2.MethodCalls]:
                return {each.method.removeprefix("springtide.v1."): each for each in status.calls}

            await eventually(is_counted)
            recommend = calls()["RecommenderService/Recommend"]
            assert dict(recommend.num_ended) == {"OK": 3, "INVALID_ARGUMENT": 1}
            assert recommend.num_last_minute == 4
            assert 0 < recommend.p50_ms <= recommend.p95_ms <= recommend.p99_ms < 60_000
            assert status.num_open_calls == 1, "GetStatus itself"
            assert status.num_applied == len(diagonal_stream) + 1
            assert begun_ms <= status.start_time.ToMilliseconds() <= wall_ms()
            assert 2**20 < status.graph_bytes + 2**20 < status.resident_bytes < status.memory_limit_bytes
            assert status.max_edges == settings.graph.max_edges

    asyncio.run(scenario())


def with_metrics(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update={"metrics": MetricsSettings(port=0), **changes})


def read(address: str, token: str = "", path: str = "/metrics", **options: Any) -> tuple[int, str]:
    """Ask for the metrics; return the status and what was said."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    scheme = "https" if options else "http"
    request = urllib.request.Request(f"{scheme}://{address}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60, **options) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def values_of(text: str) -> dict[str, float]:
    """Return the value of each series."""
    lines = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    return {series: float(value) for series, _, value in lines}


def names_of(text: str) -> set[str]:
    """Return the names of the metrics that a text has."""
    return {words[2] for words in map(str.split, text.splitlines()) if words[:2] == ["#", "TYPE"]}


def test_prometheus_reads_what_the_server_does(
    settings: Settings,
    run_server: RunServer,
    publish: Publish,
    diagonal_stream: list[events_pb2.Event],
    eventually: Eventually,
) -> None:
    settings = with_metrics(settings)

    async def scenario() -> None:
        async with run_server(settings) as running:
            address = running.server.metrics_address
            position = await asyncio.to_thread(publish, settings, [*diagonal_stream, events_pb2.Event()])
            request = pb.RecommendRequest(user="u3", min_position=position)
            request.wait.FromSeconds(10)
            for _ in range(3):
                await running.recommender.Recommend(request)
            with pytest.raises(grpc.aio.AioRpcError):
                await running.recommender.Recommend(pb.RecommendRequest(count=-1))
            await running.admin.StartTraining(admin_pb2.StartTrainingRequest())  # It writes a checkpoint.
            code, text = await asyncio.to_thread(read, address)
            values = values_of(text)
            recommend = 'grpc_method="Recommend",grpc_service="springtide.v1.RecommenderService",grpc_type="unary"'
            assert code == 200
            assert values[f"grpc_server_started_total{{{recommend}}}"] == 4
            assert values[f'grpc_server_handled_total{{grpc_code="OK",{recommend}}}'] == 3
            assert values[f'grpc_server_handled_total{{grpc_code="InvalidArgument",{recommend}}}'] == 1
            assert values[f"grpc_server_handling_seconds_count{{{recommend}}}"] == 4
            assert 0 < values[f"grpc_server_handling_seconds_sum{{{recommend}}}"] < 60
            assert values['springtide_ranking_answers_total{personalization="fallback"}'] == 3
            assert sum(value for name, value in values.items() if "ranking_queries_total" in name) == 3
            assert values["springtide_stream_events_applied_total"] == len(diagonal_stream)
            assert sum(value for name, value in values.items() if "stream_dead_letters_total" in name) == 1
            assert values["springtide_stream_up"] == values["springtide_ready"] == values["springtide_writer"] == 1
            assert values["springtide_stream_lag_events"] == 0
            assert values['springtide_graph_nodes{type="user"}'] == 16
            assert values["springtide_graph_max_edges"] == settings.graph.max_edges
            assert values["springtide_checkpoints_written_total"] >= 1
            assert 0 <= time.time() - values["springtide_checkpoint_created_timestamp_seconds"] < 120
            assert values["process_resident_memory_bytes"] < values["springtide_memory_limit_bytes"]
            known = {spec.name for spec in (*catalogue.SERVER, *catalogue.PROCESS)}
            assert names_of(text) <= known
            not_yet = {
                "problem",
                "gap",
                "index",
                "plugin",
                "quality",
                "training_last",
                "training_updated",
                "model_created",
            }
            assert [name for name in known - names_of(text) if not any(word in name for word in not_yet)] == []

            code, unknown = await asyncio.to_thread(read, address, path="/")
            assert (code, "/metrics" in unknown) == (404, True)

            if (promtool := shutil.which("promtool")) is not None:
                checked = subprocess.run([promtool, "check", "metrics"], input=text, text=True, capture_output=True)
                assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")

    asyncio.run(scenario())
    assert "metrics" not in {thread.name for thread in threading.enumerate()}


def endpoint_of(**settings: Any) -> MetricsEndpoint:
    """Make an endpoint that has one value."""
    return MetricsEndpoint(
        Settings.model_validate({"metrics": {"port": 0, **settings.pop("metrics", {})}, **settings}),
        "port",
        catalogue.SERVER,
        lambda: [Sample("springtide_ready", 1)],
    )


def test_a_token_of_operators_is_wanted_where_there_are_tokens() -> None:
    tokens, lines = {}, []
    for role in Role:
        tokens[role], kept = make_token(role, (role,), wall_ms())
        lines.append(kept.to_line())
    endpoint = endpoint_of(server={"tokens": {"lines": lines}})
    endpoint.start()
    try:
        got = {role: read(endpoint.address, token)[0] for role, token in tokens.items()}
        assert got == {role: 200 if role in (Role.OPERATOR, Role.ADMIN) else 403 for role in Role}
        assert read(endpoint.address)[0] == 401
        last = "1" if tokens[Role.ADMIN].endswith("0") else "0"
        assert read(endpoint.address, tokens[Role.ADMIN][:-1] + last)[0] == 401
        assert read(endpoint.address, path="/anything")[0] == 401, "who has no token learns nothing"
    finally:
        endpoint.stop()


def test_other_machines_are_let_in_by_tls_with_tokens_alone(tmp_path: Path) -> None:
    public = {"metrics": {"host": "0.0.0.0"}}
    with pytest.raises(SettingsError, match=r"metrics\.host: 0\.0\.0\.0 .*TLS"):
        endpoint_of(**public)
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    tls = {"cert": str(tmp_path / "both.pem"), "key": str(tmp_path / "both.pem")}
    with pytest.raises(SettingsError, match="tokens"):
        endpoint_of(**public, server={"tls": tls})
    token, kept = make_token("prometheus", (Role.OPERATOR,), wall_ms())
    endpoint = endpoint_of(**public, server={"tls": tls, "tokens": {"lines": [kept.to_line()]}})
    endpoint.start()
    address = endpoint.address.replace("0.0.0.0", "127.0.0.1")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    try:
        assert read(address, token, context=trusting)[0] == 200
        assert read(address, context=trusting)[0] == 401
        with pytest.raises((ConnectionError, urllib.error.URLError)):
            read(address, token)
        renewed = trustme.CA()
        renewed.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
        with pytest.raises(urllib.error.URLError):
            read(address, token, context=trusting)
        renewed.configure_trust(trusting)
        assert read(address, token, context=trusting)[0] == 200
    finally:
        endpoint.stop()


def test_clients_that_say_nothing_hold_nobody_up() -> None:
    endpoint = endpoint_of()
    endpoint.start()
    host, _, port = endpoint.address.rpartition(":")
    try:
        with contextlib.ExitStack() as silent:
            for _ in range(4):
                silent.enter_context(socket.create_connection((host, int(port))))
            assert read(endpoint.address)[0] == 200
    finally:
        endpoint.stop()


def test_values_that_cannot_be_read_are_an_error_and_the_next_ones_are_read() -> None:
    values: list[Sample | None] = [None, Sample("springtide_ready", 1), Sample("springtide_made_up", 1)]

    def read_next() -> list[Sample]:
        value = values.pop(0)
        if value is None:
            raise OSError("gone")
        return [value]

    endpoint = MetricsEndpoint(with_metrics(Settings()), "port", catalogue.SERVER, read_next)
    endpoint.start()
    try:
        assert [read(endpoint.address)[0] for _ in range(3)] == [500, 200, 500]
    finally:
        endpoint.stop()


def test_a_port_that_is_taken_is_refused_by_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = endpoint_of(metrics={"port": taken.getsockname()[1]})
        with pytest.raises(SettingsError, match=r"^metrics\.port: cannot listen on 127\.0\.0\.1:"):
            endpoint.start()


def query(port: int, expression: str) -> list[dict[str, Any]]:
    """Ask a Prometheus for an expression; an error of it fails the test."""
    words = urllib.parse.urlencode({"query": expression})
    code, text = read(f"127.0.0.1:{port}", path=f"/api/v1/query?{words}")
    assert code == 200, f"{expression}: {text}"
    found: list[dict[str, Any]] = json.loads(text)["data"]["result"]
    return found


def drawn_expressions() -> list[str]:
    """Return what the dashboard asks for, as Grafana would ask."""
    dashboard = json.loads((DEPLOY / "grafana/springtide.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    return [each.replace("$__rate_interval", "1m").replace("$instance", ".*") for each in asked]


def test_a_real_prometheus_reads_a_server_and_answers_all_that_the_dashboard_asks(
    settings: Settings,
    run_server: RunServer,
    publish: Publish,
    diagonal_stream: list[events_pb2.Event],
    eventually: Eventually,
    tmp_path: Path,
) -> None:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("needs prometheus, of Debian's package of that name")
    token, kept = make_token("prometheus", (Role.OPERATOR,), wall_ms())
    asking, asking_kept = make_token("shop", (Role.CLIENT,), wall_ms())
    guarded = settings.server.model_copy(
        update={"tokens": settings.server.tokens.model_copy(update={"lines": (kept.to_line(), asking_kept.to_line())})}
    )
    settings, port = with_metrics(settings, server=guarded), free_port()

    async def scenario() -> None:
        async with run_server(settings) as running:
            config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
            config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
            job: dict[str, Any] = {
                "job_name": config["scrape_configs"][0]["job_name"]
            }  # On this machine there is no TLS.
            job["static_configs"] = [{"targets": [running.server.metrics_address]}]
            job["authorization"] = {"credentials_file": str(tmp_path / "token")}
            config["scrape_configs"] = [job]
            (tmp_path / "token").write_text(token)
            (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
            shutil.copy(DEPLOY / "prometheus/alerts.yaml", tmp_path)
            words = [
                f"--config.file={tmp_path}/prometheus.yml",
                f"--storage.tsdb.path={tmp_path}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ]
            with (tmp_path / "log").open("w") as log, subprocess.Popen([program, *words], stderr=log) as prometheus:
                try:
                    await ask_prometheus(running)
                finally:
                    prometheus.terminate()

    async def ask_prometheus(running: Any) -> None:
        await asyncio.to_thread(publish, settings, diagonal_stream)
        await asyncio.to_thread(running.server._loaded.ingest.checkpoint_now)
        by_token = (("authorization", f"Bearer {asking}"),)

        async def has_rates() -> bool:
            await running.recommender.Recommend(pb.RecommendRequest(user="u3"), metadata=by_token)
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                asked = 'rate(grpc_server_handled_total{grpc_method="Recommend",grpc_code="OK"}[1m]) > 0'
                return bool(await asyncio.to_thread(query, port, asked))
            return False

        await eventually(has_rates)
        assert [found["value"][1] for found in query(port, 'up{job="springtide-server"}')] == ["1"]
        answered = {expression: await asyncio.to_thread(query, port, expression) for expression in drawn_expressions()}
        # What was never called, trained or measured has no value yet.
        silent = re.compile(
            r"dead_letters_total|quality_(ndcg|hit)|model_created|trainer_|plugin|training_last|index|problem|grpc_code!="
        )
        assert [each for each, found in answered.items() if not found and not silent.search(each)] == []
        code, text = await asyncio.to_thread(read, f"127.0.0.1:{port}", path="/api/v1/rules")
        rules = json.loads(text)["data"]["groups"][0]["rules"]
        assert (code, {rule["health"] for rule in rules}, len(rules) > 10) == (200, {"ok"}, True)
        firing = [rule["name"] for rule in rules if rule["state"] == "firing"]
        assert firing == []

    asyncio.run(scenario())
