"""How many threads the libraries of numbers take, how they wait, and how many heaps there are, before they load."""

import contextlib
import ctypes
import os
import sys

_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "OMP_NUM_THREADS")
"""What the libraries behind NumPy and PyTorch read when they are loaded; they keep a pool of that many threads."""

_SPIN_CYCLES_LOG2 = "16"  # Some 30 µs; by default it is 26, some 30 ms after each product.
_M_ARENA_MAX = -8  # In glibc's malloc.h.
_NUM_HEAPS = 2
_M_MMAP_THRESHOLD = -3
_MAPPED_BYTES = 2**21  # From here on, an array has pages of its own; what one request takes for itself is smaller.


def limit_threads(num_threads: int | None) -> None:
    """Limit the threads that one matrix product takes, in this process and those that it starts.

    A variable of the environment that is set already stays as it is.

    Args:
        num_threads: How many; None leaves it to the libraries, which take all cores.
    """
    if num_threads is None:
        return
    for variable in _VARIABLES:
        os.environ.setdefault(variable, str(num_threads))
    if "numpy" in sys.modules:  # Loaded already, as in tests: what can be told later is.
        with contextlib.suppress(ImportError):
            from threadpoolctl import threadpool_limits

            threadpool_limits(num_threads)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(num_threads)


def wait_without_spinning() -> None:
    """Let threads sleep while they wait for each other; to be called before NumPy and PyTorch are first imported.

    OpenMP's threads spin by default. Where server, broker and trainer share the cores, a thread then spins while the
    one it waits for is kept from running: a training took up to eight times as long (record 0014). OpenBLAS's threads
    spin after each product: as the promotion gate ranks one question after the other, that was a third of its CPU
    time. In a server, they would keep answers from a core after each new item that is folded in. What is set stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", _SPIN_CYCLES_LOG2)


def limit_heaps() -> None:
    """Share two heaps among all threads, and give large arrays back at once, where the C library is glibc.

    By default there may be eight for each core, and what is freed in one is not used by the others: a small server has
    twenty threads and would hold 5 MB more. The GIL lets only one of them allocate at a time anyway.

    By default, once a large array was freed, others up to 32 MB are cut from a heap too, which does not shrink while
    anything lies behind the gap: with a million items, 70 MB stayed after a restart, and more with each refresh.

    A limit that is set in the environment stays as it is.
    """
    with contextlib.suppress(AttributeError):  # Another C library.
        if "MALLOC_ARENA_MAX" not in os.environ:
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _NUM_HEAPS)
        if "MALLOC_MMAP_THRESHOLD_" not in os.environ:
            ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
