"""The `tune` command on a small data set: it finds better settings, continues, ends in time, survives failures."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from springtide.errors import SettingsError, TrainingError
from springtide.evaluation.data import Dataset
from springtide.evaluation.measures.mean_metrics import DetailedMeasurement
from springtide.evaluation.protocols import TrainTestProtocol
from springtide.evaluation.protocols import train_test as train_test_module
from springtide.evaluation.splits import global_time_split
from springtide.evaluation.tuning.dimensions import Choices
from springtide.evaluation.tuning.judging import Judgement
from springtide.evaluation.tuning.trials import TrialsFile
from springtide.model.registry import ModelArtifact
from springtide.settings.load import load_settings
from springtide.settings.model import PartSettings, Settings
from springtide.state import LiveState
from springtide.testing import even_odd_events, quick_settings
from springtide_services.cli.app import app
from springtide_services.evaluation import tune as tune_module
from springtide_services.evaluation.tune import Outcome, tune_and_write

FILMS = "movielens-100k"

Tune = Callable[..., Outcome]


@pytest.fixture
def settings() -> Settings:
    """A learning rate so small that nothing is learned, which the search should find out."""
    return quick_settings(training={"learning_rate": 1e-5, "steps": 20, "fine_tune_steps": 5})


@pytest.fixture
def tune(tmp_path: Path, dataset: Dataset, settings: Settings) -> Tune:
    """Tune on ``dataset``, under the name movielens-100k."""

    def run(num_trials: int | None = 3, settings: Settings = settings, **others: Any) -> Outcome:
        others = {
            "minutes": 1.0,
            "seed": 0,
            "num_cuts": 1,
            "num_judge_seeds": 1,
            "out": tmp_path / "tuned.toml",
            "trials_path": tmp_path / "trials.jsonl",
            "fetch_dataset": lambda name: dataset,
            **others,
        }
        return tune_and_write(FILMS, settings, num_trials=num_trials, **others)

    return run


@pytest.fixture
def second_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search space of two points: the second trial has a learning rate that learns."""
    rates = Choices("training.learning_rate", 1e-5, (1e-5, 0.05))
    monkeypatch.setattr(tune_module, "search_space", lambda *_: [rates])


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What is trained, in order."""
    settings_of: list[Settings] = []
    measure_model = TrainTestProtocol.measure_model

    def measured(protocol: TrainTestProtocol, settings: Settings) -> DetailedMeasurement:
        settings_of.append(settings)
        return measure_model(protocol, settings)

    monkeypatch.setattr(TrainTestProtocol, "measure_model", measured)
    return settings_of


def values_of(outcome: Outcome) -> Sequence[Any]:
    return [dict(trial.values) for trial in outcome.trials]


def test_a_setting_that_is_far_off_is_found_and_the_file_reads_back(
    tune: Tune,
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    second_learns: None,
    clean_environment: None,
) -> None:
    outcome = tune(num_trials=2)

    assert outcome.chosen is outcome.best_first[0]
    assert outcome.chosen is not outcome.present
    assert outcome.chosen.ndcg["all"] > 1.2 * outcome.present.ndcg["all"]
    found = load_settings(tmp_path / "tuned.toml").settings
    assert found.training.learning_rate == 0.05
    assert found == settings.model_copy(update={"training": found.training})
    written = (tmp_path / "tuned.toml").read_text()
    assert written.startswith(f"# Found by `springtide tune`: {FILMS}, 20")
    assert "# 2 trials; seed 0; " in written
    judged = outcome.judgement
    assert judged is not None
    assert judged.overall.difference > 0.2
    assert f"NDCG@20 all: {judged.present['all']:.4f} before, {judged.found['all']:.4f} now; difference" in written
    assert "# Judged on the test set, which the search never saw, 1 seed:" in written
    assert "host" not in written  # What is a default is not in it.
    printed = capsys.readouterr()
    assert "none: the present settings" in printed.out
    assert "trial 1: NDCG@20" in printed.err


def test_search_never_sees_the_test_set_nor_what_lies_behind_a_cut(
    tune: Tune, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, second_learns: None
) -> None:
    interactions = dataset.interactions
    in_train = interactions.timestamps_ms[global_time_split(interactions).train]
    newest_shown_ms: list[int] = []
    newest_trained_ms: list[int] = []
    searched: list[tuple[list[int], list[int]]] = []
    begin, train, judged = TrainTestProtocol.__init__, train_test_module.train, tune_module._judged

    def watched(protocol: TrainTestProtocol, dataset: Dataset, split: Any, *others: Any) -> None:
        newest_shown_ms.append(int(dataset.interactions.timestamps_ms.max()))
        begin(protocol, dataset, split, *others)

    def train_watched(state: LiveState, *others: Any, **named: Any) -> ModelArtifact:
        newest_trained_ms.append(int(state.positive_interactions(state.graph.view()).timestamps_ms[-1]))
        return train(state, *others, **named)

    def judging(*others: Any) -> Judgement | None:
        searched.append(([*newest_shown_ms], [*newest_trained_ms]))
        return judged(*others)

    monkeypatch.setattr(TrainTestProtocol, "__init__", watched)
    monkeypatch.setattr(train_test_module, "train", train_watched)
    monkeypatch.setattr(tune_module, "_judged", judging)
    tune(num_trials=2, num_cuts=2)

    ((shown, trained),) = searched
    assert set(shown[:-1]) == {in_train[-1]}  # The last one is shown for the judging.
    assert max(trained) < in_train[int(len(in_train) * 0.9)]
    assert trained[0] > in_train[int(len(in_train) * 0.8)]
    assert trained[1] < in_train[int(len(in_train) * 0.8)]
    assert newest_trained_ms[-1] == in_train[-1]  # The judging trains on all before the test set.


def test_trial_far_behind_is_given_up_after_the_first_cut(
    tune: Tune, settings: Settings, trained: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    good = settings.model_copy(update={"training": settings.training.model_copy(update={"learning_rate": 0.05})})
    bad = settings.training.model_copy(update={"learning_rate": 1e-5})
    measure_model = TrainTestProtocol.measure_model

    def only_the_first_learns(protocol: TrainTestProtocol, settings: Settings) -> DetailedMeasurement:
        return measure_model(protocol, good if len(trained) < 2 else settings.model_copy(update={"training": bad}))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainTestProtocol, "measure_model", only_the_first_learns)
        outcome = tune(num_trials=2, num_cuts=2, settings=good)

    first, second = outcome.trials
    assert (len(first.of_cuts), len(second.of_cuts)) == (2, 1)
    assert second.is_given_up
    assert outcome.best_first == [first]
    assert ", given up after 1 of the cuts (" in capsys.readouterr().err


def judged_by(present: float, found: float) -> Callable[..., Any]:
    """A measurement of the test set: the NDCG of 8 users, first of the present settings, then of those found."""
    figures = iter([present, found])

    def measure(*_: Any) -> tuple[dict[str, float], dict[str, Any]]:
        ndcg = next(figures)
        return {"all": ndcg}, {"all.users": np.arange(8), "all.ndcg": np.full(8, ndcg)}

    return measure


def test_settings_that_are_worse_on_the_test_set_are_not_written(
    tune: Tune,
    second_learns: None,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clean_environment: None,
) -> None:
    monkeypatch.setattr(tune_module, "measure_with_seeds", judged_by(present=0.5, found=0.4))
    outcome = tune(num_trials=2)

    assert outcome.comparison.is_better
    assert outcome.chosen is outcome.present
    assert load_settings(tmp_path / "tuned.toml").settings == settings
    written = (tmp_path / "tuned.toml").read_text()
    assert "# Gain on the test set: -20.0% (95 %: -20.0% to -20.0%)\n" in written
    assert "# It is not better there: the settings are unchanged\n" in written


def test_judgement_is_made_once(tune: Tune, second_learns: None, trained: list[Settings]) -> None:
    first = tune(num_trials=2)
    trained.clear()

    again = tune(num_trials=2)

    assert first.judgement is not None
    assert (trained, again.judgement) == ([], first.judgement)


def test_judging_trains_the_seeds_of_both_settings(
    tune: Tune, second_learns: None, trained: list[Settings], settings: Settings, clean_environment: None
) -> None:
    tune(num_trials=2)
    trained.clear()

    tune(num_trials=2, num_judge_seeds=2)

    assert [of.training.seed for of in trained] == [settings.training.seed, settings.training.seed + 1] * 2
    assert trained[0].training.learning_rate == settings.training.learning_rate != trained[2].training.learning_rate


def test_judging_may_be_left_to_a_later_run(
    tune: Tune, second_learns: None, settings: Settings, tmp_path: Path, clean_environment: None
) -> None:
    first = tune(num_trials=2, num_judge_seeds=0)
    kept = load_settings(tmp_path / "tuned.toml").settings
    second = tune(num_trials=2)

    assert first.comparison.is_better
    assert (first.judgement, first.chosen, kept) == (None, first.present, settings)
    assert second.judgement is not None
    assert second.chosen.number == 1


def test_ctrl_c_during_the_judging_changes_nothing(
    tune: Tune,
    second_learns: None,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clean_environment: None,
) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(tune_module, "measure_with_seeds", interrupted)
    outcome = tune(num_trials=2)

    assert outcome.judgement is None
    assert load_settings(tmp_path / "tuned.toml").settings == settings
    assert "was not judged on the test set" in (tmp_path / "tuned.toml").read_text()


def test_search_continues_and_repeats_nothing(
    tune: Tune, trained: list[Settings], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    in_one_go = tune(num_trials=4, trials_path=tmp_path / "one.jsonl", num_judge_seeds=0)
    trained.clear()

    tune(num_trials=2, num_judge_seeds=0)
    in_two = tune(num_trials=4, num_judge_seeds=0)

    assert len(trained) == 4
    assert values_of(in_two) == values_of(in_one_go)
    assert len({tuple(of.items()) for of in values_of(in_two)}) == 4
    assert in_two.chosen.number == in_one_go.chosen.number
    assert "2 trials are in" in capsys.readouterr().err


def test_enough_trials_are_shown_without_training(tune: Tune, trained: list[Settings]) -> None:
    first = tune(num_trials=2)
    trained.clear()

    again = tune(num_trials=2)

    assert (trained, values_of(again)) == ([], values_of(first))


@pytest.mark.parametrize("what", ["seed", "settings"])
def test_another_search_does_not_go_on_with_this_one(
    what: str, tune: Tune, settings: Settings, trained: list[Settings]
) -> None:
    tune(num_trials=2)
    trained.clear()

    other = settings.model_copy(update={"training": settings.training.model_copy(update={"batch_users": 32})})
    tune(num_trials=2, **({"seed": 1} if what == "seed" else {"settings": other}))

    assert len(trained) >= 2


def test_settings_are_kept_where_nothing_is_better(
    tune: Tune, settings: Settings, tmp_path: Path, clean_environment: None, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = tune(num_trials=1)

    assert outcome.chosen is outcome.present
    assert load_settings(tmp_path / "tuned.toml").settings == settings
    said = "No trial was better by more than one standard error: the settings are unchanged"
    assert f"# {said}\n" in (tmp_path / "tuned.toml").read_text()
    assert said in capsys.readouterr().out


def test_gain_within_one_standard_error_is_no_gain(
    tune: Tune, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clean_environment: None, settings: Settings
) -> None:
    measure_model = TrainTestProtocol.measure_model
    found: list[DetailedMeasurement] = []

    def measured(protocol: TrainTestProtocol, settings: Settings) -> DetailedMeasurement:
        """The first trial's result; for the second, one user gains slightly more than another loses."""
        if not found:
            found.append(measure_model(protocol, settings))
            return found[0]
        arrays = {name: array.copy() for name, array in found[0].arrays.items()}
        segments = dict(found[0].measurement.segments)
        for segment in ("new", "all"):
            arrays[f"{segment}.ndcg"][:2] += [0.1, -0.0999]
            ndcg = {**segments[segment].metrics, "ndcg@20": float(arrays[f"{segment}.ndcg"].astype(float).mean())}
            segments[segment] = replace(segments[segment], metrics=ndcg)
        return DetailedMeasurement(replace(found[0].measurement, segments=segments), arrays)

    monkeypatch.setattr(TrainTestProtocol, "measure_model", measured)
    outcome = tune(num_trials=2)

    assert outcome.best_first[0].number == 1
    assert outcome.comparison.difference > 0
    assert outcome.chosen is outcome.present
    assert load_settings(tmp_path / "tuned.toml").settings == settings


