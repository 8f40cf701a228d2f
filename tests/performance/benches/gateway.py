"""Recommend through the gateway, as JSON and as Connect's protobuf, beside plain gRPC to the same server."""

import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import grpc
import psutil
from benches.children import METHOD
from benches.figures import Figure, Limit, percentile
from benches.serving import child, serving
from benches.sizes import Sizes

from springtide.settings.model import ConsoleSettings
from springtide.v1 import recommender_pb2 as pb
from springtide_services.addresses import split_address

_TURN_S = 0.1  # Each way is asked so long, then the next: what else the machine does meets all of them.
_PLAIN = "plain gRPC"

Ask = Callable[[str], bytes]


def run(sizes: Sizes) -> list[Figure]:
    with ExitStack() as stack:
        server = stack.enter_context(serving(sizes))
        host, port = split_address(server.address, 0)
        at = server.settings.server.model_copy(update={"host": host, "port": port})
        changes = {"server": at, "console": ConsoleSettings(port=0)}
        gateway = stack.enter_context(child("console", server.settings.model_copy(update=changes).model_dump_json()))
        channel = stack.enter_context(grpc.insecure_channel(server.address))
        plain = channel.unary_unary(METHOD)
        ways: dict[str, Ask] = {
            _PLAIN: lambda user: bytes(plain(_message(user))),
            "Connect, protobuf": _over_http(gateway.line, "application/proto", _message),
            "JSON": _over_http(gateway.line, "application/json", _json),
        }
        users = server.interactions.user_ids
        for name, ask in ways.items():
            answer = ask(users[0])
            assert answer, name
        process = psutil.Process(gateway.pid)
        taken_ms: dict[str, list[float]] = {name: [] for name in ways}
        cpu_ms: dict[str, list[float]] = {name: [] for name in ways}
        ends = time.perf_counter() + 2 * sizes.repetitions * sizes.load_s
        of_users = _in_turn(users)
        while time.perf_counter() < ends:
            for name, ask in ways.items():
                before, num = _cpu_s(process), len(taken_ms[name])
                turn_ends = time.perf_counter() + _TURN_S
                while (started := time.perf_counter()) < turn_ends:
                    ask(next(of_users))
                    taken_ms[name].append(1_000 * (time.perf_counter() - started))
                cpu_ms[name].append(1_000 * (_cpu_s(process) - before) / (len(taken_ms[name]) - num))
    figures = []
    for name in ways:
        limited = name != _PLAIN
        figures += [
            Figure(
                f"Recommend by {name}, p{100 * share:.0f}",
                "ms",
                [percentile(taken_ms[name], share)],
                Limit(_PLAIN, [percentile(taken_ms[_PLAIN], share)]) if limited else None,
            )
            for share in (0.5, 0.99)
        ]
        if limited:
            mean_ms = sum(cpu_ms[name]) / len(cpu_ms[name])
            figures.append(Figure(f"the gateway's CPU, {name}", "ms/request", [mean_ms]))
            figures.append(Figure(f"so one core takes, {name}", "requests/s", [1_000 / max(mean_ms, 1e-3)]))
    return figures


def _over_http(url: str, kind: str, body_of: Callable[[str], bytes]) -> Ask:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)

    def ask(user: str) -> bytes:
        connection.request("POST", METHOD, body_of(user), {"content-type": kind, "accept-encoding": "identity"})
        response = connection.getresponse()
        answer = response.read()
        assert response.status == 200, answer
        return answer

    return ask


def _message(user: str) -> bytes:
    return pb.RecommendRequest(user=user, exclude_seen=["*"]).SerializeToString()


def _json(user: str) -> bytes:
    return json.dumps({"user": user, "excludeSeen": ["*"]}).encode()


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _in_turn(users: tuple[str, ...]) -> Iterator[str]:
    while True:
        yield from users
