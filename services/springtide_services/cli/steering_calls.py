"""What the `steering`, `rules` and `scenarios` commands ask of a server, and what they print."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message
from rich.table import Table
from rich.text import Text

from springtide.clock import wall_ms
from springtide.errors import SteeringError
from springtide.steering.editing import Edit, in_words, rule_in_words, scenario_in_words
from springtide.steering.reading import read_document, scenario_of
from springtide.steering.values import Rule, Scenario, Steering
from springtide.steering.writing import to_document
from springtide.v1 import admin_pb2 as pb
from springtide_services.cli.connection import Operators
from springtide_services.serving.steering_translation import to_request, to_values
from springtide_services.terminal import console

if TYPE_CHECKING:
    from springtide_services.serving.client import Client

_MAX_LISTED = 8  # Items of an answer that a table shows.


def show_all(operators: Operators, *, as_json: bool) -> None:
    """Print what steers, as a file.

    Raises:
        ServerCallError: If the server does not answer, or answers with an error status.
    """
    with operators.client() as client:
        answer = client.steering()
    if as_json:
        _print_json(answer)
        return
    console().print(Text(to_document(to_values(answer.steering)).rstrip("\n")), soft_wrap=True)


def check_file(operators: Operators, file: Path) -> None:
    """Check a file, against a server if one answers, and print what it comes to.

    Raises:
        SteeringError: If it cannot be read, or makes no sense.
        ServerCallError: If the server refuses it, or does not answer.
    """
    steering = read_document(file)
    numbers = (len(steering.rules), len(steering.scenarios), len(steering.experiments))
    number = "{:,} rules, {:,} scenarios, {:,} experiments".format(*numbers)
    with operators.client() as client:
        if not client.is_serving(within_s=1.0):
            console().print(Text(f"{number}; checked by themselves: no server answers at {client.admin_address}"))
            return
        answer = client.update_steering(_request(Edit(steering), is_dry_run=True))
    for warning in answer.warnings:
        console().print(Text(f"warning: {warning}", style="yellow"), soft_wrap=True)
    console().print(Text(f"{number}; the server would take them"))


def apply_file(
    operators: Operators, file: Path, *, is_dry_run: bool, replace: bool, reason: str, as_json: bool
) -> None:
    """Let what a file says hold, and print what has changed.

    Raises:
        SteeringError: If it cannot be read, or makes no sense.
        ServerCallError: If the server refuses it, or does not answer.
    """
    edit = Edit(read_document(file), replace=replace)
    change(operators, edit, reason=reason, is_dry_run=is_dry_run, as_json=as_json)


def change(operators: Operators, edit: Edit, *, reason: str, is_dry_run: bool, as_json: bool) -> None:
    """Make a change, or try it, and print what it comes to.

    Raises:
        ServerCallError: If the server refuses it, or does not answer.
    """
    with operators.client() as client:
        _change(client, _request(edit, reason=reason, is_dry_run=is_dry_run), as_json=as_json)


def set_scenario(
    operators: Operators, name: str, fields: Mapping[str, Any], *, reason: str, is_dry_run: bool, as_json: bool
) -> None:
    """Make or change a scenario: what the fields, named as in a file, do not name stays as it is.

    Raises:
        InvalidRequestError: If a field is wrong.
        ServerCallError: If the server refuses it, or does not answer.
    """
    with operators.client() as client:
        answer = client.steering()
        steering = to_values(answer.steering)
        scenario = scenario_of(name, fields, steering.scenarios.get(name))
        request = _request(Edit(Steering(scenarios={name: scenario})), reason=reason, is_dry_run=is_dry_run)
        request.version = answer.version  # What stays as it is must be as it was seen.
        _change(client, request, as_json=as_json)


def show_history(operators: Operators, limit: int, *, as_json: bool) -> None:
    """Print the latest changes.

    Raises:
        ServerCallError: If the server does not answer, or answers with an error status.
    """
    with operators.client() as client:
        answer = client.steering_changes(limit)
    if as_json:
        _print_json(answer)
        return
    if not answer.changes:
        console().print("no changes yet")
    for each in answer.changes:
        reason = f": {each.reason}" if each.reason else ""
        when = in_words(1_000 * each.change_time.seconds) if each.HasField("change_time") else "at an unknown time"
        heading = f"{each.version}  {when}  {each.actor}{reason}"
        console().print(Text(heading, style="bold"), soft_wrap=True)
        for sentence in each.changes:
            console().print(Text(f"   {sentence}"), soft_wrap=True)


def show_rules(operators: Operators, *, as_json: bool) -> None:
    """Print all rules, and whether they hold now.

    Raises:
        ServerCallError: If the server does not answer, or answers with an error status.
    """
    with operators.client() as client:
        answer = client.steering()
    if as_json:
        _print_json(answer)
        return
    rules = to_values(answer.steering).rules
    if not rules:
        console().print("no rules")
        return
    console().print(rules_table(rules, wall_ms()))


def rules_table(rules: Iterable[Rule], now_ms: int) -> Table:
    """Return a table of rules.

    Args:
        rules: The rules.
        now_ms: The time, milliseconds since the Unix epoch: whether they hold is said for it.
    """
    table = Table("rule", "now", "what it does", "note", box=None, pad_edge=False)
    for rule in rules:
        if rule.start_ms is not None and rule.start_ms > now_ms:
            holds = "waits"
        else:
            holds = "over" if rule.end_ms is not None and rule.end_ms <= now_ms else "holds"
        table.add_row(*map(Text, (rule.name, holds, rule_in_words(rule), rule.note)))
    return table


def show_scenarios(operators: Operators, *, as_json: bool) -> None:
    """Print all scenarios.

    Raises:
        ServerCallError: If the server does not answer, or answers with an error status.
    """
    with operators.client() as client:
        answer = client.steering()
    if as_json:
        _print_json(answer)
        return
    scenarios = to_values(answer.steering).scenarios.values()
    if not scenarios:
        console().print("no scenarios")
        return
    console().print(scenarios_table(scenarios))


def scenarios_table(scenarios: Iterable[Scenario]) -> Table:
    """Return a table of scenarios."""
    table = Table("scenario", "what it says", "note", box=None, pad_edge=False)
    for scenario in scenarios:
        table.add_row(*map(Text, (scenario.name, scenario_in_words(scenario), scenario.note)))
    return table


def show_scenario(operators: Operators, name: str, *, as_json: bool) -> None:
    """Print a scenario as in a file, and the rules that hold in it.

    Raises:
        SteeringError: If there is none of this name.
        ServerCallError: If the server does not answer, or answers with an error status.
    """
    with operators.client() as client:
        answer = client.steering()
    steering = to_values(answer.steering)
    if name not in steering.scenarios:
        raise SteeringError(f"no scenario {name!r} (choices: {', '.join(steering.scenarios) or 'none'})")
    if as_json:
        _print_json(next(each for each in answer.steering.scenarios if each.name == name))
        return
    lines = to_document(Steering(scenarios={name: steering.scenarios[name]})).splitlines()
    console().print(Text("\n".join(lines[2:])), soft_wrap=True)
    rules = [rule for rule in steering.rules if not rule.scenarios or name in rule.scenarios]
    if rules:
        console().print()
        console().print(rules_table(rules, wall_ms()))


def samples_table(samples: Iterable[pb.SteeredSample]) -> Table:
    """Return a table of answers before and after, those that change."""
    table = Table("user", "now", "then", box=None, pad_edge=False)
    for sample in samples:
        gone, come = set(sample.before) - set(sample.after), set(sample.after) - set(sample.before)
        who = f"{sample.user or '(none)'}{f', {sample.scenario}' if sample.scenario else ''}"
        table.add_row(Text(who), _items(sample.before, gone, "red"), _items(sample.after, come, "green"))
    return table


def _change(client: "Client", request: pb.UpdateSteeringRequest, *, as_json: bool) -> None:
    answer = client.update_steering(request)
    if as_json:
        _print_json(answer)
        return
    out = console()
    for warning in answer.warnings:
        out.print(Text(f"warning: {warning}", style="yellow"), soft_wrap=True)
    for sentence in answer.changes:
        out.print(Text(sentence), soft_wrap=True)
    if not answer.changes:
        out.print("nothing changes" if request.dry_run else "nothing has changed")
    elif not request.dry_run:
        out.print(f"version {answer.version} holds")
    if answer.samples:
        changed = [sample for sample in answer.samples if sample.before != sample.after]
        out.print()
        out.print(f"{len(changed):,} of {len(answer.samples):,} answers would change")
        if changed:
            out.print(samples_table(changed))


def _items(items: Iterable[str], marked: set[str], style: str) -> Text:
    listed = list(items)
    text = Text(", ").join(Text(item, style if item in marked else "") for item in listed[:_MAX_LISTED])
    return text + Text(f" and {len(listed) - _MAX_LISTED:,} more") if len(listed) > _MAX_LISTED else text


def _request(edit: Edit, *, reason: str = "", is_dry_run: bool = False) -> pb.UpdateSteeringRequest:
    request = to_request(edit)
    request.reason, request.dry_run = reason, is_dry_run
    return request


def _print_json(message: Message) -> None:
    from google.protobuf.json_format import MessageToJson  # Slow to import.

    console().print_json(MessageToJson(message, always_print_fields_with_no_presence=True))
