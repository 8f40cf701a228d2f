"""How a client reaches a server: TLS, token, channel."""

from dataclasses import dataclass
from pathlib import Path

import grpc

Options = tuple[tuple[str, int], ...]
Metadata = tuple[tuple[str, str], ...]

OPTIONS: Options = (
    ("grpc.max_receive_message_length", -1),  # 1,000 items with texts of 16 KiB pass gRPC's own 4 MB.
    # gRPC's own pauses of up to two minutes would make a client that starts before the server wait long.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)
"""Options of each channel."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Whom a client trusts, and what it shows.

    Attributes:
        ca_file: File of the authorities that may vouch for the server, in PEM; empty for those that gRPC ships.
        cert_file: File of the certificate that the client shows, in PEM, for mutual TLS; empty for none.
        key_file: File of that certificate's key.

    Raises:
        ValueError: If there is a certificate without a key, or a key without a certificate.
    """

    ca_file: str | Path = ""
    cert_file: str | Path = ""
    key_file: str | Path = ""

    def __post_init__(self) -> None:
        if (self.cert_file == "") != (self.key_file == ""):
            raise ValueError("cert_file, key_file: wanted both or none")

    def credentials(self) -> grpc.ChannelCredentials:
        """Return what a channel takes.

        Raises:
            OSError: If a file cannot be read.
        """
        roots = Path(self.ca_file).read_bytes() if self.ca_file else None
        if not self.cert_file:
            return grpc.ssl_channel_credentials(roots)
        return grpc.ssl_channel_credentials(roots, Path(self.key_file).read_bytes(), Path(self.cert_file).read_bytes())


def metadata_with(token: str) -> Metadata:
    """Return the metadata of each call.

    Raises:
        ValueError: If the token is none; the message does not repeat it.
    """
    if not (token.isascii() and token.isprintable()):
        raise ValueError("token: wanted one as `springtide tokens new` prints it")
    return (("authorization", f"Bearer {token}"),) if token else ()
