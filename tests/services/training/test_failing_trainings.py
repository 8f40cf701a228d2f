"""Trainings that fail, in processes of their own: the former model stays, status and log say why, the next one trains.

One plugin has a part of each kind that a training calls; the environment says which hook of it fails, and how.
"""

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from springtide.checkpoint import CheckpointStore
from springtide.errors import TrainingError
from springtide.model.registry import ModelStore
from springtide.settings.model import GateSettings, PartSettings, PluginSettings, Settings
from springtide.settings.sections.learning import TaskSettings
from springtide_services.training.processes import TrainingFailedError, TrainingProcesses
from springtide_services.training.schedule import Plan
from springtide_services.training.training_folder import TrainingFolder
from springtide_services.training.training_run import train_once

WriteCheckpoint = Callable[..., str]
FOLDER = Path(__file__).parents[2] / "plugin_faults" / "trained"
HOOKS = (
    *("encoder layer", "encoder readout", "aggregator forward", "loss forward"),
    *("negative sampler prepare", "negative sampler draw", "negative sampler select"),
    *("task prepare", "task draw", "task forward"),
    *("context weight observe", "context weight item_log_lifts", "context weight history_log_lifts"),
    *("context weight related", "context weight fit"),
    *("baseline fit", "baseline scores"),
)
WITHOUT_ANSWER = ("negative sampler prepare", "task prepare", "context weight observe", "baseline fit")
WITH_NAN = ("encoder layer", "encoder readout", "aggregator forward", "loss forward", "task forward")


@pytest.fixture
def settings(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("FAULTY_WAYS", str(tmp_path / "ways"))
    part = PartSettings(name="faulty")
    model = settings.model.model_copy(
        update={
            "encoder": part,
            "aggregator": part,
            "loss": part,
            "negatives": part,
            "tasks": {"faulty": TaskSettings(name="faulty")},
        }
    )
    ranking = settings.ranking.model_copy(update={"context_weights": {"faulty": {}}})
    gate = GateSettings(min_questions=20, num_questions=60, baselines={"faulty": {}})
    training = settings.training.model_copy(update={"max_silence_s": 600.0})
    plugins = PluginSettings(folder=str(FOLDER))
    return settings.model_copy(
        update={"model": model, "ranking": ranking, "gate": gate, "training": training, "plugins": plugins}
    )


def failure_of(settings: Settings) -> str:
    status = TrainingFolder.beside_models(settings).status()
    assert status is not None
    return status.failure if status.stage == "failed" else ""


def children_of(pid: int) -> list[str]:
    """Return the states of the processes that a process has started, of a dead one that nobody has waited for too."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid:
                found.append(f"{path.parent.name} {state}")
    return found


def break_in(hook: str, way: str) -> None:
    Path(os.environ["FAULTY_WAYS"]).write_text(f"{hook}: {way}")


def mend() -> None:
    Path(os.environ["FAULTY_WAYS"]).unlink()


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() and path.name not in ("ways", "status.json")}


@pytest.fixture
def former(settings: Settings, write_checkpoint: WriteCheckpoint) -> str:
    """Publish a model, and return its version."""
    write_checkpoint(settings, repeats=6)
    train_once(settings, "retrain")
    former = ModelStore(settings.model.url).current()
    assert former is not None
    return former


@pytest.mark.long
@pytest.mark.fault("plugin fails in a training, or gives NaN")
def test_training_fails_by_whichever_hook_of_a_plugin_fails_and_the_former_model_stays(
    settings: Settings, former: str, tmp_path: Path
) -> None:
    models, before = ModelStore(settings.model.url), files_in(tmp_path)
    versions = models.versions()
    for hook in HOOKS:
        for way in ("raises", "answers nonsense"):
            if way == "answers nonsense" and hook in WITHOUT_ANSWER:
                continue
            break_in(hook, way)
            try:
                train_once(settings, "retrain")
            except Exception as error:
                failed = error
            else:
                pytest.fail(f"{hook} {way}: the training went on")
            said = failure_of(settings)
            assert said.endswith(str(failed)), (hook, way)
            if way == "raises":
                assert f"no such wind in {hook}" in said
            elif hook in WITH_NAN:
                assert isinstance(failed, TrainingError), (hook, said)
                assert "wanted a finite number" in said, (hook, said)
            assert models.versions() == versions, (hook, way)
            assert models.current() == former
            assert files_in(tmp_path) == before, "nothing is left behind"
    mend()
    assert train_once(settings, "retrain") > former


@pytest.mark.long
@pytest.mark.fault("training hangs, or runs out of memory")
def test_training_that_hangs_or_eats_all_memory_is_ended_and_the_next_one_trains(
    settings: Settings, former: str, tmp_path: Path
) -> None:
    """In processes, as the trainer runs them."""
    checkpoint = CheckpointStore(settings.checkpoint.url).latest()
    assert checkpoint is not None
    before, others = files_in(tmp_path), {each.split()[0] for each in children_of(os.getpid())}  # Such as a broker.

    break_in("loss forward", "blocks")
    with TrainingProcesses(settings) as processes:
        processes.check(threading.Event())
        assert processes._kept is not None
        processes._kept._max_silence_s = 5.0  # It has torch by now: a busy machine may need half a minute for that.
        with pytest.raises(TrainingFailedError, match=r"the training hung: nothing came of it for 5 s in the stage"):
            processes.run(Plan("retrain"), checkpoint.name, threading.Event())
        assert failure_of(settings).startswith("the training hung")
        left = [each for each in children_of(os.getpid()) if each.split()[0] not in others]
        assert left == [], "it is killed, and waited for"

        break_in("loss forward", "eats memory")
        with pytest.raises(TrainingFailedError, match=r"^out of memory: give the trainer more, or lower training\."):
            processes.run(Plan("retrain"), checkpoint.name, threading.Event())
    assert failure_of(settings).startswith("out of memory")
    assert (ModelStore(settings.model.url).current(), files_in(tmp_path)) == (former, before)
    assert [each for each in children_of(os.getpid()) if each.split()[0] not in others] == []

    mend()
    assert train_once(settings, "retrain") > former
