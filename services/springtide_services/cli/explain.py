"""The `explain` command: why an item has its rank for a user."""

from typing import Annotated

import typer

from springtide_services.cli.options import (
    Address,
    AsJson,
    Moment,
    Place,
    Recent,
    SettingsPath,
    TlsCa,
    TlsCert,
    TlsKey,
    Token,
    Weather,
    server_address,
    tls_authorities,
)


def explain(
    user: Annotated[str, typer.Argument(help="The user's id; '' with --recent for a user without an id.")],
    item: Annotated[str, typer.Argument(help="The item's id.")],
    settings: SettingsPath = None,
    at: Moment = None,
    place: Place = "",
    weather: Weather = "",
    recent: Recent = None,
    address: Address = "",
    token: Token = "",
    tls_ca: TlsCa = "",
    tls_cert: TlsCert = "",
    tls_key: TlsKey = "",
    json: AsJson = False,
) -> None:
    """Ask the running server why an item has its rank for a user."""
    from springtide_services.cli.answer_tables import ask_why
    from springtide_services.serving.client import Credentials

    ask_why(
        address or server_address(settings),
        user=user,
        item=item,
        at=at,
        place=place,
        weather=weather,
        recent_items=recent or (),
        as_json=json,
        credentials=Credentials(token, tls_authorities(settings, tls_ca, address), tls_cert, tls_key),
    )