def test_failed_trials_are_reported_and_skipped(
    tune: Tune,
    with_failing_losses: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trained: list[Settings],
    capsys: pytest.CaptureFixture[str],
) -> None:
    measure_model = TrainTestProtocol.measure_model

    def measure_with_failing_losses(protocol: TrainTestProtocol, settings: Settings) -> DetailedMeasurement:
        loss = {1: PartSettings(name="refusing"), 2: PartSettings(name="broken")}.get(len(trained), settings.model.loss)
        model = settings.model.model_copy(update={"loss": loss})
        return measure_model(protocol, settings.model_copy(update={"model": model}))

    monkeypatch.setattr(TrainTestProtocol, "measure_model", measure_with_failing_losses)
    outcome = tune(num_trials=4, settings=with_failing_losses)

    assert [trial.failure for trial in outcome.trials] == ["", "wanted ratings, got none", "KeyError: 'nothing'", ""]
    assert sorted(trial.number for trial in outcome.best_first) == [0, 3]
    assert "trial 1 failed: wanted ratings, got none (" in capsys.readouterr().err
    assert "4 trials, 2 of them failed" in (tmp_path / "tuned.toml").read_text()
    trained.clear()
    assert values_of(tune(num_trials=4, settings=with_failing_losses)) == values_of(outcome)
    assert trained == []


