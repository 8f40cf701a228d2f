"""How the threads of PyTorch and of NumPy's matrix library wait for each other."""

import os

_SPIN_CYCLES_LOG2 = "16"  # Some 30 µs; by default it is 26, some 30 ms after each product.


def wait_without_spinning() -> None:
    """Let threads sleep while they wait for each other; to be called before NumPy and PyTorch are first imported.

    OpenMP's threads spin by default. Where server, broker and trainer share the cores, a thread then spins while the
    one it waits for is kept from running: a training took up to eight times as long (record 0014). OpenBLAS's threads
    spin after each product: as the promotion gate ranks one question after the other, that was a third of its CPU
    time. In a server, they would keep answers from a core after each new item that is folded in. What is set stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", _SPIN_CYCLES_LOG2)
