"""The `recommend` command: what a user would want."""

from datetime import datetime
from typing import Annotated

import typer

from springtide_services.cli.options import Address, SettingsPath, server_address


def recommend(
    user: Annotated[str, typer.Argument(help="The user's id; '' with --recent for somebody unknown.")],
    settings: SettingsPath = None,
    count: Annotated[int, typer.Option(help="How many items.")] = 10,
    at: Annotated[datetime | None, typer.Option(help="The moment, UTC; now if absent.")] = None,
    place: Annotated[str, typer.Option(help="Where.")] = "",
    weather: Annotated[str, typer.Option(help="The weather.")] = "",
    recent: Annotated[list[str] | None, typer.Option(help="An item just touched; may be repeated.")] = None,
    exclude_seen: Annotated[list[str] | None, typer.Option(help="Interaction type to leave out; '*' for any.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Category filter, ATTRIBUTE=VALUE; may be repeated.")] = None,
    address: Address = "",
    json: Annotated[bool, typer.Option("--json", help="Print the response as JSON.")] = False,
) -> None:
    """Ask the running server what a user would want."""
    from springtide_services.cli.answers import ask

    ask(
        address or server_address(settings),
        user=user,
        count=count,
        at=at,
        place=place,
        weather=weather,
        recent_items=recent or (),
        exclude_seen=exclude_seen or (),
        only=only or (),
        as_json=json,
    )
