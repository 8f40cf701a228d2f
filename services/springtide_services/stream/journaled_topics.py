"""Reading a topic of a broker that forgets: what the journal has comes first, then the topic that carries it on."""

import threading
from collections.abc import Callable

import structlog
from kafka import KafkaAdminClient

from springtide.checkpoint import CheckpointStore
from springtide.errors import JournalError, OffsetsLostError
from springtide.events import RawEvent
from springtide.settings.model import KafkaSettings
from springtide.state import LiveState, StreamPosition
from springtide_services.stream.journal import Journal
from springtide_services.stream.poll_parts import parts_of
from springtide_services.stream.topics import client_config, make_missing_topics, read_topic_facts

logger = structlog.stdlib.get_logger(__name__)


class JournaledTopics:
    """The topics of one name that a broker has had one after the other, as one stream.

    Args:
        kafka: The broker and the topic.
        journal: What was read of the topics; closed by ``close``.
        checkpoints: Where checkpoints are kept; None if there are none.
    """

    def __init__(self, kafka: KafkaSettings, journal: Journal, checkpoints: CheckpointStore | None) -> None:
        self._kafka = kafka
        self._journal = journal
        self._checkpoints = checkpoints
        self._is_read = False
        self.append = journal.append
        self.close = journal.close

    @property
    def has_earlier_events(self) -> bool:
        """Whether events were read of topics that the broker has forgotten."""
        return len(self._journal.topic_ids) > 1

    def bring_up_to_date(
        self,
        state: LiveState,
        take: Callable[[list[RawEvent]], None],
        stopping: threading.Event,
        *,
        skips_lost: bool,
        has_lost_checkpoints: bool,
    ) -> bool:
        """Let a state read what the journal has and it has not, and set its position in the topic of now.

        Args:
            state: The state, which only this thread changes.
            take: Applies records to the state, and moves its position past them.
            stopping: Ends the reading early when it is set.
            skips_lost: Whether to do with what is left.
            has_lost_checkpoints: Whether the state is empty because no checkpoint can be read.

        Returns:
            Whether the state has moved on to another topic.

        Raises:
            OffsetsLostError: If the state was read from another Kafka, or the events that it lacks are gone.
            JournalError: If the journal cannot be read or written.
            KafkaError: If the broker does not answer.
        """
        if not self._is_read:
            if not skips_lost:
                self._check(state.position, has_lost_checkpoints)
            num_records = self._replay(state, take, stopping)
            if stopping.is_set():
                return False
            self._is_read = True
            logger.info("journal_read", records=num_records)
        make_missing_topics(self._kafka, {self._kafka.topic: self._kafka.num_partitions})
        with KafkaAdminClient(**client_config(self._kafka)) as admin:
            facts = read_topic_facts(admin, self._kafka.topic)
        if facts is None:
            return False  # It is waited for as without a journal.
        self._journal.begin(facts.topic_id)
        if state.position is not None and state.position.topic_id == facts.topic_id:
            return False
        has_moved = state.position is not None
        state.position = StreamPosition(facts.name, facts.topic_id, {})
        return has_moved

    def prune(self) -> None:
        """Delete the records that every checkpoint holds; from any thread, and never raises."""
        if self._checkpoints is None:
            return
        try:
            names = self._checkpoints.names()
            oldest = self._checkpoints.open(names[-1]).position if names else None
        except Exception as error:  # Another checkpoint will come.
            logger.warning("journal_not_pruned", error=str(error))
            return
        self._journal.prune(oldest)

    def _check(self, position: StreamPosition | None, has_lost_checkpoints: bool) -> None:
        if position is not None and not self._journal.knows(position.topic_id):
            raise OffsetsLostError(
                f"the checkpoints were read from another Kafka, which {self._journal.folder} does not carry on: name "
                "that Kafka in kafka.bootstrap_servers, or other folders in checkpoint.url and model.url, or use "
                "`springtide up --ephemeral`"
            )
        if position is None and not self._journal.is_whole and has_lost_checkpoints:
            raise OffsetsLostError(
                f"no checkpoint can be read, and {self._journal.folder} has only what was read since the oldest one: "
                "`springtide serve --skip-lost` begins with that"
            )

    def _replay(self, state: LiveState, take: Callable[[list[RawEvent]], None], stopping: threading.Event) -> int:
        num_records = 0
        try:
            for entry in self._journal.after(state.position):
                if state.position is None or state.position.topic_id != entry.topic_id:
                    state.position = StreamPosition(entry.records[0].topic, entry.topic_id, {})
                for part in parts_of(entry.records, is_live=False):
                    take(part)
                num_records += len(entry.records)
                if stopping.is_set():
                    break
        except OSError as error:
            raise JournalError(f"journal {self._journal.folder}: records cannot be read: {error}") from error
        return num_records
