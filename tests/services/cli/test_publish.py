import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.producer.future import FutureRecordMetadata
from typer.testing import CliRunner

from springtide.errors import BrokerError
from springtide.evaluation.data.datasets import fetch
from springtide.event_files import EventFileError, ReadOptions
from springtide.settings.model import EventSettings, KafkaSettings, Settings
from springtide.v1 import events_pb2 as pb
from springtide_services.cli import publish as publish_module
from springtide_services.cli.app import app
from springtide_services.cli.publish import publish_file
from springtide_services.local.broker import EmbeddedBroker
from springtide_services.stream import producer as producer_module
from springtide_services.stream.dataset_events import interaction_events, upsert_events
from springtide_services.stream.producer import EventPublisher
from springtide_services.stream.publish_journal import Progress, PublishJournal


def published(kafka: KafkaSettings, count: int) -> list[pb.Event]:
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, enable_auto_commit=False)
    try:
        partitions = [TopicPartition(kafka.topic, number) for number in range(kafka.num_partitions)]
        consumer.assign(partitions)
        consumer.seek_to_beginning()
        events: list[pb.Event] = []
        while len(events) < count:
            for records in consumer.poll(timeout_ms=500).values():
                for record in records:
                    events += singles(pb.Event.FromString(record.value))
        return events
    finally:
        consumer.close()


def singles(event: pb.Event) -> list[pb.Event]:
    """The event, or the rows of a packed batch as events without times."""
    if event.WhichOneof("payload") != "batch":
        return [event]
    packed, names = event.batch, event.batch.dictionary
    types = list(packed.types) if len(packed.types) > 1 else [packed.types[0]] * len(packed.users)
    return [
        pb.Event(event_id=event_id, interaction={"user": names[user], "item": names[item], "type": names[kind]})
        for event_id, user, item, kind in zip(packed.event_ids, packed.users, packed.items, types, strict=True)
    ]


def test_events_of_a_file_reach_the_topic(
    fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kafka = fresh_kafka()
    path = tmp_path / "events.jsonl"
    lines = [
        {"eventTime": "2017-07-02T12:53:20Z", "interaction": {"user": f"u{n}", "item": "i", "type": "purchase"}}
        for n in range(3)
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines))

    publish_file(Settings(kafka=kafka), path, journal_folder=tmp_path)

    assert sorted(event.interaction.user for event in published(kafka, 3)) == ["u0", "u1", "u2"]
    assert f"published 3 events to {kafka.topic}: 3 interaction" in capsys.readouterr().out


def write_rows(path: Path, num_rows: int) -> Path:
    path.write_text(
        "user,item,type,event_time\n" + "".join(f"u{n},i,purchase,{1499000000 + n}\n" for n in range(num_rows))
    )
    return path


def test_nothing_is_published_of_a_file_with_a_row_that_cannot_be_read(
    fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path
) -> None:
    kafka = fresh_kafka()
    path = write_rows(tmp_path / "a.csv", 30_000)
    with path.open("a") as file:
        file.write("u,,purchase,1499000000\n")

    with pytest.raises(
        EventFileError, match=r"row 30,001 \(line 30,002\), column 'item': no item\nNothing was published"
    ):
        publish_file(Settings(kafka=kafka), path, journal_folder=tmp_path)

    write_rows(path, 1)
    publish_file(Settings(kafka=kafka), path, journal_folder=tmp_path)
    assert [event.interaction.user for event in published(kafka, 1)] == ["u0"]


