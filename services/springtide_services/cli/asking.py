"""Options of the commands that ask a server for lists, added to each of them, and the requests that they make."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from springtide_services.cli.connection import CREDENTIALS, Connection, Decorator, Options, takes
from springtide_services.cli.options import Address, AsJson, Moment, Place, SettingsPath, Weather

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

_OF_ALL: Options = {
    "settings": (SettingsPath, None),
    "at": (Moment, None),
    "place": (Place, ""),
    "weather": (Weather, ""),
    "scenario": (ScenarioName, ""),
    "filter": (Filter, ""),
    "address": (Address, ""),
    **CREDENTIALS,
    "as_json": (AsJson, False),
}
_OF_ITEMS: Options = {"attributes": (Attributes, ""), "exclude": (Exclude, None)}


@dataclass(frozen=True, slots=True)
class Asking(Connection):
    """Where a server is, what to show there, and what all requests for lists say.

    Attributes:
        at: The moment; None for that of the server's clock.
        place: The place.
        weather: The weather.
        scenario: The scenario; empty for none.
        filter: The filter; empty for none.
        as_json: Whether the answer is to be printed as JSON.
        attributes: Attributes to show, with commas.
        exclude: Items to leave out.
    """

    at: datetime | None = None
    place: str = ""
    weather: str = ""
    scenario: str = ""
    filter: str = ""
    as_json: bool = False
    attributes: str = ""
    exclude: list[str] | None = None

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


def asks_server(*, of_items: bool = True) -> Decorator:
    """Decorate a command whose first argument is an ``Asking``: it gets the options that fill that in its place.

    Args:
        of_items: Whether it asks for items: then with those that say what to show of items, and what to leave out.
    """
    return takes(Asking, {**_OF_ALL, **_OF_ITEMS} if of_items else _OF_ALL)
