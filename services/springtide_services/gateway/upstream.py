"""The server behind the gateway: its methods by their names, called over gRPC."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from springtide.v1 import admin_pb2, inspection_pb2, recommender_pb2

UPSTREAM_OPTIONS = (
    (
        "grpc.max_receive_message_length",
        -1,
    ),  # The server bounds its answers; 1,000 items with all factors are above 4 MB.
    # gRPC's own pauses of up to two minutes would keep a gateway that has started first from its server for long.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)
"""Options of the channels to a server."""

_OF_OPERATORS = (admin_pb2, inspection_pb2)
_FILES = (recommender_pb2, *_OF_OPERATORS)


@dataclass(frozen=True, slots=True)
class UpstreamMethod:
    """A method of the server.

    Attributes:
        descriptor: What the proto says of it.
        is_of_operators: Whether the listener for operators answers it.
        path: Its path in gRPC and in HTTP: ``/springtide.v1.RecommenderService/Recommend``.
        request_type: The class of its requests.
        response_type: The class of its responses.
        is_streaming: Whether it answers by a stream.
    """

    descriptor: MethodDescriptor
    is_of_operators: bool
    path: str
    request_type: type[Message]
    response_type: type[Message]
    is_streaming: bool


@functools.cache
def all_methods() -> Mapping[str, UpstreamMethod]:
    """Return all methods of the server, by their paths."""
    methods = [
        UpstreamMethod(
            method,
            file in _OF_OPERATORS,
            f"/{service.full_name}/{method.name}",
            GetMessageClass(method.input_type),
            GetMessageClass(method.output_type),
            bool(method.server_streaming),
        )
        for file in _FILES
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]
    return {method.path: method for method in methods}


class Upstream:
    """Calls a server on the event loop that made it.

    Args:
        channel: To its public listener.
        admin_channel: To its listener for operators.
    """

    def __init__(self, channel: grpc.aio.Channel, admin_channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._admin_channel = admin_channel
        self._stubs: dict[str, Any] = {}

    def call(
        self, method: UpstreamMethod, request: Message, metadata: tuple[tuple[str, str], ...], timeout_s: float | None
    ) -> Any:
        """Call a method; the call is awaited for its answer, or iterated over where it streams.

        Args:
            method: The method.
            request: Its request.
            metadata: What to send beside it, such as the token.
            timeout_s: Its deadline from now on; None leaves it to the server.
        """
        stub = self._stubs.get(method.path)
        if stub is None:
            stub = self._stubs[method.path] = self._make_stub(method)
        return stub(request, metadata=metadata, timeout=timeout_s)

    async def close(self) -> None:
        """Close the connections."""
        await self._channel.close(None)
        await self._admin_channel.close(None)

    def _make_stub(self, method: UpstreamMethod) -> Any:
        channel = self._admin_channel if method.is_of_operators else self._channel
        make = channel.unary_stream if method.is_streaming else channel.unary_unary
        return make(
            method.path,
            request_serializer=method.request_type.SerializeToString,
            response_deserializer=method.response_type.FromString,
        )
