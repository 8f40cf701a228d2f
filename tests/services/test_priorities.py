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
print(group.with_name("sched").read_text())
process.close()
"""
SHORT_TURNS = """
import threading
from springtide_services.priorities import take_short_turns

def say(thread="self"):
    with open(f"/proc/{thread}/sched") as file:
        print(*[line.strip().replace(" ", "") for line in file if line.startswith("se.slice")])

say()
take_short_turns()
say()
thread = threading.Thread(target=lambda: say(f"self/task/{threading.get_native_id()}"))
thread.start()
thread.join()
"""
AS_BATCH = """
import os
from springtide_services.priorities import take_short_turns
os.nice(3)
os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
take_short_turns()
print(os.sched_getscheduler(0), os.nice(0))
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
def test_the_session_of_a_training_is_as_nice_as_the_trainer_and_takes_short_turns() -> None:
    group, _, scheduling = run(TRAINING_PROCESS, has_own_session=True).partition("\n")
    assert group.endswith(f"nice {os.nice(0) + 7}")
    if "se.slice" in scheduling and tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 12):
        assert scheduling.partition("se.slice")[2].split()[1] == "100000"


def test_threads_of_short_turns_start_others_of_short_turns() -> None:
    if not (scheduling := Path("/proc/self/sched")).exists() or "se.slice" not in scheduling.read_text():
        pytest.skip("this system does not say how long turns are")
    before, after, started = (
        float(line.rpartition(":")[2]) for line in run(SHORT_TURNS, has_own_session=False).split()
    )
    if before == after and tuple(map(int, os.uname().release.split(".")[:2])) < (6, 12):
        pytest.skip("this system has one length of turns for all")
    assert before > after == started == 100_000


def test_a_process_that_somebody_has_given_a_policy_keeps_it() -> None:
    assert run(AS_BATCH, has_own_session=False).strip() == f"{os.SCHED_BATCH} {os.nice(0) + 3}"
