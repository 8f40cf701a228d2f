"""Growth is not taken for season: sums over years, and what a calendar makes of them."""

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY
from springtide.interactions import Moment, Observed
from springtide_plugins.context_weights import year_kernels
from springtide_plugins.context_weights.binned_counts import Quanta
from springtide_plugins.context_weights.calendar import Calendar
from springtide_plugins.context_weights.years import YearSums

START_MS = 1_577_836_800_000  # 2020-01-01.
YEAR_MS = 365.25 * MS_PER_DAY
NO_ROWS = np.empty(0, np.int32)
GROWTH = np.array([0.0, 0.8, -0.8, 0.0])  # Of each item a year.


def market(num_years: float, *, growth: np.ndarray = GROWTH, num_events: int = 40_000, season: float = 0.0) -> Observed:
    """Return events of four items that grow, the last of which has a season with its peak in spring."""
    random = np.random.default_rng(0)
    years = np.sort(random.random(num_events)) * num_years
    logits = years[:, None] * growth
    logits[:, 3] += season * np.sin(2 * np.pi * years)
    shares = np.exp(logits - growth * num_years / 2)
    shares = np.cumsum(shares / shares.sum(1, keepdims=True), axis=1)
    items = (random.random((num_events, 1)) > shares[:, :3]).sum(1).astype(np.int32)
    times = START_MS + (years * YEAR_MS).astype(np.int64)
    return Observed(np.zeros(num_events, np.int32), items, times, np.ones(num_events, np.float32))


def part(events: Observed, which: np.ndarray) -> Observed:
    return Observed(
        events.user_rows[which], events.item_rows[which], events.timestamps_ms[which], events.weights[which]
    )


def learned(*lots: Observed) -> Calendar:
    calendar = Calendar()
    for lot in lots:
        calendar.observe(lot)
    return calendar


def over_the_year(calendar: Calendar) -> np.ndarray:
    """Return log lifts by month and item, of moments long after the events."""
    lifts = []
    for month in range(12):
        found = calendar.item_log_lifts(Moment(START_MS + int((20 + (month + 0.5) / 12) * YEAR_MS)), 4)
        assert found is not None
        lifts.append(found[2] + found[3])
    return np.stack(lifts)


def without_years(calendar: Calendar) -> Calendar:
    """Return a calendar of the same counts that knows nothing of years."""
    state = {name: array for name, array in calendar.state().items() if not name.startswith("years/")}
    plain = Calendar()
    plain.restore(state)
    return plain


def same_state(one: Calendar, other: Calendar) -> bool:
    states = [{name: array.tobytes() for name, array in each.state().items()} for each in (one, other)]
    return states[0] == states[1]


def test_growth_over_three_years_is_not_taken_for_season() -> None:
    calendar = learned(market(3.0))
    tilts = over_the_year(calendar)[[0, -1]]
    plain = over_the_year(without_years(calendar))[[0, -1]]
    assert (plain[1] - plain[0])[1] > 0.4  # From January to December, by growth alone.
    assert (plain[1] - plain[0])[2] < -0.4
    assert np.abs(tilts[1] - tilts[0])[1:3].max() < 0.2


def test_season_is_learned_where_items_grow() -> None:
    found = over_the_year(learned(market(3.0, season=1.0)))[:, 3]
    assert np.corrcoef(found, np.sin(2 * np.pi * (np.arange(12) + 0.5) / 12))[0, 1] > 0.97


@pytest.mark.parametrize("num_years", [0.3, 1.0, 1.45])
def test_less_than_a_year_and_a_half_gives_the_lifts_without_growth_to_the_last_bit(num_years: float) -> None:
    calendar = learned(market(num_years, num_events=4_000))
    assert over_the_year(calendar).tobytes() == over_the_year(without_years(calendar)).tobytes()


def test_two_years_do_tell_growth() -> None:
    calendar = learned(market(2.0, num_events=4_000))
    assert over_the_year(calendar).tobytes() != over_the_year(without_years(calendar)).tobytes()


