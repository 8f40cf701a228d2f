"""An evaluation of a small data set: it keeps results, continues after a break, and survives parts that fail."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from springtide.errors import DatasetError, SettingsError, TrainingError, UnknownPartError
from springtide.evaluation.data import Dataset, title_of
from springtide.evaluation.measures.mean_metrics import DetailedMeasurement
from springtide.evaluation.plan import ModelChoice, plan_baselines
from springtide.evaluation.protocols import TrainTestProtocol
from springtide.evaluation.results import Result, ResultsFile
from springtide.evaluation.splits import PREQUENTIAL
from springtide.event_files import ReadOptions
from springtide.plugins.loading import load_plugins
from springtide.settings.model import PartSettings, Settings
from springtide.testing import quick_settings
from springtide_services.evaluation.evaluate import Output, evaluate_and_show
from springtide_services.evaluation.runs import SplitOptions

FILMS = "movielens-100k"
MODEL = "springtide (lightgcn, sum, cce)"
SAGE = "springtide (graphsage, sum, cce)"
BASELINES = [part.name for part in plan_baselines(load_plugins(), ModelChoice())[0]]
ALONE = ModelChoice(models=["default", "popularity"])
TWO = ModelChoice(encoders=["lightgcn", "graphsage"], aggregators=["sum"])


@pytest.fixture
def settings() -> Settings:
    return quick_settings(training={"steps": 2, "fine_tune_steps": 1}, ranking={"context_weights": {"popularity": {}}})


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is measured, in order: ``encoder loss``, or a baseline's name."""
    measured: list[str] = []
    measure_model, measure_baseline = TrainTestProtocol.measure_model, TrainTestProtocol.measure_baseline

    def of_model(protocol: TrainTestProtocol, settings: Settings) -> DetailedMeasurement:
        measured.append(f"{settings.model.encoder.name} {settings.model.loss.name}")
        return measure_model(protocol, settings)

    def of_baseline(protocol: TrainTestProtocol, wanted: PartSettings) -> DetailedMeasurement:
        measured.append(wanted.name)
        return measure_baseline(protocol, wanted)

    monkeypatch.setattr(TrainTestProtocol, "measure_model", of_model)
    monkeypatch.setattr(TrainTestProtocol, "measure_baseline", of_baseline)
    return measured


Show = Callable[..., dict[str, Any]]


@pytest.fixture
def show(tmp_path: Path, dataset: Dataset, settings: Settings) -> Show:
    """Evaluate ``dataset`` under the name movielens-100k, and return the JSON report."""

    def run(choice: ModelChoice = TWO, settings: Settings = settings, **others: Any) -> dict[str, Any]:
        output = replace(others.pop("output", Output()), json_path=tmp_path / "rows.json")
        others = {"fetch_dataset": lambda name: dataset, "output": output, **others}
        evaluate_and_show([FILMS], settings, choice, tmp_path / "results.jsonl", **others)
        written: dict[str, Any] = json.loads((tmp_path / "rows.json").read_text())
        return written

    return run


def test_each_model_has_a_line_and_the_same_rows_are_written(show: Show, capsys: pytest.CaptureFixture[str]) -> None:
    written = show()

    assert written["dataset"] == FILMS
    assert written["failed"] == {}
    models = list(dict.fromkeys(row["model"] for row in written["rows"]))
    assert models == [*BASELINES, MODEL, SAGE]
    assert set(written["rows"][0]) >= {"model", "segment", "ndcg@20", "recall@20", "users", "fit_seconds", "ci_low"}
    printed = capsys.readouterr()
    lines = {line.partition("  ")[0]: line for line in printed.out.splitlines()}
    for row in written["rows"]:
        if row["segment"] in ("new", "all"):
            assert f"{row['ndcg@20']:.4f}" in lines[row["model"]]
    [of_new] = [row for row in written["rows"] if (row["model"], row["segment"]) == (MODEL, "new")]
    assert 0 <= of_new["p_value"] <= 1
    assert of_new["difference"] == pytest.approx(
        of_new["ndcg@20"] - max(row["ndcg@20"] for row in written["rows"] if is_of_baseline(row, "new")), abs=1e-6
    )
    assert f"New items: {MODEL} " in printed.out
    assert "Runs" in printed.err
    assert f"{len(BASELINES) + 2}/{len(BASELINES) + 2}" in printed.err
    assert f"{FILMS}: {SAGE}: NDCG@20 " in printed.err


def is_of_baseline(row: dict[str, Any], segment: str) -> bool:
    return row["model"] in BASELINES and row["segment"] == segment


