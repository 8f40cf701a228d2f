"""The `tokens` commands: who may do what at a server."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from springtide.errors import SettingsError
from springtide_services.access.roles import MEANINGS, Role
from springtide_services.cli.options import SettingsPath, load_settings

if TYPE_CHECKING:
    from springtide_services.access.tokens import Token

app = typer.Typer(help="Make, list and revoke tokens, which say who may do what at a server.", no_args_is_help=True)

_MS_OF = {"h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}
_ROLES = "; ".join(f"{role}: {meaning}" for role, meaning in MEANINGS.items())
File = Annotated[
    Path | None, typer.Option("--file", help="File of tokens; by default server.tokens.file.", metavar="PATH")
]


@app.command("new")
def tokens_new(
    name: Annotated[str, typer.Option(help="Who has it: letters, digits and ._@+-.")],
    role: Annotated[list[Role], typer.Option(help=f"What it is for; may be repeated. {_ROLES}.")],
    expires: Annotated[str, typer.Option(help="After how long it is refused: 12h, 90d, 52w. Default: never.")] = "",
    rate: Annotated[float | None, typer.Option(help="Most requests a second. Default: server.tokens.")] = None,
    settings: SettingsPath = None,
    file: File = None,
) -> None:
    """Make a token and print it, once: only its hash is kept, and a running server knows it within two seconds."""
    from springtide.clock import wall_ms
    from springtide_services.access.token_file import add_token
    from springtide_services.access.tokens import make_token

    now_ms = wall_ms()
    token, kept = make_token(name, tuple(dict.fromkeys(role)), now_ms, _expiry_ms(expires, now_ms), rate)
    path = file or _file_of(settings)
    if path is not None:
        add_token(path, kept)
        typer.echo(f"its hash is in {path}; this is the token, and it is shown this once:", err=True)
    else:
        typer.echo(f"no file of tokens is set: add this line to server.tokens.lines\n{kept.to_line()}", err=True)
        typer.echo("and give this to whom it is for; it is shown this once:", err=True)
    typer.echo(token)


@app.command("list")
def tokens_list(settings: SettingsPath = None, file: File = None) -> None:
    """List all tokens: for whom and what they are, and until when; never the tokens themselves."""
    from rich.table import Table
    from rich.text import Text

    from springtide.clock import wall_ms
    from springtide_services.terminal import console

    table = Table(box=None, pad_edge=False)
    for column in ("id", "name", "roles", "made", "until", ""):
        table.add_column(column, no_wrap=True)
    now_ms = wall_ms()
    for token in sorted(_tokens(settings, file), key=lambda token: (token.name, token.created_ms)):
        until = "" if token.expires_ms is None else _day(token.expires_ms)
        state = "" if not (why := token.why_not(now_ms)) else why.removeprefix("this token ").removeprefix("is ")
        row = (token.id, token.name, ", ".join(token.roles), _day(token.created_ms), until, state)
        table.add_row(*map(Text, row), style="dim" if state else "")
    console().print(table if table.rows else "no tokens")


@app.command("revoke")
def tokens_revoke(
    named: Annotated[str, typer.Argument(help="Id of a token, or a name: then all of that name.", metavar="ID|NAME")],
    settings: SettingsPath = None,
    file: File = None,
) -> None:
    """Revoke a token: a running server refuses it within two seconds."""
    from springtide.clock import wall_ms
    from springtide_services.access.token_file import revoke_tokens

    path = file or _file_of(settings)
    if path is None:
        raise SettingsError(
            "no file of tokens: wanted server.tokens.file, or --file; or delete its line in the settings"
        )
    for token in revoke_tokens(path, named, wall_ms()):
        typer.echo(f"revoked {token.id} of {token.name}")


def _tokens(settings: Path | None, file: Path | None) -> "list[Token]":
    from springtide.settings.model import TokenSettings
    from springtide_services.access.token_file import KnownTokens

    tokens = TokenSettings(file=str(file)) if file is not None else load_settings(settings).server.tokens
    return list(KnownTokens(tokens).by_id.values())


def _file_of(settings: Path | None) -> Path | None:
    file = load_settings(settings).server.tokens.file
    return None if file is None else Path(file)


def _expiry_ms(expires: str, now_ms: int) -> int | None:
    if not expires:
        return None
    found = re.fullmatch(r"(?P<count>[1-9][0-9]{0,4})(?P<unit>[hdw])", expires, re.ASCII)
    if found is None:
        raise SettingsError(f"--expires: wanted hours, days or weeks, as in 12h, 90d, 52w, got {expires!r}")
    return now_ms + int(found["count"]) * _MS_OF[found["unit"]]


def _day(timestamp_ms: int) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(timestamp_ms / 1_000, UTC):%Y-%m-%d}"
