"""Exponents are found again on choices that were made by known ones."""

import functools
from dataclasses import replace

import numpy as np
import pytest

from springtide.clock import MS_PER_DAY, MS_PER_HOUR
from springtide.model.exponents import Exponents, TermExponents
from springtide.plugins.contracts import Circumstances, ContextWeight, Factor, Moment, Observed
from springtide.testing import START_MS, observed_of
from springtide.training.exponents import fit as exponents
from springtide.training.exponents.fit import ExponentFit, FittedPrior, fit_exponents
from springtide.training.exponents.logit import ExponentSettings
from springtide_plugins.context_weights.popularity import Popularity

NUM_USERS, NUM_ITEMS, WIDTH, NUM_EVENTS, SPLIT = 600, 40, 6, 7_000, 2_500
SETTINGS = ExponentSettings(num_moments=64, events_per_moment=64, num_samples=80, penalty=1e-5)


class Fixed(ContextWeight):
    """Lifts that never change."""

    factors = (Factor("liked"), Factor("useless"), Factor("signed", is_signed=True), Factor("unsigned"))

    def item_log_lifts(self, moment, num_items):
        liked, useless, disliked = np.random.default_rng(7).normal(size=(3, num_items)).astype(np.float32)
        return np.stack([liked, useless, disliked, disliked**2])


class Had(ContextWeight):
    """Whether the user had it."""

    factors = (Factor("had", is_signed=True),)

    def history_log_lifts(self, history, moment):
        return np.ones((1, len(history.distinct()[0])), np.float32)


