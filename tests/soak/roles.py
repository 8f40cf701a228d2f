"""Two processes on one checkpoint URL are killed and suspended at random; there must always be a state to start from.

After each kill the newest checkpoint is restored: it must be whole, hold exactly what the log has up to its position,
and never be behind the one before. Exit code 1 if anything differs.
"""

import argparse
import contextlib
import json
import logging
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog
from processes import Victim
from role_process import new_state, read

from springtide.checkpoint import CheckpointStore
from springtide.checkpoint.fallback import restore_newest
from springtide.checkpoint.leases import Leases
from springtide.state import LiveState
from springtide.state_content import state_content
from springtide.storage import Storage

_WITHIN_S = 60.0  # For a process to take over, on a busy machine.
_RATE = 2_000


class Roles:
    """Two processes, what is done to them, and what is found afterwards.

    Args:
        url: Of the checkpoints.
        options: The options of this program.
        folder: For logs.
    """

    def __init__(self, url: str, options: argparse.Namespace, folder: Path) -> None:
        self.counts: Counter[str] = Counter()
        self.slowest_s = 0.0
        self.num_checked = 0
        self.fence = 0
        self._chance = random.Random(options.seed)
        self._takeover_s = options.takeover_s
        self._url = url
        self._leases = Leases(Storage(url))
        self._wanted = new_state()  # What the log gives, read in one go to the newest position that was found.
        times = ["--takeover-s", str(options.takeover_s), "--every-s", str(options.every_s)]
        log = ["--began-s", str(time.time()), "--rate", str(_RATE)]
        script = [sys.executable, str(Path(__file__).with_name("role_process.py")), url]
        self.victims = [Victim(name, [*script, *times, *log], os.environ, folder) for name in ("first", "second")]

    def run(self, num_kills: int) -> None:
        """Kill and suspend so many times.

        Raises:
            AssertionError: If there is no state to start from, or a wrong one.
            TimeoutError: If nobody takes over.
        """
        for victim in self.victims:
            victim.start()
        self._wait_for_writer({victim.pid for victim in self.victims})
        actions = [
            self._kill_writer,
            self._suspend_writer,
            self._pause_writer,
            self._kill_reader,
            self._kill_both,
            self._end,
        ]
        order: list[Callable[[], None]] = []
        while sum(self.counts.values()) < num_kills:
            time.sleep(self._chance.uniform(0.0, 0.5))  # Any moment of a checkpoint.
            if not order:
                order = self._chance.sample(actions, len(actions))
            order.pop()()
            self._check()
        for victim in self.victims:
            ended = victim.end()
            assert ended in (0, -signal.SIGTERM), victim.last_lines()  # One that has just begun is ended by the signal.
        self._check()

    def stop(self) -> None:
        """Kill what is left."""
        for victim in self.victims:
            with contextlib.suppress(AssertionError):
                victim.kill()

    def _kill_writer(self) -> None:
        writer, reader = self._writer_and_reader()
        writer.kill()
        self._count("writer killed")
        if self._chance.random() < 0.5:
            self._wait_for_writer({reader.pid})
            self._check()
        writer.start()

    def _suspend_writer(self) -> None:
        writer, reader = self._writer_and_reader()
        os.kill(writer.pid, signal.SIGSTOP)
        self._count("writer suspended until it was replaced")
        self._wait_for_writer({reader.pid})
        time.sleep(self._chance.uniform(0.0, 0.3))
        self._check()
        os.kill(writer.pid, signal.SIGCONT)
        time.sleep(self._chance.uniform(0.0, 0.3))
        if self._chance.random() < 0.3:  # While it learns that it was replaced.
            writer.kill()
            writer.start()

    def _pause_writer(self) -> None:
        writer, _ = self._writer_and_reader()
        os.kill(writer.pid, signal.SIGSTOP)
        self._count("writer suspended for a moment")
        time.sleep(self._chance.uniform(0.0, 0.8 * self._takeover_s))
        os.kill(writer.pid, signal.SIGCONT)

    def _kill_reader(self) -> None:
        _, reader = self._writer_and_reader()
        reader.kill()
        self._count("reader killed")
        reader.start()

    def _kill_both(self) -> None:
        for victim in self._chance.sample(self.victims, 2):
            victim.kill()
        self._count("both killed")
        self._check()
        for victim in self.victims:
            victim.start()

    def _end(self) -> None:
        writer, reader = self._writer_and_reader()
        assert writer.end() == 0, writer.last_lines()
        self._count("writer ended in order")
        self._wait_for_writer({reader.pid})
        writer.start()

    def _count(self, what: str) -> None:
        self.counts[what] += 1

    def _writer_and_reader(self) -> tuple[Victim, Victim]:
        pid = self._wait_for_writer({victim.pid for victim in self.victims})
        writer, reader = sorted(self.victims, key=lambda victim: victim.pid != pid)
        return writer, reader

    def _wait_for_writer(self, pids: set[int]) -> int:
        """Wait until one of some processes has the lease, and has written a checkpoint under it; return its id."""
        began_s = time.monotonic()
        while time.monotonic() - began_s < _WITHIN_S:
            lease = self._leases.newest()
            if lease is not None and lease.holder.pid in pids and not lease.is_released:
                newest = CheckpointStore(self._url).latest()
                if newest is not None and newest.manifest["fence"] == lease.number:
                    self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
                    return lease.holder.pid
            for victim in self.victims:
                assert victim.pid not in pids or not victim.has_ended(), victim.last_lines()
            time.sleep(0.02)
        raise TimeoutError("\n".join([f"no writer after {_WITHIN_S:g} s", *(v.last_lines() for v in self.victims)]))

    def _check(self) -> None:
        """Restore the newest checkpoint, and compare it with the log."""
        self.num_checked += 1
        restored = restore_newest(CheckpointStore(self._url), new_state)
        assert restored.checkpoint is not None, "no state to start from"
        assert not restored.damaged, restored.damaged
        offset = _offset(restored.state)
        assert offset >= _offset(self._wanted), f"{restored.checkpoint} is behind {_offset(self._wanted)}"
        assert restored.checkpoint.manifest["fence"] >= self.fence, f"{restored.checkpoint} is of a former lease"
        self.fence = restored.checkpoint.manifest["fence"]
        read(self._wanted, offset)
        wanted, found = state_content(self._wanted), state_content(restored.state)
        assert found == wanted, {key: (found.get(key), wanted[key]) for key in wanted if found.get(key) != wanted[key]}


