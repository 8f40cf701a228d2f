import socket

import pytest

from springtide_services.addresses import free_port, join_address, split_address


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1:5"),
        ("localhost", "localhost:5"),
        ("::1", "[::1]:5"),
        ("[::1]", "[::1]:5"),
        ("fe80::1%eth0", "[fe80::1%eth0]:5"),
    ],
)
def test_host_and_port_are_one_address_and_back(host: str, address: str) -> None:
    assert join_address(host, 5) == address
    assert split_address(address, 9) == (host.strip("[]"), 5)


@pytest.mark.parametrize("address", ["::1", "[::1]"])
def test_ipv6_address_without_a_port_has_the_default_one(address: str) -> None:
    assert split_address(address, 9) == ("::1", 9)


def test_host_without_a_port_has_the_default_one() -> None:
    assert split_address("kafka", 9) == ("kafka", 9)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "0.0.0.0", "::"])
def test_free_port_can_be_bound(host: str) -> None:
    port = free_port(host)

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as taken:
        taken.bind((host.strip("[]"), port))


def test_host_of_another_machine_has_no_free_port() -> None:
    with pytest.raises(OSError, match="annot assign"):
        free_port("192.0.2.1")
