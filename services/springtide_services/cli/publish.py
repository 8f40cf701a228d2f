"""The `publish` command: sends the events of a file to Kafka."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from springtide_services.cli.options import (
    Columns,
    Encoding,
    SettingsPath,
    TimeFormat,
    TimeUnit,
    TypeName,
    load_settings_with_kafka,
    read_options,
    refuse_wrong_connection,
)
from springtide_services.termination import interrupt_on_signals

if TYPE_CHECKING:
    from rich.progress import Progress

    from springtide.event_files import EventFile, ReadOptions
    from springtide.settings.model import KafkaSettings, Settings
    from springtide_services.stream.event_file_check import FileCheck
    from springtide_services.stream.file_publishing import FilePublishing
    from springtide_services.stream.producer import SendTraced
    from springtide_services.stream.publish_journal import Progress as Earlier
    from springtide_services.tracing.spans import Tracing

JOURNAL_FOLDER = Path("springtide-state/published")


def publish(
    file: Annotated[
        Path, typer.Argument(help="File of events: CSV, TSV, JSON lines, Parquet, Feather; - for standard input.")
    ],
    settings: SettingsPath = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on after the events that an interrupted run published.")
    ] = False,
    columns: Columns = "",
    type_name: TypeName = "",
    time_unit: TimeUnit = None,
    time_format: TimeFormat = None,
    encoding: Encoding = None,
) -> None:
    """Publish the events of a file to Kafka: it is checked as a whole first, and may be published twice."""
    interrupt_on_signals()
    loaded = load_settings_with_kafka(settings)
    refuse_wrong_connection(loaded, settings)
    publish_file(loaded, file, read_options(columns, time_unit, time_format, encoding, type_name), is_resumed=resume)


def publish_file(
    settings: "Settings",
    path: Path,
    options: "ReadOptions | None" = None,
    *,
    is_resumed: bool = False,
    journal_folder: Path = JOURNAL_FOLDER,
) -> None:
    """Check a file, publish its events in its order, and print their number.

    Args:
        settings: The broker and the topic, which is created if it is missing.
        path: A file that ``springtide.event_files`` reads; ``-`` for standard input.
        options: How it is read.
        is_resumed: Whether to leave out the events that an earlier run published.
        journal_folder: Where it is noted how far a run came.

    Raises:
        EventFileError: If a row cannot be read; nothing has been published then, unless the file changed meanwhile.
        BrokerError: If no broker answers, or it refuses an event.
    """
    from springtide.event_files import ReadOptions
    from springtide_services.stream.event_files import open_events
    from springtide_services.terminal import console, progress

    notes = console(stderr=True)
    with open_events(path, settings, options or ReadOptions()) as file, progress(notes) as bars:
        show_notes(check_events(file, settings, bars, "Nothing was published.").notes, bars)
        num_events = file.num_rows
        published = publish_checked(settings, file, path, bars, is_resumed=is_resumed, journal_folder=journal_folder)
    counts = published.counts
    by_payload = ", ".join(f"{count:,} {payload}" for payload, count in sorted(counts.items()))
    nothing = "no more than before" if num_events else "the file has no rows"
    events = "1 event" if counts.total() == 1 else f"{counts.total():,} events"
    console().print(f"published {events} to {settings.kafka.topic}: {by_payload or nothing}")


@dataclass(frozen=True, slots=True)
class Published:
    """What was published of a file.

    Attributes:
        counts: Number of events by payload.
        next_offsets: For each partition, the offset after the last of them.
        last_user: The user of the last interaction; empty if there was none.
    """

    counts: Counter[str]
    next_offsets: Mapping[int, int]
    last_user: str


def check_events(
    file: "EventFile",
    settings: "Settings",
    bars: "Progress",
    otherwise: str,
    note: str = "before anything is published",
) -> "FileCheck":
    """Check a file as a whole, with a bar, and return what was found.

    Args:
        file: The file.
        settings: Rules and limits of events.
        bars: Where the bar is shown.
        otherwise: What to say where a row cannot be read: what was not done.
        note: Text beside the bar.

    Raises:
        EventFileError: If a row cannot be read.
    """
    from springtide.event_files import EventFileError
    from springtide_services.stream.event_file_check import check_file

    task = bars.add_task("Check", total=None, note=note)
    try:
        found = check_file(file, settings, lambda num_more: bars.advance(task, num_more))
    except EventFileError as error:
        raise EventFileError(f"{error}\n{otherwise}") from error
    bars.update(task, total=file.num_rows, completed=file.num_rows)
    return found


def show_notes(notes: Iterable[str], bars: "Progress") -> None:
    """Print notes above the bars."""
    for note in notes:
        bars.console.print(f"note: {note}", markup=False, soft_wrap=True)


def publish_checked(
    settings: "Settings",
    file: "EventFile",
    path: Path,
    bars: "Progress",
    *,
    is_resumed: bool = False,
    journal_folder: Path = JOURNAL_FOLDER,
    on_progress: Callable[[], None] | None = None,
) -> Published:
    """Publish the events of a file that was checked, with a bar, and return what was published.

    Args:
        settings: The broker and the topic, which is created if it is missing.
        file: The file.
        path: Its path, ``-`` for standard input.
        bars: Where the bar is shown.
        is_resumed: Whether to leave out the events that an earlier run published.
        journal_folder: Where it is noted how far a run came.
        on_progress: Called from time to time; None calls nothing.

    Raises:
        EventFileError: If the file has changed since it was checked.
        BrokerError: If no broker answers, or it refuses an event.
    """
    from springtide_services.stream.file_publishing import FilePublishing, identity_of_topic
    from springtide_services.stream.producer import EventPublisher
    from springtide_services.stream.publish_journal import PublishJournal
    from springtide_services.stream.topics import make_missing_topics
    from springtide_services.tracing.spans import tracing_of

    kafka, num_events = settings.kafka, file.num_rows
    make_missing_topics(kafka, {kafka.topic: kafka.num_partitions}, operations=("Write", "Describe"))
    journal = PublishJournal(journal_folder, path, identity_of_topic(kafka))
    publishing = FilePublishing(file, journal, path)
    earlier = publishing.resume() if is_resumed else journal.read()
    if line := _on_earlier_run(earlier, num_events, settings.events.duplicates_max_events, is_resumed=is_resumed):
        show_notes([line], bars)
    task = bars.add_task("Publish", total=num_events, note=path.name)
    if is_resumed and earlier is not None:
        bars.advance(task, earlier.num_events)

    def advance(num_more: int) -> None:
        bars.advance(task, num_more)
        if on_progress is not None:
            on_progress()

    try:
        with (
            tracing_of(settings, "publisher") as tracing,
            EventPublisher(settings, _sending(tracing, kafka)) as publisher,
        ):
            counts = publishing.run(publisher, advance)
            return Published(counts, dict(publisher.next_offsets), publishing.last_user)
    except BaseException:
        bars.console.print(_how_far(publishing, file, num_events), markup=False, soft_wrap=True)
        raise


def _sending(tracing: "Tracing | None", kafka: "KafkaSettings") -> "SendTraced | None":
    if tracing is None:
        return None
    from springtide_services.tracing.records import TracedPublishing

    return TracedPublishing(tracing, kafka.topic).send


def _on_earlier_run(earlier: "Earlier | None", num_events: int, max_remembered: int, *, is_resumed: bool) -> str:
    """Return what to say about an earlier run; empty for nothing."""
    if earlier is None:
        return "there is no earlier run to go on from: it begins with the first row" if is_resumed else ""
    if is_resumed:
        return f"{earlier.num_events:,} events were published before; it goes on after row {earlier.row:,}"
    is_all = earlier.is_complete and earlier.num_events >= num_events
    way_out = "" if is_all else "; --resume goes on after them"
    which = "all" if is_all else "the first"
    forgets = ""
    if num_events > max_remembered:
        forgets = f" if it remembers so many (events.duplicates_max_events is {max_remembered:,})"
    return (
        f"{which} {earlier.num_events:,} events were published before; they are sent again, with the same ids, so that "
        f"a server counts them once{forgets}{way_out}"
    )


def _how_far(publishing: "FilePublishing", file: "EventFile", num_events: int) -> str:
    """Return how many events were published, and how to go on."""
    done = publishing.done
    if done is None:
        return "no event was published"
    way_out = "the same command with --resume goes on after it"
    if publishing.journal_failure is not None:
        way_out = f"how far it came could not be noted ({publishing.journal_failure}): publish the file again"
    elif publishing.is_behind:
        way_out += ", and may send the last of them again, with the same ids: a second signal came as it noted them"
    return f"published {done.num_events:,} of {num_events:,} events, up to {file.place_of(done.row)}; {way_out}"
