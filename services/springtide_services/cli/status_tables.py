"""The `status` command: what a running server has read, holds and serves, and how well it foretells what comes in."""

from google.protobuf.json_format import MessageToJson
from rich.table import Table
from rich.text import Text

from springtide.v1 import admin_pb2 as pb
from springtide_services.serving.client import Client
from springtide_services.terminal import console

_FALLBACK = "none (the fallback ranks)"


def show_status(address: str, *, as_json: bool) -> None:
    """Ask the server for its status and print it.

    Raises:
        ServerCallError: If there is no answer, or an error.
    """
    with Client(address) as client:
        status = client.status()
    if as_json:
        console().print_json(MessageToJson(status, always_print_fields_with_no_presence=True))
        return
    console().print(status_table(status))
    console().print()
    console().print(quality_table(status.live_quality))
    if status.live_quality.HasField("drop"):
        console().print(Text(drop_words(status.live_quality.drop)))


def status_table(status: pb.GetStatusResponse) -> Table:
    """Return what the server has read, holds and serves, a line for each."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column()
    table.add_row("serves", Text(status.model_version or _FALLBACK))
    lag = f"{status.lag_events:,} events behind" if status.is_broker_connected else "the broker is away"
    table.add_row("stream", lag)
    for heading, numbers in (("nodes", status.num_nodes), ("edges", status.num_edges)):
        counts = ", ".join(f"{count:,} {name}" for name, count in sorted(numbers.items()))
        table.add_row(heading, Text(counts or "none"))
    refused = ", ".join(f"{count:,} {reason}" for reason, count in sorted(status.num_dead_letters.items()))
    table.add_row("dead letters", Text(refused or "none"))
    if status.HasField("checkpoint_time"):
        table.add_row("checkpoint", f"{status.checkpoint_time.ToDatetime():%Y-%m-%d %H:%M:%S} UTC")
    if status.HasField("training"):
        table.add_row("training", Text(_training_words(status.training)))
    return table


def quality_table(quality: pb.LiveQuality) -> Table:
    """Return how well the versions asked lately ranked what came in."""
    table = Table(box=None, pad_edge=False, title="live quality: new events, ranked before they were known")
    table.title_justify = "left"
    table.add_column("")
    for name in ("events", "NDCG@20", "hits@20", "MRR", "new to the user", "NDCG@20"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row("the latest", *_figures(quality.recent))
    for window in quality.versions:
        table.add_row(Text(window.model_version or "fallback"), *_figures(window))
    return table


def drop_words(drop: pb.QualityDrop) -> str:
    """Return in words that a version has got worse, and what came of it."""
    asked = f"asked for training {drop.request_id}" if drop.request_id else "is asking for a training"
    return f"{drop.model_version} fell from NDCG@20 {drop.first_ndcg_at_20:.4f} to {drop.ndcg_at_20:.4f}, and {asked}"


def _figures(window: pb.WindowQuality) -> tuple[str, ...]:
    of_all, of_new = window.all, window.new_to_user
    if not of_all.num_questions:
        return ("0", "", "", "", "", "")
    return (
        f"{of_all.num_questions:,}",
        f"{of_all.ndcg_at_20:.4f}",
        f"{of_all.hit_rate_at_20:.4f}",
        f"{of_all.mrr:.4f}",
        f"{of_new.num_questions:,}",
        f"{of_new.ndcg_at_20:.4f}" if of_new.num_questions else "",
    )


def _training_words(training: pb.TrainingStatus) -> str:
    how_far = f" {training.done:,}/{training.total:,}" if training.total else ""
    outcome = training.failure or training.model_version
    return f"{training.stage}{how_far}" + (f": {outcome}" if outcome else "")
