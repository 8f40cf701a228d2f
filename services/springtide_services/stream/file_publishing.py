"""Publishing the events of a file, with an account of those that the broker has acknowledged."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from springtide.event_files import EventFile, EventFileError
from springtide.settings.model import KafkaSettings
from springtide_services.stream.event_files import NumberedEvent, NumberedRows, parts_of
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
        self._noted: Progress | None = None

    @property
    def is_behind(self) -> bool:
        """Whether the journal may lack some of ``done``, since an interrupt came while it was written."""
        return self.done is not self._noted and self.journal_failure is None

    def resume(self) -> Progress | None:
        """Leave out the events that an earlier run published, and return them; None if there was no such run."""
        self.done = self._noted = self._journal.read()
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
        counts: Counter[str] = Counter()
        try:
            for part in self._parts():
                if isinstance(part, NumberedRows):
                    self._publish_rows(publisher, part, on_progress)
                    counts["interaction"] += len(part)
                else:
                    counts += self._publish_events(publisher, part, on_progress)
            if self.done is not None:
                self._write(self.done.model_copy(update={"is_complete": True}))
        except BaseException:
            if self.done is not None and self.is_behind:  # An interrupt came between the two, or as it was written.
                self._write(self.done)
            raise
        return counts

    def _publish_rows(self, publisher: EventPublisher, part: NumberedRows, on_progress: Callable[[int], None]) -> None:
        """Publish interactions as packed batches; the broker has all of them when this returns."""
        num_done = 0

        def acknowledged(num_more: int) -> None:
            nonlocal num_done
            num_done += num_more
            self._advance(num_more, int(part.rows[num_done - 1]), part.digests[num_done - 1].tobytes())
            on_progress(num_more)

        columns = part.interactions
        self.last_user = columns.user_ids[int(columns.user_codes[-1])]
        publisher.publish_interactions(columns, acknowledged, event_ids=part.event_ids)

    def _publish_events(
        self, publisher: EventPublisher, part: list[NumberedEvent], on_progress: Callable[[int], None]
    ) -> Counter[str]:
        num_done = 0

        def acknowledged(num_more: int) -> None:
            nonlocal num_done
            num_done += num_more
            self._advance(num_more, part[num_done - 1].row, part[num_done - 1].digest)
            on_progress(num_more)

        self.last_user = next(
            (user for numbered in reversed(part) if (user := numbered.event.interaction.user)), self.last_user
        )
        return publisher.publish_many((numbered.event for numbered in part), acknowledged)

    def _parts(self) -> Iterator[NumberedRows | list[NumberedEvent]]:
        """Yield the parts of the file without the events that an earlier run published.

        Raises:
            EventFileError: If the file does not begin with these.
        """
        done = self.done
        num_left, digest = 0 if done is None else done.num_events, b""
        is_checked = done is None
        for part in parts_of(self._file):
            if num_left:
                num_here = min(num_left, len(part))
                num_left -= num_here
                if isinstance(part, NumberedRows):
                    digest, part = part.digests[num_here - 1].tobytes(), part.after(num_here)
                else:
                    digest, part = part[num_here - 1].digest, part[num_here:]
            if not num_left and not is_checked:
                self._check(digest)
                is_checked = True
            if len(part):
                yield part
        if not is_checked:
            self._check(digest)

    def _check(self, digest: bytes) -> None:
        if self.done is not None and digest.hex() != self.done.digest:
            raise EventFileError(
                f"{self._path}: cannot go on, for its first {self.done.num_events:,} events are not those that were "
                "published before: publish it without --resume"
            )

    def _advance(self, num_more: int, row: int, digest: bytes) -> None:
        num_events = num_more + (self.done.num_events if self.done is not None else 0)
        self._write(Progress(file=self._path, num_events=num_events, row=row, digest=digest.hex()))

    def _write(self, progress: Progress) -> None:
        self.done = progress
        if self.journal_failure is None:
            try:
                self._journal.write(progress)
            except OSError as error:
                self.journal_failure = error
            self._noted = progress


def identity_of_topic(kafka: KafkaSettings) -> str:
    """Return what tells the topic from every other one: the broker's id of it, else its name and servers."""
    try:
        with KafkaAdminClient(**client_config(kafka)) as admin:
            facts = read_topic_facts(admin, kafka.topic)
    except KafkaError:
        facts = None
    return (facts.topic_id if facts is not None else "") or f"{kafka.bootstrap_servers}/{kafka.topic}"
