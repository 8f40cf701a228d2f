"""Taking records: they are decoded, what is refused is put away, and the rest is applied to the state."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from springtide.clock import wall_ms
from springtide.events import EventDecoder, RawEvent, Refusal
from springtide.events.attribute_kinds import AttributeKindCheck
from springtide.events.decoding import Decoder
from springtide.settings.model import Settings
from springtide.state import LiveState, StreamPosition
from springtide_services.stream.arrivals import Arrivals
from springtide_services.stream.broken_records import BrokenRecords
from springtide_services.stream.dead_letters import DeadLetterWriter
from springtide_services.stream.ingest_hooks import IngestHooks
from springtide_services.stream.missed_letters import write_missed_letters
from springtide_services.stream.poison import Poison
from springtide_services.stream.succession import Succession


class RecordTaker:
    """Takes the records of the stream, in order; for the ingest thread.

    Args:
        settings: All settings.
        succession: The state that records are applied to.
        arrivals: When records come.
        poison: Notes which records break the state.
        letters: Writes dead letters.
        hooks: What others do before and after records are applied.
        decoders: Decoders of other tools' records, by name; none if None.

    Attributes:
        num_applied: Events that were applied since the start.
        on_moved: Called when the position has moved.
    """

    def __init__(
        self,
        settings: Settings,
        succession: Succession,
        arrivals: Arrivals,
        poison: Poison,
        letters: DeadLetterWriter,
        hooks: IngestHooks,
        decoders: Mapping[str, EventDecoder] | None,
    ) -> None:
        self.num_applied = 0
        self.on_moved: Callable[[], None] = lambda: None
        self._settings = settings
        self._succession = succession
        self._arrivals = arrivals
        self._poison = poison
        self._letters = letters
        self._hooks = hooks
        self._decoders = decoders
        self._decoder = self._make_decoder(succession.current)
        self._dead_letters: Counter[str] = Counter()

    @property
    def num_ignored(self) -> int:
        """Interactions that the decoder left out since it was made, as the rules say."""
        return self._decoder.num_ignored

    @property
    def dead_letters(self) -> dict[str, int]:
        """Refused events since the start, by reason."""
        return dict(self._dead_letters)

    def count_dead_letters(self, counts: Mapping[str, int]) -> None:
        """Count what another thread has put away, by reason."""
        self._dead_letters.update(counts)

    def follow_state(self) -> None:
        """Decode by what the state knows that records are applied to now."""
        self._decoder = self._make_decoder(self._succession.current)

    def take(self, records: Sequence[RawEvent]) -> None:
        """Apply some records, and move the position past them.

        Raises:
            PoisonError: If applying them fails.
            BrokerProblemError: If what is refused cannot be put away, and the stream must wait; nothing was applied.
        """
        state, hooks = self._succession.current, self._hooks
        started_ns = 0 if hooks.on_applied is None else time.time_ns()
        batches, refusals = self._decoder.decode(records, wall_ms())
        self._write(refusals)  # Before the position moves past them: a crash repeats dead letters, never loses one.
        for batch in map(state.without_duplicates, batches):
            if hooks.before_apply is not None and self._arrivals.has_caught_up and not self._succession.is_passing:
                hooks.before_apply(batch)
            with self._poison.naming(state, records):
                state.apply(batch, more_follow=True)
            if not self._succession.is_passing:
                self.num_applied += batch.num_events
            if not self._letters.is_counting:
                self._letters.file.note_deleted(delete.node_id for delete in batch.deletes)
        if hooks.on_applied is not None:
            hooks.on_applied(records, started_ns)
        state.note_time(self._arrivals.came_ms(records[-1].timestamp_ms))
        # Records of one partition are in order, so the last one's offset wins.
        state.advance({record.partition: record.offset + 1 for record in records})
        self.on_moved()

    def put_away(self, broken: Sequence[BrokenRecords]) -> None:
        """Write what cannot be read to the dead letters, before the position moves past any of it.

        Raises:
            BrokerProblemError: If it cannot be written, and the stream must wait.
        """
        self._write([each.refusal for each in broken])

    def pass_over(self, broken: Sequence[BrokenRecords]) -> None:
        """Move the position past what cannot be read; ``put_away`` came before."""
        state = self._succession.current
        reached = state.next_offsets
        beyond = [each for each in broken if each.next_offset > reached.get(each.record.partition, 0)]
        if beyond:
            state.advance({each.record.partition: each.next_offset for each in beyond})
            self.on_moved()

    def write_missed_letters(self, since: StreamPosition | None, state: LiveState) -> Counter[str]:
        """Write the dead letters that a former writer may have left out, and return their number by reason.

        Args:
            since: The position of its newest checkpoint; None for the topic's beginning.
            state: The state, which has read on since.
        """
        if not self._dead_letters or state.position is None:
            return Counter()  # What this process has read had none.
        self._letters.is_counting = False
        try:
            return write_missed_letters(
                *(self._settings.kafka, since, state.position),
                *(self._make_decoder(state), self._letters.write),
            )
        finally:
            self._letters.is_counting = True

    def _write(self, refusals: list[Refusal]) -> None:
        if new := self._succession.new_refusals(refusals):
            self._dead_letters.update(self._letters.write(new))

    def _make_decoder(self, state: LiveState) -> Decoder:
        kinds = AttributeKindCheck(self._settings.attributes, state.settled_kind, state.settled_length)
        return Decoder(state.rules, self._settings.events, kinds, self._decoders, names=state.known_names)
