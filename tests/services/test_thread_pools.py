"""``server.num_threads`` sizes the pool of the matrix library, though nothing imports PyTorch."""

import os
import subprocess
import sys

import pytest

CODE = """
import os
from springtide_services.thread_pools import limit_threads
limit_threads({num_threads})
import numpy as np
matrix = np.ones((2_000, 2_000), np.float32)
matrix @ matrix
print(len(os.listdir("/proc/self/task")))
"""


def num_tasks(num_threads: int | None, **variables: str) -> int:
    command = [sys.executable, "-c", CODE.format(num_threads=num_threads)]
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    ended = subprocess.run(command, env={**environment, **variables}, capture_output=True, text=True, check=True)
    return int(ended.stdout)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads as Linux shows them")
@pytest.mark.parametrize("num_threads", [1, 2])
def test_pool_has_as_many_threads_as_the_setting_says(num_threads):
    assert num_tasks(num_threads) == min(num_threads, len(os.sched_getaffinity(0)))  # The library takes no more.


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads as Linux shows them")
def test_variable_that_is_set_stays():
    assert num_tasks(1, OPENBLAS_NUM_THREADS="2") == min(2, len(os.sched_getaffinity(0)))


HEAPS = """
import ctypes, sys, threading
from springtide_services.thread_pools import limit_heaps
if {is_limited}:
    limit_heaps()
libc, together = ctypes.CDLL(None), threading.Barrier(8)
libc.malloc.restype = ctypes.c_void_p
def allocate():
    together.wait()  # All threads are there at once, or they would take each other's heap.
    for _ in range(100):
        libc.malloc(1_000)  # Without the GIL.
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks glibc")
def test_threads_share_two_heaps():
    def num_heaps(is_limited: bool) -> int:
        command = [sys.executable, "-c", HEAPS.format(is_limited=is_limited)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.count("<heap nr=")

    assert num_heaps(is_limited=True) <= 2 < num_heaps(is_limited=False)


LARGE = """
import ctypes, gc
import numpy as np
from springtide_services.thread_pools import limit_heaps
if {is_limited}:
    limit_heaps()
def resident():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
del (first := [np.ones(30 * 2**17)])[:]  # 30 MB were freed: glibc takes it that more of that size will be.
before, kept = resident(), []
for number in range(20):
    large = np.ones(5 * 2**17)
    kept.append(np.ones(1_000))
    del large
    large = np.ones(4 * 2**17)
    kept.append(large[:1].copy())
    kept.append(np.ones(2**14))
    del large
print(resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks glibc")
def test_large_arrays_that_are_freed_are_given_back():
    held_kb = int(
        subprocess.run(
            [sys.executable, "-c", LARGE.format(is_limited=True)], stdout=subprocess.PIPE, text=True, check=True
        ).stdout
    )
    assert held_kb < 3_500  # What is kept takes 2.8 MB.
