"""Which processes go first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

AUTOGROUP = Path("/proc/self/autogroup")
needs_autogroups = pytest.mark.skipif(not AUTOGROUP.exists(), reason="no autogroups here: niceness holds for all")

GIVE_WAY = """
from pathlib import Path
from springtide_services.priorities import give_way
print(give_way(7), Path("/proc/self/autogroup").read_text())
"""
TRAINING_PROCESS = """
import os, sys, time
from pathlib import Path
from springtide.settings.model import Settings
from springtide_services.training.processes import TrainingProcess
os.nice(7)
process = TrainingProcess(Settings())
group, deadline = Path(f"/proc/{process._process.pid}/autogroup"), time.monotonic() + 60
while not group.read_text().endswith("nice 7\\n") and time.monotonic() < deadline:
    time.sleep(0.05)
print(group.read_text())
process.close()
"""


def run(script: str, *, has_own_session: bool) -> str:
    command = [sys.executable, "-c", script]
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, start_new_session=has_own_session
    ).stdout


@needs_autogroups
def test_a_process_with_its_own_session_lowers_that_session_too() -> None:
    niceness = os.nice(0) + 7
    said = run(GIVE_WAY, has_own_session=True)
    assert said.startswith(f"{niceness} ")
    assert said.strip().endswith(f"nice {niceness}")


@needs_autogroups
def test_a_session_that_others_share_stays_as_it_is() -> None:
    before = AUTOGROUP.read_text()
    said = run(GIVE_WAY, has_own_session=False)
    assert said.partition(" ")[0] == str(os.nice(0) + 7)
    assert AUTOGROUP.read_text() == before


@needs_autogroups
def test_the_session_of_a_training_is_as_nice_as_the_trainer() -> None:
    assert run(TRAINING_PROCESS, has_own_session=True).strip().endswith(f"nice {os.nice(0) + 7}")
