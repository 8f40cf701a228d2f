"""Partitions that cannot be read on, while the others are; and those of which a broker gives nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kafka import TopicPartition
from kafka.errors import CorruptRecordError

from springtide.clock import Deadline
from springtide.settings.model import KafkaSettings
from springtide_services.stream.broker_errors import Problem, explain_damage, is_missing_library
from springtide_services.stream.consumer import EventConsumer
from springtide_services.stream.record_batches import Damage

_FIRST_RETRY_S = 2.0  # Another broker may have a good copy.
_LONGEST_RETRY_S = 30.0
_TRIES = 2
_MAX_SHOWN = 3  # Partitions in one message.
_LOOK_S = 2.0
_STALLED_S = 30.0  # Sixty fetches without a record, where there are some; a quota makes a partition wait for less.
_FEW_RECORDS = 10_000  # With more of others to read, a partition may have to wait for its turn.


@dataclass(slots=True)
class HeldPartition:
    """A partition that cannot be read on, while the others are.

    Attributes:
        damage: What cannot be read.
        problem: Why, in words.
        num_tries: How often it was tried so far.
        retry_at: When it is tried again; None if it is tried all the time.
        is_tried_again: Whether it is being tried again now.
    """

    damage: Damage
    problem: Problem
    num_tries: int
    retry_at: Deadline | None
    is_tried_again: bool = False

    @classmethod
    def of(cls, damage: Damage, kafka: KafkaSettings, num_tries: int) -> "HeldPartition":
        """Return a partition that was tried so often and is tried again after a while."""
        pause_s = min(_FIRST_RETRY_S * 2 ** min(num_tries - 1, 10), _LONGEST_RETRY_S)
        return cls(damage, explain_damage(damage, kafka), num_tries, Deadline.after(pause_s))

    @property
    def may_be_skipped(self) -> bool:
        """Whether reading again did not help, and nothing that is missing here would.

        Of a partition that merely gives nothing this is not known: nothing in it may be skipped.
        """
        return (
            self.num_tries > 1
            and self.retry_at is not None
            and not self.is_given_up
            and not is_missing_library(self.damage.error)
        )

    @property
    def is_given_up(self) -> bool:
        """Whether it was tried often enough, and goes to the dead letters at the next try."""
        return self.damage.has_bytes and self.num_tries >= _TRIES

    def is_over(self) -> bool:
        """Return whether it was tried again long ago, and was not held again: it can be read."""
        return self.is_tried_again and self.retry_at is not None and self.retry_at.is_over()

    def begin_retry(self) -> bool:
        """Return whether it is to be tried again now."""
        if self.retry_at is None or not self.retry_at.is_over():
            return False
        self.is_tried_again, self.retry_at = True, Deadline.after(_LONGEST_RETRY_S)
        return True


def problem_of(held: Mapping[int, HeldPartition]) -> Problem:
    """Return why the held partitions cannot be read on; there must be one."""
    problems = [held[number].problem for number in sorted(held)]
    shown = "; ".join(problem.message for problem in problems[:_MAX_SHOWN])
    others = len(problems) - _MAX_SHOWN
    return Problem(problems[0].kind, f"{shown}; and {others} more" if others > 0 else shown)


class StallWatch:
    """Finds partitions of which a broker gives no records, though it says that there are some.

    So does Kafka if the length of a batch is damaged. Records of an open transaction do not count: they come when it
    ends.

    Args:
        kafka: The settings.
        consumer: What reads.
    """

    def __init__(self, kafka: KafkaSettings, consumer: EventConsumer) -> None:
        self._kafka, self._consumer = kafka, consumer
        self._next_look = Deadline.after(_LOOK_S)
        self._waiting: dict[TopicPartition, tuple[int, Deadline]] = {}  # Since when each stands at its offset.

    def look(self, behind: Mapping[TopicPartition, int], held: dict[int, HeldPartition]) -> None:
        """Hold what has stood for 10 s, and release what goes on; called after each poll, it looks every 2 s.

        Args:
            behind: Partitions with records that were not read, and how many.
            held: The held partitions, by number.
        """
        if not self._next_look.is_over():
            return
        self._next_look = Deadline.after(_LOOK_S)
        self._waiting = {partition: since for partition, since in self._waiting.items() if partition in behind}
        num_behind = sum(behind.values())
        silent = set(self._consumer.silent_partitions(_LOOK_S))
        for partition, num_records in behind.items():
            offset = self._consumer.next_offset(partition)
            former = self._waiting.get(partition)
            if former is None or former[0] != offset or partition.partition in silent:
                self._waiting[partition] = (offset, Deadline.after(_STALLED_S))
            elif (
                former[1].is_over()
                and partition.partition not in held
                and num_behind - num_records < _FEW_RECORDS
                and self._consumer.stable_end(partition) > offset
            ):
                held[partition.partition] = self._stalled(partition.partition, offset, num_records)
        self._release(held, self._waiting)

    def _stalled(self, number: int, offset: int, num_records: int) -> HeldPartition:
        message = (
            f"partition {number} of topic {self._kafka.topic!r} stands at offset {offset}: the broker says that "
            f"{num_records:,} records are there, and gives none, as if its log were damaged. The other partitions are "
            f"read on (if it stays so: kafka-delete-records up to offset {offset + 1}, then `serve --skip-lost`)"
        )
        damage = Damage(number, offset, offset + 1, CorruptRecordError("the broker gives no records"))
        return HeldPartition(damage, Problem("damaged", message), 1, None)

    def _release(self, held: dict[int, HeldPartition], waiting: Iterable[TopicPartition]) -> None:
        offsets = {partition.partition: self._waiting[partition][0] for partition in waiting}
        for number in [number for number, each in held.items() if each.retry_at is None]:
            if offsets.get(number) != held[number].damage.offset:
                del held[number]
