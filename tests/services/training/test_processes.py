"""Trainings in processes of their own: what comes back, and what becomes of a process that dies, or must."""

import contextlib
import math
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from springtide.errors import SettingsError, TrainingError
from springtide.model.registry import ModelStore
from springtide.settings.model import KafkaSettings, MetricsSettings, PartSettings, Settings
from springtide.settings.view import changes_to_toml
from springtide_services.addresses import free_port
from springtide_services.training import processes as processes_module
from springtide_services.training.processes import (
    TrainingFailedError,
    TrainingProcess,
    TrainingProcesses,
    UnexpectedTrainingError,
)
from springtide_services.training.schedule import Plan
from springtide_services.training.trainer import Trainer
from springtide_services.training.training_folder import TrainingFolder
from springtide_services.training.training_report import TrainingStoppedError

NOW_MS = 1_700_000_000_000
BUDGET_S = 120.0  # A busy machine may need half a minute to import torch.
SECRET = "x-spring-tide-x"

WriteCheckpoint = Callable[..., str]


@pytest.fixture
def endless(settings: Settings) -> Settings:
    """Settings of a training that takes until it is stopped."""
    return settings.model_copy(update={"training": settings.training.model_copy(update={"steps": 10_000_000})})


@pytest.fixture
def processes() -> Iterator[Callable[[Settings], TrainingProcesses]]:
    with contextlib.ExitStack() as stack:
        yield lambda settings: stack.enter_context(TrainingProcesses(settings))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BUDGET_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children_of(pid: int) -> list[int]:
    """Return the training processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            command = (path.parent / "cmdline").read_bytes()
            if int(fields[1]) == pid and fields[0] != "Z" and b"training.process_main" in command:
                found.append(int(path.parent.name))
    return found


def stage_of(settings: Settings) -> str:
    status = TrainingFolder.beside_models(settings).status()
    return "" if status is None else status.stage


def is_training(settings: Settings) -> bool:
    return stage_of(settings) not in ("", "start", "load", "failed")


class InBackground:
    """Runs a function in a thread, and keeps what comes of it."""

    def __init__(self, do: Callable[[], object]) -> None:
        self.result: object = None
        self.error: BaseException | None = None
        self._do = do
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._do()
        except BaseException as error:
            self.error = error

    def join(self) -> None:
        self._thread.join(BUDGET_S)
        assert not self._thread.is_alive()


def test_training_runs_in_the_process_that_checked_the_settings_and_leaves_nothing(
    settings: Settings, write_checkpoint: WriteCheckpoint, processes: Callable[[Settings], TrainingProcesses]
) -> None:
    # What JSON does not have: infinity, and a date among the options of a part.
    settings = settings.model_copy(
        update={
            "checkpoint": settings.checkpoint.model_copy(update={"every_s": math.inf}),
            "kafka": KafkaSettings(client_options={"sasl_plain_password": SECRET, "since": date(2026, 1, 1)}),
        }
    )
    assert pickle.loads(pickle.dumps(settings)) == settings
    name, started = write_checkpoint(settings), processes(settings)
    started.check(threading.Event())
    (kept,) = children_of(os.getpid())
    for file in ("cmdline", "environ"):
        assert SECRET.encode() not in Path(f"/proc/{kept}/{file}").read_bytes()

    training = InBackground(lambda: started.run(Plan("retrain", "asked"), name, threading.Event()))
    until(lambda: stage_of(settings) not in ("", "start"))
    assert children_of(os.getpid()) in ([kept], [])
    training.join()

    assert (training.result, training.error) == ("000001", None)
    assert ModelStore(settings.model.url).manifest("000001").request_id == "asked"
    assert stage_of(settings) == "done"
    assert children_of(os.getpid()) == []


def test_process_that_is_kept_is_let_go_after_a_while(
    settings: Settings, processes: Callable[[Settings], TrainingProcesses], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes_module, "_KEEP_S", 0.2)
    processes(settings).check(threading.Event())

    until(lambda: children_of(os.getpid()) == [])


def test_settings_whose_parts_cannot_work_are_refused_by_the_check(
    settings: Settings, processes: Callable[[Settings], TrainingProcesses]
) -> None:
    model = settings.model.model_copy(update={"encoder": PartSettings(name="nothing_of_that_name")})

    with pytest.raises(SettingsError, match=r"^model\.encoder: no encoder named 'nothing_of_that_name' \(choices: "):
        processes(settings.model_copy(update={"model": model})).check(threading.Event())

    assert children_of(os.getpid()) == []


def test_check_whose_imports_fail_is_an_error_and_one_that_is_killed_is_not(
    settings: Settings,
    processes: Callable[[Settings], TrainingProcesses],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
    monkeypatch.setenv("PYTHONPATH", path)
    (tmp_path / "torch.py").write_text("raise RuntimeError('half installed')")
    with pytest.raises(UnexpectedTrainingError, match="half installed") as failed:
        processes(settings).check(threading.Event())
    assert "torch.py" in str(failed.value.__cause__)

    (tmp_path / "torch.py").write_text("import os; os.kill(os.getpid(), 9)")
    with capture_logs() as logs:
        processes(settings).check(threading.Event())
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("settings_not_checked", "warning")]
    assert children_of(os.getpid()) == []


@pytest.mark.long
def test_training_that_fails_tells_its_traceback_and_one_that_is_refused_its_reason(
    settings: Settings, write_checkpoint: WriteCheckpoint, processes: Callable[[Settings], TrainingProcesses]
) -> None:
    nowhere = settings.model_copy(update={"training": settings.training.model_copy(update={"device": "wormhole"})})
    folder, name = TrainingFolder.beside_models(settings), write_checkpoint(settings)
    with pytest.raises(UnexpectedTrainingError, match="wormhole") as failed:
        processes(nowhere).run(Plan("retrain"), name, threading.Event())
    assert "training_run.py" in str(failed.value.__cause__)
    status = folder.status()
    assert status is not None
    assert (status.stage, status.failure) == ("failed", str(failed.value))

    name = write_checkpoint(settings, relation="dislike")
    with pytest.raises(TrainingError, match="wanted at least 100 positive interactions"):
        processes(settings).run(Plan("retrain"), name, threading.Event())
    status = folder.status()
    assert status is not None
    assert status.failure.startswith("TrainingError: wanted at least 100")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGKILL, "the training process was killed (signal 9): out of memory?"),
        (signal.SIGSEGV, "the training process was killed (signal 11, SIGSEGV)"),
    ],
)
@pytest.mark.fault("training process killed")
def test_training_whose_process_is_killed_has_failed_and_is_tried_again(
    number: signal.Signals,
    words: str,
    endless: Settings,
    write_checkpoint: WriteCheckpoint,
    processes: Callable[[Settings], TrainingProcesses],
) -> None:
    folder = TrainingFolder.beside_models(endless)
    request = folder.ask("retrain", write_checkpoint(endless))
    trainer = Trainer(endless, processes(endless).run)
    with capture_logs() as logs:
        step = InBackground(lambda: trainer.step(NOW_MS))
        until(lambda: is_training(endless))
        os.kill(children_of(os.getpid())[0], number)
        step.join()

    status = folder.status()
    assert status is not None
    assert (status.stage, status.failure, status.request_id) == ("failed", words, request.request_id)
    (failure,) = [entry for entry in logs if entry["event"] == "training_failed"]
    assert (failure["retry_s"], str(failure["exc_info"])) == (2.0, words)
    assert isinstance(failure["exc_info"], TrainingFailedError)
    assert folder.requests() == [request], "it is tried again"
    assert ModelStore(endless.model.url).versions() == []


def test_training_that_must_stop_publishes_nothing_and_its_request_stays_open(
    endless: Settings, write_checkpoint: WriteCheckpoint, processes: Callable[[Settings], TrainingProcesses]
) -> None:
    folder, stopping = TrainingFolder.beside_models(endless), threading.Event()
    request = folder.ask("retrain", write_checkpoint(endless))
    trainer = Trainer(endless, processes(endless).run, stopping)
    step = InBackground(lambda: trainer.step(NOW_MS))
    until(lambda: is_training(endless))
    stopping.set()
    step.join()

    assert isinstance(step.error, TrainingStoppedError)
    status = folder.status()
    assert status is not None
    assert (status.stage, status.failure) == ("failed", "the trainer was told to stop")
    assert children_of(os.getpid()) == []
    assert folder.requests() == [request]
    assert not Path(endless.model.url).exists()


@pytest.mark.long
@pytest.mark.fault("trainer killed while it trains")
def test_training_ends_when_its_trainer_is_killed(endless: Settings, write_checkpoint: WriteCheckpoint) -> None:
    write_checkpoint(endless)
    code = (
        "import pickle, sys; from springtide_services.training.trainer import run_trainer; "
        "run_trainer(pickle.load(sys.stdin.buffer))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as trainer:
        try:
            assert trainer.stdin is not None
            pickle.dump(endless, trainer.stdin)
            trainer.stdin.flush()
            until(lambda: is_training(endless))
            (child,) = children_of(trainer.pid)
        finally:
            trainer.kill()

    until(lambda: not Path(f"/proc/{child}").exists() or re.search(r"State:\s+Z", _status(child)) is not None)


@pytest.mark.long
def test_trainer_is_small_after_a_training_and_tells_prometheus(
    settings: Settings, write_checkpoint: WriteCheckpoint, tmp_path: Path
) -> None:
    write_checkpoint(settings)
    port = free_port()
    settings = settings.model_copy(update={"metrics": MetricsSettings(trainer_port=port)})
    (tmp_path / "springtide.toml").write_text(changes_to_toml(settings))
    command = [Path(sys.executable).with_name("springtide"), "train", "--schedule"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as trainer:
        try:
            until(lambda: stage_of(settings) == "done" and not children_of(trainer.pid))
            until(lambda: 'trainings_total{mode="retrain",outcome="published"} 1.0' in metrics_at(port))
            metrics = metrics_at(port)
            resident_kb = int(_status(trainer.pid).partition("VmRSS:")[2].split()[0])
            mapped = Path(f"/proc/{trainer.pid}/maps").read_text()
        finally:
            trainer.terminate()
            exit_code = trainer.wait(BUDGET_S)

    assert "springtide_trainer_running 0.0" in metrics
    assert resident_kb < 60 * 1024
    assert not [name for name in ("torch", "numpy", "pyarrow") if name in mapped]
    assert exit_code == 0


def metrics_at(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=BUDGET_S) as answer:
        return str(answer.read().decode())


def _status(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/status").read_text()
    return "State: Z"


def test_threads_of_a_training_wait_without_spinning(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OMP_DISPLAY_ENV", "verbose")  # OpenMP says its settings once torch has loaded it.
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    process = TrainingProcess(settings)
    process.wait_until_ready(threading.Event())
    process.close()
    said = re.findall(r"GOMP_SPINCOUNT\s*=\s*'?(\w+)", capfd.readouterr().err)  # How long they spin, in turns.
    assert set(said) <= {"0"}
    assert said or sys.platform != "linux"
