"""Which calls of a server are traced."""

from functools import cache
from typing import Any

from springtide.v1 import admin_pb2, inspection_pb2, recommender_pb2


def is_traced(call: Any) -> bool:
    """Return whether a call is traced: those of our services that give one answer, so neither probes nor batches.

    Args:
        call: grpcio's ``HandlerCallDetails``.
    """
    return call.method in _paths()


@cache
def _paths() -> frozenset[str]:
    return frozenset(
        f"/{service.full_name}/{method.name}"
        for file in (recommender_pb2, admin_pb2, inspection_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if not method.server_streaming
    )
