"""Network addresses: a host and a port as one text, in both directions, and ports that are free."""

import ipaddress
import socket

LOOPBACK = "127.0.0.1"


def join_address(host: str, port: int) -> str:
    """Return ``host:port``; an IPv6 address stands in brackets, such as ``[::1]:50051``."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def split_address(address: str, default_port: int) -> tuple[str, int]:
    """Return host and port of ``host``, ``host:port``, ``[host]`` or ``[host]:port``; the host without brackets.

    An IPv6 address that has no brackets is taken whole, as a host without a port.

    Raises:
        ValueError: If the port is not a number.
    """
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]") or (":" in host and not host.endswith("]")):
        host, port = address, str(default_port)
    return host.removeprefix("[").removesuffix("]"), int(port)


def free_port(host: str = LOOPBACK) -> int:
    """Return a TCP port that is free now on the host; another process may take it before the caller does.

    Raises:
        OSError: If the host is not an address or a name of this machine.
    """
    found = socket.getaddrinfo(host.strip("[]"), 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    with socket.socket(family) as probe:
        probe.bind(address)
        return int(probe.getsockname()[1])


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches what listens on the host; of a name only ``localhost`` is known."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
