"""Whether the graph that came through the soak is the one that a quiet read of the log builds."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from springtide.clock import MS_PER_DAY, Deadline
from springtide.interactions import Moment
from springtide.packed_texts import unpack
from springtide.settings.model import KafkaSettings, Settings
from springtide.state import LiveState, StateSnapshot
from springtide.state_content import state_content
from springtide_services.stream.dead_letters import OFFSET, PARTITION, REASON
from springtide_services.stream.ingest import IngestLoop
from springtide_services.stream.topics import client_config

_READ_BUDGET_S = 240.0


def read_log(kafka: KafkaSettings, topic: str) -> list[ConsumerRecord]:
    """Return all records of a topic that are not in an aborted transaction."""
    return list(_records(kafka, topic))


def read_quietly(settings: Settings, state: LiveState) -> None:
    """Read the whole topic into an empty state, with nothing happening meanwhile.

    Raises:
        Exception: Why it could not be read.
    """
    loop = IngestLoop(settings, state, None)
    loop.start()
    deadline = Deadline.after(_READ_BUDGET_S)
    try:
        while not loop.is_caught_up:
            if (failure := loop.status().failure) is not None:
                raise failure
            if deadline.is_over():
                raise TimeoutError(f"the topic was not read within {_READ_BUDGET_S:g} s")
            time.sleep(0.05)
    finally:
        loop.stop()


def differences(held: LiveState, quiet: LiveState) -> Iterator[str]:
    """Yield in words each way in which two states of one stream differ; row numbers may differ."""
    ours, theirs = held.snapshot(), quiet.snapshot()
    yield from _unlike("positions", held.next_offsets, quiet.next_offsets)
    yield from _unlike("interactions applied", ours.num_events, theirs.num_events)
    yield from _unlike("nodes", _nodes(ours), _nodes(theirs))
    our_edges, their_edges = _edges(ours), _edges(theirs)
    if our_edges != their_edges:
        missing, more = their_edges - our_edges, our_edges - their_edges
        yield f"edges: {missing.total()} are missing, such as {list(missing)[:3]}"
        yield f"edges: {more.total()} too many, such as {list(more)[:3]}"
    yield from _unlike_weights(held, quiet)
    ours_by_part, theirs_by_part = state_content(held), state_content(quiet)
    parts = {**ours_by_part, **theirs_by_part}
    yield from (f"{part}: its digest" for part in parts if ours_by_part.get(part) != theirs_by_part.get(part))


def edge_times_that_are_not_unique(state: LiveState) -> int:
    """Return how many edges have the time of another edge; each event has a time of its own."""
    times = Counter(edge[-1] for edge in _edges(state.snapshot()).elements())
    return times.total() - len(times)


def dead_letters(kafka: KafkaSettings, topic: str) -> Counter[tuple[int, int, str]]:
    """Return how often each refused record is in a dead-letter topic, by partition, offset and reason."""
    letters: Counter[tuple[int, int, str]] = Counter()
    for record in _records(kafka, topic):
        headers = dict(record.headers)
        letters[int(headers[PARTITION]), int(headers[OFFSET]), headers[REASON].decode()] += 1
    return letters


def _records(kafka: KafkaSettings, topic: str) -> Iterator[ConsumerRecord]:
    consumer = KafkaConsumer(
        **client_config(kafka), auto_offset_reset="earliest", enable_auto_commit=False, isolation_level="read_committed"
    )
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(partitions)
        ends: Mapping[TopicPartition, int] = consumer.end_offsets(partitions)
        deadline = Deadline.after(_READ_BUDGET_S)
        # The ends that the embedded broker tells are too small; what a fetch says is right.
        while any(
            consumer.position(partition) < max(end, consumer.highwater(partition) or 0)
            for partition, end in ends.items()
        ):
            if deadline.is_over():
                raise TimeoutError(f"topic {topic!r} was not read within {_READ_BUDGET_S:g} s")
            for records in consumer.poll(500, max_records=5_000).values():
                yield from records
    finally:
        consumer.close(autocommit=False)


def _unlike(what: str, held: object, quiet: object) -> Iterator[str]:
    if held != quiet:
        yield f"{what}: held {str(held)[:300]}, a quiet read gives {str(quiet)[:300]}"


def _nodes(snapshot: StateSnapshot) -> dict[str, list[str]]:
    return {nodes.node_type: sorted(unpack(*nodes.ids.packed(0, nodes.ids.num_rows))) for nodes in snapshot.nodes}


def _edges(snapshot: StateSnapshot) -> Counter[tuple[str, str, str, float, int]]:
    ids = {nodes.node_type: unpack(*nodes.ids.packed(0, nodes.ids.num_rows)) for nodes in snapshot.nodes}
    edges: Counter[tuple[str, str, str, float, int]] = Counter()
    for saved in snapshot.edges:
        source_type, relation, target_type = saved.edge_type
        view = saved.edges
        columns = (view.source.tolist(), view.target.tolist(), view.weights.tolist(), view.timestamps_ms.tolist())
        for source, target, weight, time_ms in zip(*columns, strict=True):
            edges[ids[source_type][source], relation, ids[target_type][target], weight, time_ms] += 1
    return edges


def _unlike_weights(held: LiveState, quiet: LiveState) -> Iterator[str]:
    """Compare what context weights say of each item, not how they keep it: that depends on the order of rows."""
    newest_ms = held.snapshot().newest_ms or 0
    for name, weight in held.context_weights.items():
        for days in (0, 3):
            moment = Moment(newest_ms + days * MS_PER_DAY)
            by_item = []
            for state, its_weight in ((held, weight), (quiet, quiet.context_weights[name])):
                ids = state.graph.nodes("item").ids.all_ids()
                lifts = its_weight.item_log_lifts(moment, len(ids))
                order = np.argsort(np.array(ids))
                by_item.append(None if lifts is None else np.atleast_2d(lifts)[:, order])
            ours, theirs = by_item
            if (ours is None) != (theirs is None):
                yield f"context weight {name}: only one of the states has learned"
            elif ours is not None and theirs is not None and not np.allclose(ours, theirs, rtol=1e-3, atol=1e-3):
                yield f"context weight {name}: differs by up to {np.abs(ours - theirs).max():.4g}"
