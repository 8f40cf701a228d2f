"""Seasons as they are drawn and listed, by a weight whose lifts are known."""

import importlib.util
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from springtide.checkpoint import CheckpointStore
from springtide.errors import CheckpointError, InvalidRequestError, SettingsError
from springtide.evaluation.data.datasets import Dataset
from springtide.events.model import NodeUpsert
from springtide.plugins.contracts import ContextWeight, Factor
from springtide.ranking.seasons import Profile, Seasons
from springtide.state import LiveState
from springtide.testing import START_MS, interactions_of, quick_settings, state_of
from springtide_services.cli.season_charts import axis, chart, in_season, season
from springtide_services.cli.season_plot import draw

SETTINGS = quick_settings(ranking={"context_weights": {"popularity": {}}})
# Three sales of the first, one of each other.
EVENTS = [("ann", item, START_MS) for item in ("nog", "nog", "nog", "turkey", "milk")]
UPSERTS = [
    NodeUpsert("item", "nog", {"department": ("DAIRY",), "category": ("EGG NOG",)}, texts={"title": "Egg nog 1 l"}),
    NodeUpsert("item", "turkey", {"department": ("MEAT",), "category": ("FEAST",)}),
    NodeUpsert("item", "milk", {"department": ("DAIRY",), "category": ("MILK",)}),
]
DECEMBER = np.log([[6.0, 4.0, 1.0], [1.0, 0.5, 1.0]]).astype(np.float32)


class Known(ContextWeight):
    """In December nog is wanted 6× and turkey 4 × 0.5 = 2×; on Sundays milk 3×; at 7 nog and turkey 2×."""

    factors = (Factor("hour"), Factor("year"), Factor("weekday"), Factor("year_near"))

    def item_log_lifts(self, moment, num_items):
        at = datetime.fromtimestamp(moment.timestamp_ms / 1_000, UTC)
        lifts = np.zeros((4, num_items), np.float32)
        if at.month == 12:
            lifts[[1, 3]] = DECEMBER
        if at.weekday() == 6:
            lifts[2] = np.log([1.0, 1.0, 3.0])
        if at.hour == 7:
            lifts[0] = np.log([2.0, 2.0, 1.0])
        return lifts


@pytest.fixture
def state() -> LiveState:
    state = state_of(EVENTS, SETTINGS, upserts=UPSERTS)
    state.context_weights["calendar"] = Known()
    return state


@pytest.fixture
def seasons(state: LiveState) -> Seasons:
    return Seasons.of_state(state, SETTINGS, "calendar")


def listed(seasons: Seasons, at: datetime, min_count: float = 0.0, width: int = 100) -> list[list[str]]:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(in_season(seasons, at, 20, min_count))
    return [line.split() for line in capture.get().splitlines()]


def test_profile_of_an_item_is_its_lift_at_each_point(seasons: Seasons) -> None:
    year, week, day = seasons.profiles(seasons.rows_of("nog"))

    assert year.lifts == pytest.approx([1.0] * 66 + [6.0] * 6)
    assert week.lifts == pytest.approx(np.ones(7))
    assert day.lifts == pytest.approx([1.0] * 7 + [2.0] + [1.0] * 16)


def test_category_counts_its_items_by_their_interactions(seasons: Seasons) -> None:
    year, week, _ = seasons.profiles(seasons.rows_of("department=DAIRY"))

    assert year.lifts[-1] == pytest.approx((3 * 6.0 + 1 * 1.0) / 4)
    assert week.lifts == pytest.approx([1.0] * 6 + [(3 * 1.0 + 1 * 3.0) / 4])


def test_list_has_the_strongest_first_and_midnight_means_the_day(seasons: Seasons) -> None:
    assert listed(seasons, datetime(2017, 12, 20, tzinfo=UTC))[1:] == [
        ["item", "group", "count", "year", "week", "in", "all"],
        ["1", "Egg", "nog", "1", "l", "DAIRY", "3", "6.0×", "1.0×", "6.0×"],
        ["2", "turkey", "MEAT", "1", "2.0×", "1.0×", "2.0×"],
        ["3", "milk", "DAIRY", "1", "1.0×", "1.0×", "1.0×"],
    ]
    sunday_at_7 = listed(seasons, datetime(2017, 7, 2, 7, tzinfo=UTC))
    assert [row[1:2] + row[-4:] for row in sunday_at_7[2:]] == [
        ["milk", "1.0×", "3.0×", "1.0×", "3.0×"],
        ["Egg", "1.0×", "1.0×", "2.0×", "2.0×"],
        ["turkey", "1.0×", "1.0×", "2.0×", "2.0×"],
    ]


def test_narrow_terminal_shortens_titles_and_keeps_numbers(seasons: Seasons) -> None:
    first = listed(seasons, datetime(2017, 12, 20, tzinfo=UTC), width=44)[-3]

    assert first[-5:] == ["DAIRY", "3", "6.0×", "1.0×", "6.0×"]
    assert any(word.endswith("…") for word in first)


