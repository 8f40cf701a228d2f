"""The `publish` command: sends the events of a file to Kafka."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from springtide_services.cli.options import SettingsPath, load_settings_with_kafka

if TYPE_CHECKING:
    from springtide.settings.model import Settings


def publish(
    file: Annotated[Path, typer.Argument(help="File of events: JSON lines, CSV or Parquet.")],
    settings: SettingsPath = None,
) -> None:
    """Publish the events of a file to Kafka."""
    loaded = load_settings_with_kafka(settings)
    publish_file(loaded, file)


def publish_file(settings: "Settings", path: Path) -> None:
    """Publish the events of a file in its order, and print their number.

    Args:
        settings: The broker and the topic, which is created if it is missing.
        path: JSON lines, CSV or Parquet.

    Raises:
        EventFileError: If a line or row cannot be read; the events before it have been published.
        BrokerError: If no broker answers, or it refuses an event.
    """
    from springtide_services.stream.event_files import EventFile
    from springtide_services.stream.producer import EventPublisher
    from springtide_services.stream.topics import make_missing_topics
    from springtide_services.terminal import console, progress

    file = EventFile(path)
    kafka = settings.kafka
    make_missing_topics(kafka, {kafka.topic: kafka.num_partitions}, operations=("Write", "Describe"))
    with progress(console(stderr=True)) as bars, EventPublisher(settings) as publisher:
        task = bars.add_task("Publish", total=file.count(), note=path.name)
        counts = publisher.publish_many(file.events(), lambda num_more: bars.advance(task, num_more))
    by_payload = ", ".join(f"{count:,} {payload}" for payload, count in sorted(counts.items()))
    console().print(
        f"published {counts.total():,} events to {settings.kafka.topic}: {by_payload or 'the file is empty'}"
    )