def unit_vectors(num_rows: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(num_rows, WIDTH)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


USERS, ITEMS = unit_vectors(NUM_USERS, 1), unit_vectors(NUM_ITEMS, 2)


@functools.cache
def choices(had: float, unsigned: float = 0.0) -> Observed:
    """Return choices of random users, each made among all items by the ranking's own model.

    New items: 3 · cosine + 0.7 · popularity + 0.8 · liked − 0.6 · signed + ``unsigned`` times the factor of that name.
    Items that the user had: 1.5 · cosine + 0.3 · popularity + 0.4 · liked + ``had``. Nothing comes of ``useless``. At
    first some items are popular for no reason, or popularity would say the same as what makes items popular.
    """
    generator = np.random.default_rng(3)
    popularity, lifts = Popularity(), Fixed().item_log_lifts(Moment(0), NUM_ITEMS)
    owns = np.zeros((NUM_USERS, NUM_ITEMS), bool)
    for_no_reason = np.random.default_rng(8).normal(size=NUM_ITEMS)
    events = []
    for number in range(NUM_EVENTS):
        user = int(generator.integers(NUM_USERS))
        cosine = ITEMS @ USERS[user]
        (share,) = popularity.item_log_lifts(Moment(0), NUM_ITEMS)
        of_new = 3.0 * cosine + 0.7 * share + 0.8 * lifts[0] - 0.6 * lifts[2] + unsigned * lifts[3]
        of_own = 1.5 * cosine + 0.3 * share + 0.4 * lifts[0] + had
        of_any = np.where(owns[user], of_own, of_new) if number > SPLIT * 3 // 4 else for_no_reason
        item = int((of_any + generator.gumbel(size=NUM_ITEMS)).argmax())
        owns[user, item] = True
        events.append((user, item, START_MS + number * MS_PER_HOUR // 20))
        popularity.observe(observed_of(events[-1:]))
    return observed_of(events)


@functools.cache
def fitted(had: float, unsigned: float = 0.0):
    found = fit_exponents(
        choices(had, unsigned),
        SPLIT,
        USERS,
        ITEMS,
        lambda: {"popularity": Popularity(), "fixed": Fixed(), "had": Had()},
        SETTINGS,
        seed=0,
    )
    assert found is not None
    return found


@pytest.mark.parametrize("had", [2.0, -1.0])
def test_exponents_of_new_items_are_found_again(had):
    new = fitted(had).exponents.unseen
    assert new.cosine == pytest.approx(3.0, abs=0.3)
    assert new.factors["popularity"]["share"] == pytest.approx(0.7, abs=0.2)
    assert new.factors["fixed"]["liked"] == pytest.approx(0.8, abs=0.1)


def test_exponents_of_own_items_are_found_again():
    own = fitted(2.0).exponents.seen
    assert own.cosine == pytest.approx(1.5, abs=0.3)
    assert own.factors["popularity"]["share"] == pytest.approx(0.3, abs=0.2)
    assert own.factors["fixed"]["liked"] == pytest.approx(0.4, abs=0.1)


@pytest.mark.parametrize("had", [2.0, -1.0])
def test_habit_may_be_of_either_sign(had):
    assert fitted(had).exponents.seen.factors["had"]["had"] == pytest.approx(had, abs=0.4)


def test_useless_factor_gets_no_weight():
    assert fitted(2.0).exponents.unseen.factors["fixed"]["useless"] == pytest.approx(0.0, abs=0.05)


def test_signed_factor_may_count_against_an_item():
    assert fitted(2.0).exponents.unseen.factors["fixed"]["signed"] == pytest.approx(-0.6, abs=0.1)


def test_unsigned_factor_never_counts_against_an_item():
    assert fitted(2.0, unsigned=-0.3).exponents.unseen.factors["fixed"]["unsigned"] == 0.0


def test_temperature_is_one_over_what_cosines_are_multiplied_by():
    found = fitted(2.0).exponents
    assert found.temperature == pytest.approx(1 / found.unseen.cosine)


def test_fit_is_the_same_every_time():
    assert fitted.__wrapped__(2.0) == fitted(2.0)


class Recording(ContextWeight):
    """Notes what it was shown before it was asked."""

    def __init__(self) -> None:
        self.num_seen, self.newest_ms = 0, 0
        self.asked: list[tuple[int, int, int]] = []  # Moment, events seen until then, time of the newest of them.

    def observe(self, observed):
        self.num_seen += len(observed)
        self.newest_ms = max(self.newest_ms, int(observed.timestamps_ms.max()))

    def bucket(self, moment):
        return moment.timestamp_ms // MS_PER_DAY

    def item_log_lifts(self, moment, num_items):
        self.asked.append((moment.timestamp_ms, self.num_seen, self.newest_ms))


def record(is_live: bool) -> Recording:
    made: list[Recording] = []

    def make():
        made.append(Recording())
        return {"recording": made[-1]}

    settings = ExponentSettings(num_moments=20, events_per_moment=16, num_samples=20, is_live=is_live)
    assert fit_exponents(choices(2.0), SPLIT, USERS, ITEMS, make, settings, seed=0) is not None
    return next(weight for weight in made if weight.asked)


def test_live_features_are_as_of_each_moment():
    asked = record(is_live=True).asked
    assert len(asked) > 10
    assert asked == sorted(asked)
    assert all(num_seen >= SPLIT for _, num_seen, _ in asked)
    assert asked[-1][1] > NUM_EVENTS * 0.9


def test_frozen_features_are_as_of_the_start_of_the_slice():
    start_ms = int(choices(2.0).timestamps_ms[SPLIT])
    assert {(at, num_seen) for at, num_seen, _ in record(is_live=False).asked} == {(start_ms, SPLIT)}


def test_weights_have_not_seen_the_events_that_are_asked_for(monkeypatch):
    class Problem(exponents.ConditionalLogit):
        num_seen = 0

        def observe(self, seen):
            self.num_seen += len(seen)
            super().observe(seen)

        def add(self, moment, events, frozen_ms, generator):
            assert events.min() >= self.num_seen
            self.asked = choices(2.0).timestamps_ms[events].tolist()
            super().add(moment, events, frozen_ms, generator)
            assert not self.asked

        def _history(self, user, before_ms):
            assert before_ms == self.asked.pop(0)  # That of the event itself: what came before it in its hour counts.
            return super()._history(user, before_ms)

    monkeypatch.setattr(exponents, "ConditionalLogit", Problem)
    assert fit_exponents(choices(2.0), SPLIT, USERS, ITEMS, dict, SETTINGS, seed=0) is not None


class Seasonal(ContextWeight):
    """Items that are wanted on even days, and shunned on odd ones, by a pattern; and a pattern that means nothing."""

    factors = (Factor("season", needs_whole_history=True), Factor("useless", needs_whole_history=True))

    def bucket(self, moment):
        return moment.timestamp_ms // MS_PER_DAY % 2

    def item_log_lifts(self, moment, num_items):
        patterns = np.random.default_rng(9).normal(size=(2, num_items)).astype(np.float32)
        return patterns if self.bucket(moment) == 0 else -patterns


def test_exponents_that_need_the_whole_history_are_learned_from_all_of_it():
    generator = np.random.default_rng(10)
    times = START_MS + np.arange(NUM_EVENTS) * MS_PER_HOUR
    seasons = np.stack([Seasonal().item_log_lifts(Moment(int(time)), NUM_ITEMS)[0] for time in times])
    items = (0.8 * seasons + generator.gumbel(size=seasons.shape)).argmax(1)
    events = observed_of(zip(generator.integers(0, NUM_USERS, NUM_EVENTS), items, times, strict=True))
    # The latest slice lies within one day: it cannot tell a season from what is always so.
    found = fit_exponents(events, NUM_EVENTS - 20, USERS, ITEMS, lambda: {"seasonal": Seasonal()}, SETTINGS, seed=0)
    assert found is not None
    factors = found.exponents.unseen.factors["seasonal"]
    assert factors["season"] == pytest.approx(0.8, abs=0.15)
    assert factors["useless"] == pytest.approx(0.0, abs=0.1)


def test_users_without_a_past_say_nothing():
    events = observed_of([(0, 0, 1), (1, 1, 2), (2, 0, 3)])
    assert fit_exponents(events, 2, USERS, ITEMS, dict, SETTINGS, seed=0) is None


def test_cosine_alone_can_be_fitted():
    found = fit_exponents(choices(2.0), SPLIT, USERS, ITEMS, dict, SETTINGS, seed=0)
    assert found is not None
    assert found.exponents.unseen.factors == {}
    assert found.exponents.unseen.cosine > 1.0


def test_true_exponents_lie_within_a_few_standard_errors():
    found = fitted(2.0)
    for (side, true), error in (
        ((found.exponents.unseen.cosine, 3.0), found.errors.unseen.cosine),
        ((found.exponents.unseen.factors["fixed"]["liked"], 0.8), found.errors.unseen.factors["fixed"]["liked"]),
        ((found.exponents.unseen.factors["fixed"]["signed"], -0.6), found.errors.unseen.factors["fixed"]["signed"]),
        ((found.exponents.seen.factors["fixed"]["liked"], 0.4), found.errors.seen.factors["fixed"]["liked"]),
    ):
        assert 0.0 < error < 0.2
        assert abs(side - true) < 4 * error


class Placed(ContextWeight):
    """Items that are wanted at one place and shunned at the other, by a pattern."""

    factors = (Factor("place"),)
    context_keys = ("place",)

    def bucket(self, moment):
        return moment.place

    def item_log_lifts(self, moment, num_items):
        pattern = np.random.default_rng(11).normal(size=(1, num_items)).astype(np.float32)
        return {"north": pattern, "south": -pattern}.get(moment.place, 0 * pattern)


@pytest.mark.parametrize("is_live", [True, False])
@pytest.mark.parametrize("true", [0.8, 0.0])
def test_exponent_of_a_circumstance_is_learned_from_the_events_own(is_live, true):
    generator = np.random.default_rng(12)
    places = ["north", "south"]
    codes = generator.integers(-1, 2, NUM_EVENTS).astype(np.int32)  # A third of the events do not say where.
    pattern = Placed().item_log_lifts(Moment(0, "north"), NUM_ITEMS)[0]
    signs = np.array([1.0, -1.0, 0.0])[codes]
    items = (true * signs[:, None] * pattern + generator.gumbel(size=(NUM_EVENTS, NUM_ITEMS))).argmax(1)
    times = START_MS + np.arange(NUM_EVENTS) * MS_PER_HOUR // 20
    events = observed_of(zip(generator.integers(0, NUM_USERS, NUM_EVENTS), items, times, strict=True))
    events = replace(events, circumstances={"place": Circumstances(codes, places)})
    settings = replace(SETTINGS, is_live=is_live)
    found = fit_exponents(events, SPLIT, USERS, ITEMS, lambda: {"placed": Placed()}, settings, seed=0)
    assert found is not None
    assert found.exponents.unseen.factors["placed"]["place"] == pytest.approx(true, abs=0.12)


class Twins(ContextWeight):
    """Two factors that say almost the same, and one that says nothing."""

    factors = (Factor("one"), Factor("other", is_signed=True), Factor("noise", is_signed=True))

    def item_log_lifts(self, moment, num_items):
        one, change, noise = np.random.default_rng(13).normal(size=(3, num_items)).astype(np.float32)
        return np.stack([one, one + 0.02 * change, noise])


def test_of_two_factors_that_say_the_same_one_stays_and_noise_goes():
    generator = np.random.default_rng(14)
    lifts = Twins().item_log_lifts(Moment(0), NUM_ITEMS)
    items = (0.8 * lifts[0] + generator.gumbel(size=(NUM_EVENTS, NUM_ITEMS))).argmax(1)
    times = START_MS + np.arange(NUM_EVENTS) * MS_PER_HOUR // 20
    events = observed_of(zip(generator.integers(0, NUM_USERS, NUM_EVENTS), items, times, strict=True))

    def exponents_of(min_z):
        settings = replace(SETTINGS, min_z=min_z)
        found = fit_exponents(events, SPLIT, USERS, ITEMS, lambda: {"twins": Twins()}, settings, seed=0)
        assert found is not None
        return found.exponents.unseen.factors["twins"]

    every, told = exponents_of(0.0), exponents_of(2.5)
    assert every["noise"] != 0.0
    assert told["noise"] == 0.0
    assert sorted([told["one"] == 0.0, told["other"] == 0.0]) == [False, True]
    assert told["one"] + told["other"] == pytest.approx(0.8, abs=0.1)


class OfTheYear(ContextWeight):
    """What a calendar says: an item's share of what is taken in a tenth of the time, over its share of all."""

    factors = (Factor("year", needs_whole_history=True),)

    def __init__(self):
        self._counts = np.zeros((10, NUM_ITEMS))

    def observe(self, observed):
        tenths = (observed.timestamps_ms - START_MS) * 10 // (NUM_EVENTS * MS_PER_HOUR)
        np.add.at(self._counts, (tenths, observed.item_rows), 1.0)

    def bucket(self, moment):
        return (moment.timestamp_ms - START_MS) * 10 // (NUM_EVENTS * MS_PER_HOUR)

    def item_log_lifts(self, moment, num_items):
        now, usual = self._counts[self.bucket(moment)], self._counts.sum(0)
        expected = usual * now.sum() / max(usual.sum(), 1.0)
        return np.log((now + 5.0) / (expected + 5.0))[None, :].astype(np.float32)


@pytest.mark.parametrize("is_seasonal", [True, False])
def test_items_that_came_late_are_not_taken_for_a_season(is_seasonal):
    """Half of the items come one after the other; in a market with seasons each has three tenths of its own."""
    generator = np.random.default_rng(15)
    numbers = np.arange(NUM_EVENTS)
    comes_at = np.where(np.arange(NUM_ITEMS) % 2, np.arange(NUM_ITEMS) * NUM_EVENTS // 60, 0)
    in_season = (numbers[:, None] * 10 // NUM_EVENTS - np.arange(NUM_ITEMS)) % 10 < 3
    popularity = generator.normal(size=NUM_ITEMS)
    logits = np.where(numbers[:, None] >= comes_at, popularity + 1.5 * is_seasonal * in_season, -np.inf)
    items = (logits + generator.gumbel(size=logits.shape)).argmax(1)
    users = generator.integers(0, NUM_USERS, NUM_EVENTS)
    events = observed_of(zip(users, items, START_MS + numbers * MS_PER_HOUR, strict=True))
    settings = replace(SETTINGS, min_z=2.5)

    def make_weights():
        return {"popularity": Popularity(), "year": OfTheYear()}

    found = fit_exponents(events, NUM_EVENTS * 9 // 10, USERS, ITEMS, make_weights, settings, seed=0)
    assert found is not None
    exponent = found.exponents.unseen.factors["year"]["year"]
    assert exponent > 0.5 if is_seasonal else exponent == 0.0


class OfLate(ContextWeight):
    """How often an item was taken lately, over how often it ever was."""

    factors = (Factor("late", is_short_lived=True),)

    def __init__(self):
        self._seen = np.zeros(0, np.int32)

    def observe(self, observed):
        self._seen = np.concatenate([self._seen, observed.item_rows])

    def item_log_lifts(self, moment, num_items):
        late, ever = (np.bincount(seen, minlength=num_items) + 1.0 for seen in (self._seen[-200:], self._seen))
        return np.log(late / late.sum() * ever.sum() / ever)[None, :].astype(np.float32)


@pytest.mark.parametrize(("goes_on", "low", "high"), [([True] * 8, 0.5, 1.5), ([False] * 7 + [True], 0.0, 0.4)])
def test_trend_that_went_on_once_is_not_trusted(goes_on, low, high):
    """In each of eight parts some items are liked; in the next part most of them still are, if the fashion goes on."""
    generator = np.random.default_rng(16)
    liked = generator.normal(size=(9, NUM_ITEMS))
    of_part = []
    for number in range(8):
        if number and goes_on[number]:
            liked[number] = 0.9 * liked[number - 1] + 0.4 * liked[number]
        of_part += [(1.2 * liked[number] + generator.gumbel(size=(500, NUM_ITEMS))).argmax(1)]
    items = np.concatenate(of_part)
    times = START_MS + np.arange(len(items)) * MS_PER_HOUR
    events = observed_of(zip(generator.integers(0, NUM_USERS, len(items)), items, times, strict=True))
    settings = replace(SETTINGS, is_live=False)

    def make_weights():
        return {"popularity": Popularity(), "of_late": OfLate()}

    found = fit_exponents(events, 3_500, USERS, ITEMS, make_weights, settings, seed=0)
    assert found is not None
    assert low <= found.exponents.unseen.factors["of_late"]["late"] <= high
    assert found.errors.unseen.factors["of_late"]["late"] > 0.0


def amended(known: FittedPrior | None, num_events: int, is_live: bool = True) -> ExponentFit:
    """Return exponents of the last of the choices, given what is known of the exponents."""
    found = fit_exponents(
        choices(2.0),
        NUM_EVENTS - num_events,
        USERS,
        ITEMS,
        lambda: {"popularity": Popularity(), "fixed": Fixed(), "had": Had()},
        replace(SETTINGS, is_live=is_live),
        seed=0,
        known=known,
    )
    assert found is not None
    return found


def known_with(cosine: float, error: float) -> FittedPrior:
    """Return what was found on the choices, but for the cosine of new items, with the same error everywhere."""
    found = fitted(2.0).exponents
    new = replace(found.unseen, cosine=cosine)
    errors = TermExponents(error, {name: dict.fromkeys(factors, error) for name, factors in new.factors.items()})
    return FittedPrior(Exponents(new, found.seen), Exponents(errors, errors))


def test_few_choices_hardly_change_what_is_known_for_sure():
    found = amended(known_with(2.2, 0.01), 100)
    assert found.exponents.unseen.cosine == pytest.approx(2.2, abs=0.05)
    assert found.exponents.unseen.factors["fixed"]["liked"] == pytest.approx(0.8, abs=0.1)
    assert found.errors.unseen.cosine < 0.02


def test_choices_overrule_what_is_hardly_known():
    assert amended(known_with(1.0, 1.0), 4_000).exponents.unseen.cosine == pytest.approx(3.0, abs=0.3)


def test_what_is_known_and_what_is_seen_are_weighed_by_their_errors():
    alone, error = amended(None, 500).exponents.unseen.cosine, amended(None, 500).errors.unseen.cosine
    # Beliefs are trusted half as much as their errors say, so this one weighs as much as the choices do.
    found = amended(known_with(1.0, error / np.sqrt(2.0)), 500)
    assert found.exponents.unseen.cosine == pytest.approx((alone + 1.0) / 2, abs=0.25)


def test_exponents_of_the_whole_history_stay_when_a_fit_goes_on():
    sides = [
        TermExponents(1.0, {"seasonal": {"season": 0.25, "useless": 0.125}}),
        TermExponents(0.5, {"seasonal": {"season": 0.5, "useless": 0.0}}),
    ]
    errors = TermExponents(0.1, {"seasonal": {"season": 0.05, "useless": 0.05}})
    known = FittedPrior(Exponents(*sides), Exponents(errors, errors))
    found = fit_exponents(
        choices(2.0), SPLIT, USERS, ITEMS, lambda: {"seasonal": Seasonal()}, SETTINGS, seed=0, known=known
    )
    assert found is not None
    assert [found.exponents.unseen.factors, found.exponents.seen.factors] == [side.factors for side in sides]
    assert found.errors.unseen.factors["seasonal"] == {"season": 0.05, "useless": 0.05}, "the errors stay too"


def test_a_fit_starts_anew_if_a_factor_was_not_known(monkeypatch):
    monkeypatch.setitem(globals(), "SETTINGS", replace(SETTINGS, num_amending=2))
    known = known_with(0.5, 1e-3)
    amending = amended(known, 4_000)
    lacking = TermExponents(0.5, {name: of for name, of in known.exponents.unseen.factors.items() if name != "had"})
    found = amended(replace(known, exponents=replace(known.exponents, unseen=lacking)), 4_000)
    assert found.exponents.unseen.cosine == pytest.approx(3.0, abs=0.3)
    assert found.num_events == amended(None, 4_000).num_events > 10 * amending.num_events
