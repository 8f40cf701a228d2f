"""A few short replays of experiments: one that changes nothing has no winner, and a better variant is found."""

import subprocess
import sys
from pathlib import Path

import pytest

TRIALS = Path(__file__).with_name("trials.py")


@pytest.mark.timeout(150)
def test_experiments_that_change_nothing_have_no_winner_and_better_variants_are_found() -> None:
    command = [sys.executable, str(TRIALS), "--runs", "10", "--better", "3", "--visitors", "8000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    same, *better = done.stdout.splitlines()
    assert "0 of 10 runs have a winner" in same
    assert "found in 3 of 3" in better[-1]
    assert "A won in 0" in better[-1]
