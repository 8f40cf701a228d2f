"""The processes beside a bench: the server, the bare gRPC echo, and the load generator."""

import asyncio
import contextlib
import functools
import gc
import itertools
import json
import logging
import pickle
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import grpc
import structlog
import uvloop

from springtide_services.termination import end_with_parent

METHOD = "/springtide.v1.RecommenderService/Recommend"
_TIMEOUT_S = 10  # Of a request in an open loop.
_LASTING = ("serve", "serve-stages", "train", "publish", "echo", "console")  # Roles that go on until they are ended.
WARM_UP_SHARE = 0.2  # Of the time: channels are opened, and caches filled, before anything counts.


def main(role: str, *arguments: str) -> None:
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),  # Nobody reads our stdout to its end.
    )
    if role == "serve":
        from springtide_services.thread_pools import wait_without_spinning

        wait_without_spinning()  # As `springtide serve` does.
        from springtide.settings.model import Settings
        from springtide_services.serving.server import serve

        serve(Settings.model_validate_json(arguments[0]), functools.partial(print, flush=True))
    elif role == "serve-stages":
        from benches.stages import noting

        with noting(Path(arguments[1])):
            main("serve", arguments[0])
    elif role == "train":
        _train(arguments[0], *map(int, arguments[1:]))
    elif role == "publish":
        _publish(arguments[0], float(arguments[1]))
    elif role == "echo":
        uvloop.run(_echo(int(arguments[0]), *arguments[1:]))
    elif role == "console":
        from springtide.settings.model import Settings
        from springtide_services.addresses import join_address
        from springtide_services.console.server import Target, serve_console

        settings = Settings.model_validate_json(arguments[0])
        server = settings.server
        target = Target(
            join_address(server.host, server.port), join_address(server.admin_host, server.admin_port_number)
        )
        serve_console(settings, target, functools.partial(print, flush=True))
    elif role == "open-load":
        address, method, bodies, per_s, seconds = arguments
        requests = pickle.loads(Path(bodies).read_bytes())
        json.dump(uvloop.run(_open_load(address, method, requests, float(per_s), float(seconds))), sys.stdout)
    else:
        address, method, bodies, num_clients, seconds = arguments
        requests = pickle.loads(Path(bodies).read_bytes())  # Written by the bench a moment ago.
        json.dump(uvloop.run(_load(address, method, requests, int(num_clients), float(seconds))), sys.stdout)


def _publish(settings_json: str, per_s: float) -> None:
    """Publish so many purchases a second, each as a record of its own, until the process is ended."""
    from benches.freshness import make_producer, random_event

    from springtide.settings.model import Settings

    kafka, chance = Settings.model_validate_json(settings_json).kafka, random.Random(5)
    at_once = max(1, round(per_s / 1_000))
    producer = make_producer(kafka, linger_ms=0 if at_once == 1 else 10)  # As who publishes so much does.
    print("publishing", flush=True)
    started = time.perf_counter()
    for number in itertools.count(1):
        event = random_event(chance)
        while True:
            try:
                producer.produce(kafka.topic, event.SerializeToString(), event.interaction.user.encode())
                break
            except BufferError:  # The broker takes less.
                producer.poll(0.1)
        producer.poll(0)
        if number % at_once == 0:
            time.sleep(max(0.0, started + number / per_s - time.perf_counter()))


def _train(settings_json: str, num_interactions: int, num_users: int, num_items: int) -> None:
    """Retrain on a synthetic stream, again and again, as a trainer does, until the process is ended."""
    from springtide_services.priorities import give_way, take_short_turns
    from springtide_services.thread_pools import wait_without_spinning

    take_short_turns()  # As `springtide train` does.
    wait_without_spinning()
    import torch
    from benches.synthetic import make_interactions

    from springtide.events import EventBatch
    from springtide.plugins.loading import load_plugins
    from springtide.ranking.weights import make_context_weights
    from springtide.settings.model import Settings
    from springtide.state import LiveState
    from springtide.training.train import train

    settings = Settings.model_validate_json(settings_json)
    give_way(settings.training.niceness)
    if settings.training.num_threads is not None:
        torch.set_num_threads(settings.training.num_threads)
    plugins = load_plugins()
    state = LiveState(settings, make_context_weights(settings.ranking, plugins))
    state.apply(EventBatch(make_interactions(num_interactions, num_users, num_items)))
    print("training", flush=True)
    while True:
        train(state, settings, plugins, mode="retrain")


async def _echo(response_bytes: int, engine: str = "grpcio") -> None:
    """Answer every call with as many bytes: what the gRPC stack costs by itself."""
    from springtide.settings.model import ServerSettings
    from springtide_services.serving.engines import make_grpc_server

    response = bytes(response_bytes)

    async def answer(request: bytes, context: object) -> bytes:
        return response

    _, service, method = METHOD.split("/")
    handlers = {method: grpc.unary_unary_rpc_method_handler(answer)}
    server = make_grpc_server(ServerSettings.model_validate({"engine": engine}))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_registered_method_handlers(service, handlers)  # The native engine serves only what is registered.
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    await server.stop(None)


async def _load(address: str, method: str, requests: Sequence[bytes], num_clients: int, seconds: float) -> list[float]:
    """Send requests from clients that each wait for their answer; return the latencies in seconds.

    Messages stay bytes; an answer that is not OK raises.
    """
    latencies: list[float] = []
    gc.disable()
    started = time.perf_counter()
    counted, end = started + WARM_UP_SHARE * seconds, started + (1 + WARM_UP_SHARE) * seconds

    async def client(number: int) -> None:
        async with grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            call = channel.unary_unary(method, None, None)
            position = number * len(requests) // num_clients
            while (sent := time.perf_counter()) < end:
                await call(requests[position % len(requests)])
                position += 1
                if sent >= counted:
                    latencies.append(time.perf_counter() - sent)

    await asyncio.gather(*(client(number) for number in range(num_clients)))
    return latencies


async def _open_load(address: str, method: str, requests: Sequence[bytes], per_s: float, seconds: float) -> list[float]:
    """Send so many requests a second, whether or not earlier ones are answered; return the latencies in seconds.

    A latency counts from when the request was due, so that a server that stalls is not asked less by it. The requests
    come at random times, as those of many people do.
    """
    latencies: list[float] = []
    gc.disable()
    chance, open_calls = random.Random(7), set()
    async with contextlib.AsyncExitStack() as stack:
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [await stack.enter_async_context(grpc.aio.insecure_channel(address, options)) for _ in range(4)]
        calls = [channel.unary_unary(method, None, None) for channel in channels]

        async def ask(number: int, due: float, counts: bool) -> None:
            try:
                await calls[number % len(calls)](requests[number % len(requests)], timeout=_TIMEOUT_S)
            except grpc.aio.AioRpcError:
                due = time.perf_counter() - _TIMEOUT_S
            if counts:
                latencies.append(time.perf_counter() - due)

        due = time.perf_counter()
        counted, end = due + WARM_UP_SHARE * seconds, due + (1 + WARM_UP_SHARE) * seconds
        for number in itertools.count():
            due += chance.expovariate(per_s)
            if due >= end:
                break
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            call = asyncio.create_task(ask(number, due, due >= counted))
            open_calls.add(call)
            call.add_done_callback(open_calls.discard)
        await asyncio.gather(*open_calls)
    return latencies


if __name__ == "__main__":
    if sys.argv[1] in _LASTING:
        end_with_parent()
    main(*sys.argv[1:])
