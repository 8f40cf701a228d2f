"""One process at a time may write to a checkpoint URL; a killed one is replaced, a living one is named."""

import dataclasses
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from springtide.checkpoint import CheckpointLock
from springtide.checkpoint.leases import FOLDER, Lease, Leases
from springtide.checkpoint.lock import HOLDER_FILE
from springtide.checkpoint.lock_file import LOCK_FILE
from springtide.checkpoint.lock_holder import LockHolder
from springtide.checkpoint.lock_timing import HolderWatch, LockTiming
from springtide.clock import wall_ms
from springtide.errors import CheckpointError, CheckpointLockedError, CheckpointLockLostError
from springtide.storage import Storage

QUICK = LockTiming(heartbeat_s=0.05, stale_s=0.6, settle_s=0.02, poll_s=0.02)

# A file system of its own name that two processes share: to Springtide it is an object store, without flock.
BUCKET = """
import os, uuid
import fsspec
from fsspec.implementations.local import LocalFileSystem

class Bucket(LocalFileSystem):
    protocol = "bucket"

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        unfinished = f"{path}-{uuid.uuid4().hex}"
        super().pipe_file(unfinished, value)
        os.replace(unfinished, path)  # Object stores put whole objects.

fsspec.register_implementation("bucket", Bucket, clobber=True)
"""
exec(BUCKET)
HOLD = """
import sys, time
from springtide.checkpoint import CheckpointLock
from springtide.checkpoint.lock_timing import LockTiming
from springtide.errors import CheckpointError, CheckpointLockedError

try:
    lock = CheckpointLock(sys.argv[1], LockTiming(heartbeat_s=0.05, stale_s=0.6, settle_s=0.02, poll_s=0.02))
    lock.acquire()
except CheckpointLockedError as error:
    print("refused:", error, flush=True)
else:
    print("held", flush=True)
    for line in sys.stdin:
        try:
            lock.check()
            print("held", flush=True)
        except CheckpointError as error:
            print("lost:", error, flush=True)
    lock.release()
"""


