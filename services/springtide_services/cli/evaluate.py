"""The `evaluate` command: models and baselines, measured on the same data."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from springtide.extras import refuse_without
from springtide_services.cli.options import (
    Columns,
    DatasetName,
    Encoding,
    SettingsPath,
    TimeFormat,
    TimeUnit,
    TypeName,
    load_settings,
    read_options,
)
from springtide_services.termination import interrupt_on_signals


class SplitName(StrEnum):
    """How an evaluation splits a data set."""

    GLOBAL = "global"
    WALK_FORWARD = "walk-forward"
    PREQUENTIAL = "prequential"
    LEAVE_ONE_OUT = "leave-one-out"
    COLD_START = "cold-start"


def evaluate(
    dataset: Annotated[
        list[str] | None,
        typer.Argument(
            help="Public data sets by name, or files (CSV, TSV, JSON lines, Parquet); all public ones if none."
        ),
    ] = None,
    settings: SettingsPath = None,
    split: Annotated[
        list[SplitName] | None, typer.Option(help="How the data is split; may be repeated. Default: global.")
    ] = None,
    models: Annotated[
        str, typer.Option(help="Measure only these, with commas: default, cosine, or baselines.", metavar="NAMES")
    ] = "",
    all_baselines: Annotated[
        bool,
        typer.Option(
            "--all-baselines", help="Also measure baselines that take minutes, such as ease, slim and mult_vae."
        ),
    ] = False,
    encoder: Annotated[list[str] | None, typer.Option(help="Try this encoder; may be repeated.")] = None,
    aggregator: Annotated[
        list[str] | None, typer.Option(help="Try this aggregator with each encoder; may be repeated.")
    ] = None,
    loss: Annotated[list[str] | None, typer.Option(help="Try this loss; may be repeated.")] = None,
    all_encoders: Annotated[bool, typer.Option("--all-encoders", help="Try every encoder.")] = False,
    all_losses: Annotated[bool, typer.Option("--all-losses", help="Try every loss.")] = False,
    seed: Annotated[
        list[int] | None,
        typer.Option(help="Random seed; may be repeated. Default: that of the settings."),
    ] = None,
    columns: Columns = "",
    time_unit: TimeUnit = None,
    time_format: TimeFormat = None,
    encoding: Encoding = None,
    type_name: TypeName = "",
    by_rules: Annotated[
        bool,
        typer.Option(
            "--by-rules",
            help="Let [interactions] of the settings say which types and ratings are positive, and how much each "
            "counts. Default: all are positive.",
        ),
    ] = False,
    items: Annotated[
        list[Path] | None,
        typer.Option(help="File with attributes of items, a row for each; may be repeated.", metavar="FILE"),
    ] = None,
    users: Annotated[
        list[Path] | None,
        typer.Option(help="File with attributes of users, a row for each; may be repeated.", metavar="FILE"),
    ] = None,
    item_id: Annotated[str, typer.Option(help="Column of ids in the files of items.", metavar="NAME")] = "",
    user_id: Annotated[str, typer.Option(help="Column of ids in the files of users.", metavar="NAME")] = "",
    separator: Annotated[str, typer.Option(help="Between several categories in one text of such a file.")] = "|",
    keep_cold: Annotated[
        bool, typer.Option("--keep-cold", help="Keep users and items with too few interactions in the training set.")
    ] = False,
    days: Annotated[
        int | None,
        typer.Option(min=1, help="Days of a prequential replay. Default: 30, or the last tenth of a short data set."),
    ] = None,
    questions: Annotated[int, typer.Option(min=1, help="Number of events that a prequential replay ranks.")] = 2_000,
    results: Annotated[
        Path, typer.Option(help="Results file; run the same command again to continue.", metavar="PATH")
    ] = Path("springtide-state/evaluation.jsonl"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure everything again.")] = False,
    segments: Annotated[bool, typer.Option("--segments", help="Also print segments of users and items.")] = False,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Also print the other metrics, those beyond accuracy included.")
    ] = False,
    exponents: Annotated[
        bool, typer.Option("--exponents", help="Also print how much each context weight counts, with its error.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Also write the rows as JSON.", metavar="PATH")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Also write the rows as CSV.", metavar="PATH")] = None,
    plots: Annotated[
        Path | None, typer.Option("--plots", help="Also draw plots into this folder.", metavar="FOLDER")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write the report as one page.", metavar="PATH")
    ] = None,
) -> None:
    """Measure models and baselines, on public data sets or on your own events."""
    interrupt_on_signals()
    refuse_without("train")
    loaded = load_settings(settings)
    from springtide_services.thread_pools import wait_without_spinning

    wait_without_spinning()  # Before what follows imports PyTorch.
    from springtide.evaluation.data import AttributeFile
    from springtide.evaluation.plan import ModelChoice
    from springtide_services.evaluation.evaluate import Output, evaluate_and_show
    from springtide_services.evaluation.runs import SplitOptions

    named = [name.strip() for name in models.split(",") if name.strip()] or None
    evaluate_and_show(
        list(dict.fromkeys(dataset or [name.value for name in DatasetName])),
        loaded,
        ModelChoice(encoder or (), aggregator or (), loss or (), all_encoders, all_losses, named, all_baselines),
        results,
        split=SplitOptions(
            tuple(dict.fromkeys(each.value for each in split or [SplitName.GLOBAL])), keep_cold, days, questions
        ),
        seeds=seed or (),
        options=read_options(columns, time_unit, time_format, encoding, type_name),
        attributes=[
            *(AttributeFile(path, "item", item_id, separator) for path in items or ()),
            *(AttributeFile(path, "user", user_id, separator) for path in users or ()),
        ],
        is_by_rules=by_rules,
        is_fresh=fresh,
        output=Output(markdown, segments, metrics, json, csv, plots, html, exponents),
    )
