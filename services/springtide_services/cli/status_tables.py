"""What the `status` command prints."""

from rich.table import Table
from rich.text import Text

from springtide.v1 import admin_pb2 as pb
from springtide_services.cli.answer_tables import as_of_words
from springtide_services.serving.client import Client, Credentials
from springtide_services.terminal import console

_MAX_GAPS_SHOWN = 5
_MAX_DAMAGED_SHOWN = 3
_FALLBACK = "none (the fallback ranks)"
_MAX_PARTITIONS = 8  # Named one by one.


def show_status(address: str, *, as_json: bool, credentials: Credentials | None = None) -> None:
    """Ask the server for its status and print it.

    Raises:
        ServerCallError: If the server does not answer, or answers with an error status.
    """
    with Client(address, credentials=credentials) as client:
        status = client.status()
    if as_json:
        from google.protobuf.json_format import MessageToJson  # Slow to import.

        console().print_json(MessageToJson(status, always_print_fields_with_no_presence=True))
        return
    console().print(status_table(status))
    console().print()
    console().print(quality_table(status.live_quality))
    if status.live_quality.HasField("drop"):
        console().print(Text(drop_sentence(status.live_quality.drop)))


def status_table(status: pb.GetStatusResponse) -> Table:
    """Return the table of the server's model, stream, graph, dead letters, checkpoint and trainer."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column()
    table.add_row("serves", Text(status.model_version or _FALLBACK))
    if status.variant_versions:
        table.add_row("variants", Text(f"beside it, for experiments: {', '.join(status.variant_versions)}"))
    for version, fault in sorted(status.variant_faults.items()):
        table.add_row("variants", Text(f"an experiment does not count, since model {version} is not there: {fault}"))
    if status.num_untallied:
        table.add_row("experiments", Text(f"{status.num_untallied:,} events not counted: no room for more users"))
    if status.HasField("bypassed_model"):
        bypassed = status.bypassed_model
        table.add_row("damaged", Text(f"model {bypassed.version} is current and cannot be loaded: {bypassed.fault}"))
    for part in status.parts_with_torch:
        table.add_row("PyTorch", Text(f"loaded for {part}, which has no serving half"))
    if status.HasField("index"):
        table.add_row("index", Text(_index_words(status.index)))
        if status.index.state == "used":
            table.add_row("answers", Text(_index_answers_words(status.index)))
    if words := _steering_words(status.steering):
        table.add_row("rules", Text(words))
    table.add_row("stream", Text(_stream_words(status)))
    if words := as_of_words(status.as_of_ms, status.as_of_source):
        table.add_row("answers", f"{words}, unless a request names another moment")
    for gap in status.stream_gaps[-_MAX_GAPS_SHOWN:]:
        table.add_row("skipped", Text(_gap_words(gap)))
    for heading, numbers in (("nodes", status.num_nodes), ("edges", status.num_edges)):
        counts = ", ".join(f"{count:,} {name}" for name, count in sorted(numbers.items()))
        table.add_row(heading, Text(counts or "none"))
    if words := _memory_words(status):
        table.add_row("memory", Text(words))
    if words := _calls_words(status):
        table.add_row("calls", Text(words))
    refused = ", ".join(f"{count:,} {reason}" for reason, count in sorted(status.num_dead_letters.items()))
    if status.num_dead_letters_not_written:
        refused += f"; {status.num_dead_letters_not_written:,} of them are not in the dead-letter topic"
    table.add_row("dead letters", Text(refused or "none"))
    if status.num_duplicates:
        table.add_row("duplicates", Text(_duplicates_words(status)))
    for reason in status.rebuild_reasons:
        table.add_row("to rebuild", Text(f"{reason} (`springtide rebuild` reads the events again)"))
    if status.HasField("rebuild"):
        table.add_row("rebuild", Text(_rebuild_words(status.rebuild)))
    if status.HasField("checkpoint_time"):
        table.add_row("checkpoint", f"{status.checkpoint_time.ToDatetime():%Y-%m-%d %H:%M:%S} UTC")
    if status.role:
        table.add_row("role", Text(_role_words(status)))
    for found in status.damaged_checkpoints[-_MAX_DAMAGED_SHOWN:]:
        table.add_row("damaged", Text(f"checkpoint {found.name}, its place took {found.instead}: {found.fault}"))
    if status.HasField("training"):
        table.add_row("training", Text(_training_words(status.training)))
    _add_plugins(table, status)
    return table


def _memory_words(status: pb.GetStatusResponse) -> str:
    """Return how much memory is taken; empty if the server does not know."""
    if not status.resident_bytes:
        return ""
    words = f"{_mib(status.resident_bytes)}, {_mib(status.graph_bytes)} of it the graph"
    return words + (f"; {_mib(status.memory_limit_bytes)} may be taken" if status.memory_limit_bytes else "")


def _mib(num_bytes: int) -> str:
    return f"{num_bytes / 2**20:,.0f} MiB"


def _calls_words(status: pb.GetStatusResponse) -> str:
    """Return the calls of the last minute, and their times; empty if there were none."""
    recent = [call for call in status.calls if call.num_last_minute]
    words = [
        f"{each.num_last_minute:,} {each.method.rpartition('/')[2]} ({each.p50_ms:.3g} ms, p99 {each.p99_ms:.3g})"
        for each in sorted(recent, key=lambda each: -each.num_last_minute)
    ]
    return f"in the last minute {', '.join(words)}; {status.num_open_calls:,} open" if words else ""


def _add_plugins(table: Table, status: pb.GetStatusResponse) -> None:
    for plugin in status.plugins:
        origin = f" of {plugin.distribution} {plugin.version}" if plugin.distribution else ""
        table.add_row("plugin", Text(f"{plugin.name}{origin} ({plugin.way})"))
    for failing in status.failing_parts:
        table.add_row("fails", Text(_failing_words(failing)))
    bypassed = ", ".join(f"{count:,} of {part}" for part, count in sorted(status.num_bypassed.items()))
    if bypassed:
        table.add_row("left out", Text(f"calls that were done without: {bypassed}"))
    for package in status.packages_not_allowed:
        words = f"{package.distribution} {package.version} offers plugins, and plugins.allow does not name it"
        table.add_row("not loaded", Text(words))


def _failing_words(failing: pb.FailingPart) -> str:
    faults = {"raised": "failed in", "wrong": "answered nonsense from", "blocked": "did not return from"}
    fault = faults.get(failing.fault, failing.fault)
    now = " (blocked now)" if failing.is_blocked else ""
    latest = f"{failing.latest_time.ToDatetime():%Y-%m-%d %H:%M:%S} UTC"
    times = f"{failing.num_failed:,} times, the last time {latest}" if failing.num_failed > 1 else latest
    return f"{failing.part} of {failing.origin} {fault} {failing.hook}{now}, {times}: {failing.reason}"


def _steering_words(steering: pb.SteeringStatus) -> str:
    """Return what steers; empty if nothing ever did."""
    counts = {"rules": steering.num_rules, "scenarios": steering.num_scenarios, "experiments": steering.num_experiments}
    words = f"version {steering.version}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items())
    words += ", from a file" if steering.is_from_file else ""
    if steering.fault:
        return f"{words}; not the newest: {steering.fault}"
    return words if steering.version or steering.is_from_file else ""


def _index_words(index: pb.IndexStatus) -> str:
    measured = f"recall {index.recall_at_20:.3f} of {index.num_users:,} users' 20 best"
    times = f"{index.index_ms:.2f} ms beside {index.exact_ms:.2f} ms of exact answers"
    size = f"{index.num_items:,} items, {index.num_bytes / 2**20:,.0f} MiB"
    return {
        "used": f"{index.name}: {size}, {measured}, {times}",
        "refused": f"{index.name}: not used, {measured}, which ranking.index_min_recall does not allow",
        "slower": f"{index.name}: not used, {times}, {measured}",
        "unmeasured": f"{index.name}: not used, there are too few users to measure it with ({index.num_users:,})",
        "failed": f"{index.name}: not used, it failed ({index.failure})",
        "waiting": f"{index.name}: waiting for a model of at least ranking.index_min_items items",
    }.get(index.state, f"{index.name}: {index.state}")


def _index_answers_words(index: pb.IndexStatus) -> str:
    failed = f" ({index.num_failed:,} of them since the index failed)" if index.num_failed else ""
    return (
        f"{index.num_by_index:,} by the index, {index.num_proven:,} proved to be exact without it, "
        f"{index.num_exact:,} exact in its place{failed}"
    )


def _stream_words(status: pb.GetStatusResponse) -> str:
    if status.HasField("stream_problem"):
        problem = status.stream_problem
        state = "stopped" if problem.is_final else "waiting"
        return f"{state} since {problem.since.ToDatetime():%Y-%m-%d %H:%M:%S} UTC: {problem.message}"
    if not status.is_broker_connected:
        return "not read yet"
    health = status.stream_health.replace("_", " ")
    return f"{health}, {_lag_words(status)}" if health else _lag_words(status)


def _role_words(status: pb.GetStatusResponse) -> str:
    if status.role == "writer":
        return f"writes the checkpoints, under lease {status.fencing_number:,}"
    writer = f"{status.writer}, under lease {status.fencing_number:,}" if status.writer else "nobody now"
    return f"reads beside the writer of the checkpoints: {writer}"


def _duplicates_words(status: pb.GetStatusResponse) -> str:
    words = f"{status.num_duplicates:,} ignored"
    if status.num_changed_duplicates:
        words += f"; {status.num_changed_duplicates:,} of them were not what had come before under their ids"
    return words


def _rebuild_words(rebuild: pb.RebuildStatus) -> str:
    words = rebuild.stage.replace("_", " ")
    outcome = rebuild.failure or (rebuild.checkpoint and f"checkpoint {rebuild.checkpoint} holds the graph")
    return f"{words}, {rebuild.update_time.ToDatetime():%Y-%m-%d %H:%M:%S} UTC" + (f": {outcome}" if outcome else "")


def _gap_words(gap: pb.StreamGap) -> str:
    return (
        f"events of {gap.topic}, partition {gap.partition}, from offset {gap.from_offset} on ({gap.reason}); "
        f"read on at {gap.to_offset}, {gap.found_time.ToDatetime():%Y-%m-%d %H:%M:%S} UTC"
    )


def quality_table(quality: pb.LiveQuality) -> Table:
    """Return the table of live quality: over the latest events, and for each of the latest versions."""
    table = Table(box=None, pad_edge=False, title="live quality: new events, ranked before they are applied")
    table.title_justify = "left"
    table.add_column("")
    for name in ("events", "NDCG@20", "hits@20", "MRR", "unseen items", "NDCG@20"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row("the latest", *_figures(quality.recent))
    for window in quality.versions:
        table.add_row(Text(window.model_version or "fallback"), *_figures(window))
    return table


def drop_sentence(drop: pb.QualityDrop) -> str:
    """Return in words how far a version has dropped, and which training was requested."""
    training = f"training {drop.request_id} is requested" if drop.request_id else "a training is about to be requested"
    return f"{drop.model_version} fell from NDCG@20 {drop.first_ndcg_at_20:.4f} to {drop.ndcg_at_20:.4f}; {training}"


def _lag_words(status: pb.GetStatusResponse) -> str:
    if status.lag_events >= 0:
        return f"{status.lag_events:,} events behind"
    silent = status.silent_partitions
    if not silent:
        return f"unknown how many events behind, for {status.lag_age_s:.0f} s"
    numbers = ", ".join(str(partition) for partition in silent[:_MAX_PARTITIONS])
    if len(silent) > _MAX_PARTITIONS:
        numbers += f" and {len(silent) - _MAX_PARTITIONS:,} more"
    who = f"partition {numbers} does not answer" if len(silent) == 1 else f"partitions {numbers} do not answer"
    return f"unknown how many events behind, for {status.lag_age_s:.0f} s: {who}"


def _figures(window: pb.WindowQuality) -> tuple[str, ...]:
    overall, unseen = window.all, window.new_to_user
    if not overall.num_questions:
        return ("0", "", "", "", "", "")
    return (
        f"{overall.num_questions:,}",
        f"{overall.ndcg_at_20:.4f}",
        f"{overall.hit_rate_at_20:.4f}",
        f"{overall.mrr:.4f}",
        f"{unseen.num_questions:,}",
        f"{unseen.ndcg_at_20:.4f}" if unseen.num_questions else "",
    )


def _training_words(training: pb.TrainingStatus) -> str:
    steps = f" {training.done:,}/{training.total:,}" if training.total else ""
    outcome = training.failure or training.model_version
    return f"{training.stage}{steps}" + (f": {outcome}" if outcome else "")
