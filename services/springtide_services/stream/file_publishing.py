"""Publishing the events of a file, with an account of those that the broker has acknowledged."""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from springtide.event_files import EventFile, EventFileError
from springtide.settings.model import KafkaSettings
from springtide.v1 import events_pb2 as pb
from springtide_services.stream.event_files import NumberedEvent, events_of
from springtide_services.stream.producer import EventPublisher
from springtide_services.stream.publish_journal import Progress, PublishJournal
from springtide_services.stream.topics import client_config, read_topic_facts


class FilePublishing:
    """Publishes the events of a file in its order, and keeps account.

    Args:
        file: The file, which was read once.
        journal: Where the account is kept.
        path: The file, for the journal.

    Attributes:
        done: The events that the broker has acknowledged, those of a resumed run included; None for none.
        journal_failure: Why the journal could not be written; None if it could.
        last_user: The user of the last interaction; empty if there was none.
    """

    def __init__(self, file: EventFile, journal: PublishJournal, path: Path) -> None:
        self._file = file
        self._journal = journal
        self._path = str(path)
        self.done: Progress | None = None
        self.journal_failure: OSError | None = None
        self.last_user = ""
        self._in_flight: deque[tuple[int, bytes]] = deque()

    def resume(self) -> Progress | None:
        """Leave out the events that an earlier run published, and return them; None if there was no such run."""
        self.done = self._journal.read()
        return self.done

    def run(self, publisher: EventPublisher, on_progress: Callable[[int], None]) -> Counter[str]:
        """Publish all events after those of ``done``, and return their number by payload.

        Args:
            publisher: Publishes them.
            on_progress: Called from time to time with the number of events acknowledged since the last call.

        Raises:
            EventFileError: If the file does not begin with the events of ``done``, or has changed since it was read.
            BrokerError: If the broker does not take an event. ``done`` says which it has taken.
        """

        def acknowledged(num_more: int) -> None:
            self._advance(num_more)
            on_progress(num_more)

        counts = publisher.publish_many(self._events(), acknowledged)
        if self.done is not None:
            self._write(self.done.model_copy(update={"is_complete": True}))
        return counts

    def _events(self) -> Iterator[pb.Event]:
        events = events_of(self._file)
        if self.done is not None:
            self._skip(events, self.done)
        for numbered in events:
            self._in_flight.append((numbered.row, numbered.digest))
            self.last_user = numbered.event.interaction.user or self.last_user
            yield numbered.event

    def _skip(self, events: Iterator[NumberedEvent], done: Progress) -> None:
        digest = b""
        for _, numbered in zip(range(done.num_events), events, strict=False):
            digest = numbered.digest
        if digest.hex() != done.digest:
            raise EventFileError(
                f"{self._path}: cannot go on, for its first {done.num_events:,} events are not those that were "
                "published before: publish it without --resume"
            )

    def _advance(self, num_more: int) -> None:
        for _ in range(num_more):
            row, digest = self._in_flight.popleft()
        num_events = num_more + (self.done.num_events if self.done is not None else 0)
        self._write(Progress(file=self._path, num_events=num_events, row=row, digest=digest.hex()))

    def _write(self, progress: Progress) -> None:
        self.done = progress
        if self.journal_failure is None:
            try:
                self._journal.write(progress)
            except OSError as error:
                self.journal_failure = error


def identity_of_topic(kafka: KafkaSettings) -> str:
    """Return what tells the topic from every other one: the broker's id of it, else its name and servers."""
    try:
        with KafkaAdminClient(**client_config(kafka)) as admin:
            facts = read_topic_facts(admin, kafka.topic)
    except KafkaError:
        facts = None
    return (facts.topic_id if facts is not None else "") or f"{kafka.bootstrap_servers}/{kafka.topic}"
