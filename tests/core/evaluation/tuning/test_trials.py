"""The file of trials."""

from pathlib import Path

import numpy as np
import pytest

from springtide.errors import SettingsError
from springtide.evaluation.tuning.objective import Trial
from springtide.evaluation.tuning.trials import TrialsFile


def test_trials_are_read_back_study_by_study(tmp_path: Path) -> None:
    file = TrialsFile(tmp_path / "trials.jsonl")
    first = Trial("a", 0, {"training.steps": 60, "training.edge_half_life_days": None}, ({"all": 0.4},), 9, 1.5)
    failed = Trial("a", 1, {"model.loss": "bce"}, failure="it broke")
    for trial in (first, Trial("b", 0, {}), failed):
        file.add(trial)

    again = TrialsFile(tmp_path / "trials.jsonl")

    assert again.of_study("a") == [first, failed]
    assert again.of_study("c") == []


def test_arrays_of_a_trial_are_kept(tmp_path: Path) -> None:
    trial = Trial("a", 0, {}, ({"all": 0.4},))
    TrialsFile(tmp_path / "trials.jsonl").add(
        trial, {"all.users": np.array([7], np.int32), "all.ndcg": np.array([0.25])}
    )

    kept = TrialsFile(tmp_path / "trials.jsonl").arrays(trial)

    assert (kept["all.users"].tolist(), kept["all.ndcg"].tolist()) == ([7], [0.25])


def test_missing_archive_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="the results of trial 3 are no longer in"):
        TrialsFile(tmp_path / "trials.jsonl").arrays(Trial("a", 3, {}))


def test_incomplete_last_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    TrialsFile(path).add(Trial("a", 0, {}))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])

    assert len(TrialsFile(path).of_study("a")) == 1
    assert path.read_bytes() == whole


@pytest.mark.parametrize("content", ["a letter", '{"key": 1}\n'])
def test_other_file_is_refused_and_left_unchanged(content: str, tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    path.write_text(content)

    with pytest.raises(SettingsError, match="of `springtide tune`, got"):
        TrialsFile(path)
    assert path.read_text() == content


def test_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot be read: Is a directory; wanted trials of `springtide tune`"):
        TrialsFile(tmp_path)
