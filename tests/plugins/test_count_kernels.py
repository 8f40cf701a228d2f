"""Compiled counts beside what NumPy gives, bit for bit; and how much is called for one event."""

import functools
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from springtide.interactions import Observed
from springtide.plugins.loading import load_plugins
from springtide.ranking.weights import make_context_weights
from springtide.settings.model import Settings
from springtide_plugins.context_weights import count_kernels, pair_kernels
from springtide_plugins.context_weights.binned_counts import BinnedCounts
from springtide_plugins.context_weights.counts import DecayedCounts
from springtide_plugins.context_weights.pair_tables import PairTable

_ORIGIN_MS = 1_262_304_000_000
_KEPT = 3
Array = npt.NDArray[Any]


class Plain:
    """Sums in quanta as they were before they were compiled: by epoch, bin and row, with NumPy alone."""

    def __init__(self, half_life_ms: float, half_lives: int, quanta: int, num_bins: int = 1) -> None:
        self.half_life_ms, self.quanta, self.num_bins = half_life_ms, quanta, num_bins
        self.is_single = not math.isfinite(half_life_ms)
        self.length_ms = 1 if self.is_single else max(1, round(half_lives * half_life_ms))
        self.sums: dict[int, Array] = {}
        self.newest_ms: int | None = None

    def add(self, rows: Array, bins: Array, timestamps_ms: Array, weights: Array) -> None:
        if not len(rows):
            return
        newest_ms = int(timestamps_ms.max())
        self.newest_ms = newest_ms if self.newest_ms is None else max(newest_ms, self.newest_ms)
        zeros = np.zeros(len(rows), np.int64)
        of_event = zeros if self.is_single else (timestamps_ms - _ORIGIN_MS) // self.length_ms
        newest = 0 if self.is_single else (self.newest_ms - _ORIGIN_MS) // self.length_ms
        self.sums = {epoch: sums for epoch, sums in self.sums.items() if epoch > newest - _KEPT}
        for epoch in np.unique(of_event[of_event > newest - _KEPT]).tolist():
            here = of_event == epoch
            quanta = np.multiply(weights[here], self.quanta, dtype=np.float64)
            if not self.is_single:
                start_ms = _ORIGIN_MS + epoch * self.length_ms
                quanta *= np.exp2((timestamps_ms[here] - start_ms) * (1.0 / self.half_life_ms))
            sums = self.sums.setdefault(epoch, np.zeros((self.num_bins, 200)))
            np.add.at(sums, (bins[here], rows[here]), np.rint(quanta))

    def state(self) -> dict[int, Any]:
        return {epoch: sums.tolist() for epoch, sums in self.sums.items() if sums.any()}


def state_of(counts: DecayedCounts | BinnedCounts) -> dict[int, Any]:
    state = counts.state()
    epochs, found = state["clock"].tolist()[2:], dict[int, Any]()
    for index, epoch in enumerate(epochs):
        if isinstance(counts, DecayedCounts):
            low, high = state[f"{index}/low"], state.get(f"{index}/high", np.zeros(0))
            sums = low[None, :].astype(np.float64)
            sums[0, : len(high)] += 2.0**30 * high
        else:
            sums = sums_of(state, index)
        wide = np.zeros((len(sums), 200))
        wide[:, : sums.shape[1]] = sums
        found[epoch] = wide.tolist()
    return found


def sums_of(state: dict[str, Array], index: int) -> Array:
    """Return the sums of an epoch in the state of counts of one part, ``[num_bins, num_rows]``."""
    kinds, codes, sums, dense, wide = (state[f"{index}/{name}"] for name in ("kinds", "codes", "sums", "dense", "wide"))
    found = np.zeros((dense.shape[1], len(kinds)))
    num_entries = np.where(kinds < 254, kinds, 0)
    found[codes, np.repeat(np.arange(len(kinds)), num_entries)] = sums
    found[:, kinds == 254] = dense.T
    found[:, kinds == 255] = wide.T
    return found


