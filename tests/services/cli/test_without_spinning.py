"""Commands that train in their own process let PyTorch's threads sleep while they wait for each other."""

import os
import subprocess
import sys

import pytest

_SAY = """
import os, sys
from springtide_services.cli import {command}
from springtide_services.training import torch_threads
real = torch_threads.wait_without_spinning
def said():
    real()
    assert "torch" not in sys.modules, "before PyTorch is imported"
    print(os.environ["OMP_WAIT_POLICY"])
    raise SystemExit(0)
torch_threads.wait_without_spinning = said
from springtide_services.cli.app import main
sys.argv = ["springtide", *{arguments}]
main()
"""


@pytest.mark.parametrize(
    ("command", "arguments"), [("evaluate", ["evaluate"]), ("prove", ["prove"]), ("tune", ["tune", "x.csv"])]
)
def test_a_command_that_trains_lets_threads_sleep(command: str, arguments: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", _SAY.format(command=command, arguments=arguments)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.stdout.split() == ["PASSIVE"], done.stderr
