"""The `experiments` commands: which experiments there are, and what they have brought."""

from typing import Annotated

import typer

from springtide_services.cli.connection import Operators, asks_operators
from springtide_services.cli.options import AsJson

app = typer.Typer(help="See experiments, and what they have brought.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The experiment's name.")]
Confidence = Annotated[
    float, typer.Option(min=0.5, max=0.999, help="How sure intervals and winner shall be, over the whole experiment.")
]


@app.command("list")
@asks_operators
def experiments_list(operators: Operators, json: AsJson = False) -> None:
    """List the experiments of the running server, with their variants and shares."""
    from springtide_services.cli.experiment_tables import list_experiments

    list_experiments(operators, as_json=json)


@app.command("show")
@asks_operators
def experiments_show(operators: Operators, name: Name, json: AsJson = False) -> None:
    """Show an experiment: its variants and what they change, its layer, and when it runs."""
    from springtide_services.cli.experiment_tables import show_experiment

    show_experiment(operators, name, as_json=json)


@app.command("result")
@asks_operators
def experiments_result(operators: Operators, name: Name, confidence: Confidence = 0.95, json: AsJson = False) -> None:
    """Show what each variant has brought; it may be looked at any time."""
    from springtide_services.cli.experiment_tables import show_result

    show_result(operators, name, confidence, as_json=json)
