"""TLS: what the server shows and whom it trusts, read anew whenever the files change."""

import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import grpc
import structlog

from springtide.errors import SettingsError
from springtide.settings.sections.serving import TlsSettings

logger = structlog.stdlib.get_logger(__name__)

_Stamp = tuple[tuple[int, int, int], ...]


def server_credentials(settings: TlsSettings) -> grpc.ServerCredentials:
    """Return credentials for a listener; each new connection gets what the files hold then.

    With ``client_ca``, a client without a certificate of these authorities is not let in (mutual TLS).

    Raises:
        SettingsError: If a file cannot be read, or the key is not the certificate's.
    """
    files = _Files(settings)
    try:
        first = files.read()
    except (OSError, ssl.SSLError, ValueError) as error:
        raise SettingsError(f"server.tls: {_reason(error)}") from error
    return grpc.dynamic_ssl_server_credentials(
        first,
        files.read_if_changed,  # type: ignore[arg-type]  # Its stubs do not know that None is "no change".
        require_client_authentication=settings.client_ca is not None,
    )


def follow_certificates(settings: TlsSettings, context: ssl.SSLContext) -> Callable[[], None]:
    """Return a function that gives new connections of a context what the files hold by now; to be called regularly.

    Args:
        settings: Name the files.
        context: That of a listener, which has read them.

    Raises:
        OSError: If one cannot be read.
        ssl.SSLError: If one is none, or the key is not the certificate's.
        ValueError: As above.
    """
    files = _Files(settings)
    files.read()

    def look() -> None:
        if files.read_if_changed() is not None:
            assert settings.cert is not None, "without a certificate there is no TLS"
            context.load_cert_chain(settings.cert, settings.key)

    return look


class _Files:
    """The files of a listener's certificates. gRPC asks for changes before each handshake, in threads of its own."""

    def __init__(self, settings: TlsSettings) -> None:
        assert settings.cert is not None, "without a certificate there is no TLS"
        assert settings.key is not None, "as above"
        self._cert, self._key = Path(settings.cert), Path(settings.key)
        self._client_ca = None if settings.client_ca is None else Path(settings.client_ca)
        self._lock = threading.Lock()
        self._seen: _Stamp | None = None

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Return what the files hold.

        Raises:
            OSError: If one cannot be read.
            ssl.SSLError: If one is none, or the key is not the certificate's.
            ValueError: As above.
        """
        self._seen = self._stamp()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._cert, self._key, password=_no_password)
        authorities = None
        if self._client_ca is not None:
            context.load_verify_locations(self._client_ca)
            authorities = self._client_ca.read_bytes()
        pair = self._key.read_bytes(), self._cert.read_bytes()
        return grpc.ssl_server_certificate_configuration([pair], authorities)

    def read_if_changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what the files hold if that has changed, and None if not, or while it cannot be used."""
        with self._lock:
            try:
                if self._stamp() == self._seen:
                    return None
                new = self.read()
            except (OSError, ssl.SSLError, ValueError) as error:
                # Perhaps the certificate is new and its key is yet to come: the former ones stay until both fit.
                logger.error("certificates_not_read", error=_reason(error))
                return None
            logger.info("certificates_read", path=str(self._cert))
            return new

    def _stamp(self) -> _Stamp:
        files = (self._cert, self._key, *(() if self._client_ca is None else (self._client_ca,)))
        return tuple((found.st_mtime_ns, found.st_ino, found.st_size) for found in (file.stat() for file in files))


def _no_password() -> str:
    """Refuse a key that is encrypted; without this, OpenSSL would ask at the terminal."""
    raise ValueError("the key is encrypted: wanted one without a password, in a file that only the server may read")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or str(error)).replace("_", " ").lower()
        return f"wanted a certificate (chain), its own key, and authorities, all in PEM: {reason}"
    if isinstance(error, OSError):
        return f"{error.filename or 'a file of the certificates'} cannot be read: {error.strerror or error}"
    return str(error)