def test_second_run_measures_nothing_and_fetches_nothing(show: Show, trained: list[str]) -> None:
    first = show()
    trained.clear()

    def fetch_dataset(name: str) -> Dataset:
        raise AssertionError(f"{name} is fetched")

    assert show(fetch_dataset=fetch_dataset) == first
    assert trained == []


def test_another_seed_is_another_run_but_baselines_have_none(
    show: Show, settings: Settings, trained: list[str]
) -> None:
    first = show(ALONE)
    trained.clear()

    both = show(ALONE, seeds=[settings.training.seed, 1])

    assert trained == ["lightgcn cce"]
    assert [row["seed"] for row in both["runs"] if row["segment"] == "new"] == [0, 1]
    of_new = [row["ndcg@20"] for row in both["runs"] if row["segment"] == "new"]
    [row] = [row for row in both["rows"] if (row["model"], row["segment"]) == (MODEL, "new")]
    assert row["ndcg@20"] == pytest.approx(sum(of_new) / 2)
    assert of_new[0] in [row["ndcg@20"] for row in first["rows"]]


def test_interrupted_run_goes_on_where_it_was(
    show: Show, trained: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measure = TrainTestProtocol.measure_model

    def measure_until_interrupted(protocol: TrainTestProtocol, settings: Settings) -> DetailedMeasurement:
        if settings.model.encoder.name == "graphsage":
            raise KeyboardInterrupt
        return measure(protocol, settings)

    with monkeypatch.context() as patch:
        patch.setattr(TrainTestProtocol, "measure_model", measure_until_interrupted)
        with pytest.raises(KeyboardInterrupt):
            show()
    num_kept, num_all = len(BASELINES) + 1, len(BASELINES) + 2
    assert f"{num_kept} of {num_all} runs are kept in" in capsys.readouterr().err
    assert trained == [*BASELINES, "lightgcn cce"]
    trained.clear()

    show()

    assert trained == ["graphsage cce"]
    assert f"{num_kept} of {num_all} runs are in" in capsys.readouterr().err


def test_run_that_is_interrupted_as_its_result_is_written_says_what_the_file_has(
    show: Show, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add = ResultsFile.add

    def interrupted(file: ResultsFile, result: Result, arrays: Any = None) -> None:
        if result.key.model == MODEL:
            raise KeyboardInterrupt
        add(file, result, arrays)

    with monkeypatch.context() as patch:
        patch.setattr(ResultsFile, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            show(ALONE)
    [said] = re.findall(r"(\d+) of \d+ runs are kept in", capsys.readouterr().err)

    show(ALONE)

    assert said == "1"
    assert "1 of 2 runs are in" in capsys.readouterr().err


def test_torn_line_is_measured_again(show: Show, trained: list[str], tmp_path: Path) -> None:
    first = show()
    path = tmp_path / "results.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    trained.clear()

    second = show()

    assert trained == ["graphsage cce"]
    assert len(path.read_text().splitlines()) == len(BASELINES) + 2
    assert second["rows"][-1]["ndcg@20"] == first["rows"][-1]["ndcg@20"]


def test_fresh_measures_the_named_models_again_and_keeps_the_rest(show: Show, trained: list[str]) -> None:
    show()
    trained.clear()

    show(ALONE, is_fresh=True)
    assert trained == ["popularity", "lightgcn cce"]
    trained.clear()

    show()
    assert trained == []


def test_part_that_fails_has_a_reason_and_the_others_are_measured(
    show: Show, with_failing_losses: Settings, trained: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    choice = ModelChoice(losses=["broken", "refusing", "cce"])
    written = show(choice, settings=with_failing_losses)

    assert written["failed"] == {
        "springtide (lightgcn, sum, broken)": "KeyError: 'nothing'",
        "springtide (lightgcn, sum, refusing)": "wanted ratings, got none",
    }
    assert written["rows"][-1]["model"] == MODEL
    printed = capsys.readouterr()
    assert "springtide (lightgcn, sum, refusing) failed: wanted ratings, got none" in printed.out
    assert 'return {}["nothing"]' in printed.err  # Where a part broke is for its author to see.

    trained.clear()
    show(choice, settings=with_failing_losses, output=Output(as_markdown=True))
    assert trained == ["lightgcn broken", "lightgcn refusing"]
    assert "- refusing on MovieLens 100K: wanted ratings, got none" in capsys.readouterr().out


def test_nothing_measured_is_an_error(show: Show, settings: Settings) -> None:
    starved = settings.model_copy(
        update={"training": settings.training.model_copy(update={"min_interactions": 1_000_000})}
    )

    with pytest.raises(TrainingError, match="not one model could be measured"):
        show(ALONE, settings=starved)


def test_unknown_part_is_refused_before_anything_is_fetched(show: Show) -> None:
    def fetch_dataset(name: str) -> Dataset:
        raise AssertionError(f"{name} is fetched")

    with pytest.raises(UnknownPartError, match="no encoder named 'gnat'"):
        show(ModelChoice(encoders=["lightgcn", "gnat"]), fetch_dataset=fetch_dataset)


def evaluated(path: Path, settings: Settings, choice: ModelChoice = ALONE, **others: Any) -> Any:
    output = replace(others.pop("output", Output()), json_path=path.with_suffix(".json"))
    columns = {"item": "thing"}
    results = path.with_suffix(".results.jsonl")
    evaluate_and_show([str(path)], settings, choice, results, options=ReadOptions(columns), output=output, **others)
    return json.loads(path.with_suffix(".json").read_text())


def test_file_of_ones_own_is_measured_until_it_changes(clicks: Path, settings: Settings, trained: list[str]) -> None:
    written = evaluated(clicks, settings)
    assert {row["model"] for row in written["rows"]} == {"popularity", MODEL}
    trained.clear()

    assert evaluated(clicks, settings) == written
    assert trained == []

    clicks.write_text(clicks.read_text() + "u0,i2,1800000000000\n")
    evaluated(clicks, settings)
    assert trained == ["popularity", "lightgcn cce"]


def test_what_is_neither_data_set_nor_file_is_refused(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no data set or file named 'clicks.csv' \(data sets: complete-journey"):
        evaluate_and_show(["clicks.csv"], settings, ALONE, tmp_path / "results.jsonl")


def test_walk_forward_measures_every_block(clicks: Path, settings: Settings, trained: list[str]) -> None:
    written = evaluated(clicks, settings, split=SplitOptions(("walk-forward",)))

    assert trained == ["popularity", "lightgcn cce"] * 4
    assert written["split"] == "walk-forward"
    of_model = [row for row in written["runs"] if (row["model"], row["segment"]) == (MODEL, "new")]
    assert [row["split"] for row in of_model] == [f"walk-forward {block} of 4" for block in (1, 2, 3, 4)]
    [row] = [row for row in written["rows"] if (row["model"], row["segment"]) == (MODEL, "new")]
    assert row["ndcg@20"] == pytest.approx(sum(row["ndcg@20"] for row in of_model) / 4)


def test_prequential_ranks_the_same_events_with_live_and_frozen_models_and_baselines(
    clicks: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    split = SplitOptions(("prequential",), num_questions=20)
    written = evaluated(clicks, settings, split=split)

    assert written["failed"] == {}
    rows = {row["model"]: row for row in written["rows"] if row["segment"] == "all"}
    assert list(rows) == ["popularity", MODEL, f"{MODEL}, frozen"]
    assert {row["users"] for row in rows.values()} == {20}
    assert "p_value" in rows[MODEL]
    printed = capsys.readouterr().out
    assert f"All items: {MODEL} is not significantly different from " in printed or f"All items: {MODEL} is " in printed
    assert f" {MODEL}, frozen" in printed.partition("All items: ")[2]

    assert evaluated(clicks, settings, split=split) == written
    assert "3 of 3 runs are in" in capsys.readouterr().err


def test_cut_that_leaves_nothing_is_a_failure_in_words(tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "few.csv"
    path.write_text("user,thing,timestamp\n" + "".join(f"u{n % 10},i{n % 12},{1700000000 + n}\n" for n in range(30)))

    with pytest.raises(TrainingError, match="not one model could be measured: wanted interactions on both sides"):
        evaluated(path, settings)

    assert (
        "of 30 interactions, 27 are for training and 3 for the test; an item needs 5 users in the training part, and "
        "none of 12 has them (the most that one has is 3); --keep-cold keeps the others, too"
    ) in path.with_suffix(".json").read_text()


def test_file_of_one_time_is_split_in_its_order_and_says_so(
    tmp_path: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "one.csv"
    path.write_text("user,thing,timestamp\n" + "".join(f"u{n % 10},i{n % 7},1700000000\n" for n in range(400)))

    evaluated(path, settings, ModelChoice(models=["popularity"]))

    assert "all 400 interactions have one time, 2023-11-14 22:13:20 UTC: they are split in" in capsys.readouterr().err
    with pytest.raises(TrainingError, match="not one model could be measured"):
        evaluated(path, settings, ModelChoice(models=["popularity"]), split=SplitOptions((PREQUENTIAL,)))
    assert "all 400 lie within 0 days, at one time, and a replay needs two" in path.with_suffix(".json").read_text()


@pytest.mark.parametrize(
    ("split", "pictures"),
    [
        (SplitOptions(), ["clicks-global-reliability.png", "clicks-global-segments.png"]),
        (
            SplitOptions(("walk-forward",)),
            [f"clicks-walk-forward-{name}.png" for name in ("over-time", "reliability", "segments")],
        ),
        (
            SplitOptions(("prequential",), num_questions=20),
            [f"clicks-prequential-{name}.png" for name in ("over-time", "segments")],
        ),
    ],
)
def test_pictures_are_drawn(
    clicks: Path, settings: Settings, tmp_path: Path, split: SplitOptions, pictures: list[str]
) -> None:
    evaluated(clicks, settings, split=split, output=Output(plots_folder=tmp_path / "pictures"))

    drawn = sorted((tmp_path / "pictures").iterdir())
    assert [path.name for path in drawn] == pictures
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


def test_pictures_without_matplotlib_are_refused_before_anything_is_measured(
    clicks: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, trained: list[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(SettingsError, match=r"pip install 'springtide\[plots\]'"):
        evaluated(clicks, settings, output=Output(plots_folder=clicks.parent))

    assert trained == []


@pytest.mark.parametrize("written", ["json_path", "csv_path"])
def test_report_in_a_missing_folder_is_refused_before_anything_is_measured(
    written: str, settings: Settings, tmp_path: Path, trained: list[str], dataset: Dataset
) -> None:
    output = Output(**{written: tmp_path / "missing" / "rows"})

    with pytest.raises(SettingsError, match="rows cannot be written: there is no folder"):
        evaluate_and_show(
            [FILMS],
            settings,
            ALONE,
            tmp_path / "results.jsonl",
            output=output,
            fetch_dataset=lambda name: dataset,
        )

    assert trained == []


def test_several_splits_and_seeds_stand_in_one_table(
    clicks: Path, settings: Settings, trained: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    split = SplitOptions(("global", "walk-forward"))
    choice = ModelChoice(models=["default", "popularity", "own_counts"])
    first, walked = evaluated(clicks, settings, choice, split=split, seeds=[0, 1], output=Output(as_markdown=True))

    assert (first["split"], walked["split"]) == ("global", "walk-forward")
    assert len([name for name in trained if name == "lightgcn cce"]) == 2 * 5
    assert len([name for name in trained if name == "popularity"]) == 5
    lines = capsys.readouterr().out.splitlines()
    heading = f"| model | {title_of(str(clicks))}: new, global | {title_of(str(clicks))}: new, walk-forward |"
    assert lines[0].startswith(heading)
    line = next(line for line in lines if line.startswith(f"| {MODEL} | "))
    [of_new] = [row for row in walked["rows"] if (row["model"], row["segment"]) == (MODEL, "new")]
    assert line.split(" | ")[2].startswith(f"{of_new['ndcg@20']:.4f} ± ")
    costs = {line.split(" | ")[0].strip("| "): line for line in lines if line.endswith((" | yes |", " | no |"))}
    assert costs["popularity"].endswith("| no |")
    assert costs["own_counts"].endswith("| yes |")
    assert costs[MODEL].endswith("| yes |")
    assert {cell["peer"] for cell in walked["cells"]} == {"popularity", "own_counts"}

    trained.clear()
    assert evaluated(clicks, settings, choice, split=split, seeds=[0, 1]) == [first, walked]
    assert trained == []


def test_baseline_with_a_seed_is_measured_with_each(clicks: Path, settings: Settings, trained: list[str]) -> None:
    written = evaluated(clicks, settings, ModelChoice(models=["bpr", "popularity"]), seeds=[0, 1])

    assert sorted(trained) == ["bpr", "bpr", "popularity"]
    seeds = {row["model"]: row["seeds"] for row in written["rows"]}
    assert seeds == {"bpr": "0 1", "popularity": ""}


def test_page_holds_tables_and_plots_and_fetches_nothing(clicks: Path, settings: Settings, tmp_path: Path) -> None:
    choice = ModelChoice(models=["default", "cosine", "popularity"])
    page = tmp_path / "report.html"

    written = evaluated(clicks, settings, choice, output=Output(html_path=page))

    text = page.read_text()
    [of_new] = [row for row in written["rows"] if (row["model"], row["segment"]) == (MODEL, "new")]
    assert f"<td>{MODEL}</td><td>{of_new['ndcg@20']:.4f} ± " in text
    assert "With all context weights against the same model without them" in text
    assert text.count("<svg") == 2  # Segments and reliability.
    assert not any(outside in text for outside in ("<script", "<img", "<link", "@import"))
