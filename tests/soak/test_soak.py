"""The soaks run for a moment, with a seed: `make soak` kills hundreds of times, and fills for minutes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
pytestmark = pytest.mark.timeout(300)


def run(program: str, *options: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "TABLE_"))}
    command = [sys.executable, FOLDER / program, *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def counts_in(output: str) -> dict[str, int]:
    found = re.findall(r"^  (\S.*?)  +([\d,]+)(?:  |$)", output, re.MULTILINE)
    return {what: int(times.replace(",", "")) for what, times in found}


@pytest.mark.long
def test_nothing_is_lost_or_doubled_by_kills_under_load() -> None:
    options = ["--seconds", "3", "--kills", "2", "--rate", "200", "--batches", "2", "--no-trainer", "--seed", "3"]
    counts = counts_in(run("soak.py", *options))

    for victim in ("server", "publisher"):
        assert sum(times for what, times in counts.items() if what.startswith(f"{victim} killed")) > 0, counts
    assert counts["dead letters"] > 0


@pytest.mark.long
def test_memory_stays_flat_at_many_times_the_edges_that_may_be_kept() -> None:
    output = run("memory.py", "--edges", "4000", "--budgets", "6", "--tolerance", "0.2")

    assert "memory: flat" in output
