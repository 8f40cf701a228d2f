"""The connection of a command to the server, and its options, which are added to each command that has one."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_type_hints

from springtide_services.cli.options import (
    AdminAddress,
    SettingsPath,
    TlsCa,
    TlsCert,
    TlsKey,
    Token,
    admin_address,
    server_address,
    tls_authorities,
)

if TYPE_CHECKING:
    from springtide_services.serving.client import Client

Options = Mapping[str, tuple[Any, Any]]
"""By name, an option's annotation and its default."""

Decorator = Callable[[Callable[..., None]], Callable[..., None]]

CREDENTIALS: Options = {"token": (Token, ""), "tls_ca": (TlsCa, ""), "tls_cert": (TlsCert, ""), "tls_key": (TlsKey, "")}
"""What to show a server, and whom to trust."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a server is, and what to show there.

    Attributes:
        settings: The settings file, if one is named.
        address: The server's address; empty for that of the settings.
        token: The token to show.
        tls_ca: Whom to trust.
        tls_cert: Certificate to show.
        tls_key: Key of that certificate.
        is_admin: Whether it is a connection to the listener for operators.
    """

    settings: Path | None = None
    address: str = ""
    token: str = field(default="", repr=False)
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    is_admin: ClassVar[bool] = False

    def client(self) -> "Client":
        """Return a client of the server.

        Raises:
            SettingsError: If the settings cannot be loaded.
        """
        from springtide_services.serving.client import Client, Credentials

        authorities = tls_authorities(self.settings, self.tls_ca, self.address, is_admin=self.is_admin)
        credentials = Credentials(self.token, authorities, self.tls_cert, self.tls_key)
        address_of_settings = admin_address if self.is_admin else server_address
        return Client(self.address or address_of_settings(self.settings), credentials=credentials)


@dataclass(frozen=True, slots=True)
class Operators(Connection):
    """Where a server's listener for operators is, and what to show there."""

    is_admin: ClassVar[bool] = True


def takes(made: Callable[..., Connection], options: Options) -> Decorator:
    """Decorate a command whose first argument is a connection: it gets the options that make it in its place.

    Args:
        made: Makes the connection of the options' values, by name.
        options: The options; they come after the command's own.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature, hints = inspect.signature(command), get_type_hints(command, include_extras=True)
        own = [each.replace(annotation=hints[each.name]) for each in list(signature.parameters.values())[1:]]
        added = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, (annotation, default) in options.items()
        ]

        @functools.wraps(command)
        def run(*args: Any, **kwargs: Any) -> None:
            command(made(**{name: kwargs.pop(name) for name in options}), *args, **kwargs)

        run.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in (*own, *added)}
        return run

    return decorate


asks_operators = takes(Operators, {"settings": (SettingsPath, None), "address": (AdminAddress, ""), **CREDENTIALS})
"""Decorates a command whose first argument is ``Operators``."""
