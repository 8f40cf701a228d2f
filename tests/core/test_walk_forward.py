"""Month by month: cuts and controls by hand, and a walk through a made-up year that goes on where it was stopped."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY
from springtide.evaluation import walk_forward as room
from springtide.evaluation.baselines import LATE_POPULARITY
from springtide.evaluation.controls import CONTROLS, DECAYED_POPULARITY, TIFU_KNN, WEEK_POPULARITY, make_control
from springtide.evaluation.datasets import Dataset
from springtide.evaluation.results import ResultsFile
from springtide.evaluation.simulator import SimulatorSettings, simulate
from springtide.evaluation.splits import Split
from springtide.evaluation.walk_forward import ALL_WEIGHTS, COSINE, cut_at_month, variants, walk_forward
from springtide.plugins.loading import load_plugins
from springtide.testing import interactions_of, quick_settings


def ms(month: int, day: int) -> int:
    return int(datetime(2020, month, day, tzinfo=UTC).timestamp() * 1000)


def test_months_are_cut_where_they_end():
    events = [("u", "a", ms(1, 1)), ("u", "b", ms(1, 31)), ("u", "a", ms(2, 1)), ("u", "b", ms(2, 29))]
    shown, split = cut_at_month(interactions_of([*events, ("u", "a", ms(3, 1))]), 1, min_count=1)
    assert len(shown) == 4
    assert (split.train.tolist(), split.test.tolist()) == ([0, 1], [2, 3])


def test_december_is_what_november_is_asked_for():
    events = [("u", "a", ms(11, 30)), ("u", "a", ms(12, 1)), ("u", "a", ms(12, 31) + MS_PER_DAY)]
    shown, split = cut_at_month(interactions_of(events), 11, min_count=1)
    assert (len(shown), split.train.tolist(), split.test.tolist()) == (2, [0], [1])


def test_every_cut_is_exact():
    """The split takes a share, and rounds: it must not be off by one, at any size."""
    events = [("u", "a", ms(1, 1) + number) for number in range(97)]
    for num_test in (1, 2, 3, 50, 96):
        later = [("u", "a", ms(2, 1) + number) for number in range(num_test)]
        for num_train in (1, 2, 49, 97):
            _, split = cut_at_month(interactions_of([*events[:num_train], *later]), 1, min_count=1)
            assert (len(split.train), len(split.test)) == (num_train, num_test)


def test_month_without_interactions_is_refused():
    with pytest.raises(ValueError, match="month 1 of 2020"):
        cut_at_month(interactions_of([("u", "a", ms(1, 1)), ("u", "a", ms(3, 1))]), 1, min_count=1)


def ranked(name: str, events: list[tuple[str, str, float]], user: str, *, is_new_only: bool = False) -> list[str]:
    """Return what a control gives one user, without what it gives nothing for; times are in days."""
    interactions = interactions_of([(who, item, round(day * MS_PER_DAY)) for who, item, day in events])
    split = Split(np.arange(len(events)), np.zeros(0, np.int64))
    asked = np.array([list(interactions.user_ids).index(user)])
    codes = make_control(name, interactions, split)(asked, is_new_only)[0]
    return [interactions.item_ids[code] for code in codes if code >= 0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (WEEK_POPULARITY, ["week"]),  # All others have none.
        (LATE_POPULARITY, ["month", "week"]),  # 3 and 2.
        (DECAYED_POPULARITY, ["old", "week", "month"]),  # 12 · ½² = 3, 2 · 1 = 2, 3 · ½^(20/28) = 1.83.
    ],
)
def test_popularity_looks_back_as_far_as_it_says(name: str, expected: list[str]) -> None:
    events = [(f"u{number}", "old", 44.0) for number in range(12)]
    events += [(f"u{number}", "month", 80.0) for number in range(3)]
    events += [(f"u{number}", "week", 100.0) for number in range(2)]
    assert ranked(name, events, "u0")[: len(expected)] == expected


def test_new_items_leave_out_what_the_user_had():
    events = [("u0", "a", 1.0), ("u1", "a", 2.0), ("u1", "b", 3.0), ("u2", "c", 3.0), ("u2", "b", 3.0)]
    for name in CONTROLS:
        assert ranked(name, events, "u0", is_new_only=True)[0] == "b"
        assert "a" not in ranked(name, events, "u0", is_new_only=True)[:2]


def test_tifu_knn_by_hand():
    """Two baskets, 60 days apart: the older counts half. u1 is like u0, and takes what u0 never did."""
    events = [("u0", "a", 0.0), ("u0", "b", 60.0), ("u0", "b", 60.0), ("u1", "b", 60.0), ("u1", "c", 60.0)]
    # u0: a ⅓ and b ⅔; u1: b 1 and c 1. Each has one neighbour, the other: u0 gets a .233, b .467 + .3, c .3.
    assert ranked(TIFU_KNN, events, "u0") == ["b", "c", "a"]
    # u1 gets b .7 + .2, c .7, a .1.
    assert ranked(TIFU_KNN, events, "u1") == ["b", "c", "a"]
    assert ranked(TIFU_KNN, [*events, ("u0", "a", 60.0)], "u0") == ["b", "a", "c"]  # a 1, b ⅔: .7 and .767.


def test_unknown_control_is_refused():
    with pytest.raises(ValueError, match="no control named 'luck'"):
        make_control("luck", interactions_of([("u", "a", 1)]), Split(np.zeros(1, np.int64), np.zeros(0, np.int64)))


def test_variants_are_none_each_and_all():
    tried = variants(quick_settings(ranking={"context_weights": {"popularity": {}, "calendar": {"prior": 2.0}}}))
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
    [found] = walk_forward(year, settings, plugins, [6], results)
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
    assert found.lead(is_new_only=False) == pytest.approx(together.all.ndcg - best)

    def refuse(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(room, "Month", refuse)
    [again] = walk_forward(year, settings, plugins, [6], ResultsFile(tmp_path / "walk.jsonl"))
    assert again == found
    with pytest.raises(AssertionError, match="measured again"):
        list(walk_forward(year, settings, plugins, [7], ResultsFile(tmp_path / "walk.jsonl")))


def test_month_that_has_no_next_is_refused(tmp_path: Path) -> None:
    year = Dataset("made-up", interactions_of([("u", "a", ms(1, 1))]), [])
    with pytest.raises(ValueError, match="got 12"):
        list(walk_forward(year, quick_settings(), load_plugins(), [12], ResultsFile(tmp_path / "walk.jsonl")))