@pytest.fixture(params=["folder", "bucket", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        return f"{request.getfixturevalue('s3_bucket')}/checkpoints"
    folder = tmp_path / "checkpoints"
    return str(folder) if request.param == "folder" else f"bucket://{folder}"


@pytest.fixture
def start_holder() -> Iterator[Callable[[str], "subprocess.Popen[str]"]]:
    """Start a process that tries to take the lock; its first line says whether it did."""
    processes: list[subprocess.Popen[str]] = []

    def start(url: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", BUCKET + HOLD, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def from_elsewhere(content: bytes, **changes: object) -> bytes:
    """Return a holder's file as a process on another host would have written it."""
    return json.dumps(
        {**json.loads(content), "token": uuid.uuid4().hex, "host": "elsewhere", "process_table": "x", **changes}
    ).encode()


def stopped_holder(url: str, **changes: object) -> Storage:
    """Leave the file of a holder on another host that beats no more."""
    storage = Storage(url)
    storage.write(HOLDER_FILE, from_elsewhere(LockHolder.this_process("t", 1_700_000_000_000).to_json(1), **changes))
    return storage


def test_a_second_process_is_refused_and_told_who_holds_the_lock(
    url: str, start_holder: Callable[[str], "subprocess.Popen[str]"]
) -> None:
    holder = start_holder(url)
    assert first_line(holder) == "held"

    said = first_line(start_holder(url))

    assert said.startswith(f"refused: checkpoints at {url} have another writer: host {socket.gethostname()}, ")
    assert f"pid {holder.pid}, since 20" in said
    assert "last heartbeat 0 s ago" in said
    assert "set another checkpoint.url" in said


def test_a_lock_that_was_released_is_free(url: str, start_holder: Callable[[str], "subprocess.Popen[str]"]) -> None:
    holder = start_holder(url)
    assert first_line(holder) == "held"
    holder.communicate()  # Its standard input ends: it releases the lock and ends.

    assert first_line(start_holder(url)) == "held"


def test_a_killed_holder_on_this_host_is_replaced_at_once(
    url: str, start_holder: Callable[[str], "subprocess.Popen[str]"]
) -> None:
    holder = start_holder(url)
    assert first_line(holder) == "held"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    waited_for: list[LockHolder] = []

    lock = CheckpointLock(url)  # With the real times: waiting would take 30 s.
    lock.acquire(on_wait=lambda former, _: waited_for.append(former))
    lock.release()

    assert waited_for == []


def test_a_holder_that_was_killed_and_not_reaped_yet_is_replaced_too(
    url: str, start_holder: Callable[[str], "subprocess.Popen[str]"]
) -> None:
    holder = start_holder(url)
    assert first_line(holder) == "held"
    os.kill(holder.pid, signal.SIGKILL)
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # It has ended, and is a zombie.

    with CheckpointLock(url):
        pass


def test_a_holder_that_was_suspended_is_replaced_and_learns_it_when_it_goes_on(
    url: str, start_holder: Callable[[str], "subprocess.Popen[str]"]
) -> None:
    holder = start_holder(url)
    assert first_line(holder) == "held"
    os.kill(holder.pid, signal.SIGSTOP)
    watch, deadline = HolderWatch(), time.monotonic() + 60.0
    with pytest.raises(CheckpointLockedError, match=f"pid {holder.pid}"):
        CheckpointLock(url, QUICK).try_acquire(watch)
    while True:
        lock = CheckpointLock(url, QUICK)
        try:
            lock.try_acquire(watch)
            break
        except CheckpointLockedError:
            assert time.monotonic() < deadline
            time.sleep(QUICK.poll_s)

    os.kill(holder.pid, signal.SIGCONT)
    assert holder.stdin is not None
    holder.stdin.write("check\n")
    holder.stdin.flush()
    assert f"has lost the lock to host {socket.gethostname()}, pid {os.getpid()}" in first_line(holder)
    lock.check()
    assert lock.fence == 2
    with pytest.raises(CheckpointLockedError, match=f"pid {os.getpid()}"):
        CheckpointLock(url, QUICK).acquire()
    lock.release()


def test_each_lock_has_a_larger_number_than_all_before_it(url: str) -> None:
    for number in (1, 2, 3):
        with CheckpointLock(url, QUICK) as lock:
            assert lock.fence == number


@pytest.mark.parametrize("scheme", ["", "memory://"])
def test_a_dead_holder_on_another_host_is_replaced_once_its_heartbeat_is_stale(scheme: str, tmp_path: Path) -> None:
    url = f"{scheme}{tmp_path}"
    stopped_holder(url)
    waited_for: list[tuple[str, float]] = []
    started = time.monotonic()

    lock = CheckpointLock(url, QUICK)
    lock.acquire(on_wait=lambda former, most_s: waited_for.append((former.host, most_s)))
    took_s = time.monotonic() - started
    lock.check()
    lock.release()

    assert took_s >= QUICK.stale_s
    assert waited_for == [("elsewhere", QUICK.stale_s)]


@pytest.mark.parametrize("scheme", ["", "memory://"])
def test_a_living_holder_on_another_host_is_not_replaced(scheme: str, tmp_path: Path) -> None:
    url = f"{scheme}{tmp_path}"
    storage = stopped_holder(url)
    first = LockHolder.from_json(storage.read(HOLDER_FILE))

    timing = dataclasses.replace(QUICK, stale_s=10.0)  # A busy machine may be seconds late.

    def beat(former: LockHolder, _: float) -> None:  # Late, by a clock that is an hour behind.
        threading.Timer(0.6, storage.write, (HOLDER_FILE, former.to_json(former.heartbeat_ms - 3_600_000))).start()

    with pytest.raises(CheckpointLockedError, match=r"host elsewhere, pid \d+, since 2023-11-14 22:13:20 UTC"):
        CheckpointLock(url, timing).acquire(on_wait=beat)
    assert LockHolder.from_json(storage.read(HOLDER_FILE)).token == first.token


def test_a_pid_that_is_used_again_is_not_the_holder(tmp_path: Path) -> None:
    me = LockHolder.this_process("t", 0)
    assert not me.has_ended()
    if me.process_start != "unknown":
        assert dataclasses.replace(me, process_start="1").has_ended()
    assert not dataclasses.replace(me, process_table="another container", process_start="1").has_ended()


def test_a_process_that_ends_in_the_middle_of_a_heartbeat_leaves_no_rest(tmp_path: Path) -> None:
    (tmp_path / f".writing-{HOLDER_FILE}-123").write_bytes(b"{")

    with CheckpointLock(str(tmp_path)):
        assert {path.name for path in tmp_path.iterdir()} == {LOCK_FILE, FOLDER}


def test_a_holder_file_that_nobody_can_read_blocks_only_until_it_is_stale(tmp_path: Path) -> None:
    url = f"memory://{tmp_path}"
    Storage(url).write(HOLDER_FILE, b"{")

    with pytest.raises(CheckpointLockedError, match="cannot be read"):
        CheckpointLock(url, QUICK).acquire(lambda _, __: Storage(url).write(HOLDER_FILE, b"}"))
    lock = CheckpointLock(url, QUICK)
    lock.acquire()
    lock.release()


def test_of_two_that_claim_a_free_object_store_at_once_one_gets_it() -> None:
    url = f"memory://{uuid.uuid4().hex}"
    timing = dataclasses.replace(QUICK, settle_s=0.3)
    locks = [CheckpointLock(url, timing) for _ in range(4)]
    start = threading.Barrier(len(locks))
    results: list[str] = []

    def claim(lock: CheckpointLock) -> None:
        start.wait()
        try:
            lock.acquire()
            results.append("held")
        except CheckpointLockedError:
            results.append("refused")

    threads = [threading.Thread(target=claim, args=(lock,)) for lock in locks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for lock in locks:
        lock.release()

    assert sorted(results) == ["held", "refused", "refused", "refused"]


def test_releasing_ends_the_wait_of_another_thread(tmp_path: Path) -> None:
    url = f"memory://{tmp_path}"
    stopped_holder(url)
    lock = CheckpointLock(url)
    is_waiting = threading.Event()
    errors: list[CheckpointError] = []

    def acquire() -> None:
        try:
            lock.acquire(on_wait=lambda _, __: is_waiting.set())
        except CheckpointError as error:
            errors.append(error)

    thread = threading.Thread(target=acquire)
    thread.start()
    assert is_waiting.wait(60.0)
    lock.release()
    thread.join(60.0)

    assert not thread.is_alive()
    assert "gave up waiting" in str(errors[0])
    assert LockHolder.from_json(Storage(url).read(HOLDER_FILE)).host == "elsewhere"


def take_over(url: str) -> Lease:
    """Take the lock over as a process on another host that thought its holder dead."""
    leases = Leases(Storage(url))
    former = leases.newest()
    assert former is not None
    holder = LockHolder.from_json(from_elsewhere(former.holder.to_json(wall_ms())))
    lease = Lease(former.number + 1, holder, taken=(*former.taken, (former.number + 1, "00000000")))
    leases.create(lease)
    return lease


def test_a_lock_that_another_process_took_over_is_lost_for_good(url: str) -> None:
    lock = CheckpointLock(url, QUICK)
    lock.acquire()
    lock.raise_if_lost()

    taken_over = take_over(url)
    with pytest.raises(CheckpointLockLostError, match="lost the lock to host elsewhere"):
        lock.check()
    Storage(url).delete_folder(FOLDER)
    with pytest.raises(CheckpointLockLostError):
        lock.raise_if_lost()
    Leases(Storage(url)).create(taken_over)
    lock.release()

    assert Leases(Storage(url)).newest() == taken_over, "the lock of the other process was taken away"


def test_a_heartbeat_notices_the_loss(url: str) -> None:
    lock = CheckpointLock(url, QUICK)
    lock.acquire()
    taken_over = take_over(url)
    deadline = time.monotonic() + 60.0

    def is_lost() -> bool:
        try:
            lock.raise_if_lost()
        except CheckpointLockLostError:
            return True
        return False

    while not is_lost():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    lock.release()
    assert Leases(Storage(url)).newest() == taken_over


def test_a_heartbeat_that_fails_is_logged_once_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = CheckpointLock(str(tmp_path), QUICK)
    failures = iter([True] * 4)

    def sometimes_full(storage: Storage, name: str, content: bytes) -> None:
        if next(failures, False):
            raise OSError("disk full")
        write(storage, name, content)

    lock.acquire()
    write = Storage.write
    before = Leases(Storage(str(tmp_path))).newest()
    with structlog.testing.capture_logs() as logs:
        monkeypatch.setattr(Storage, "write", sometimes_full)
        deadline = time.monotonic() + 60.0
        while Leases(Storage(str(tmp_path))).newest() == before or next(failures, None):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        lock.release()

    assert [(entry["event"], entry["error"]) for entry in logs] == [("checkpoint_lock_heartbeat_failed", "disk full")]


def test_a_folder_without_flock_is_locked_by_heartbeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", unsupported)
    lock = CheckpointLock(str(tmp_path), QUICK)
    lock.acquire()
    with pytest.raises(CheckpointLockedError, match=rf"pid {os.getpid()}"):
        CheckpointLock(str(tmp_path), QUICK).acquire()
    lock.release()


def test_a_folder_that_was_removed_is_a_lock_that_was_lost(tmp_path: Path) -> None:
    lock = CheckpointLock(str(tmp_path))
    lock.acquire()
    (tmp_path / LOCK_FILE).unlink()

    with pytest.raises(CheckpointLockLostError):
        lock.check()
    lock.release()


def test_a_folder_that_cannot_be_written_is_a_checkpoint_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(CheckpointError, match="the lock cannot be taken"):
        CheckpointLock(str(tmp_path / "file")).acquire()


def test_timing_in_which_every_holder_would_be_stale_is_refused() -> None:
    with pytest.raises(ValueError, match="heartbeat_s < stale_s"):
        LockTiming(heartbeat_s=5.0, stale_s=5.0)
