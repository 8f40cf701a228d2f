"""The month protocol: variants, and a simulated year that continues where it was stopped."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.protocols import months as months_module
from springtide.evaluation.protocols.months import (
    ALL_WEIGHTS,
    CONTROLS,
    COSINE,
    measure_months,
    weight_variants,
)
from springtide.evaluation.results import ResultsFile
from springtide.evaluation.simulation.simulator import SimulatorSettings, simulate
from springtide.plugins.loading import load_plugins
from springtide.testing import interactions_of, quick_settings


def ms(month: int, day: int) -> int:
    return int(datetime(2020, month, day, tzinfo=UTC).timestamp() * 1000)


def test_controls_are_baselines_that_plugins_offer() -> None:
    plugins = load_plugins()
    assert [plugins.part("baseline", name).name for name in CONTROLS.values()] == list(CONTROLS.values())


def test_variants_are_none_each_and_all():
    tried = weight_variants(quick_settings(ranking={"context_weights": {"popularity": {}, "calendar": {"prior": 2.0}}}))
    assert {label: dict(of.ranking.context_weights) for label, of in tried.items()} == {
        COSINE: {},
        "+ popularity": {"popularity": {}},
        "+ calendar": {"calendar": {"prior": 2.0}},
        ALL_WEIGHTS: {"popularity": {}, "calendar": {"prior": 2.0}},
    }


def test_walk_measures_all_and_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = simulate(
        SimulatorSettings(num_users=80, num_items=60, num_categories=8, num_events=24_000, num_years=1, new_share=0.0)
    )
    year = Dataset("made-up", world.interactions(), world.upserts())
    settings = quick_settings(ranking={"context_weights": {"popularity": {}, "trend": {}}})
    plugins, results = load_plugins(), ResultsFile(tmp_path / "walk.jsonl")
    [found] = measure_months(year, settings, plugins, [6], results)
    assert set(found.results) == {*CONTROLS, COSINE, "+ popularity", "+ trend", ALL_WEIGHTS}
    measured = {label: result.measurement for label, result in found.results.items()}
    assert {of.all.num_users for of in measured.values() if of is not None} == {80}
    # Popularity tells items apart that cosines do not: that is how this market was made.
    popular, alone = measured["+ popularity"], measured[COSINE]
    assert popular is not None
    assert alone is not None
    assert popular.all.ndcg > alone.all.ndcg
    best = max(of.all.ndcg for label in CONTROLS if (of := measured[label]) is not None)
    together = measured[ALL_WEIGHTS]
    assert together is not None
    assert found.lead(is_unseen_only=False) == pytest.approx(together.all.ndcg - best)

    def refuse(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(months_module, "MonthProtocol", refuse)
    [again] = measure_months(year, settings, plugins, [6], ResultsFile(tmp_path / "walk.jsonl"))
    assert again == found
    with pytest.raises(AssertionError, match="measured again"):
        list(measure_months(year, settings, plugins, [7], ResultsFile(tmp_path / "walk.jsonl")))


def test_month_that_has_no_next_is_refused(tmp_path: Path) -> None:
    year = Dataset("made-up", interactions_of([("u", "a", ms(1, 1))]), [])
    with pytest.raises(ValueError, match="got 12"):
        list(measure_months(year, quick_settings(), load_plugins(), [12], ResultsFile(tmp_path / "walk.jsonl")))