# Some batches are longer than a block of the loops, some lie far before or after the others.
batches = st.lists(
    st.tuples(
        st.integers(0, 2**32 - 1),
        st.sampled_from([1, 2, 5, 33, 255, 256, 257, 700]),
        st.sampled_from([0.0, 0.3, 7.0, 20.0, -9.0, -40.0]),
        st.sampled_from([1e-3, 1.0, 40.0]),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(batches, st.sampled_from([math.inf, 1_000.0, 86_400_000.0, 1_095 * 86_400_000.0, 12_345.678]))
def test_compiled_sums_are_those_of_numpy_to_the_last_bit(
    made: list[tuple[int, int, float, float, bool]], half_life_ms: float
) -> None:
    decayed, binned = DecayedCounts(half_life_ms), BinnedCounts(7, half_life_ms)
    plain = Plain(half_life_ms, 16, 2**24 if math.isinf(half_life_ms) else 2**12)
    plain_bins = Plain(half_life_ms, 8, 2**14, 7)
    span_ms = 86_400_000.0 if math.isinf(half_life_ms) else half_life_ms
    for seed, num, away, wide, is_strided in made:
        random = np.random.default_rng(seed)
        start_ms = 1_700_000_000_000 + int(away * span_ms)
        times = start_ms + random.integers(0, max(2, int(wide * span_ms)), 2 * num)
        rows = random.integers(0, int(random.integers(1, 200)), 2 * num).astype(np.int32)
        weights = random.choice(np.array([1, 0.001, 0.3, 5, -1], np.float32), 2 * num)
        bins = random.integers(0, 7, 2 * num)
        cut = slice(None, None, 2) if is_strided else slice(num)  # Loops are given arrays with gaps, too.
        rows, bins, times, weights = rows[cut], bins[cut], times[cut], weights[cut]
        decayed.add(rows, times, weights)
        binned.add(rows, bins, times, weights)
        plain.add(rows, np.zeros_like(bins), times, weights)
        plain_bins.add(rows, bins, times, weights)
    assert state_of(decayed) == plain.state()
    assert state_of(binned) == plain_bins.state()


def test_bins_of_times_are_those_of_the_calendar() -> None:
    days = np.arange(-200_000, 200_000)  # From year 1422 to 2517.
    local_ms = days * 86_400_000 + np.random.default_rng(0).integers(0, 86_400_000, len(days))
    bins = np.empty((4, len(days)), np.int64)
    count_kernels.bins_of_times(local_ms, bins, 5)
    dates = days.astype("datetime64[D]")
    of_year = (dates - dates.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64)
    assert np.array_equal(bins[0], local_ms // 3_600_000 % 24)
    assert np.array_equal(bins[1], (days + 3) % 7)
    assert np.array_equal(bins[2], np.minimum(of_year // 5, 72))
    assert np.array_equal(bins[3], dates.astype("datetime64[Y]").astype(np.int64) + 1970)


def test_rows_and_bins_that_have_no_place_are_refused() -> None:
    time_ms, one = np.array([1_000]), np.ones(1, np.float32)
    with pytest.raises(ValueError, match="rows of 0 or more, got row -1"):
        DecayedCounts(1_000.0).add(np.array([-1], np.int32), time_ms, one)
    with pytest.raises(ValueError, match="rows of 0 or more, got row -1"):
        BinnedCounts(3).add(np.array([-1], np.int32), np.zeros(1, np.int64), time_ms, one)
    for bin_ in (-1, 3):
        with pytest.raises(ValueError, match=f"wanted bins from 0 to 2, got {bin_}"):
            BinnedCounts(3).add(np.zeros(1, np.int32), np.array([bin_]), time_ms, one)


def test_columns_of_different_lengths_are_refused() -> None:
    two, one = np.zeros(2, np.int32), np.zeros(1, np.int64)
    with pytest.raises(ValueError, match="length"):
        DecayedCounts(1_000.0).add(two, one, np.ones(2, np.float32))
    with pytest.raises(ValueError, match="length"):
        BinnedCounts(3).add(two, one, np.zeros(2, np.int64), np.ones(2, np.float32))
    with pytest.raises(ValueError, match="length"):
        pair_kernels.add_pairs(PairTable(9), PairTable(9), two, two[:1], 0, 2, np.empty(2, np.bool_))


def num_calls(work: Callable[[], object]) -> int:
    """Return how many functions a piece of work calls, those in C included."""
    events: list[str] = []
    sys.setprofile(lambda frame, event, argument: events.append(event))
    try:
        work()
    finally:
        sys.setprofile(None)
    return sum(event in ("call", "c_call") for event in events)


@pytest.mark.parametrize("num_events", [1, 100, 5_000])
def test_weights_observe_by_few_calls_however_many_events_come(num_events: int) -> None:
    plain = Settings()
    weights = make_context_weights(plain.ranking, load_plugins())
    random = np.random.default_rng(0)
    users, items = random.integers(0, 900, (2, num_events)).astype(np.int32)
    times = 1_700_000_000_000 + np.sort(random.integers(0, 60_000, num_events))
    observed = Observed(users, items, times, np.ones(num_events, np.float32))
    for weight in weights.values():
        weight.observe(observed)
    calls = {name: num_calls(functools.partial(weight.observe, observed)) for name, weight in weights.items()}
    assert sum(calls.values()) <= 150, calls
