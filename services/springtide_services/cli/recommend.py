"""The `recommend` command: items for a user."""

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


def recommend(
    user: Annotated[str, typer.Argument(help="The user's id; '' with --recent for a user without an id.")],
    settings: SettingsPath = None,
    count: Annotated[int, typer.Option(help="Number of items.")] = 10,
    at: Moment = None,
    place: Place = "",
    weather: Weather = "",
    recent: Recent = None,
    exclude_seen: Annotated[
        list[str] | None,
        typer.Option(help="Leave out items seen in this interaction type; '*' for all types; may be repeated."),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Category filter, ATTRIBUTE=VALUE; may be repeated.")] = None,
    address: Address = "",
    token: Token = "",
    tls_ca: TlsCa = "",
    tls_cert: TlsCert = "",
    tls_key: TlsKey = "",
    json: AsJson = False,
) -> None:
    """Ask the running server for items for a user."""
    from springtide_services.cli.answer_tables import ask
    from springtide_services.serving.client import Credentials

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
        credentials=Credentials(token, tls_authorities(settings, tls_ca, address), tls_cert, tls_key),
    )
