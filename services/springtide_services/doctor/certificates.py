"""When a certificate ends, by a handshake in memory: Python's library shows the fields of peers alone."""

import contextlib
import ssl
from pathlib import Path

_HAS_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL.
_STEPS = 4  # A handshake of TLS 1.3 takes two of each side.


def certificate_end_s(cert: Path, key: Path) -> float | None:
    """Return when a certificate ends, in seconds since the Unix epoch; None if it has ended.

    Args:
        cert: The certificate, in PEM, with those behind it.
        key: Its key.

    Raises:
        OSError: If a file cannot be read.
        ssl.SSLError: If one is none, or the key is not the certificate's.
        ValueError: If the key is encrypted.
    """
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(cert, key, password=_no_password)
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.load_verify_locations(cert)
    client_context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # The certificate vouches for itself.
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server)
    try:
        for _ in range(_STEPS):
            for side in (client, server):
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
    except ssl.SSLCertVerificationError as error:
        if error.verify_code == _HAS_EXPIRED:
            return None
        raise
    found = client.getpeercert()
    assert found, "the handshake is done, and verified it"
    return float(ssl.cert_time_to_seconds(str(found["notAfter"])))


def _no_password() -> str:
    raise ValueError("the key is encrypted: wanted one without a password")