def _offset(state: LiveState) -> int:
    return 0 if state.position is None else state.position.next_offsets[0]


@contextlib.contextmanager
def _url_of(store: str, folder: Path) -> Iterator[str]:
    """Yield a URL for checkpoints: in a folder, or on an S3 server of this machine."""
    if store == "folder":
        yield str(folder / "checkpoints")
        return
    sys.path.append(str(Path(__file__).parents[1]))
    import s3_server

    with s3_server.s3_server() as address:
        os.environ.update(s3_server.environment_for(address))
        yield f"{s3_server.new_bucket(address)}/checkpoints"


def main() -> None:
    """Print what was done; exit with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="how often something is killed or suspended")
    parser.add_argument("--store", choices=("folder", "s3"), action="append", help="where checkpoints are; else both")
    parser.add_argument("--takeover-s", type=float, default=1.5, help="when a silent writer is replaced")
    parser.add_argument("--every-s", type=float, default=0.1, help="between two checkpoints")
    parser.add_argument("--seed", type=int, default=1, help="of what is done when")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # It is counted here.
    for store in options.store or ("folder", "s3"):
        with tempfile.TemporaryDirectory() as folder, _url_of(store, Path(folder)) as url:
            roles = Roles(url, options, Path(folder))
            is_wrong, began_s = True, time.monotonic()
            try:
                roles.run(options.kills)
                is_wrong = False
            except (AssertionError, TimeoutError) as error:
                print(f"wrong: {error}")
            finally:
                roles.stop()
            took_s = time.monotonic() - began_s
            print(f"{store}: {roles.num_checked} states restored, {roles.fence} leases, {took_s:.0f} s")
            for what, times in sorted(roles.counts.items()):
                print(f"  {what:<50} {times:>5}")
            print(f"  {'slowest wait for a writer and its checkpoint, s':<50} {roles.slowest_s:>5.1f}")
            _note_row(store, roles, is_wrong)
        if is_wrong:
            sys.exit(1)


def _note_row(store: str, roles: Roles, is_wrong: bool) -> None:
    """Append a row for the table of faults, if one is made; see tests/README.md."""
    if not (rows := os.environ.get("TABLE_ROWS")):
        return
    row = {
        "fault": f"one of two servers on one URL killed or suspended ({store})",
        "where": "make soak-roles",
        "times": sum(roles.counts.values()),
        "lost": int(is_wrong),
        "recovered_s": round(roles.slowest_s, 3),
    }
    with Path(rows).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
