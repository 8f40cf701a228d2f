"""Server and publisher are killed for a moment, with a seed; `make soak` does it hundreds of times, with a trainer."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).with_name("soak.py")


@pytest.mark.timeout(300)
def test_nothing_is_lost_or_doubled_by_kills_under_load() -> None:
    options = ["--seconds", "3", "--kills", "5", "--rate", "200", "--batches", "2", "--no-trainer", "--seed", "3"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "TABLE_"))}
    done = subprocess.run(
        [sys.executable, SOAK, *options], env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    counted = {what.strip(): int(times) for what, times in re.findall(r"^  (.{50}) +(\d+)", done.stdout, re.MULTILINE)}
    for victim in ("server", "publisher"):
        assert sum(times for what, times in counted.items() if what.startswith(f"{victim} killed")) > 0, done.stdout
    assert counted["dead letters"] > 0