def test_settings_that_cannot_be_trained_are_an_error(tune: Tune, settings: Settings, tmp_path: Path) -> None:
    rates = settings.training.model_copy(update={"min_interactions": 1_000_000})

    with pytest.raises(TrainingError, match="the present settings cannot be trained: wanted at least 1000000 positive"):
        tune(settings=settings.model_copy(update={"training": rates}))
    assert not (tmp_path / "tuned.toml").exists()


def test_nothing_begins_that_would_not_end_in_time(
    tune: Tune, monkeypatch: pytest.MonkeyPatch, trained: list[Settings]
) -> None:
    measure_model = TrainTestProtocol.measure_model

    def slow(protocol: TrainTestProtocol, settings: Settings) -> DetailedMeasurement:
        time.sleep(1.0)  # Two of these do not fit into the time.
        return measure_model(protocol, settings)

    monkeypatch.setattr(TrainTestProtocol, "measure_model", slow)
    outcome = tune(num_trials=None, minutes=1.5 / 60)

    # The first trial took over 1 s, so less than that is left of the 1.5 s.
    assert len(outcome.trials) == len(trained) == 1


def test_trial_that_does_not_end_in_time_is_cut_short_and_does_not_count(
    tune: Tune, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    (first,) = tune(num_trials=1).trials
    slow = settings.model_copy(update={"training": settings.training.model_copy(update={"steps": 10_000_000})})

    measure_model = TrainTestProtocol.measure_model

    def slower(protocol: TrainTestProtocol, _: Settings) -> DetailedMeasurement:
        return measure_model(protocol, slow)

    started = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainTestProtocol, "measure_model", slower)
        outcome = tune(num_trials=None, minutes=(1.0 + 2 * first.seconds) / 60)  # Enough for another one to begin.

    assert time.monotonic() - started < 60.0 + 10 * first.seconds, "the steps would take hours"
    assert len(outcome.trials) == 1
    assert "did not end in time" in capsys.readouterr().err


