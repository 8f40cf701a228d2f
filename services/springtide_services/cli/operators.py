"""Options of the commands that ask a server's listener for operators, added to each of them."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from springtide_services.cli.options import (
    AdminAddress,
    SettingsPath,
    TlsCa,
    TlsCert,
    TlsKey,
    Token,
    admin_address,
    tls_authorities,
)

if TYPE_CHECKING:
    from springtide_services.serving.client import Client

_OPTIONS: dict[str, tuple[Any, Any]] = {
    "settings": (SettingsPath, None),
    "address": (AdminAddress, ""),
    "token": (Token, ""),
    "tls_ca": (TlsCa, ""),
    "tls_cert": (TlsCert, ""),
    "tls_key": (TlsKey, ""),
}


@dataclass(frozen=True, slots=True)
class Operators:
    """Where a server's listener for operators is, and what to show there.

    Attributes:
        settings: The settings file, if one is named.
        address: Its address; empty for that of the settings.
        token: The token to show.
        tls_ca: Whom to trust.
        tls_cert: Certificate to show.
        tls_key: Key of that certificate.
    """

    settings: Path | None = None
    address: str = ""
    token: str = ""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""

    def client(self) -> "Client":
        """Return a client of the server.

        Raises:
            SettingsError: If the settings cannot be loaded.
        """
        from springtide_services.serving.client import Client, Credentials

        authorities = tls_authorities(self.settings, self.tls_ca, self.address, is_admin=True)
        credentials = Credentials(self.token, authorities, self.tls_cert, self.tls_key)
        return Client(self.address or admin_address(self.settings), credentials=credentials)


def asks_operators(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command whose first argument is ``operators``: it gets the options of the connection in its place."""
    signature, hints = inspect.signature(command), get_type_hints(command, include_extras=True)
    own = [each.replace(annotation=hints[each.name]) for each in list(signature.parameters.values())[1:]]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in _OPTIONS.items()
    ]

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        operators = Operators(**{name: kwargs.pop(name) for name in _OPTIONS})
        command(operators, *args, **kwargs)

    run.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in (*own, *added)}
    return run
