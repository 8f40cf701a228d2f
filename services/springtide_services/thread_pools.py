"""How many threads the libraries of numbers may take; said before they are loaded, for most read it only then."""

import contextlib
import os
import sys

_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "OMP_NUM_THREADS")
"""What the libraries behind NumPy and PyTorch read when they are loaded; they keep a pool of that many threads."""


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
