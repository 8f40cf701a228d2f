import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from springtide_services.local import supervisor as supervisor_module
from springtide_services.local.supervisor import Child, ChildFailedError, ChildRefusedError, Supervisor

# Stands in for the command: sleeps until its standard input closes or a signal comes.
_SLEEPER = """
import sys, time
from springtide_services.termination import end_with_parent
end_with_parent()
print("awake", flush=True)
time.sleep(60)
"""


def eventually(condition: Callable[[], bool], within_s: float = 60.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def _check(supervisor: Supervisor) -> bool:
    """Check once, and return False: for ``eventually``, where only an error ends the wait."""
    supervisor.check()
    return False


def child_of(tmp_path: Path, *arguments: str) -> Child:
    return Child("server", arguments, log=tmp_path / "child.log")


def test_child_that_is_refused_is_not_restarted_and_the_error_shows_the_end_of_its_log(tmp_path: Path) -> None:
    settings = tmp_path / "bad.toml"
    settings.write_text("[kafke]\n")
    with Supervisor(restarts=True) as supervisor:
        supervisor.add(child_of(tmp_path, "serve", "--settings", str(settings)))

        with pytest.raises(
            ChildRefusedError, match=r"the server ended with exit code 2\n  springtide serve: .*did you mean kafka"
        ):
            eventually(lambda: _check(supervisor))


def test_child_that_is_not_needed_is_left_out_where_it_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "sleeper.py"
    script.write_text(_SLEEPER)
    refused = child_of(tmp_path, "serve", "--settings", str(tmp_path / "missing.toml"))
    refused.is_needed = False
    with Supervisor(restarts=False) as supervisor:
        supervisor.add(refused)
        assert eventually(lambda: (supervisor.check(), supervisor.children == [])[1])


def test_child_that_is_killed_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "sleeper.py"
    script.write_text(_SLEEPER)
    child = child_of(tmp_path)
    monkeypatch.setattr(supervisor_module, "command", lambda _arguments: [sys.executable, str(script)])
    with Supervisor(restarts=True) as supervisor:
        supervisor.add(child)
        assert child.process is not None
        first_pid = child.process.pid
        os.kill(first_pid, signal.SIGKILL)
        child.process.wait()

        with capture_logs() as logs:
            supervisor.check()
        assert logs == [
            {
                "event": "child_ended",
                "log_level": "warning",
                "child": "server",
                "reason": "signal SIGKILL",
                "restart_in_s": 1.0,
            }
        ]
        assert eventually(lambda: _check(supervisor) or child.process.pid != first_pid)  # type: ignore[union-attr]

        last_pid = child.process.pid
    assert not psutil.pid_exists(last_pid)


def test_child_that_crashes_at_once_again_and_again_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "command", lambda _arguments: [sys.executable, "-c", "raise SystemExit(1)"])
    monkeypatch.setattr("springtide_services.local.supervisor._LONGEST_PAUSE_S", 0.01)
    with Supervisor(restarts=True) as supervisor:
        supervisor.add(child_of(tmp_path))

        with pytest.raises(ChildFailedError, match="exit code 1, 5 times in a row"):
            eventually(lambda: _check(supervisor))


def test_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "sleeper.py"
    script.write_text(_SLEEPER)
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys, time\n"
            f"command = [sys.executable, {str(script)!r}]\n"
            "child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
            "child.stdout.readline()\n"
            "print(child.pid, flush=True)\n"
            "time.sleep(60)\n",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        child_pid = int(parent.stdout.readline())
        parent.kill()

    assert eventually(lambda: not psutil.pid_exists(child_pid) or psutil.Process(child_pid).status() == "zombie")