def test_items_with_too_few_interactions_are_not_listed(seasons: Seasons) -> None:
    rows = listed(seasons, datetime(2017, 12, 20, tzinfo=UTC), min_count=2.0)

    assert [row[1] for row in rows[2:]] == ["Egg"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("eggs", "no item with the id 'eggs'; a category is written ATTRIBUTE=VALUE"),
        ("colour=red", r"no attribute 'colour' \(choices: category, department\)"),
        ("category=nog", r"no item has category 'nog' \(near it: EGG NOG\)"),
    ],
)
def test_name_of_nothing_is_refused(seasons: Seasons, name: str, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        seasons.rows_of(name)


def test_weight_that_tells_nothing_of_seasons_is_refused(state: LiveState) -> None:
    with pytest.raises(SettingsError, match="wanted a factor named year, year_near, weekday, hour, got share"):
        Seasons.of_state(state, SETTINGS, "popularity")
    with pytest.raises(SettingsError, match=r"no context weight 'tides' .*choices: popularity, calendar"):
        Seasons.of_state(state, SETTINGS, "tides")


def test_weight_with_some_of_the_factors_is_drawn_as_far_as_they_go(state: LiveState) -> None:
    class Weekly(ContextWeight):
        factors = (Factor("weekday"),)

    state.context_weights["weekly"] = Weekly()
    seasons = Seasons.of_state(state, SETTINGS, "weekly")

    [week] = seasons.profiles(seasons.rows_of("nog"))
    assert week.span == "week"
    assert week.lifts.tolist() == [1.0] * 7  # A weight that says None is neutral.


def test_chart_is_as_high_as_the_lifts_say() -> None:
    heading, *rows, days = chart(Profile("week", np.array([0.5, 1.0, 1.25, 0.0, 1.0, 1.0, 1.125]))).plain.splitlines()

    assert heading == "over the week (1× is usual)"
    assert [row[:7] for row in rows] == [" 1.25× ", "    1× ", " 0.75× ", "  0.5× ", " 0.25× "]
    # The middle of each day's bar, from the top line to the lowest.
    columns = ["".join(row[7 + 10 * day + 4] for row in rows) for day in range(7)]
    assert columns == [" ┄ ██", " ████", "█████", " ┄   ", " ████", " ████", "▄████"]
    assert days.split() == ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]


@pytest.mark.parametrize(("span", "num_points"), [("year", 72), ("week", 7), ("day", 24)])
def test_chart_fits_80_columns_and_a_few_lines(span, num_points: int) -> None:
    for highest in (0.2, 1.0, 3.7, 900.0):
        lines = chart(Profile(span, np.linspace(0.0, highest, num_points))).plain.splitlines()
        assert max(map(len, lines)) <= 80
        assert 4 < len(lines) <= 10
    assert len(axis(span)) <= 73


def test_picture_is_a_png(tmp_path: Path, seasons: Seasons) -> None:
    path = tmp_path / "nog.png"
    draw(seasons.profiles(seasons.rows_of("nog")), "Egg nog", "3 interactions", path)

    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    with pytest.raises(SettingsError, match="cannot be written"):
        draw(seasons.profiles(seasons.rows_of("nog")), "", "", tmp_path / "nowhere" / "nog.png")


def show(settings, name: str | None, png: Path | None = None, dataset: str | None = None) -> None:
    season(settings, name=name, top=3, at=None, min_count=1, weight_name="calendar", dataset=dataset, png=png)


def test_missing_matplotlib_is_told_before_anything_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(SettingsError, match=r"pip install 'springtide\[plots\]'"):
        show(SETTINGS, "nog", tmp_path / "nog.png")


def test_newest_checkpoint_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = quick_settings(
        checkpoint={"url": str(tmp_path / "checkpoints")}, ranking={"context_weights": {"calendar": {}}}
    )
    with pytest.raises(CheckpointError, match=r"no checkpoint yet at .*; --dataset complete-journey needs none"):
        show(settings, "nog")
    CheckpointStore(settings.checkpoint.url).write(state_of(EVENTS, settings, upserts=UPSERTS).snapshot())

    show(settings, "nog")
    drawn = capsys.readouterr().out
    assert drawn.startswith("Egg nog 1 l\nitem nog, DAIRY, 3 interactions\n")
    assert "over the year" in drawn
    assert "over the week" in drawn
    assert "over the day" in drawn
    show(settings, None)
    assert "In season on" in capsys.readouterr().out


def test_every_interaction_of_a_data_set_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = quick_settings(ranking={"context_weights": {"calendar": {}}})
    rated = Dataset("movies", interactions_of(EVENTS, "rating"), UPSERTS)
    monkeypatch.setattr("springtide.evaluation.data.datasets.fetch", {"movies": rated}.__getitem__)

    show(settings, "department=DAIRY", dataset="movies")
    assert capsys.readouterr().out.startswith("department=DAIRY\n2 items, 4 interactions\n")
