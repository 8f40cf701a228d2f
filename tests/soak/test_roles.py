"""Two processes on one URL are killed and suspended a few times, with a seed; `make soak-roles` does it at length."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROLES = Path(__file__).with_name("roles.py")


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("store", "seed"), [("folder", 47), ("s3", 47)])
def test_there_is_always_a_state_to_start_from(store: str, seed: int) -> None:
    options = ["--store", store, "--kills", "2", "--takeover-s", "0.8", "--seed", str(seed)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TABLE_")}
    done = subprocess.run(
        [sys.executable, ROLES, *options], env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    counted = {what.strip(): int(times) for what, times in re.findall(r"^  (.{50}) +(\d+)$", done.stdout, re.MULTILINE)}
    assert sum(counted.values()) == 2, done.stdout