def test_interrupted_publishing_says_how_far_it_came_and_goes_on_there(
    fresh_kafka: Callable[..., KafkaSettings],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kafka = fresh_kafka()
    path = write_rows(tmp_path / "a.csv", 25_000)
    send = EventPublisher._send_packed
    num_sent = 0

    def interrupted(self: EventPublisher, value: bytes, partition: int) -> FutureRecordMetadata:
        nonlocal num_sent
        num_sent += 1
        if num_sent > 2 * kafka.num_partitions:
            raise KeyboardInterrupt
        return send(self, value, partition)

    monkeypatch.setattr(EventPublisher, "_send_packed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        publish_file(Settings(kafka=kafka), path, journal_folder=tmp_path)
    said = capsys.readouterr().err
    assert "published 10,000 of 25,000 events, up to row 10,000 (line 10,001); the same command with --resume" in said
    monkeypatch.undo()

    publish_file(Settings(kafka=kafka), path, is_resumed=True, journal_folder=tmp_path)

    said = capsys.readouterr()
    assert "10,000 events were published before; it goes on after row 10,000" in said.err
    assert "published 15,000 events" in said.out
    events = published(kafka, 25_000)
    assert sorted(event.interaction.user for event in events) == sorted(f"u{n}" for n in range(25_000))
    assert len({event.event_id for event in events}) == 25_000


@pytest.mark.parametrize("is_written", [False, True])
def test_publishing_that_is_interrupted_as_it_notes_how_far_it_came_goes_on_from_what_it_says(
    is_written: bool,
    fresh_kafka: Callable[..., KafkaSettings],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kafka = fresh_kafka()
    path = write_rows(tmp_path / "a.csv", 12_000)
    interrupt_journal(monkeypatch, {2}, is_written=is_written)
    with pytest.raises(KeyboardInterrupt):
        publish_file(Settings(kafka=kafka), path, journal_folder=tmp_path)
    said = capsys.readouterr().err
    assert (
        "published 10,000 of 12,000 events, up to row 10,000 (line 10,001); the same command with --resume goes" in said
    )
    assert "again" not in said

    publish_file(Settings(kafka=kafka), path, is_resumed=True, journal_folder=tmp_path)

    assert "published 2,000 events" in capsys.readouterr().out


def test_publishing_that_is_interrupted_twice_as_it_notes_how_far_it_came_says_that_some_may_be_sent_again(
    fresh_kafka: Callable[..., KafkaSettings],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kafka = fresh_kafka()
    path = write_rows(tmp_path / "a.csv", 12_000)
    interrupt_journal(monkeypatch, {2, 3}, is_written=False)
    with pytest.raises(KeyboardInterrupt):
        publish_file(Settings(kafka=kafka), path, journal_folder=tmp_path)
    assert "published 10,000 of 12,000 events" in (said := capsys.readouterr().err)
    assert "--resume goes on after it, and may send the last of them again, with the same ids" in said

    publish_file(Settings(kafka=kafka), path, is_resumed=True, journal_folder=tmp_path)

    assert "published 7,000 events" in capsys.readouterr().out
    assert len({event.event_id for event in published(kafka, 17_000)}) == 12_000


def interrupt_journal(monkeypatch: pytest.MonkeyPatch, numbers: set[int], *, is_written: bool) -> None:
    """Let Ctrl-C come in these writes of the journal, the first being 1, before or after it is on the disk."""
    write, num_writes = PublishJournal.write, 0

    def interrupted(self: PublishJournal, progress: Progress) -> None:
        nonlocal num_writes
        num_writes += 1
        if num_writes not in numbers or is_written:
            write(self, progress)
        if num_writes in numbers:
            raise KeyboardInterrupt

    monkeypatch.setattr(PublishJournal, "write", interrupted)


@pytest.mark.long
def test_broker_that_goes_away_is_an_error_that_says_how_far_it_came(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer_module, "_ACK_TIMEOUT_S", 3.0)
    path = write_rows(tmp_path / "a.csv", 40_000)
    send, num_sent = EventPublisher._send_packed, 0
    with EmbeddedBroker() as broker:
        kafka = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)

        def until_the_broker_is_gone(self: EventPublisher, value: bytes, partition: int) -> FutureRecordMetadata:
            nonlocal num_sent
            num_sent += 1
            if num_sent == 2 * kafka.num_partitions + 1:
                broker.stop()
            return send(self, value, partition)

        monkeypatch.setattr(EventPublisher, "_send_packed", until_the_broker_is_gone)
        with pytest.raises(BrokerError, match="an event was not taken: no broker answers"):
            publish_file(Settings(kafka=kafka), path, journal_folder=tmp_path)

    (said,) = re.findall("published ([0-9,]+) of 40,000 events, up to row", capsys.readouterr().err)
    assert said == "10,000"


def test_file_published_twice_has_the_same_ids_and_says_so(
    fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kafka = fresh_kafka()
    path = write_rows(tmp_path / "a.csv", 3)
    settings = Settings(kafka=kafka)

    publish_file(settings, path, journal_folder=tmp_path)
    publish_file(settings, path, journal_folder=tmp_path)
    assert "all 3 events were published before; they are sent again, with the same ids" in capsys.readouterr().err
    publish_file(settings, path, is_resumed=True, journal_folder=tmp_path)

    events = published(kafka, 6)
    assert (len(events), len({event.event_id for event in events})) == (6, 3)
    assert "published 0 events" in capsys.readouterr().out

    write_rows(path, 4)  # The file has grown.
    publish_file(settings, path, is_resumed=True, journal_folder=tmp_path)
    assert sorted(event.interaction.user for event in published(kafka, 7)) == ["u0", "u0", "u1", "u1", "u2", "u2", "u3"]


def test_file_without_rows_is_published(
    fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish_file(Settings(kafka=fresh_kafka()), write_rows(tmp_path / "a.csv", 0), journal_folder=tmp_path)

    assert "published 0 events" in capsys.readouterr().out


def test_other_file_is_not_resumed(fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path) -> None:
    settings = Settings(kafka=fresh_kafka())
    path = write_rows(tmp_path / "a.csv", 3)
    publish_file(settings, path, journal_folder=tmp_path)
    path.write_text(path.read_text().replace("u1", "v1"))

    with pytest.raises(EventFileError, match="its first 3 events are not those that were published before"):
        publish_file(settings, path, is_resumed=True, journal_folder=tmp_path)


def test_journal_that_cannot_be_written_does_not_stop_the_publishing(
    fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("a file, no folder")
    kafka = fresh_kafka()

    publish_file(Settings(kafka=kafka), write_rows(tmp_path / "a.csv", 3), journal_folder=tmp_path / "state")

    assert len(published(kafka, 3)) == 3


def test_publishing_more_events_again_than_a_server_remembers_is_noted(
    fresh_kafka: Callable[..., KafkaSettings], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(kafka=fresh_kafka(), events=EventSettings(duplicates_max_events=2))
    path = write_rows(tmp_path / "a.csv", 3)

    publish_file(settings, path, journal_folder=tmp_path)
    publish_file(settings, path, journal_folder=tmp_path)

    said = capsys.readouterr().err
    assert "a server counts them once if it remembers so many (events.duplicates_max_events is 2)" in said


def test_command_hands_on_every_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    found: list[tuple[Path, ReadOptions, bool]] = []

    def record(settings: Settings, path: Path, options: ReadOptions, *, is_resumed: bool) -> None:
        found.append((path, options, is_resumed))

    monkeypatch.setattr(publish_module, "publish_file", record)
    line = "publish a.csv --resume --columns item=thing --type purchase --time-unit ms --encoding latin-1"

    assert CliRunner().invoke(app, line.split()).exit_code == 0
    assert CliRunner().invoke(app, ["publish", "-"]).exit_code == 0

    named = ReadOptions({"item": "thing"}, "ms", "latin-1", "purchase")
    assert found == [(Path("a.csv"), named, True), (Path("-"), ReadOptions(), False)]


def test_missing_file_is_refused_before_a_broker_is_asked(tmp_path: Path) -> None:
    settings = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"))

    with pytest.raises(EventFileError, match="no such file"):
        publish_file(settings, tmp_path / "none.csv")


def test_data_set_as_events_keeps_what_it_says() -> None:
    films = fetch("movielens-100k")

    first = next(interaction_events(films.interactions))
    node = next(upsert_events(films.upserts))

    assert first.interaction == pb.Interaction(user="259", item="255", type="rating", value=4.0)
    assert first.event_time.ToMilliseconds() == films.interactions.timestamps_ms[0]
    assert list(node.node_upsert.categories["genre"].values) == ["Animation", "Children's", "Comedy"]
    assert node.node_upsert.texts["title"] == "Toy Story (1995)"
    assert node.node_upsert.numbers["year"] == 1995.0
