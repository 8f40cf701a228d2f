"""Place, weather and whatever else the context says, with numbers worked by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY
from springtide.plugins.contracts import Circumstances, ItemGroups, Moment, Observed
from springtide.testing import check_context_weight
from springtide_plugins.context_weights.circumstances import Attribute, Place, Weather

NOW_MS = 1_700_000_000_000


def observed_of(items, values: dict[str, list[str]], days_ago=None) -> Observed:
    """Return interactions with items, each under the values of the same place; an empty one says nothing."""
    known = {}
    for key, words in values.items():
        distinct = sorted(set(words) - {""})
        codes = np.array([distinct.index(word) if word else -1 for word in words], np.int32)
        known[key] = Circumstances(codes, distinct)
    count = len(items)
    times = NOW_MS - np.array(days_ago if days_ago is not None else [0] * count) * MS_PER_DAY
    users, ones = np.zeros(count, np.int32), np.ones(count, np.float32)
    return Observed(users, np.array(items, np.int32), times.astype(np.int64), ones, known)


def test_lift_is_the_share_at_this_place_over_the_share_at_any():
    weight = Place(prior=1.0)
    weight.observe(observed_of([0, 0, 0, 1, 1, 1], {"place": ["north", "north", "south", "south", "south", ""]}))
    (lifts,) = weight.item_log_lifts(Moment(NOW_MS, place="north"), 3)
    # Of the five that say where, item 0 has three; of the two in the north it has both.
    expected = [(2 + 1) / (3 * 2 / 5 + 1), (0 + 1) / (2 * 2 / 5 + 1), 1.0]
    assert np.exp(lifts).tolist() == pytest.approx(expected)


def test_place_may_come_from_the_attributes():
    weight = Place()
    weight.observe(observed_of([0] * 5 + [1] * 5, {"place": ["north"] * 5 + ["south"] * 5}))
    asked = (Moment(NOW_MS, place="north"), Moment(NOW_MS, attributes={"place": "north"}))
    first, second = (weight.item_log_lifts(moment, 2) for moment in asked)
    assert np.array_equal(first, second)


@pytest.mark.parametrize("place", ["", "nowhere", "x" * 10_000])
def test_place_that_nobody_has_met_is_neutral(place):
    weight = Place()
    weight.observe(observed_of([0, 1], {"place": ["north", "south"]}))
    assert weight.item_log_lifts(Moment(NOW_MS, place=place), 2) is None
    assert weight.bucket(Moment(NOW_MS, place=place)) == weight.bucket(Moment(NOW_MS))


def test_item_that_was_never_seen_borrows_from_its_kind():
    weight = Place(prior=1.0)
    weight.observe(observed_of([0] * 20 + [1] * 20, {"place": ["north"] * 20 + ["south"] * 20}))
    weight.regroup(ItemGroups(("type",), (np.array([0, 1, 0], np.int32),), (2,)))
    (lifts,) = weight.item_log_lifts(Moment(NOW_MS, place="north"), 3)
    assert lifts[2] == pytest.approx(math.log((20 + 1) / (10 + 1)), abs=0.05)
    assert lifts[1] < -0.5


def test_temperature_counts_by_bands():
    weight = Weather(temperature_edges=(10.0, 20.0), prior=1.0)
    weight.observe(
        observed_of([0, 0, 1, 1, 1], {"temperature": ["25", "20.0", "9.9", "-3", "warm"], "weather": [""] * 5})
    )
    condition, temperature = weight.item_log_lifts(Moment(NOW_MS, attributes={"temperature": "31.5"}), 2)
    assert not condition.any()
    assert np.exp(temperature).tolist() == pytest.approx([(2 + 1) / (1 + 1), (0 + 1) / (1 + 1)])
    for said in ("19.9", "warm", "nan", "inf", ""):
        assert weight.item_log_lifts(Moment(NOW_MS, attributes={"temperature": said}), 2) is None


def test_condition_and_temperature_have_factors_of_their_own():
    weight = Weather()
    assert [factor.name for factor in weight.factors] == ["weather", "temperature"]
    weight.observe(observed_of([0, 1], {"weather": ["rain", "sun"]}))
    condition, temperature = weight.item_log_lifts(Moment(NOW_MS, weather="rain"), 2)
    assert condition[0] > 0 > condition[1]
    assert not temperature.any()


def test_attributes_are_named_in_the_settings():
    weight = Attribute(names=("channel", "device"))
    assert weight.context_keys == ("channel", "device")
    weight.observe(observed_of([0, 1], {"channel": ["app", "web"], "device": ["phone", ""]}))
    channel, device = weight.item_log_lifts(Moment(NOW_MS, attributes={"channel": "app", "device": "phone"}), 2)
    assert channel[0] > 0 > channel[1]
    assert not device.any(), "all that say so say the same: that tells nothing"


def test_what_was_seen_fades():
    fading, lasting = Place(half_life_days=1.0, prior=1.0), Place(prior=1.0)
    seen = observed_of([0] * 40 + [1] * 40, {"place": ["north"] * 80}, [30] * 40 + [0] * 40)
    elsewhere = observed_of([0] * 40 + [1] * 40, {"place": ["south"] * 80})
    for weight in (fading, lasting):
        weight.observe(seen)
        weight.observe(elsewhere)
    found = fading.item_log_lifts(Moment(NOW_MS, place="north"), 2)[0]
    assert found[1] > 0.3 > -0.3 > found[0], "of late, the north takes item 1"
    assert (
        lasting.item_log_lifts(Moment(NOW_MS, place="north"), 2) is None
        or abs(lasting.item_log_lifts(Moment(NOW_MS, place="north"), 2)[0, 0]) < 0.05
    )


def test_no_more_values_are_kept_than_wanted():
    weight = Attribute(names=("store",), max_values=3)
    stores = [f"store {number}" for number in range(100)]
    weight.observe(observed_of([number % 2 for number in range(100)], {"store": stores}))
    met = [store for store in stores if weight.bucket(Moment(NOW_MS, attributes={"store": store})) != ("",)]
    assert len(met) == 3
    assert weight.state()["store/labels"].tolist() == sorted(met)


def test_only_values_that_occur_are_looked_at():
    class Many(list):
        def __iter__(self):
            pytest.fail("went through every value that was ever met")

    observed = observed_of([0, 1], {"place": ["north", ""]})
    weight = Place()
    weight.observe(replace(observed, circumstances={"place": Circumstances(np.array([1, -1], np.int32), Many("sn"))}))
    assert weight.state()["place/labels"].tolist() == ["n"]


def test_keys_that_nobody_named_change_nothing():
    weight = Place()
    weight.observe(observed_of([0, 1], {"place": ["north", "south"]}))
    odd = {f"key {number}": "x" * 1_000 for number in range(64)}
    plain, asked = Moment(NOW_MS, place="north"), Moment(NOW_MS, place="north", attributes=odd)
    assert weight.bucket(asked) == weight.bucket(plain)
    assert np.array_equal(weight.item_log_lifts(asked, 2), weight.item_log_lifts(plain, 2))


def test_codes_of_another_state_mean_the_same_words():
    weight = Place(prior=1.0)
    weight.observe(observed_of([0], {"place": ["south"]}))
    weight.observe(observed_of([1, 0], {"place": ["north", "south"]}))  # Here north has the code that south had.
    (lifts,) = weight.item_log_lifts(Moment(NOW_MS, place="south"), 2)
    assert lifts[0] > 0 > lifts[1]


@pytest.mark.parametrize("make", [Place, Weather, lambda: Attribute(names=("channel", "device"))])
def test_contract_is_kept(make):
    check_context_weight(make)


@pytest.mark.parametrize("half_life_days", [None, 30.0])
def test_state_comes_back_the_same_and_order_does_not_matter(half_life_days):
    generator = np.random.default_rng(0)
    items, days = generator.integers(0, 5, 60), generator.integers(0, 90, 60)
    places = [("north", "south", "")[number] for number in generator.integers(0, 3, 60)]
    whole, parts, restored = (Place(half_life_days=half_life_days) for _ in range(3))
    whole.observe(observed_of(items, {"place": places}, days))
    for place in generator.permutation(60):
        parts.observe(observed_of(items[[place]], {"place": [places[place]]}, days[[place]]))
    restored.restore(whole.state())
    for place in ("north", "south"):
        expected = whole.item_log_lifts(Moment(NOW_MS, place=place), 7)
        for other in (parts, restored):
            np.testing.assert_allclose(other.item_log_lifts(Moment(NOW_MS, place=place), 7), expected, atol=1e-5)
    assert all(array.dtype.kind in "ifU" for array in whole.state().values()), "no pickle"
