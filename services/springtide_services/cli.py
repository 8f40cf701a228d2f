"""The command line: each command imports what it needs when it runs, so that help answers at once."""

import sys
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from springtide.errors import PluginError, SettingsError, SpringtideError
from springtide_services.season_proof import prove

if TYPE_CHECKING:
    from springtide.config import Settings

EXIT_FAILED = 1
EXIT_REFUSED = 2  # What was asked for cannot be: a restart would not help.

app = typer.Typer(
    help="Springtide: the recommender that learns from the stream.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models_app = typer.Typer(help="List the models, and choose which one serves.", no_args_is_help=True)
plugins_app = typer.Typer(help="See what plugins offer; begin one, and check it.", no_args_is_help=True)
config_app = typer.Typer(help="See the settings.", no_args_is_help=True)
app.add_typer(models_app, name="models")
app.add_typer(plugins_app, name="plugins")
app.add_typer(config_app, name="config")

SettingsPath = Annotated[
    Path | None,
    typer.Option("--settings", help="Settings file; else SPRINGTIDE_SETTINGS, else springtide.toml.", metavar="PATH"),
]
Address = Annotated[str, typer.Option(help="Server to ask, host:port; that of the settings if empty.")]
UntilStdinCloses = Annotated[bool, typer.Option("--until-stdin-closes", hidden=True)]


class TrainingMode(StrEnum):
    """How to train."""

    RETRAIN = "retrain"
    FINE_TUNE = "fine_tune"
    REFIT = "refit"


class DatasetName(StrEnum):
    """The public data sets."""

    COMPLETE_JOURNEY = "complete-journey"
    MOVIELENS_100K = "movielens-100k"
    TAFENG = "tafeng"


class SplitName(StrEnum):
    """How an evaluation cuts a data set in time."""

    GLOBAL = "global"
    WALK_FORWARD = "walk-forward"
    PREQUENTIAL = "prequential"
    LEAVE_ONE_OUT = "leave-one-out"


class PartKind(StrEnum):
    """The kinds of parts that a plugin may offer."""

    ENCODER = "encoder"
    AGGREGATOR = "aggregator"
    LOSS = "loss"
    NEGATIVE_SAMPLER = "negative-sampler"
    TASK = "task"
    CONTEXT_WEIGHT = "context-weight"
    BASELINE = "baseline"


@app.command()
def up(settings: SettingsPath = None) -> None:
    """Run everything on this machine: broker (if no Kafka is named), server and trainer."""
    from springtide_services.up import run_up

    run_up(_load(settings), settings)


@app.command()
def broker(port: Annotated[int, typer.Option(help="Port to listen on, on the loopback interface.")] = 9092) -> None:
    """Run the embedded broker, which forgets all on exit."""
    from springtide_services.up import run_broker

    run_broker(port)


@app.command()
def serve(settings: SettingsPath = None, until_stdin_closes: UntilStdinCloses = False) -> None:
    """Read the stream, keep the live graph, and answer over gRPC."""
    loaded = _load_with_kafka(settings)  # A wrong setting is told before the slow imports.
    from springtide_services.logs import configure_logging
    from springtide_services.server import serve as run_server
    from springtide_services.supervisor import end_when_stdin_closes

    if until_stdin_closes:
        end_when_stdin_closes()
    configure_logging()
    run_server(loaded)


@app.command()
def train(
    settings: SettingsPath = None,
    mode: Annotated[TrainingMode | None, typer.Option(help="How to train; the trainer chooses if absent.")] = None,
    schedule: Annotated[bool, typer.Option(help="Keep running: train when the schedule or a request says so.")] = False,
    until_stdin_closes: UntilStdinCloses = False,
) -> None:
    """Train a model on the newest checkpoint and publish it."""
    if schedule and mode is not None:
        raise SettingsError("train: wanted --mode or --schedule, got both: the schedule chooses the mode")
    loaded = _load(settings)
    from springtide_services.logs import configure_logging
    from springtide_services.supervisor import end_when_stdin_closes
    from springtide_services.trainer import run_trainer, train_once

    if until_stdin_closes:
        end_when_stdin_closes()
    configure_logging()
    if schedule:
        run_trainer(loaded)
        return
    from springtide_services.model_commands import outcome_of
    from springtide_services.terminal import StageBars, console, progress

    with progress(console(stderr=True)) as bars:
        stages = StageBars(bars, "Train")
        version = train_once(
            loaded, mode.value if mode else None, lambda now: stages.show(now.stage, now.done, now.total, now.loss)
        )
        stages.finish()
    typer.echo(outcome_of(loaded, version))


@app.command()
def publish(
    file: Annotated[Path, typer.Argument(help="JSON lines, CSV or Parquet.")],
    settings: SettingsPath = None,
) -> None:
    """Publish the events of a file to Kafka."""
    loaded = _load_with_kafka(settings)
    from springtide_services.publish import publish_file

    publish_file(loaded, file)


@app.command()
def recommend(
    user: Annotated[str, typer.Argument(help="The user's id; '' with --recent for somebody unknown.")],
    settings: SettingsPath = None,
    count: Annotated[int, typer.Option(help="How many items.")] = 10,
    at: Annotated[datetime | None, typer.Option(help="The moment, UTC; now if absent.")] = None,
    place: Annotated[str, typer.Option(help="Where.")] = "",
    weather: Annotated[str, typer.Option(help="The weather.")] = "",
    recent: Annotated[list[str] | None, typer.Option(help="An item just touched; may be repeated.")] = None,
    exclude_seen: Annotated[list[str] | None, typer.Option(help="Interaction type to leave out; '*' for any.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Category filter, ATTRIBUTE=VALUE; may be repeated.")] = None,
    address: Address = "",
    json: Annotated[bool, typer.Option("--json", help="Print the response as JSON.")] = False,
) -> None:
    """Ask the running server what a user would want."""
    from springtide_services.asking import ask

    ask(
        address or _server_address(settings),
        user=user,
        count=count,
        at=at,
        place=place,
        weather=weather,
        recent_items=recent or (),
        exclude_seen=exclude_seen or (),
        only=only or (),
        as_json=json,
    )


@app.command()
def explain(
    user: Annotated[str, typer.Argument(help="The user's id; '' with --recent for somebody unknown.")],
    item: Annotated[str, typer.Argument(help="The item's id.")],
    settings: SettingsPath = None,
    at: Annotated[datetime | None, typer.Option(help="The moment, UTC; now if absent.")] = None,
    place: Annotated[str, typer.Option(help="Where.")] = "",
    weather: Annotated[str, typer.Option(help="The weather.")] = "",
    recent: Annotated[list[str] | None, typer.Option(help="An item just touched; may be repeated.")] = None,
    address: Address = "",
    json: Annotated[bool, typer.Option("--json", help="Print the response as JSON.")] = False,
) -> None:
    """Ask the running server why an item has its place for a user."""
    from springtide_services.asking import ask_why

    ask_why(
        address or _server_address(settings),
        user=user,
        item=item,
        at=at,
        place=place,
        weather=weather,
        recent_items=recent or (),
        as_json=json,
    )


@app.command()
def status(
    settings: SettingsPath = None,
    address: Address = "",
    json: Annotated[bool, typer.Option("--json", help="Print the response as JSON.")] = False,
) -> None:
    """Ask the running server what it has read, holds and serves, and how well that foretells what comes in."""
    from springtide_services.server_status import show_status

    show_status(address or _server_address(settings), as_json=json)


@app.command()
def season(
    name: Annotated[
        str | None,
        typer.Argument(
            help="An item's id, or ATTRIBUTE=VALUE; without one, what is in season is listed.", metavar="NAME"
        ),
    ] = None,
    settings: SettingsPath = None,
    top: Annotated[int, typer.Option(min=1, help="How many items to list.")] = 20,
    at: Annotated[
        datetime | None, typer.Option(help="The moment to list for; a date alone is the whole day; today if absent.")
    ] = None,
    min_count: Annotated[float, typer.Option(help="List items with as many interactions, or more.")] = 20.0,
    weight: Annotated[str, typer.Option(help="The context weight to ask.")] = "calendar",
    dataset: Annotated[
        DatasetName | None, typer.Option(help="Learn from a public data set, not from the newest checkpoint.")
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Also draw it as a picture.", metavar="PATH")] = None,
) -> None:
    """Draw how much an item or a category is wanted over the year, the week and the day."""
    from springtide_services.season import season as show_season

    show_season(
        _load(settings),
        name=name,
        top=top,
        at=at,
        min_count=min_count,
        weight_name=weight,
        dataset=dataset.value if dataset else None,
        png=png,
    )


@app.command()
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
    loaded = _load(settings)
    from springtide.evaluation.event_tables import parse_columns
    from springtide.evaluation.plan import Choice
    from springtide_services.evaluate import Output, evaluate_and_show
    from springtide_services.evaluation_runs import Asked

    named = [name.strip() for name in models.split(",") if name.strip()] or None
    evaluate_and_show(
        list(dict.fromkeys(dataset or [name.value for name in DatasetName])),
        loaded,
        Choice(encoder or (), aggregator or (), loss or (), all_encoders, all_losses, named, all_baselines),
        results,
        asked=Asked(split.value, keep_cold, days, questions),
        seeds=seed or (),
        columns=parse_columns(columns) if columns else None,
        is_fresh=fresh,
        output=Output(markdown, segments, metrics, json, csv, plots),
    )


@app.command()
def tune(
    dataset: Annotated[str, typer.Argument(help="A public data set by name, or a file of your own events.")],
    settings: SettingsPath = None,
    minutes: Annotated[float, typer.Option(min=0.01, help="How long to search.")] = 10.0,
    trials: Annotated[
        int | None, typer.Option(min=1, help="How many trials in all; as many as fit into the time if absent.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the choice of trials.")] = 0,
    out: Annotated[Path, typer.Option(help="Where the settings that were found go.", metavar="PATH")] = Path(
        "tuned.toml"
    ),
    study: Annotated[
        Path, typer.Option(help="Where trials are kept, so that the same command goes on.", metavar="PATH")
    ] = Path("springtide-state/tuning.jsonl"),
    columns: Annotated[
        str,
        typer.Option(help="Columns of a file whose names are unusual: user=visitorid,item=itemid.", metavar="NAMES"),
    ] = "",
) -> None:
    """Search for better settings on your data, judged by what comes last before the part that `evaluate` tests on."""
    loaded = _load(settings)
    from springtide.evaluation.event_tables import parse_columns
    from springtide_services.tune import tune_and_write

    tune_and_write(
        dataset,
        loaded,
        minutes=minutes,
        num_trials=trials,
        seed=seed,
        out=out,
        trials_path=study,
        columns=parse_columns(columns) if columns else None,
    )


app.command()(prove)


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server up at the end, until Ctrl-C.")] = False,
) -> None:
    """Run the main job on a year of real purchases: broker, stream, training, answers."""
    from springtide_services.demo import run_demo

    run_demo(keep=keep)


@models_app.command("list")
def models_list(settings: SettingsPath = None) -> None:
    """List the models, newest first: what the gate said of each, and which one serves."""
    from springtide_services.model_commands import show_models

    show_models(_load(settings))


@models_app.command("show")
def models_show(version: str, settings: SettingsPath = None) -> None:
    """Show one model: its parts, what the gate found, its exponents."""
    from springtide_services.model_commands import show_model

    show_model(_load(settings), version)


@models_app.command("log")
def models_log(
    settings: SettingsPath = None,
    limit: Annotated[int, typer.Option(min=1, help="How many entries, the latest.")] = 50,
) -> None:
    """Show who promoted, rolled back or rejected which model, and why."""
    from springtide_services.model_commands import show_log

    show_log(_load(settings), limit)


@models_app.command("promote")
def models_promote(
    version: str,
    settings: SettingsPath = None,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
) -> None:
    """Make a version the current one; running servers swap to it."""
    from springtide_services.model_commands import promote

    promote(_load(settings), version, reason)
    typer.echo(f"{version} is current")


@models_app.command("rollback")
def models_rollback(
    settings: SettingsPath = None, reason: Annotated[str, typer.Option(help="Why, for the record.")] = ""
) -> None:
    """Make the version current that was so before."""
    from springtide_services.model_commands import roll_back

    typer.echo(f"{roll_back(_load(settings), reason)} is current")


@plugins_app.command("list")
def plugins_list(
    settings: SettingsPath = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the parts that plugins offer: what each is, where it comes from, its options; then what failed."""
    from springtide_services.listing import show_plugins

    if not show_plugins(_load(settings), as_json=json):
        raise typer.Exit(EXIT_REFUSED)


@plugins_app.command("new")
def plugins_new(
    name: Annotated[str, typer.Argument(help="Of the project and of the part, such as my-encoder.")],
    kind: Annotated[PartKind, typer.Option(help="What kind of part.")] = PartKind.ENCODER,
    path: Annotated[Path, typer.Option(help="Folder in which the project's own is made.", metavar="DIR")] = Path(),
) -> None:
    """Write a small project with one part, its test and a README; the tests pass as written."""
    from springtide_services.plugin_commands import new_plugin

    new_plugin(name, kind.value.replace("-", " "), path)


@plugins_app.command("check")
def plugins_check(
    module: Annotated[str, typer.Argument(help="Name of a plugin's module, or path of its .py file.")],
) -> None:
    """Check that each part of a plugin does what every part of its kind must do."""
    from springtide_services.plugin_commands import check_plugin

    if not check_plugin(module):
        raise typer.Exit(EXIT_FAILED)


@config_app.command("show")
def config_show(settings: SettingsPath = None) -> None:
    """Print the settings as TOML, with what set them; secrets are masked."""
    from springtide.settings_file import load_settings
    from springtide.settings_view import to_toml

    typer.echo(to_toml(load_settings(settings)), nl=False)


def main() -> None:
    """Run the command line; an error of ours is one line, not a traceback."""
    try:
        app(standalone_mode=True)
    except SpringtideError as error:
        typer.echo(f"springtide: {error}", err=True)
        sys.exit(EXIT_REFUSED if isinstance(error, SettingsError | PluginError) else EXIT_FAILED)


def _load(path: Path | None) -> "Settings":
    from springtide.settings_file import load_settings

    return load_settings(path).settings


def _load_with_kafka(path: Path | None) -> "Settings":
    settings = _load(path)
    if not settings.kafka.bootstrap_servers:
        raise SettingsError(
            "no broker named: wanted kafka.bootstrap_servers, or KAFKA_BOOTSTRAP_SERVERS "
            "(`springtide up` starts an embedded one)"
        )
    return settings


def _server_address(path: Path | None) -> str:
    server = _load(path).server
    return f"{server.host}:{server.port}"


if __name__ == "__main__":
    main()