def test_ctrl_c_keeps_the_best_so_far(
    tune: Tune, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measure_model = TrainTestProtocol.measure_model
    measured: list[Settings] = []

    def interrupted(protocol: TrainTestProtocol, settings: Settings) -> DetailedMeasurement:
        if len(measured) == 2:
            raise KeyboardInterrupt
        measured.append(settings)
        return measure_model(protocol, settings)

    monkeypatch.setattr(TrainTestProtocol, "measure_model", interrupted)
    outcome = tune(num_trials=9)

    assert len(outcome.trials) == 2
    assert (tmp_path / "tuned.toml").exists()
    assert "stopped: 2 trials are kept" in capsys.readouterr().err


def test_missing_optuna_is_an_error_at_the_start(tune: Tune, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)

    with pytest.raises(SettingsError, match=r"tune needs Optuna: pip install 'springtide\[tune\]'"):
        tune()


def test_file_that_tune_did_not_write_is_not_overwritten(tune: Tune, tmp_path: Path, trained: list[Settings]) -> None:
    (tmp_path / "tuned.toml").write_text("[model]\nwidth = 32\n")

    with pytest.raises(SettingsError, match="was not written by `springtide tune`: name another with --out"):
        tune()
    assert trained == []
    assert (tmp_path / "tuned.toml").read_text() == "[model]\nwidth = 32\n"


def test_file_that_tune_wrote_is_overwritten(tune: Tune, tmp_path: Path) -> None:
    (tmp_path / "tuned.toml").write_text("# Found by `springtide tune`: of old\n")

    tune(num_trials=1)

    assert "of old" not in (tmp_path / "tuned.toml").read_text()


def test_command_tunes_on_a_file_of_events(tmp_path: Path, clean_environment: None) -> None:
    events = tmp_path / "events.csv"
    rows = [f"{user},{item},{time_ms // 1000}" for user, item, time_ms in even_odd_events(24)]
    events.write_text("\n".join(["who,what,timestamp", *rows]) + "\n")
    (tmp_path / "settings.toml").write_text(
        "[training]\nsteps = 5\nfine_tune_steps = 2\nmin_passes = 0.0\nnum_threads = 1\n"
    )
    arguments = ["tune", str(events), "--columns", "user=who,item=what", "--settings", str(tmp_path / "settings.toml")]
    arguments += ["--minutes", "1", "--trials", "1", "--seed", "3"]
    arguments += ["--out", str(tmp_path / "out.toml"), "--study", str(tmp_path / "study.jsonl")]

    done = CliRunner().invoke(app, arguments)

    assert done.exit_code == 0, done.output
    assert "events.csv" in (tmp_path / "out.toml").read_text()
    assert "seed 3" in (tmp_path / "out.toml").read_text()
    assert load_settings(tmp_path / "out.toml").settings.training.steps == 5
    assert len((tmp_path / "study.jsonl").read_text().splitlines()) == 1


def test_study_is_a_trials_file(tune: Tune, tmp_path: Path) -> None:
    outcome = tune(num_trials=2)

    assert TrialsFile(tmp_path / "trials.jsonl").of_study(outcome.present.study) == outcome.trials
