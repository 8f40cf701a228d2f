"""The proof itself runs, in a size that says little: `make prove-replay` reads a whole year."""

import subprocess
import sys
from pathlib import Path

import pytest

PROVE = Path(__file__).with_name("prove.py")


@pytest.mark.long
@pytest.mark.timeout(150)
def test_a_small_year_read_in_any_interleaving_with_restarts_is_one_state() -> None:
    command = [sys.executable, str(PROVE), "--events", "3000", "--interleavings", "4", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 readings gave one state" in done.stdout
