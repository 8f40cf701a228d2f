"""How PyTorch's threads wait for each other."""

import os


def wait_without_spinning() -> None:
    """Let threads sleep while they wait for each other; to be called before PyTorch is imported for the first time.

    OpenMP's threads spin by default. Where server, broker and trainer share the cores, a thread then spins while the
    one it waits for is kept from running: a training took up to eight times as long (record 0014). What is set stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
