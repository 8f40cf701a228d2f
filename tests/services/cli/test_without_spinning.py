"""Commands that train or rank in their own process let threads of PyTorch and NumPy sleep while they wait."""

import os
import subprocess
import sys

import pytest

_SAY = """
import os, sys
from springtide_services import thread_pools
real = thread_pools.wait_without_spinning
def said():
    real()
    assert not {{"torch", "numpy"}} & set(sys.modules), "before they are imported"
    print(os.environ["OMP_WAIT_POLICY"], os.environ["OPENBLAS_THREAD_TIMEOUT"])
    raise SystemExit(0)
thread_pools.wait_without_spinning = said
from springtide_services.cli import {command}
from springtide_services.cli.app import main
sys.argv = ["springtide", *{arguments}]
main()
"""

_VARIABLES = ("OMP_WAIT_POLICY", "OPENBLAS_THREAD_TIMEOUT")

_PRODUCTS = """
import time
from springtide_services.thread_pools import wait_without_spinning
wait_without_spinning()
import numpy as np
many, one = np.ones((40_000, 64), np.float32), np.ones(64, np.float32)
started = time.process_time()
for _ in range(20):
    many @ one
    time.sleep(0.04)
print((time.process_time() - started) / 20)
"""


@pytest.mark.parametrize(
    ("command", "arguments"),
    [("evaluate", ["evaluate"]), ("prove", ["prove"]), ("tune", ["tune", "x.csv"]), ("serve", ["serve"])],
)
def test_a_command_that_trains_or_ranks_lets_threads_sleep(command: str, arguments: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", _SAY.format(command=command, arguments=arguments)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.stdout.split() == ["PASSIVE", "16"], done.stderr


def test_a_product_costs_no_more_than_it_takes() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", _PRODUCTS], env=environment, capture_output=True, text=True, check=True
    )

    assert float(done.stdout) < 0.015, "seconds of CPU for a product; 30 ms of spinning are not among them"
