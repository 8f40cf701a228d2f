"""Options of the commands that ask a server for lists, added to each of them, and the requests that they make."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from springtide_services.cli.options import (
    Address,
    AsJson,
    Moment,
    Place,
    SettingsPath,
    TlsCa,
    TlsCert,
    TlsKey,
    Token,
    Weather,
    server_address,
    tls_authorities,
)

if TYPE_CHECKING:
    from springtide_services.serving.client import Client

Count = Annotated[int | None, typer.Option(help="How many; by default 10, or as the scenario says.")]
Filter = Annotated[
    str, typer.Option("--filter", help="Expression that must be true, such as 'price < 20'.", metavar="EXPRESSION")
]
ScenarioName = Annotated[str, typer.Option("--scenario", help="A scenario of the server's steering.", metavar="NAME")]
Attributes = Annotated[
    str, typer.Option("--attributes", help="Attributes to show of each item: title,price.", metavar="NAMES")
]
ExcludeSeen = Annotated[
    list[str] | None,
    typer.Option(help="Leave out items seen in this interaction type; '*' for all types; may be repeated."),
]
Exclude = Annotated[
    list[str] | None, typer.Option("--exclude", help="Leave out this item; may be repeated.", metavar="ITEM")
]

DEFAULT_COUNT = 10

_OF_ALL: dict[str, tuple[Any, Any]] = {
    "settings": (SettingsPath, None),
    "at": (Moment, None),
    "place": (Place, ""),
    "weather": (Weather, ""),
    "scenario": (ScenarioName, ""),
    "filter": (Filter, ""),
    "address": (Address, ""),
    "token": (Token, ""),
    "tls_ca": (TlsCa, ""),
    "tls_cert": (TlsCert, ""),
    "tls_key": (TlsKey, ""),
    "as_json": (AsJson, False),
}
_OF_ITEMS: dict[str, tuple[Any, Any]] = {"attributes": (Attributes, ""), "exclude": (Exclude, None)}


@dataclass(frozen=True, slots=True)
class Asking:
    """Where a server is, what to show there, and what all requests for lists say.

    Attributes:
        settings: The settings file, if one is named.
        at: The moment; None for that of the server's clock.
        place: The place.
        weather: The weather.
        scenario: The scenario; empty for none.
        filter: The filter; empty for none.
        address: The server's address; empty for that of the settings.
        token: The token to show.
        tls_ca: Whom to trust.
        tls_cert: Certificate to show.
        tls_key: Key of that certificate.
        as_json: Whether the answer is to be printed as JSON.
        attributes: Attributes to show, with commas.
        exclude: Items to leave out.
    """

    settings: Path | None = None
    at: datetime | None = None
    place: str = ""
    weather: str = ""
    scenario: str = ""
    filter: str = ""
    address: str = ""
    token: str = field(default="", repr=False)
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    as_json: bool = False
    attributes: str = ""
    exclude: list[str] | None = None

    def client(self) -> "Client":
        """Return a client of the server.

        Raises:
            SettingsError: If the settings cannot be loaded.
        """
        from springtide_services.serving.client import Client, Credentials

        authorities = tls_authorities(self.settings, self.tls_ca, self.address)
        credentials = Credentials(self.token, authorities, self.tls_cert, self.tls_key)
        return Client(self.address or server_address(self.settings), credentials=credentials)

    def fill(self, request: Any, count: int | None = None) -> Any:
        """Return a request with what the options say; ``count`` is left out where the scenario may give it."""
        request.context.place, request.context.weather = self.place, self.weather
        if self.at is not None:
            at = self.at if self.at.tzinfo is None else self.at.astimezone(UTC)
            request.context.event_time.FromDatetime(at)
        request.scenario, request.filter = self.scenario, self.filter
        names = type(request).DESCRIPTOR.fields_by_name
        if "count" in names and (count is not None or not self.scenario):
            request.count = DEFAULT_COUNT if count is None else count
        if "include_attributes" in names:
            request.include_attributes.extend(words_of(self.attributes))
        if "exclude_items" in names:
            request.exclude_items.extend(self.exclude or ())
        return request


def words_of(names: str) -> list[str]:
    """Return the names in a list with commas."""
    return [name.strip() for name in names.split(",") if name.strip()]


def asks_server(*, of_items: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a command whose first argument is an ``Asking``: it gets the options that fill that in its place.

    Args:
        of_items: Whether it asks for items: then with those that say what to show of items, and what to leave out.
    """
    options = {**_OF_ALL, **_OF_ITEMS} if of_items else _OF_ALL

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature, hints = inspect.signature(command), get_type_hints(command, include_extras=True)
        own = [each.replace(annotation=hints[each.name]) for each in list(signature.parameters.values())[1:]]
        added = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, (annotation, default) in options.items()
        ]

        @functools.wraps(command)
        def run(*args: Any, **kwargs: Any) -> None:
            command(Asking(**{name: kwargs.pop(name) for name in options}), *args, **kwargs)

        run.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in (*own, *added)}
        return run

    return decorate
