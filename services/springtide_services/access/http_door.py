"""A door of HTTP: which requests show a token that is good, and the certificate that connections get."""

import ssl
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from springtide.clock import wall_ms
from springtide.errors import SettingsError
from springtide.settings.sections.serving import TlsSettings, TokenSettings
from springtide_services.access.roles import Role, choices
from springtide_services.access.token_file import KnownTokens
from springtide_services.access.tokens import parts_of

logger = structlog.stdlib.get_logger(__name__)

_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class HttpRefusal:
    """Why a request is refused.

    Attributes:
        status: 401 or 403.
        message: For people; it repeats nothing that the client has sent.
    """

    status: int
    message: str


class HttpDoor:
    """Says which requests may pass; from any thread. It takes over changes of the file of tokens within a second.

    Args:
        settings: Where the tokens are.
        roles: Who may pass.

    Raises:
        SettingsError: If the tokens cannot be read.
    """

    def __init__(self, settings: TokenSettings, roles: frozenset[Role]) -> None:
        self._tokens = KnownTokens(settings)
        self._roles = roles
        self._lock = threading.Lock()
        self._looked_s = time.monotonic()

    def refusal(self, authorization: str) -> HttpRefusal | None:
        """Return why a request does not pass; None if it does.

        Args:
            authorization: The value of its header; empty without one.
        """
        with self._lock:
            if time.monotonic() - self._looked_s > _LOOK_S:
                self._tokens.look()
                self._looked_s = time.monotonic()
        scheme, _, shown = authorization.partition(" ")
        if scheme.lower() != "bearer" or not shown.strip():
            return HttpRefusal(401, "a token is wanted: `Authorization: Bearer TOKEN`")
        parts = parts_of(shown.strip())
        token = None if parts is None else self._tokens.by_id.get(parts[0])
        if parts is None or token is None or not token.is_secret(parts[1]):
            return HttpRefusal(401, "no such token")
        if why := token.why_not(wall_ms()):
            return HttpRefusal(401, why)
        if self._roles.isdisjoint(token.roles):
            return HttpRefusal(403, f"this token is not for that: wanted one with the role {choices(self._roles)}")
        return None


class TlsContexts:
    """What each new connection gets of the files of certificates; they are read anew when they change.

    Args:
        settings: Name the files.

    Raises:
        SettingsError: If a file cannot be read, or the key is not the certificate's.
    """

    def __init__(self, settings: TlsSettings) -> None:
        assert settings.cert is not None, "without a certificate there is no TLS"
        assert settings.key is not None, "as above"
        self._cert, self._key = settings.cert, settings.key
        self._client_ca = settings.client_ca
        self._lock = threading.Lock()
        try:
            self._seen, self._context = self._stamp(), self._read()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError.
            raise SettingsError(f"server.tls: wanted a certificate, its key and authorities in PEM: {error}") from error

    def current(self) -> ssl.SSLContext:
        """Return the context of the files as they are now, or as they were while they cannot be used."""
        with self._lock:
            try:
                stamp = self._stamp()
                if stamp != self._seen:
                    self._context, self._seen = self._read(), stamp
                    logger.info("certificates_read", path=str(self._cert))
            except (OSError, ValueError) as error:
                logger.error("certificates_not_read", error=str(error))
            return self._context

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._cert, self._key, password=_no_password)
        if self._client_ca is not None:
            context.load_verify_locations(self._client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        names = (self._cert, self._key, *(() if self._client_ca is None else (self._client_ca,)))
        return tuple(
            (found.st_mtime_ns, found.st_ino, found.st_size) for found in (Path(name).stat() for name in names)
        )


def _no_password() -> str:
    """Refuse a key that is encrypted; without this, OpenSSL would ask at the terminal."""
    raise ValueError("the key is encrypted: wanted one without a password")
