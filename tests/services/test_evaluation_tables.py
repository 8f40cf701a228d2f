"""Tables and JSON of made-up results, to the letter."""

import io
import json
from collections.abc import Iterator
from datetime import date

import pytest
from rich.console import Console

from springtide.config import PartSettings, Settings
from springtide.evaluation.baselines import BASELINES
from springtide.evaluation.metrics import RankingMetrics
from springtide.evaluation.plan import Section, model_name
from springtide.evaluation.questions import Measurement
from springtide.evaluation.results import Result, RunKey
from springtide_services.evaluation_tables import Report, terminal_table, to_json, to_markdown

JOURNEY, FILMS = "complete-journey", "movielens-100k"


def with_parts(**names: str) -> Settings:
    parts = {kind: PartSettings(name=name) for kind, name in {"aggregator": "sum", **names}.items()}
    return Settings().model_copy(update={"model": Settings().model.model_copy(update=parts)})


def results(dataset: str, num_users: int, *measured: tuple[str, float, float, float]) -> Iterator[Result]:
    """Give results of (model, NDCG of new items, of all, fit seconds); recalls are .01 above."""
    for day, (model, new, everything, seconds) in enumerate(measured, start=3):
        measurement = Measurement(
            RankingMetrics(new, new + 0.01, num_users),
            RankingMetrics(everything, everything + 0.01, num_users + 1),
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
    return Report((JOURNEY, FILMS), sections, {(result.key.dataset, result.key.model): result for result in found})


def test_markdown_is_ready_for_the_readme(report: Report) -> None:
    assert to_markdown(report) == (
        "| encoder | Complete Journey: new NDCG@20 | all NDCG@20 | fit "
        "| MovieLens 100K: new NDCG@20 | all NDCG@20 | fit |\n"
        "| :-- | --: | --: | --: | --: | --: | --: |\n"
        "| popularity | 0.1000 | 0.2000 | 0 s | 0.1000 | 0.2000 | 0 s |\n"
        "| popularity, last 28 days | 0.1100 | 0.2100 | 0 s | 0.1100 | 0.2100 | 0 s |\n"
        "| own counts, then popularity | 0.1000 | 0.3000 | 1 s | 0.1000 | 0.3000 | 1 s |\n"
        "| graphsage, mean | 0.2000 | 0.5000 | 61 s | 0.2000 | 0.5000 | 61 s |\n"
        "| lightgcn, sum | 0.1234 | 0.4000 | 20 s | 0.1234 | 0.4000 | 20 s |\n"
        "\n"
        "All with loss cce, seed 0. Complete Journey: 2,022 users asked for new items, 2,023 for all. "
        "MovieLens 100K: 86 users asked for new items, 87 for all. Measured 2026-01-03 to 2026-01-07 with "
        "Springtide 1.0.\n"
        "\n"
        "| loss | Complete Journey: new NDCG@20 | all NDCG@20 | fit "
        "| MovieLens 100K: new NDCG@20 | all NDCG@20 | fit |\n"
        "| :-- | --: | --: | --: | --: | --: | --: |\n"
        "| cce | 0.1234 | 0.4000 | 20 s | 0.1234 | 0.4000 | 20 s |\n"
        "| mse | – | – | – | 0.3000 | 0.3000 | 5 s |\n"
        "\n"
        "All with encoder lightgcn, sum, seed 0. Complete Journey: 2,022 users asked for new items, 2,023 for all. "
        "MovieLens 100K: 86 users asked for new items, 87 for all. Measured 2026-01-03 to 2026-01-08 with "
        "Springtide 1.0.\n"
        "\n"
        "- mse on Complete Journey: no ratings: wanted some"
    )


def test_one_model_is_one_table_with_the_baselines() -> None:
    model = model_name(with_parts())
    found = results(FILMS, 86, *((name, 0.1, 0.2, 3.0) for name in (*BASELINES, model)))
    by_model = {(FILMS, result.key.model): result for result in found}

    lines = to_markdown(Report([FILMS], [Section("model", "", {model: with_parts()})], by_model)).splitlines()

    assert lines[0] == "| model | MovieLens 100K: new NDCG@20 | all NDCG@20 | fit |"
    assert lines[5] == "| springtide (lightgcn, sum, cce) | 0.1000 | 0.2000 | 3 s |"
    assert lines[7].startswith("Seed 0. MovieLens 100K: 86 users")


def test_terminal_shows_each_model_once(report: Report) -> None:
    printed = io.StringIO()
    Console(width=160, file=printed).print(terminal_table(report, JOURNEY))

    lines = [line.split() for line in printed.getvalue().splitlines()]

    assert lines[0] == ["Complete", "Journey"]
    assert " ".join(lines[1]) == "model new: NDCG@20 Recall@20 users all: NDCG@20 Recall@20 users fit"
    assert [" ".join(line[:-8]) for line in lines[2:5]] == list(BASELINES)
    assert [" ".join(line) for line in lines[5:]] == [
        "springtide (graphsage, mean, cce) 0.2000 0.2100 2,022 0.5000 0.5100 2,023 61 s",
        "springtide (lightgcn, sum, cce) 0.1234 0.1334 2,022 0.4000 0.4100 2,023 20 s",
        "springtide (lightgcn, sum, mse) – – – – – – –",
    ]


def test_json_of_several_data_sets_is_a_list(report: Report) -> None:
    journey, films = json.loads(to_json(report))

    assert (journey["dataset"], films["dataset"]) == (JOURNEY, FILMS)
    assert (len(journey["rows"]), len(films["rows"])) == (10, 12)
    assert journey["rows"][7] == {
        "model": "springtide (graphsage, mean, cce)",
        "segment": "all",
        "ndcg@20": 0.5,
        "recall@20": 0.51,
        "users": 2023,
        "fit_seconds": 61.0,
    }
    assert journey["failed"] == {"springtide (lightgcn, sum, mse)": "no ratings:\nwanted some"}
    assert films["failed"] == {}


def test_json_of_one_data_set_is_one_document(report: Report) -> None:
    document = json.loads(to_json(Report([FILMS], report.sections, report.results)))

    assert document["dataset"] == FILMS
    assert {row["segment"] for row in document["rows"]} == {"new", "all"}
