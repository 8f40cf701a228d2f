"""What of a request's headers goes on to the server."""

from collections.abc import Mapping

from springtide_services.access.roles import ACTOR_METADATA

FORWARDED = ("authorization", "api-key", ACTOR_METADATA, "traceparent", "tracestate")
"""Headers that go on as metadata: the token, who calls, and the trace that the call belongs to."""


class HeaderError(ValueError):
    """Raised when a header that goes on to the server cannot be metadata."""


def metadata_of(headers: Mapping[str, str], client_address: str | None) -> tuple[tuple[str, str], ...]:
    """Return the metadata of the call that a request becomes.

    Args:
        headers: Its headers, by names in lower case.
        client_address: Who sent it, ``host:port``; None if that is not known. Where the request does not say who calls,
            this does: the audit log would show the gateway's own address else.

    Raises:
        HeaderError: If the value of a header is not printable ASCII, which gRPC wants.
    """
    metadata = []
    for name in FORWARDED:
        value = headers.get(name)
        if value is None:
            continue
        if not (value.isascii() and value.isprintable()):
            raise HeaderError(f"header {name}: wanted printable ASCII characters")
        metadata.append((name, value))
    if client_address is not None and ACTOR_METADATA not in headers:
        metadata.append((ACTOR_METADATA, f"gateway client {client_address.rpartition(':')[0]}"))
    return tuple(metadata)
