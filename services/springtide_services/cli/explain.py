"""The `explain` command: why an item has its rank for a user."""

from pathlib import Path
from typing import Annotated

import typer

from springtide.extras import refuse_without
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
    load_settings,
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
    max_paths: Annotated[int, typer.Option(min=0, max=100, help="Most paths in the graph.")] = 5,
    time_limit_ms: Annotated[
        float, typer.Option(min=0, max=10_000, help="Time for paths, influence and what would change it.")
    ] = 1_000.0,
    count: Annotated[
        int, typer.Option(min=1, max=1_000, help="Without what the item would not be among so many.")
    ] = 20,
    language: Annotated[str, typer.Option(help="Language of the reasons. Default: explain.language.")] = "",
    png: Annotated[Path | None, typer.Option(help="Also draw it into a PNG file.", metavar="PATH")] = None,
    graphml: Annotated[
        Path | None, typer.Option(help="Also write the ways as GraphML, which networkx reads.", metavar="PATH")
    ] = None,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline",
            help="Ask no server: answer from the newest checkpoint and the model that serves, with the influence of "
            "neighbours by torch_geometric.explain.",
        ),
    ] = False,
) -> None:
    """Ask the running server why an item has its rank for a user."""
    if offline:
        refuse_without("train")
    from springtide_services.cli.why_tables import ask_why, by_server
    from springtide_services.serving.client import Credentials

    if offline:
        from springtide_services.cli.why_offline import by_checkpoint

        answer = by_checkpoint(load_settings(settings))
    else:
        credentials = Credentials(token, tls_authorities(settings, tls_ca, address), tls_cert, tls_key)
        answer = by_server(address or server_address(settings), credentials)
    ask_why(
        answer,
        user=user,
        item=item,
        at=at,
        place=place,
        weather=weather,
        recent_items=recent or (),
        as_json=json,
        max_paths=max_paths,
        time_limit_ms=time_limit_ms,
        count=count,
        language=language,
        png=png,
        graphml=graphml,
    )
