"""What speaks gRPC for the server: grpcio, or pygrpc-native, whose network work is done in Rust, outside the GIL."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, cast

import grpc
import structlog

from springtide.extras import refuse_without
from springtide.settings.sections.serving import ServerSettings
from springtide.v1 import recommender_pb2
from springtide_services.addresses import is_loopback
from springtide_services.metrics.calls import CallCounts
from springtide_services.metrics.counted_handlers import counted_handlers
from springtide_services.serving.guarded_handlers import guarded_handlers

logger = structlog.stdlib.get_logger(__name__)

# How many requests may wait in grpcio to be taken into Python, where they are answered or refused one by one, 2,000 to
# 5,000 a second. It cancels what comes beyond that, by default at random from 1,000 on. Each takes about 8 kB.
_MAX_WAITING = 20_000
_MAX_WAIT_S = 30  # As by default, unless the settings allow requests to take longer.
_TAKEN_FOR_EACH_OPEN = 2  # By the native engine, which takes all at once: half of them may be refused at little cost.

_BOUNDED_SERVICE = f"/{recommender_pb2.DESCRIPTOR.services_by_name['RecommenderService'].full_name}/"
_OFTEN_CALLED = frozenset({"Recommend"})  # Methods that a server may be asked for thousands of times a second.


def make_grpc_server(
    settings: ServerSettings,
    interceptors: "Sequence[grpc.aio.ServerInterceptor[Any, Any]]" = (),
    on_refused: Callable[[str, grpc.StatusCode], None] = lambda path, code: None,
) -> grpc.aio.Server:
    """Return a server with no servicer and no port yet; it serves on the event loop that starts it.

    Args:
        settings: Gives the engine, and the host that it will listen on.
        interceptors: What each call goes through first, in this order.
        on_refused: Called with the path and the status of each call that the engine itself refuses.

    Raises:
        SettingsError: If the engine is not installed.
    """
    options = [
        ("grpc.so_reuseport", 0),  # A second server on the port must fail, not take half the requests.
        ("grpc.max_receive_message_length", settings.max_request_bytes),
        ("grpc.server.max_pending_requests", _MAX_WAITING),
        ("grpc.server.max_pending_requests_hard_limit", _MAX_WAITING),
        # It cancels what has waited for so many seconds, too.
        ("grpc.server_max_unrequested_time_in_server", max(_MAX_WAIT_S, math.ceil(settings.max_deadline_s))),
    ]
    if settings.engine == "grpcio":
        return grpc.aio.server(options=options, interceptors=interceptors)
    refuse_without("native")
    from springtide_services.serving.native_engine import NativeServer

    if not is_loopback(settings.host):
        logger.warning("engine_trusts_clients", host=settings.host)
    server: grpc.aio.Server = NativeServer(
        options,
        settings.max_open_requests,
        _TAKEN_FOR_EACH_OPEN * settings.max_open_requests,
        _is_bounded,
        interceptors,
        on_refused,
    )
    return server


def for_services(server: grpc.aio.Server, settings: ServerSettings, calls: CallCounts | None = None) -> grpc.aio.Server:
    """Return what generated code is to add services to, so that they are in a server that ``make_grpc_server`` made.

    For each method that is registered, grpcio waits by a task of its own, and each call looks at all these tasks. So
    only those methods are registered that are called often; the others are found by their names when they are called.
    The native engine serves itself what is registered, and nothing else. On both, bytes that are none are refused.

    Args:
        server: The server.
        settings: Those that it was made by.
        calls: Where its calls are counted; None counts none.
    """
    return cast(grpc.aio.Server, _Services(server, _OFTEN_CALLED if settings.engine == "grpcio" else None, calls))


class _Services:
    """Adds the methods of services to a server, each guarded, and registers few of them; all if ``registered`` is None.

    Generated code adds each method twice: by a handler that finds it, and by its name. The names are all that is taken.
    """

    def __init__(self, server: grpc.aio.Server, registered: Collection[str] | None, calls: CallCounts | None) -> None:
        self._server = server
        self._registered = registered
        self._calls = calls

    def add_generic_rpc_handlers(self, handlers: "Sequence[grpc.GenericRpcHandler[Any, Any]]") -> None:
        """Add nothing: ``add_registered_method_handlers`` follows, or came before."""

    def add_registered_method_handlers(
        self, service: str, handlers: "Mapping[str, grpc.RpcMethodHandler[Any, Any]]"
    ) -> None:
        guarded = guarded_handlers(handlers)
        if self._calls is not None:
            guarded = counted_handlers(service, guarded, self._calls)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, guarded),))
        names = guarded.keys() if self._registered is None else self._registered
        chosen = {name: handler for name, handler in guarded.items() if name in names}
        if chosen:
            self._server.add_registered_method_handlers(service, chosen)  # type: ignore[attr-defined]  # Newer than its stubs.


def _is_bounded(path: str) -> bool:
    """Return whether calls of a method are refused where too many are open: not health, nor the status."""
    return path.startswith(_BOUNDED_SERVICE)
