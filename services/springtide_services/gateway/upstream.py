"""The server behind the gateway: its methods by their names, called over gRPC with bytes as they come."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from springtide.v1 import admin_pb2, inspection_pb2, recommender_pb2

_OF_OPERATORS = (admin_pb2, inspection_pb2)
_FILES = (recommender_pb2, *_OF_OPERATORS)


@dataclass(frozen=True, slots=True)
class UpstreamMethod:
    """A method of the server.

    Attributes:
        descriptor: What the proto says of it.
        is_of_operators: Whether the listener for operators answers it.
    """

    descriptor: MethodDescriptor
    is_of_operators: bool

    @property
    def path(self) -> str:
        """Its path in gRPC and in HTTP: ``/springtide.v1.RecommenderService/Recommend``."""
        return f"/{self.descriptor.containing_service.full_name}/{self.descriptor.name}"

    @property
    def request_type(self) -> type[Message]:
        """The class of its requests."""
        return GetMessageClass(self.descriptor.input_type)

    @property
    def response_type(self) -> type[Message]:
        """The class of its responses."""
        return GetMessageClass(self.descriptor.output_type)

    @property
    def is_streaming(self) -> bool:
        """Whether it answers by a stream."""
        return bool(self.descriptor.server_streaming)


def all_methods() -> Mapping[str, UpstreamMethod]:
    """Return all methods of the server, by their paths."""
    methods = [
        UpstreamMethod(method, file in _OF_OPERATORS)
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
        channel = self._admin_channel if method.is_of_operators else self._channel
        make = channel.unary_stream if method.is_streaming else channel.unary_unary
        stub = make(
            method.path,
            request_serializer=method.request_type.SerializeToString,
            response_deserializer=method.response_type.FromString,
        )
        return stub(request, metadata=metadata, timeout=timeout_s)

    async def close(self) -> None:
        """Close the connections."""
        await self._channel.close(None)
        await self._admin_channel.close(None)
