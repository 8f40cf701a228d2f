"""Reads a year in many interleavings of its partitions, with restarts and crashes: all must give one state.

Without ``--events`` it is the year of the Complete Journey, which is downloaded once, and takes about half a minute for
each interleaving.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from year import Year, year_of_chance, year_of_complete_journey

from springtide.checkpoint import CheckpointStore
from springtide.events.decoding import Decoder
from springtide.events.raw import RawEvent
from springtide.interactions import Moment
from springtide.plugins.loading import load_plugins
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import PluginSettings, Settings
from springtide.state import LiveState, StreamPosition
from springtide.testing import state_content

SETTINGS = Settings()
PLUGINS = load_plugins(PluginSettings())
NUM_PARTITIONS = 8
NUM_QUERIES = 40
MOST_RECORDS = 5_000  # Of one poll.

Answers = list[list[tuple[str, float]]]


def main() -> int:
    """Run the proof; return 1 if two readings differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, help="purchases of a small year drawn by chance instead")
    parser.add_argument("--interleavings", type=int, default=20, help="how many (default: %(default)s)")
    parser.add_argument("--restarts", type=int, default=3, help="restarts in each of them (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all that is drawn (default: %(default)s)")
    options = parser.parse_args()
    year = (
        year_of_complete_journey(NUM_PARTITIONS, options.seed)
        if options.events is None
        else year_of_chance(options.events, NUM_PARTITIONS, options.seed)
    )
    print("A year:", ", ".join(f"{count:,} {kind}" for kind, count in year.counts.items()), flush=True)
    expected: tuple[dict[str, str], Answers] | None = None
    num_different = 0
    for number in range(options.interleavings):
        generator = np.random.default_rng([options.seed, number])
        begun_s = time.monotonic()
        state, num_crashes = read(year, generator, options.restarts)
        found = state_content(state), answers(state, year)
        expected = expected or found
        differing = sorted(name for name in {**found[0], **expected[0]} if found[0].get(name) != expected[0].get(name))
        if found[1] != expected[1]:
            differing.append("answers")
        num_different += bool(differing)
        print(
            f"{number + 1:3}  {state.graph.num_edges:,} edges, {options.restarts} restarts, {num_crashes} of them "
            f"crashes, {time.monotonic() - begun_s:.0f} s: "
            + (f"DIFFERENT in {', '.join(differing)}" if differing else "the same"),
            flush=True,
        )
    print(f"{options.interleavings - num_different} of {options.interleavings} readings gave one state")
    return 1 if num_different else 0


def read(year: Year, generator: np.random.Generator, num_restarts: int) -> tuple[LiveState, int]:
    """Read all partitions in an order drawn by chance; return the state and the number of crashes."""
    num_records = sum(map(len, year.partitions))
    restarts = sorted(generator.integers(0, num_records, num_restarts).tolist())
    num_crashes = 0
    with tempfile.TemporaryDirectory() as folder:
        store = CheckpointStore(folder)
        state = new_state()
        state.position = StreamPosition("events", "", dict.fromkeys(range(len(year.partitions)), 0))
        store.write(state.snapshot())
        while True:
            decoder = Decoder(state.rules, SETTINGS.events, names=state.known_names)
            is_over = True
            for records in polls(year, state.next_offsets, generator):
                batches, refusals = decoder.decode(records, year.end_ms + 10**9)
                assert not refusals, refusals[0]
                for batch in batches:
                    state.apply(batch)
                state.advance({record.partition: record.offset + 1 for record in records})
                if restarts and sum(state.next_offsets.values()) >= restarts[0]:
                    restarts.pop(0)
                    is_over = False
                    break
            if is_over:
                return state, num_crashes
            if generator.random() < 0.5:
                store.write(state.snapshot())
            else:
                num_crashes += 1  # What was read since the last checkpoint is read again.
                if generator.random() < 0.5:
                    restarts.append(num_records // 2)
            newest = store.latest()
            assert newest is not None, "one was written at first"
            state = new_state()
            store.restore(newest, state)


def polls(year: Year, next_offsets: Mapping[int, int], generator: np.random.Generator) -> Iterator[Sequence[RawEvent]]:
    """Yield what polls return: runs of records of one or more partitions, some of which lag far behind."""
    offsets = dict(next_offsets)
    left = [partition for partition, offset in offsets.items() if offset < len(year.partitions[partition])]
    while left:
        speeds = generator.dirichlet(np.full(len(left), 0.3))  # New for each stretch: others lag then.
        for _ in range(int(generator.integers(1, 60))):
            drawn = generator.choice(len(left), size=int(generator.integers(1, len(left) + 1)), replace=False, p=None)
            records: list[RawEvent] = []
            for index in drawn.tolist():
                partition = left[index]
                count = int(speeds[index] * generator.integers(1, MOST_RECORDS)) + 1
                part = year.partitions[partition][offsets[partition] : offsets[partition] + count]
                offsets[partition] += len(part)
                records += part
            if records:
                yield records
        left = [partition for partition in left if offsets[partition] < len(year.partitions[partition])]


def new_state() -> LiveState:
    """Return an empty state with all context weights of the default settings."""
    return LiveState(SETTINGS, make_context_weights(SETTINGS.ranking, PLUGINS))


def answers(state: LiveState, year: Year) -> Answers:
    """Return what a server without a model answers some users: ids and scores."""
    ranker = Ranker(state, SETTINGS.ranking)
    step = max(1, len(year.user_ids) // NUM_QUERIES)
    queries = [Query(Moment(year.end_ms + 1), user_id, count=20) for user_id in ["", *year.user_ids[::step]]]
    return [[(item.item_id, item.score) for item in found.items] for found in ranker.recommend(queries)]


if __name__ == "__main__":
    assert Path(__file__).parent.name == "replay", "year.py lies beside this file"
    sys.exit(main())
