"""The `rebuild` command: makes the graph anew from the topic, and leaves out what should not have been published."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from springtide_services.cli.options import (
    AdminAddress,
    SettingsPath,
    TlsCa,
    TlsCert,
    TlsKey,
    Token,
    admin_address,
    load_settings_with_kafka,
    refuse_wrong_connection,
    tls_authorities,
)
from springtide_services.termination import interrupt_on_signals

Offsets = Annotated[
    list[str] | None,
    typer.Option(
        "--skip-offsets",
        metavar="PARTITION:FIRST-LAST",
        help="Leave these records out; the same event in another record stays. May be repeated.",
    ),
]
EventIds = Annotated[
    list[str] | None,
    typer.Option(
        "--skip-event-ids",
        metavar="ID|PREFIX*|@FILE",
        help="Leave out the events of this id, of all ids that begin so, or of the ids in a file, one a line; may be "
        "repeated.",
    ),
]
Since = Annotated[datetime | None, typer.Option("--skip-since", help="Leave out what was published from then on, UTC.")]
Until = Annotated[datetime | None, typer.Option("--skip-until", help="Leave out what was published before then, UTC.")]
Types = Annotated[
    list[str] | None,
    typer.Option(
        "--skip-type",
        help="Leave out events of this type alone: purchase, or node_upsert, relation, node_delete; may be repeated. "
        "With --skip-since, --skip-until and --skip-user, an event must match all that are given.",
    ),
]
Users = Annotated[
    list[str] | None, typer.Option("--skip-user", help="Leave out events of this user alone; may be repeated.")
]
FromWhatIsLeft = Annotated[
    bool,
    typer.Option("--from-what-is-left", help="Go on if the topic has lost its first events; the graph lacks them."),
]
ForgetSkips = Annotated[bool, typer.Option("--forget-skips", help="Read again what former rebuilds have left out.")]
Yes = Annotated[
    bool,
    typer.Option(
        "--yes", "-y", help="Do not ask before the new graph takes the old one's place; asked is only at a terminal."
    ),
]


def rebuild(
    skip_offsets: Offsets = None,
    skip_event_ids: EventIds = None,
    skip_since: Since = None,
    skip_until: Until = None,
    skip_type: Types = None,
    skip_user: Users = None,
    from_what_is_left: FromWhatIsLeft = False,
    forget_skips: ForgetSkips = False,
    yes: Yes = False,
    settings: SettingsPath = None,
    address: AdminAddress = "",
    token: Token = "",
    tls_ca: TlsCa = "",
    tls_cert: TlsCert = "",
    tls_key: TlsKey = "",
) -> None:
    """Make the graph anew from the topic, under the settings as they are, and let it take the old one's place.

    A running server answers from the old graph until the new one has all that the old one has. Without a server, the
    new graph is the newest checkpoint. What is left out stays out over restarts and later rebuilds.
    """
    interrupt_on_signals()
    from springtide.events.skips import Skips

    skips = Skips(
        tuple(_offsets(text) for text in skip_offsets or ()),
        tuple(event_id for text in skip_event_ids or () for event_id in _event_ids(text)),
        _milliseconds(skip_since),
        _milliseconds(skip_until),
        tuple(skip_type or ()),
        tuple(skip_user or ()),
    )
    loaded = load_settings_with_kafka(settings)
    refuse_wrong_connection(loaded, settings)
    from springtide_services.cli.rebuild_run import RebuildRun
    from springtide_services.serving.client import Credentials

    credentials = Credentials(token, tls_authorities(settings, tls_ca, address, is_admin=True), tls_cert, tls_key)
    RebuildRun(loaded, address or admin_address(settings), credentials).run(
        skips,
        from_what_is_left=from_what_is_left,
        forgets_skips=forget_skips,
        confirm=lambda question: yes or not sys.stdin.isatty() or typer.confirm(question, abort=True),
    )


def _milliseconds(time: datetime | None) -> int | None:
    return None if time is None else round(time.replace(tzinfo=UTC).timestamp() * 1_000)


def _offsets(text: str) -> tuple[int, int, int]:
    """Read ``PARTITION:FIRST-LAST``, or ``PARTITION:OFFSET``.

    Raises:
        SettingsError: If it is something else.
    """
    from springtide.errors import SettingsError

    partition, _, span = text.partition(":")
    first, _, last = span.partition("-")
    try:
        return int(partition), int(first), int(last or first)
    except ValueError:
        raise SettingsError(f"--skip-offsets: wanted PARTITION:FIRST-LAST, such as 2:100-250, got {text!r}") from None


def _event_ids(text: str) -> list[str]:
    """Return the ids that an option names: its own, or those of a file.

    Raises:
        SettingsError: If there is no such file, or no id.
    """
    from springtide.errors import SettingsError

    if not text.startswith("@"):
        ids = [text]
    else:
        try:
            ids = [line.strip() for line in Path(text[1:]).read_text(encoding="utf-8-sig").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"--skip-event-ids: {text[1:]} cannot be read: {error}") from error
    ids = [event_id for event_id in ids if event_id]
    if not ids or "*" in ids:
        raise SettingsError(f"--skip-event-ids: wanted an id, the beginning of ids with *, or @FILE, got {text!r}")
    return ids
