"""The `experiments` commands: which experiments there are, and what they have brought."""

from typing import Annotated

import typer

from springtide_services.cli.options import (
    AdminAddress,
    AsJson,
    SettingsPath,
    TlsCa,
    TlsCert,
    TlsKey,
    Token,
    admin_address,
    tls_authorities,
)

app = typer.Typer(help="See experiments, and what they have brought.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The experiment's name.")]
Confidence = Annotated[
    float, typer.Option(min=0.5, max=0.999, help="How sure intervals and winner shall be, over the whole experiment.")
]


@app.command("list")
def experiments_list(
    settings: SettingsPath = None,
    address: AdminAddress = "",
    token: Token = "",
    tls_ca: TlsCa = "",
    tls_cert: TlsCert = "",
    tls_key: TlsKey = "",
    json: AsJson = False,
) -> None:
    """List the experiments of the running server, with their variants and shares."""
    from springtide_services.cli.experiment_tables import list_experiments
    from springtide_services.serving.client import Credentials

    credentials = Credentials(token, tls_authorities(settings, tls_ca, address, is_admin=True), tls_cert, tls_key)
    list_experiments(address or admin_address(settings), credentials, as_json=json)


@app.command("show")
def experiments_show(
    name: Name,
    settings: SettingsPath = None,
    address: AdminAddress = "",
    token: Token = "",
    tls_ca: TlsCa = "",
    tls_cert: TlsCert = "",
    tls_key: TlsKey = "",
    json: AsJson = False,
) -> None:
    """Show an experiment: its variants and what they change, its layer, and when it runs."""
    from springtide_services.cli.experiment_tables import show_experiment
    from springtide_services.serving.client import Credentials

    credentials = Credentials(token, tls_authorities(settings, tls_ca, address, is_admin=True), tls_cert, tls_key)
    show_experiment(address or admin_address(settings), credentials, name, as_json=json)


@app.command("result")
def experiments_result(
    name: Name,
    settings: SettingsPath = None,
    confidence: Confidence = 0.95,
    address: AdminAddress = "",
    token: Token = "",
    tls_ca: TlsCa = "",
    tls_cert: TlsCert = "",
    tls_key: TlsKey = "",
    json: AsJson = False,
) -> None:
    """Show what each variant has brought; it may be looked at any time."""
    from springtide_services.cli.experiment_tables import show_result
    from springtide_services.serving.client import Credentials

    credentials = Credentials(token, tls_authorities(settings, tls_ca, address, is_admin=True), tls_cert, tls_key)
    show_result(address or admin_address(settings), credentials, name, confidence, as_json=json)
