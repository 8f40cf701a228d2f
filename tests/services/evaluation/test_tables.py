"""Tables, JSON and CSV of invented results, compared exactly."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from springtide.evaluation.measures.mean_metrics import Arrays, Measurement, SegmentMetrics
from springtide.evaluation.plan import Section, model_name
from springtide.evaluation.results import Result, RunKey
from springtide.settings.model import PartSettings, Settings
from springtide_services.evaluation.cell_tables import knows_last_second
from springtide_services.evaluation.exports import to_csv, to_json
from springtide_services.evaluation.report import Report
from springtide_services.evaluation.tables import (
    metrics_table,
    segments_table,
    terminal_table,
    to_markdown,
    verdicts,
)

BASELINES = ("popularity", "recent_popularity", "own_counts")
JOURNEY, FILMS = "complete-journey", "movielens-100k"


def with_parts(**names: str) -> Settings:
    parts = {kind: PartSettings(name=name) for kind, name in {"aggregator": "sum", "loss": "cce", **names}.items()}
    return Settings().model_copy(update={"model": Settings().model.model_copy(update=parts)})


def segment(ndcg: float, num_users: int) -> SegmentMetrics:
    return SegmentMetrics({"ndcg@20": ndcg, "recall@20": ndcg + 0.01}, num_users, ndcg - 0.02, ndcg + 0.02)


def results(dataset: str, num_users: int, *measured: tuple[str, float, float, float]) -> Iterator[Result]:
    """Give results of (model, NDCG of new items, of all, fit seconds); recalls are .01 above."""
    for day, (model, new, everything, seconds) in enumerate(measured, start=3):
        measurement = Measurement(
            {"new": segment(new, num_users), "all": segment(everything, num_users + 1)},
            seconds,
        )
        yield Result(RunKey(dataset, model, 0, "", "1.0"), date(2026, 1, day), measurement)


@pytest.fixture
def report() -> Report:
    """Two data sets, two encoders, two losses; one loss could not be trained on one of them."""
    default, sage = with_parts(), with_parts(encoder="graphsage", aggregator="mean")
    mse = with_parts(loss="mse")
    names = [*BASELINES, *(model_name(settings) for settings in (default, sage, mse))]
    figures = [(0.1, 0.2, 0.0), (0.11, 0.21, 0.4), (0.1, 0.3, 0.6), (0.123449, 0.4, 19.5), (0.2, 0.5, 61.0)]
    found = [
        *results(JOURNEY, 2022, *((name, *of) for name, of in zip(names, figures, strict=False))),
        Result(RunKey(JOURNEY, names[5], 0, "", "1.0"), date(2026, 1, 3), None, "no ratings:\nwanted some"),
        *results(FILMS, 86, *((name, *of) for name, of in zip(names, [*figures, (0.3, 0.3, 5.0)], strict=True))),
    ]
    sections = [
        Section("encoder", "loss cce", {"graphsage, mean": sage, "lightgcn, sum": default}),
        Section("loss", "encoder lightgcn, sum", {"cce": default, "mse": mse}),
    ]
    by_model = {(result.key.dataset, result.key.model): [result] for result in found}
    return Report((JOURNEY, FILMS), sections, BASELINES, by_model)


def test_markdown_is_ready_for_the_readme(report: Report) -> None:
    assert to_markdown(report) == (
        "| encoder | Complete Journey: new NDCG@20 | all NDCG@20 | fit "
        "| MovieLens 100K: new NDCG@20 | all NDCG@20 | fit |\n"
        "| :-- | --: | --: | --: | --: | --: | --: |\n"
        "| popularity | 0.1000 | 0.2000 | 0 s | 0.1000 | 0.2000 | 0 s |\n"
        "| recent_popularity | 0.1100 | 0.2100 | 0 s | 0.1100 | 0.2100 | 0 s |\n"
        "| own_counts | 0.1000 | 0.3000 | 1 s | 0.1000 | 0.3000 | 1 s |\n"
        "| graphsage, mean | 0.2000 | 0.5000 | 61 s | 0.2000 | 0.5000 | 61 s |\n"
        "| lightgcn, sum | 0.1234 | 0.4000 | 20 s | 0.1234 | 0.4000 | 20 s |\n"
        "\n"
        "All with loss cce, seed 0. Complete Journey: 2,022 users evaluated on new items, 2,023 on all items. "
        "MovieLens 100K: 86 users evaluated on new items, 87 on all items. Measured 2026-01-03 to 2026-01-07 with "
        "Springtide 1.0.\n"
        "\n"
        "| loss | Complete Journey: new NDCG@20 | all NDCG@20 | fit "
        "| MovieLens 100K: new NDCG@20 | all NDCG@20 | fit |\n"
        "| :-- | --: | --: | --: | --: | --: | --: |\n"
        "| cce | 0.1234 | 0.4000 | 20 s | 0.1234 | 0.4000 | 20 s |\n"
        "| mse | – | – | – | 0.3000 | 0.3000 | 5 s |\n"
        "\n"
        "All with encoder lightgcn, sum, seed 0. Complete Journey: 2,022 users evaluated on new items, 2,023 on all "
        "items. MovieLens 100K: 86 users evaluated on new items, 87 on all items. Measured 2026-01-03 to 2026-01-08 "
        "with Springtide 1.0.\n"
        "\n"
        "- mse on Complete Journey: no ratings: wanted some"
    )


def test_one_model_is_one_table_with_the_baselines() -> None:
    model = model_name(with_parts())
    found = results(FILMS, 86, *((name, 0.1, 0.2, 3.0) for name in (*BASELINES, model)))
    by_model = {(FILMS, result.key.model): [result] for result in found}

    lines = to_markdown(
        Report([FILMS], [Section("model", "", {model: with_parts()})], BASELINES, by_model)
    ).splitlines()

    assert lines[0] == "| model | MovieLens 100K: new NDCG@20 | all NDCG@20 | fit |"
    assert lines[5] == "| springtide (lightgcn, sum, cce) | 0.1000 | 0.2000 | 3 s |"
    assert lines[7].startswith("Seed 0. MovieLens 100K: 86 users")


def printed(table: Table) -> list[list[str]]:
    written = io.StringIO()
    Console(width=200, file=written).print(table)
    return [line.split() for line in written.getvalue().splitlines()]


def test_terminal_shows_each_model_once(report: Report) -> None:
    lines = printed(terminal_table(report, JOURNEY))

    assert lines[0] == ["Complete", "Journey"]
    assert " ".join(lines[1]) == "model new: NDCG@20 Recall@20 users all: NDCG@20 Recall@20 users fit"
    assert [" ".join(line[:-8]) for line in lines[2:5]] == list(BASELINES)
    assert [" ".join(line) for line in lines[5:]] == [
        "springtide (graphsage, mean, cce) 0.2000 0.2100 2,022 0.5000 0.5100 2,023 61 s",
        "springtide (lightgcn, sum, cce) 0.1234 0.1334 2,022 0.4000 0.4100 2,023 20 s",
        "springtide (lightgcn, sum, mse) – – – – – – –",
    ]


def test_json_of_several_data_sets_is_a_list(report: Report) -> None:
    journey, films = json.loads(to_json([report]))

    assert (journey["dataset"], films["dataset"]) == (JOURNEY, FILMS)
    assert (len(journey["rows"]), len(films["rows"])) == (10, 12)
    assert journey["rows"][7] == {
        "model": "springtide (graphsage, mean, cce)",
        "segment": "all",
        "ndcg@20": 0.5,
        "recall@20": 0.51,
        "users": 2023,
        "fit_seconds": 61.0,
        "answers_per_second": None,
        "live_share": None,
        "seeds": "0",
        "ndcg@20_sd": None,
        "ci_low": 0.48,
        "ci_high": 0.52,
        "best_baseline": "own_counts",
    }
    assert journey["failed"] == {"springtide (lightgcn, sum, mse)": "no ratings:\nwanted some"}
    assert films["failed"] == {}


def test_json_of_one_data_set_is_one_document(report: Report) -> None:
    document = json.loads(to_json([replace(report, datasets=[FILMS])]))

    assert document["dataset"] == FILMS
    assert {row["segment"] for row in document["rows"]} == {"new", "all"}


def test_csv_has_the_same_rows_and_the_data_set(report: Report) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv([report]))))

    assert len(rows) == 22
    assert (rows[7]["dataset"], rows[7]["segment"], rows[7]["ndcg@20"]) == (JOURNEY, "all", "0.5")
    assert rows[0]["best_baseline"] == ""


MODEL = model_name(with_parts())


def runs(
    *measured: tuple[str, str, int | None, list[float]], segment_name: str = "new", split: str = "global"
) -> Report:
    """Return a report of (model, cut, seed, NDCG of each question)."""
    results: dict[tuple[str, str], list[Result]] = {}
    arrays: dict[RunKey, Arrays] = {}
    for model, cut, seed, values in measured:
        key = RunKey(FILMS, model, seed, "", "1.0", cut)
        users = np.arange(len(values), dtype=np.int32)
        arrays[key] = {f"{segment_name}.users": users, f"{segment_name}.ndcg": np.array(values, np.float32)}
        of_segment = segment(float(np.mean(values)), len(values))
        measurement = Measurement({segment_name: of_segment}, 2.0)
        results.setdefault((FILMS, model), []).append(Result(key, date(2026, 1, 3), measurement))
    baselines = list(dict.fromkeys(model for model, *_ in measured if model != MODEL))
    section = Section("model", "", {MODEL: with_parts()})
    return Report([FILMS], [section], baselines, results, lambda key: arrays[key], split=split)


def test_seeds_are_shown_as_mean_and_deviation() -> None:
    report = runs(
        ("popularity", "global", None, [0.1, 0.1]),
        (MODEL, "global", 0, [0.2, 0.4]),
        (MODEL, "global", 1, [0.4, 0.4]),
    )

    figures = report.figures(FILMS, MODEL, "new")

    assert figures is not None
    assert figures.ndcg == pytest.approx(0.35)
    assert figures.ndcg_sd == pytest.approx(0.1 / np.sqrt(2))  # Of .3 and .4.
    assert figures.num_users == 2
    assert " ".join(printed(terminal_table(report, FILMS))[-1]).startswith(f"{MODEL} 0.3500 ± 0.0707 0.3600 2 – –")
    [row] = [row for row in json.loads(to_json([report]))["rows"] if row["model"] == MODEL]
    assert (row["seeds"], len(json.loads(to_json([report]))["runs"])) == ("0 1", 2)


def test_blocks_are_one_line_and_their_mean() -> None:
    first, second = "walk-forward 1 of 4", "walk-forward 2 of 4"
    report = runs(
        *[("popularity", first, None, [0.1]), ("popularity", second, None, [0.3])],
        *[(MODEL, first, 0, [0.2]), (MODEL, second, 0, [0.6])],
        split="walk-forward",
    )

    figures = report.figures(FILMS, MODEL, "new")

    assert figures is not None
    assert (figures.ndcg, figures.num_users) == (pytest.approx(0.4), 2)
    assert figures.low == pytest.approx(0.4 - 12.706 * 0.2, abs=1e-3)  # t of one degree of freedom; .2 and .6.
    compared = report.compare(FILMS, MODEL, "popularity", "new")
    assert compared is not None
    assert (compared.difference, compared.num_queries) == (pytest.approx(0.2), 2)
    assert compared.high == pytest.approx(0.2 + 12.706 * 0.1, abs=1e-3)  # .1 and .3.


def test_verdict_says_which_is_better_by_how_much() -> None:
    generator = np.random.default_rng(0)
    base = generator.random(400)
    better = runs(("popularity", "global", None, base.tolist()), (MODEL, "global", 0, (base + 0.1).tolist()))
    similar = runs(
        ("popularity", "global", None, base.tolist()),
        (MODEL, "global", 0, (base + generator.normal(0, 0.1, 400)).tolist()),
    )

    [of_better] = verdicts(better, FILMS)
    [of_similar] = verdicts(similar, FILMS)

    assert of_better == (
        f"New items: {MODEL} is better than popularity by 0.1000 NDCG@20 "
        "(95 % interval +0.1000 to +0.1000, p < 0.001, 400 questions)"
    )
    assert of_similar.startswith(f"New items: {MODEL} is not significantly different from popularity: ")


def test_models_with_different_queries_are_not_compared() -> None:
    report = runs(("popularity", "global", None, [0.1, 0.1]), (MODEL, "global", 0, [0.2, 0.4, 0.3]))

    assert report.compare(FILMS, MODEL, "popularity", "new") is None
    assert list(verdicts(report, FILMS)) == []


def test_finer_segments_and_further_metrics_have_tables_of_their_own() -> None:
    found = {
        "new": SegmentMetrics({"ndcg@20": 0.1, "recall@20": 0.2, "mrr@20": 0.5, "coverage@20": 0.25}, 9),
        "new: users cold": segment(0.3, 4),
    }
    key = RunKey(FILMS, "popularity", None, "", "1.0")
    results = {(FILMS, "popularity"): [Result(key, date(2026, 1, 3), Measurement(found, 1.0))]}
    report = Report([FILMS], [], ["popularity"], results)

    finer, metrics = printed(segments_table(report, FILMS, "new")), printed(metrics_table(report, FILMS, "new"))

    assert [" ".join(line) for line in finer[-2:]] == ["model users cold (4)", "popularity 0.3000"]
    assert [" ".join(line) for line in metrics[-2:]] == ["model MRR@20 coverage", "popularity 0.5000 0.2500"]


@pytest.mark.parametrize(
    ("shares", "words"), [([], "–"), ([0.0, 0.0], "no"), ([0.95, 0.4], "yes"), ([0.0, 0.05], "yes")]
)
def test_a_model_that_changes_any_answer_knows_the_last_second(shares: list[float], words: str) -> None:
    assert knows_last_second(shares) == words
