"""The `rules` commands: list rules, and block, pin, boost or bury items."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from springtide_services.cli.connection import Operators, asks_operators
from springtide_services.cli.options import AsJson
from springtide_services.cli.steering import DryRun, Reason

if TYPE_CHECKING:
    from springtide.steering.values import RuleAction

app = typer.Typer(help="List rules, and block, pin, boost or bury items.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The rule's name; a rule of that name is replaced.")]
Items = Annotated[list[str] | None, typer.Option("--item", help="An item; may be repeated.", metavar="ID")]
Filter = Annotated[str, typer.Option("--filter", help="Expression over items, such as '\"WINE\" in category'.")]
Segment = Annotated[str, typer.Option(help="Expression over the user and the moment: where the rule holds.")]
From = Annotated[str, typer.Option("--from", help="From when it holds, such as 2026-12-01 or 2026-12-01T18:00+01:00.")]
Until = Annotated[str, typer.Option(help="Until when it holds, that time not included.")]
Scenarios = Annotated[
    list[str] | None, typer.Option("--scenario", help="A scenario in which it holds; may be repeated.", metavar="NAME")
]
Note = Annotated[str, typer.Option(help="Why it is there.")]


@app.command("list")
@asks_operators
def rules_list(operators: Operators, json: AsJson = False) -> None:
    """List all rules, those that do not hold now among them."""
    from springtide_services.cli.steering_calls import show_rules

    show_rules(operators, as_json=json)


@app.command("block")
@asks_operators
def rules_block(
    operators: Operators,
    name: Name,
    item: Items = None,
    where: Filter = "",
    segment: Segment = "",
    scenario: Scenarios = None,
    start: From = "",
    until: Until = "",
    note: Note = "",
    reason: Reason = "",
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """Leave items out of every answer: `springtide rules block promo-ended --item 123 --until 2026-12-24`."""
    fields = {"items": item, "filter": where, "segment": segment, "scenarios": scenario, "note": note}
    _put(operators, name, "block", fields, start, until, reason, dry_run=dry_run, as_json=json)


@app.command("pin")
@asks_operators
def rules_pin(
    operators: Operators,
    name: Name,
    item: Items = None,
    slot: Annotated[int, typer.Option(help="The slot of the first item, 1 for the top; the others follow.")] = 1,
    where: Filter = "",
    segment: Segment = "",
    scenario: Scenarios = None,
    start: From = "",
    until: Until = "",
    note: Note = "",
    reason: Reason = "",
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """Put items at a slot: `springtide rules pin hero --item 123 --slot 1`."""
    fields = {"items": item, "slot": slot, "filter": where, "segment": segment, "scenarios": scenario, "note": note}
    _put(operators, name, "pin", fields, start, until, reason, dry_run=dry_run, as_json=json)


@app.command("boost")
@asks_operators
def rules_boost(
    operators: Operators,
    name: Name,
    factor: Annotated[float, typer.Option(help="By what the items' odds are multiplied, above 1.")],
    item: Items = None,
    where: Filter = "",
    segment: Segment = "",
    scenario: Scenarios = None,
    start: From = "",
    until: Until = "",
    note: Note = "",
    reason: Reason = "",
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """Raise items: `springtide rules boost wine-week --filter '"WINE" in category' --factor 2`."""
    fields = {
        "items": item,
        "factor": factor,
        "filter": where,
        "segment": segment,
        "scenarios": scenario,
        "note": note,
    }
    _put(operators, name, "boost", fields, start, until, reason, dry_run=dry_run, as_json=json)


@app.command("bury")
@asks_operators
def rules_bury(
    operators: Operators,
    name: Name,
    factor: Annotated[float, typer.Option(help="By what the items' odds are multiplied, below 1.")],
    item: Items = None,
    where: Filter = "",
    segment: Segment = "",
    scenario: Scenarios = None,
    start: From = "",
    until: Until = "",
    note: Note = "",
    reason: Reason = "",
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """Lower items: `springtide rules bury low-stock --filter 'stock < 3' --factor 0.2`."""
    fields = {
        "items": item,
        "factor": factor,
        "filter": where,
        "segment": segment,
        "scenarios": scenario,
        "note": note,
    }
    _put(operators, name, "bury", fields, start, until, reason, dry_run=dry_run, as_json=json)


@app.command("remove")
@asks_operators
def rules_remove(
    operators: Operators,
    names: Annotated[list[str], typer.Argument(help="Names of rules.", metavar="NAME")],
    reason: Reason = "",
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """Remove rules."""
    from springtide.steering.editing import Edit
    from springtide_services.cli.steering_calls import change

    change(operators, Edit(remove_rules=tuple(names)), reason=reason, is_dry_run=dry_run, as_json=json)


def _put(
    operators: Operators,
    name: str,
    action: "RuleAction",
    fields: Mapping[str, object],
    start: str,
    until: str,
    reason: str,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    from springtide.steering.editing import Edit
    from springtide.steering.reading import rule_of
    from springtide.steering.values import Steering
    from springtide_services.cli.steering_calls import change

    said = {**fields, "action": action, "start": start, "end": until}
    rule = rule_of(name, {key: value for key, value in said.items() if value})
    change(operators, Edit(Steering((rule,))), reason=reason, is_dry_run=dry_run, as_json=as_json)
