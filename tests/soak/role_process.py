"""A process that takes a part in roles.py: it reads a log that is known by its numbers, and writes if it is the writer.

All of a server that has to do with roles is in it, and nothing else, so that it is up within a second.
"""

import argparse
import logging
import signal
import sys
import threading
import time
from collections import Counter

import numpy as np
import structlog

from springtide.checkpoint import CheckpointStore
from springtide.checkpoint.fallback import restore_newest
from springtide.errors import CheckpointLockLostError
from springtide.events.model import EventBatch, Interactions, NodeDelete, NodeUpsert
from springtide.settings.model import CheckpointSettings, Settings
from springtide.state import LiveState, StreamPosition
from springtide_services.stream.checkpointing import Checkpointer
from springtide_services.stream.writer_role import WriterRole

_BATCH = 40


def new_state() -> LiveState:
    """Return an empty state."""
    return LiveState(Settings(), {})


def read(state: LiveState, until: int) -> None:
    """Read the log up to a number; each 40th event is an upsert, too, and each 4,000th a deletion."""
    begin = 0 if state.position is None else state.position.next_offsets[0]
    for start in range(begin, until, _BATCH):
        numbers = np.arange(start, min(start + _BATCH, until))
        users, items = numbers * 13 % 97, numbers * 7 % 31
        purchases = Interactions(
            *([f"u{n}" for n in range(97)], users.astype(np.int32)),
            *([f"i{n}" for n in range(31)], items.astype(np.int32)),
            *(["purchase"], np.zeros(len(numbers), np.int16), 1_700_000_000_000 + 1_000 * numbers),
            np.full(len(numbers), np.nan, np.float32),
        )
        upserted = [int(n) for n in numbers if n % 40 == 0]
        upserts = [
            NodeUpsert("item", f"new{n}", {"brand": (f"b{n}",)}, {"price": 1.5}, {"name": "eau"}) for n in upserted
        ]
        deletes = [NodeDelete("item", f"new{n - 400}", 1_700_000_000_000) for n in upserted if n % 4_000 == 400]
        state.apply(EventBatch(purchases, upserts, deletes=deletes))
    if until > begin:
        state.position = StreamPosition("log", "id", {0: until})
        state.settle()


class Follower:
    """Lets the checkpointer write while this process is the writer."""

    def __init__(self, checkpointer: Checkpointer) -> None:
        self.become_writer = checkpointer.become_writer
        self.become_reader = checkpointer.become_reader


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--takeover-s", type=float, required=True)
    parser.add_argument("--every-s", type=float, required=True)
    parser.add_argument("--began-s", type=float, required=True, help="when the log began, by the wall clock")
    parser.add_argument("--rate", type=int, required=True, help="events a second")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.set())
    settings = CheckpointSettings(url=options.url, every_s=options.every_s, takeover_s=options.takeover_s, keep=2)
    role = WriterRole(settings)
    role.begin()
    store = CheckpointStore(settings.url, settings.keep, role.lock)
    state = restore_newest(store, new_state, sets_aside=role.is_writer).state
    checkpointer = Checkpointer(settings, state, store, None if role.is_writer else role.reader_error())
    follower = Follower(checkpointer)
    role.start(store)
    while not stopping.wait(0.005):
        read(state, int((time.time() - options.began_s) * options.rate))
        role.turn(state, follower, lambda since, state: Counter())
        checkpointer.write_if_due()
    try:
        checkpointer.finish()
    except CheckpointLockLostError as error:
        print(error)
    role.stop()
    sys.exit(0)


if __name__ == "__main__":
    main()
