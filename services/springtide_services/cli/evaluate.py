"""The `evaluate` command: models measured beside baselines."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from springtide_services.cli.options import DatasetName, SettingsPath, load_settings


class SplitName(StrEnum):
    """How an evaluation cuts a data set in time."""

    GLOBAL = "global"
    WALK_FORWARD = "walk-forward"
    PREQUENTIAL = "prequential"
    LEAVE_ONE_OUT = "leave-one-out"


def evaluate(
    dataset: Annotated[
        list[str] | None,
        typer.Argument(
            help="Public data sets by name, or files (CSV, TSV, JSON lines, Parquet); all public ones if none."
        ),
    ] = None,
    settings: SettingsPath = None,
    split: Annotated[SplitName, typer.Option(help="How the data is cut in time.")] = SplitName.GLOBAL,
    models: Annotated[
        str, typer.Option(help="Measure these alone, with commas: default, cosine, or baselines.", metavar="NAMES")
    ] = "",
    all_baselines: Annotated[
        bool, typer.Option("--all-baselines", help="Also those that take minutes: ease, slim, ials, bpr.")
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
        typer.Option(help="Of everything left to chance; may be repeated. That of the settings if absent."),
    ] = None,
    columns: Annotated[
        str, typer.Option(help="Columns of files whose names are unusual: user=visitorid,item=itemid.", metavar="NAMES")
    ] = "",
    keep_cold: Annotated[
        bool, typer.Option("--keep-cold", help="Keep users and items that the train part has too little of.")
    ] = False,
    days: Annotated[
        int | None, typer.Option(min=1, help="Of a prequential replay; the last 30, or a tenth of a short data set.")
    ] = None,
    questions: Annotated[int, typer.Option(min=1, help="Of a prequential replay.")] = 2_000,
    results: Annotated[
        Path, typer.Option(help="Where results are kept, so that the same command goes on.", metavar="PATH")
    ] = Path("springtide-state/evaluation.jsonl"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what was measured before.")] = False,
    segments: Annotated[bool, typer.Option("--segments", help="Also print kinds of users and items apart.")] = False,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Also print the other metrics, those beyond accuracy among them.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print tables for a README.")] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Also write the rows here.", metavar="PATH")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Also write the rows here.", metavar="PATH")] = None,
    plots: Annotated[Path | None, typer.Option("--plots", help="Also draw pictures here.", metavar="FOLDER")] = None,
) -> None:
    """Measure models beside baselines, on public data sets or on your own events."""
    loaded = load_settings(settings)
    from springtide.evaluation.data.event_tables import parse_columns
    from springtide.evaluation.plan import Choice
    from springtide_services.evaluation.evaluate import Output, evaluate_and_show
    from springtide_services.evaluation.runs import EvaluationScope

    named = [name.strip() for name in models.split(",") if name.strip()] or None
    evaluate_and_show(
        list(dict.fromkeys(dataset or [name.value for name in DatasetName])),
        loaded,
        Choice(encoder or (), aggregator or (), loss or (), all_encoders, all_losses, named, all_baselines),
        results,
        asked=EvaluationScope(split.value, keep_cold, days, questions),
        seeds=seed or (),
        columns=parse_columns(columns) if columns else None,
        is_fresh=fresh,
        output=Output(markdown, segments, metrics, json, csv, plots),
    )
