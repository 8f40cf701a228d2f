"""Making a state anew from the topic, beside a server or without one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from springtide.clock import wall_ms
from springtide.events.skips import SkipFilter, Skips
from springtide.plugins.loading import Plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import KafkaSettings, Settings
from springtide.state import LeftOut, LiveState
from springtide_services.stream.broker_errors import BrokerProblemError, explain
from springtide_services.stream.replay import OnProgress, Replay
from springtide_services.stream.topics import client_config, read_topic_facts, wait_for_broker


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A state that was made anew.

    Attributes:
        state: The state, as far as the topic goes.
        num_records: How many records the topic had.
        num_refused: How many events were refused.
        left_out: What was looked for to leave it out, and how much of it there was.
    """

    state: LiveState
    num_records: int
    num_refused: int
    left_out: tuple[LeftOut, ...]


def rebuilt_url(settings: Settings) -> str:
    """Return where a rebuilt state is handed to the server: a folder beside the server's own checkpoints."""
    return f"{settings.checkpoint.url.rstrip('/')}/rebuilt"


def rebuild_state(
    settings: Settings,
    plugins: Plugins,
    skips: Skips,
    earlier: Sequence[LeftOut] = (),
    on_progress: OnProgress | None = None,
    *,
    from_what_is_left: bool = False,
) -> Rebuilt:
    """Read the topic from its beginning into a new state, under the settings as they are.

    Args:
        settings: All settings.
        plugins: Where context weights and decoders come from.
        skips: What to leave out.
        earlier: What former rebuilds left out, and this one leaves out, too; but for offsets of a topic that has been
            recreated since.
        on_progress: Called with the number of records read, and that of all as far as is known.
        from_what_is_left: Whether to read a topic that has lost its beginning.

    Raises:
        RebuildError: If the topic has lost its beginning.
        BrokerError: If the broker does not answer, or refuses.
    """
    topic_id = _read_topic_id(settings.kafka)
    sets = [each for each in (_of_topic(each, topic_id) for each in earlier) if each.skips and each.skips != skips]
    if skips:
        sets.append(LeftOut(skips, wall_ms(), {}, topic_id))
    skip_filter = SkipFilter([each.skips for each in sets], [each.until_offsets for each in sets])
    state = LiveState(settings, make_context_weights(settings.ranking, plugins))
    replay = Replay(settings, state, plugins.make_decoders(settings.events), skip_filter if sets else None)
    replay.run(on_progress, from_what_is_left=from_what_is_left)
    found = tuple(
        replace(
            each,
            num_events={words: skip_filter.counts[words] for words in each.skips.describe()},
            until_offsets=each.until_offsets or dict(state.next_offsets),
        )
        for each in sets
    )
    # What is asked for now and matches nothing never will: what is published from here on is read.
    state.left_out = tuple(each for each in found if each.skips != skips or any(each.num_events.values()))
    return Rebuilt(state, replay.num_records, replay.num_refused, found)


def _read_topic_id(kafka: KafkaSettings) -> str:
    """Return the broker's id of the topic; empty if there is no such topic, or it has no id.

    Raises:
        BrokerError: If the broker does not answer, or refuses.
    """
    wait_for_broker(kafka)
    try:
        with KafkaAdminClient(**client_config(kafka)) as admin:
            facts = read_topic_facts(admin, kafka.topic)
    except KafkaError as error:
        raise BrokerProblemError(explain(error, kafka)) from error
    return "" if facts is None else facts.topic_id


def _of_topic(left_out: LeftOut, topic_id: str) -> LeftOut:
    if not topic_id or not left_out.topic_id or topic_id == left_out.topic_id:
        return left_out
    return replace(left_out, skips=replace(left_out.skips, offsets=()), topic_id=topic_id, until_offsets={})
