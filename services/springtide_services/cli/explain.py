"""The `explain` command: why an item has its rank for a user."""

from datetime import datetime
from typing import Annotated

import typer

from springtide_services.cli.options import Address, SettingsPath, server_address


def explain(
    user: Annotated[str, typer.Argument(help="The user's id; '' with --recent for a user without an id.")],
    item: Annotated[str, typer.Argument(help="The item's id.")],
    settings: SettingsPath = None,
    at: Annotated[datetime | None, typer.Option(help="The moment, UTC. Default: now.")] = None,
    place: Annotated[str, typer.Option(help="Region, store or country.")] = "",
    weather: Annotated[str, typer.Option(help="The weather, in the producer's words.")] = "",
    recent: Annotated[
        list[str] | None, typer.Option(help="An item just touched, latest first; may be repeated.")
    ] = None,
    address: Address = "",
    json: Annotated[bool, typer.Option("--json", help="Print the response as JSON.")] = False,
) -> None:
    """Ask the running server why an item has its rank for a user."""
    from springtide_services.cli.answer_tables import ask_why

    ask_why(
        address or server_address(settings),
        user=user,
        item=item,
        at=at,
        place=place,
        weather=weather,
        recent_items=recent or (),
        as_json=json,
    )
