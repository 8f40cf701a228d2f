"""The `scenarios` commands: named bundles of what a request may say."""

from typing import Annotated

import typer

from springtide_services.cli.connection import Operators, asks_operators
from springtide_services.cli.options import AsJson
from springtide_services.cli.steering import DryRun, Reason

app = typer.Typer(help="List and change scenarios: what requests say by naming one.", no_args_is_help=True)


@app.command("list")
@asks_operators
def scenarios_list(operators: Operators, json: AsJson = False) -> None:
    """List all scenarios."""
    from springtide_services.cli.steering_calls import show_scenarios

    show_scenarios(operators, as_json=json)


@app.command("show")
@asks_operators
def scenarios_show(
    operators: Operators, name: Annotated[str, typer.Argument(help="Its name.")], json: AsJson = False
) -> None:
    """Show a scenario, and the rules that hold in it."""
    from springtide_services.cli.steering_calls import show_scenario

    show_scenario(operators, name, as_json=json)


@app.command("set")
@asks_operators
def scenarios_set(
    operators: Operators,
    name: Annotated[str, typer.Argument(help="Its name; what no option names stays as it is.")],
    where: Annotated[str | None, typer.Option("--filter", help="Expression over items: only those that pass.")] = None,
    booster: Annotated[str | None, typer.Option(help="Expression over items that multiplies their odds.")] = None,
    count: Annotated[int | None, typer.Option(help="Number of items.")] = None,
    diversity: Annotated[float | None, typer.Option(help="How much items shall differ, 0 to 1.")] = None,
    diversity_attribute: Annotated[str | None, typer.Option(help="Attribute in which they shall differ.")] = None,
    max_per: Annotated[
        list[str] | None, typer.Option(help="Most items of one value, ATTRIBUTE=NUMBER; may be repeated.")
    ] = None,
    rotation_rate: Annotated[float | None, typer.Option(help="How far shown and ignored items sink, 0 to 1.")] = None,
    rotation_time: Annotated[str | None, typer.Option(help="After how long they are back: '7 days'.")] = None,
    exploration: Annotated[float | None, typer.Option(help="Share of slots for uncertain items, 0 to 1.")] = None,
    min_relevance: Annotated[float | None, typer.Option(help="Least cosine, -1 to 1.")] = None,
    exclude_seen: Annotated[
        list[str] | None, typer.Option(help="Leave out items seen in this type; '*' for all; may be repeated.")
    ] = None,
    include_attributes: Annotated[
        list[str] | None, typer.Option("--include-attribute", help="Attribute to give of each item; may be repeated.")
    ] = None,
    reranker: Annotated[str | None, typer.Option(help="Name of the plugin that orders.")] = None,
    weight: Annotated[
        list[str] | None, typer.Option(help="Factor of a context weight's exponent, NAME=FACTOR; may be repeated.")
    ] = None,
    note: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    reason: Reason = "",
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """Make or change a scenario: `springtide scenarios set home --count 12 --max-per brand=3`."""
    from springtide_services.cli.steering_calls import set_scenario

    said = {
        "filter": where,
        "booster": booster,
        "count": count,
        "diversity": diversity,
        "diversity_attribute": diversity_attribute,
        "max_per": None if max_per is None else dict(map(_pair, max_per)),
        "rotation_rate": rotation_rate,
        "rotation_time": rotation_time,
        "exploration": exploration,
        "min_relevance": min_relevance,
        "exclude_seen": exclude_seen,
        "include_attributes": include_attributes,
        "reranker": reranker,
        "weights": None if weight is None else dict(map(_pair, weight)),
        "note": note,
    }
    fields = {key: value for key, value in said.items() if value is not None}
    set_scenario(operators, name, fields, reason=reason, is_dry_run=dry_run, as_json=json)


@app.command("remove")
@asks_operators
def scenarios_remove(
    operators: Operators,
    names: Annotated[list[str], typer.Argument(help="Names of scenarios.", metavar="NAME")],
    reason: Reason = "",
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """Remove scenarios."""
    from springtide.steering.editing import Edit
    from springtide_services.cli.steering_calls import change

    change(operators, Edit(remove_scenarios=tuple(names)), reason=reason, is_dry_run=dry_run, as_json=json)


def _pair(text: str) -> tuple[str, float]:
    name, separator, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        separator = ""
    if not separator or not name:
        raise typer.BadParameter(f"wanted NAME=NUMBER, got {text!r}")
    return name, int(value) if value.is_integer() else value
