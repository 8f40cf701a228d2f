"""The `forget` command: a user or an item leaves everything, and the proof of it."""

from typing import Annotated

import typer

from springtide_services.cli.options import (
    Address,
    SettingsPath,
    TlsCa,
    TlsCert,
    TlsKey,
    Token,
    admin_address,
    load_settings_with_kafka,
    refuse_wrong_connection,
    server_address,
    tls_authorities,
)

Id = Annotated[str, typer.Argument(help="The id of the user; with --type, of any node.", metavar="USER")]
NodeType = Annotated[str, typer.Option("--type", help="Node type, such as item.", metavar="TYPE")]
Verify = Annotated[
    bool,
    typer.Option(
        "--verify",
        help="Wait until it is gone; search files, answers and topics; print the proof.",
    ),
]
OnlyVerify = Annotated[bool, typer.Option("--only-verify", help="Publish nothing: search alone, once.")]
Timeout = Annotated[float, typer.Option(min=0, help="Most seconds to wait until it is gone from everything.")]
SkipTopics = Annotated[bool, typer.Option("--skip-topics", help="Do not read the topics, which may take long.")]
NoServer = Annotated[bool, typer.Option("--no-server", help="Ask no server: search the files alone.")]
AdminAddress = Annotated[
    str, typer.Option("--admin-address", help="Listener for operators, host:port; by default that of the settings.")
]


def forget(
    user: Id,
    node_type: NodeType = "user",
    verify: Verify = False,
    only_verify: OnlyVerify = False,
    timeout: Timeout = 900.0,
    skip_topics: SkipTopics = False,
    no_server: NoServer = False,
    settings: SettingsPath = None,
    address: Address = "",
    admin: AdminAddress = "",
    token: Token = "",
    tls_ca: TlsCa = "",
    tls_cert: TlsCert = "",
    tls_key: TlsKey = "",
) -> None:
    """Forget a user, or a node of any type, with all that happened until now: in answers, files and models.

    It can be repeated. With --verify, the exit status is 1 while something is found. Kafka's topics are said, and not
    counted: only the broker removes records.
    """
    from springtide_services.cli.forget_tables import ForgetRun
    from springtide_services.serving.client import Credentials

    loaded = load_settings_with_kafka(settings)
    refuse_wrong_connection(loaded, settings)
    run = ForgetRun(
        loaded,
        node_type,
        user,
        None if no_server else (address or server_address(settings), admin or admin_address(settings)),
        Credentials(token, tls_authorities(settings, tls_ca, address), tls_cert, tls_key),
    )
    if not run.run(
        publishes=not only_verify,
        verifies=verify or only_verify,
        timeout_s=0.0 if only_verify else timeout,
        reads_topics=not skip_topics,
    ):
        raise typer.Exit(1)
