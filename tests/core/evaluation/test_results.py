"""The file of results: it grows by a line at a time, and survives interrupted runs."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from springtide.errors import SettingsError
from springtide.evaluation.measures.mean_metrics import Measurement, SegmentMetrics
from springtide.evaluation.results import Result, ResultsFile, RunKey


def measurement_of(ndcg: float, fit_seconds: float = 7.5) -> Measurement:
    of_new = SegmentMetrics({"ndcg@20": ndcg, "recall@20": 0.2}, 3, 0.05, 0.15)
    return Measurement({"new": of_new, "all": SegmentMetrics({"ndcg@20": 0.4, "recall@20": 0.5}, 6)}, fit_seconds)


MEASUREMENT = measurement_of(0.1)


def result_of(model: str, measurement: Measurement | None = MEASUREMENT, failure: str = "") -> Result:
    return Result(RunKey("films", model, 0, "abc", "1.0"), date(2026, 1, 2), measurement, failure)


def test_results_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "state" / "results.jsonl"
    first, second = result_of("a"), result_of("b")
    written = ResultsFile(path)
    written.add(first)
    written.add(second)

    read = ResultsFile(path)

    assert read.get(first.key) == first
    assert read.get(second.key) == second
    assert read.get(result_of("c").key) is None
    assert path.read_text().count("\n") == 2


def test_last_of_two_results_holds(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    later = result_of("a", measurement_of(0.1, 9.0))
    written = ResultsFile(path)
    written.add(result_of("a"))
    written.add(later)

    assert ResultsFile(path).get(later.key) == later


def test_failure_is_kept_but_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    ResultsFile(path).add(result_of("a", None, "no ratings"))

    assert ResultsFile(path).get(result_of("a").key) is None
    assert "no ratings" in path.read_text()


@pytest.mark.parametrize("num_whole", [0, 1])
def test_incomplete_last_line_is_cut_off_and_written_again(tmp_path: Path, num_whole: int) -> None:
    path = tmp_path / "results.jsonl"
    written = ResultsFile(path)
    whole, torn = result_of("a"), result_of("b")
    for result in [whole][:num_whole]:
        written.add(result)
    whole_bytes = path.read_bytes() if num_whole else b""
    written.add(torn)
    content = path.read_bytes()
    path.write_bytes(content[:-20])

    read = ResultsFile(path)
    assert read.get(torn.key) is None
    assert path.read_bytes() == whole_bytes
    read.add(torn)

    assert path.read_bytes() == content
    assert ResultsFile(path).get(torn.key) == torn


@pytest.mark.parametrize("content", ["# Shopping\n- milk\n", "milk", '{"milk": 1}\n'])
def test_other_file_is_refused_and_left_unchanged(tmp_path: Path, content: str) -> None:
    path = tmp_path / "list.md"
    path.write_text(content)

    with pytest.raises(SettingsError, match=r"wanted .*springtide evaluate"):
        ResultsFile(path)

    assert path.read_text() == content


def test_arrays_of_a_result_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    written, result = ResultsFile(path), result_of("a")
    written.add(result, {"new.users": np.array([3, 5], np.int32), "new.ndcg": np.array([0.5, 1.0], np.float32)})

    arrays = ResultsFile(path).arrays(result.key)

    assert {name: array.tolist() for name, array in arrays.items()} == {"new.users": [3, 5], "new.ndcg": [0.5, 1.0]}
    assert written.arrays(result_of("b").key) == {}


def test_damaged_arrays_count_as_none(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    written, result = ResultsFile(path), result_of("a")
    written.add(result, {"new.ndcg": np.ones(3)})
    [archive] = (tmp_path / "results.questions").iterdir()
    archive.write_bytes(archive.read_bytes()[:40])

    assert written.arrays(result.key) == {}


def test_line_in_an_older_format_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    key = '{"dataset":"films","model":"a","seed":0,"settings":"abc","version":"1.0"}'
    earlier = '{"ndcg":0.1,"recall":0.2,"num_users":3}'
    measurement = f'{{"new":{earlier},"all":{earlier},"fit_seconds":1.0}}'
    path.write_text(f'{{"key":{key},"measured_on":"2026-01-02","measurement":{measurement},"failure":""}}\n')

    assert ResultsFile(path).get(result_of("a").key) is None


def test_forgotten_results_go_and_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    written = ResultsFile(path)
    written.add(result_of("a"))
    written.add(result_of("b"))

    written.forget([result_of("a").key, result_of("never measured").key])

    for results in (written, ResultsFile(path)):
        assert results.get(result_of("a").key) is None
        assert results.get(result_of("b").key) == result_of("b")
    assert [file.name for file in tmp_path.iterdir()] == ["results.jsonl"]


def test_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot be read: Is a directory; wanted results of `springtide evaluate`"):
        ResultsFile(tmp_path)


def test_file_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    results = ResultsFile(tmp_path / "state" / "results.jsonl")

    for arrays in (None, {"new.ndcg": np.ones(3)}):
        with pytest.raises(SettingsError, match="cannot be written"):
            results.add(result_of("a"), arrays)