def test_one_event_of_a_wrong_year_changes_next_to_nothing() -> None:
    events = market(3.0, num_events=8_000)
    wrong = Observed(np.zeros(1, np.int32), np.ones(1, np.int32), np.zeros(1, np.int64), np.ones(1, np.float32))
    assert np.abs(over_the_year(learned(events, wrong)) - over_the_year(learned(events))).max() < 0.02


def test_any_order_and_what_is_taken_back_leave_the_same_state() -> None:
    events, random = market(3.0, num_events=3_000), np.random.default_rng(1)
    is_taken = random.random(len(events)) < 0.3
    newest = np.array([len(events) - 1])
    is_taken[newest] = False
    mixed, kept = random.permutation(len(events)), np.flatnonzero(~is_taken)
    calendar = learned(part(events, newest), *(part(events, lot) for lot in np.array_split(mixed[mixed != newest], 7)))
    calendar.unobserve(part(events, random.permutation(np.flatnonzero(is_taken))))
    once = learned(part(events, kept))
    assert same_state(calendar, once)
    assert over_the_year(calendar).tobytes() == over_the_year(once).tobytes()


def test_a_restored_calendar_goes_on_as_if_nothing_had_been() -> None:
    events = market(3.0, num_events=3_000)
    half, rest = part(events, np.arange(2_000)), part(events, np.arange(2_000, 3_000))
    again = Calendar()
    again.restore(learned(half).state())
    again.observe(rest)
    assert same_state(again, learned(events))


def test_a_checkpoint_of_before_there_were_years_gives_the_lifts_of_then_and_learns_on() -> None:
    events = market(4.0)
    is_old = events.timestamps_ms < START_MS + 2 * YEAR_MS
    old = without_years(learned(part(events, np.flatnonzero(is_old))))
    assert old._years.state()["0/table"].sum() == np.rint(old._profiles.totals(4)[1] / old._profiles.factors()[0])
    before = over_the_year(old)
    old.observe(part(events, np.flatnonzero(~is_old)))
    new, plain = over_the_year(old), over_the_year(without_years(old))
    assert np.abs(before).max() > 0.1  # Growth was taken for season then.
    assert np.abs(new[-1] - new[0])[1:3].max() < 0.6 * np.abs(plain[-1] - plain[0])[1:3].max()


def test_a_forgotten_item_has_no_growth() -> None:
    events = market(3.0, num_events=3_000)
    calendar = learned(events)
    calendar.forget_rows(NO_ROWS, np.array([1, 999], np.int32))
    assert over_the_year(calendar)[:, 1].tolist() == [0.0] * 12
    assert calendar._years.moments({0: 1.0}, 4)[1] == 0


def test_years_of_epochs_that_are_too_old_are_let_go() -> None:
    calendar = Calendar(half_life_days=30.0)
    for year in range(6):
        calendar.observe(
            Observed(
                np.zeros(1, np.int32),
                np.zeros(1, np.int32),
                np.array([int(START_MS + year * YEAR_MS)]),
                np.ones(1, np.float32),
            )
        )
    assert len(calendar._years.state()["epochs"]) <= 3


def test_columns_and_parts_that_do_not_fit_are_refused() -> None:
    sums, one = YearSums(73), np.ones(1, np.int64)
    events = Quanta(0, 0, np.zeros(1, np.uint8), one)
    sums.add(np.zeros(1, np.int32), np.array([[0], [0], [72], [2020]]), events)
    with pytest.raises(ValueError, match="parts of the year from 0 to 72, got 73"):
        sums.add(np.zeros(1, np.int32), np.array([[0], [0], [73], [2020]]), events)
    with pytest.raises(ValueError, match="one length"):
        sums.add(np.zeros(2, np.int32), np.array([[0], [0], [72], [2020]]), events)
    with pytest.raises(ValueError, match="rows of 0 or more, got row -1"):
        sums.add(np.full(1, -1, np.int32), np.array([[0], [0], [72], [2020]]), events)
    tables, bins = [np.zeros((4, 73), np.int64)] * 3, np.zeros((4, 1), np.int64)
    with pytest.raises(ValueError, match="wanted tables of 5 years"):
        year_kernels.add_years([one] * 3, tables, np.zeros(1, np.int32), bins, events.of_epoch, one, 1970, 5, 0)
