"""What the `experiments` commands print."""

from typing import Any, Literal

from google.protobuf.timestamp_pb2 import Timestamp
from rich.markup import escape
from rich.table import Table

from springtide.v1 import admin_pb2 as pb
from springtide.v1 import steering_pb2
from springtide_services.cli.connection import Operators
from springtide_services.serving.client import ServerCallError
from springtide_services.terminal import console


def list_experiments(operators: Operators, *, as_json: bool) -> None:
    """Print all experiments of a server, a line each.

    Raises:
        ServerCallError: If the server does not answer, or answers with an error status.
    """
    with operators.client() as client:
        experiments = client.steering().steering.experiments
    if as_json:
        console().print_json(_json(steering_pb2.Steering(experiments=experiments)))
        return
    if not experiments:
        console().print("no experiments; `springtide steering apply FILE` puts some")
        return
    table = Table("name", "layer", "variants", "from", "until", "note", box=None, pad_edge=False)
    for each in experiments:
        variants = ", ".join(f"{variant.name} {variant.share:.1%}" for variant in each.variants)
        row = (each.name, each.layer or "own", variants, _when(each, "start_time"), _when(each, "end_time"), each.note)
        table.add_row(*map(escape, row))
    console().print(table)


def show_experiment(operators: Operators, name: str, *, as_json: bool) -> None:
    """Print one experiment.

    Raises:
        ServerCallError: If the server does not answer, answers with an error status, or has no such experiment.
    """
    with operators.client() as client:
        experiments = client.steering().steering.experiments
    found = next((each for each in experiments if each.name == name), None)
    if found is None:
        choices = ", ".join(each.name for each in experiments) or "none"
        raise ServerCallError(f"no experiment {name!r} (choices: {choices})")
    if as_json:
        console().print_json(_json(found))
        return
    facts = Table(box=None, pad_edge=False, show_header=False)
    for key, value in (
        ("name", found.name),
        ("layer", found.layer or "own"),
        ("from", _when(found, "start_time") or "at once"),
        ("until", _when(found, "end_time") or "for ever"),
        ("conversions", ", ".join(found.conversions) or "all positive interactions"),
        ("note", found.note),
    ):
        facts.add_row(key, escape(value))
    table = Table("variant", "share", "model", "scenario", "weights", box=None, pad_edge=False)
    for each in found.variants:
        weights = ", ".join(f"{weight} × {factor:g}" for weight, factor in sorted(each.weights.items()))
        table.add_row(
            *map(escape, (each.name, f"{each.share:.2%}", each.model_version or "current", each.scenario, weights))
        )
    console().print(facts)
    console().print()
    console().print(table)


def show_result(operators: Operators, name: str, confidence: float, *, as_json: bool) -> None:
    """Print what an experiment has brought.

    Raises:
        ServerCallError: If the server does not answer, or answers with an error status.
    """
    with operators.client() as client:
        result = client.experiment(name, confidence)
    if as_json:
        console().print_json(_json(result))
        return
    console().print(result_table(result))
    console().print(result_words(result, confidence), soft_wrap=True)


def result_table(result: pb.GetExperimentResponse) -> Table:
    """Return the table of variants, with their rates and how these differ from the first's."""
    columns = ("variant", "users", "converted", "rate", "interval", "difference", "interval", "p")
    table = Table(*columns, "impressions", "conversions", box=None, pad_edge=False)
    for index, each in enumerate(result.variants):
        difference = ("", "", "")
        if index:
            interval = f"{each.difference_low:+.2%} to {each.difference_high:+.2%}"
            difference = (f"{each.difference:+.2%}", interval, f"{each.p_value:.2g}")
        table.add_row(
            *(escape(each.variant), f"{each.num_users:,}", f"{each.num_converted:,}", f"{each.rate:.2%}"),
            *(f"{each.rate_low:.2%} to {each.rate_high:.2%}", *difference),
            *(f"{each.num_impressions:,}", f"{each.num_conversions:,}"),
        )
    return table


def result_words(result: pb.GetExperimentResponse, confidence: float) -> str:
    """Return who wins, in words."""
    sure = f"at {confidence:.1%} confidence, whenever one looks"
    return f"open {sure}" if not result.winner else f"{escape(result.winner)} wins {sure}"


def _when(experiment: steering_pb2.Experiment, name: Literal["start_time", "end_time"]) -> str:
    if not experiment.HasField(name):
        return ""
    time: Timestamp = getattr(experiment, name)
    return time.ToDatetime().strftime("%Y-%m-%d %H:%M:%S")


def _json(message: Any) -> str:
    from google.protobuf.json_format import MessageToJson  # Slow to import.

    return MessageToJson(message, always_print_fields_with_no_presence=True)
