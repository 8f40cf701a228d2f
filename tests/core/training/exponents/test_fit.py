"""The fit recovers the exponents that choices were simulated with."""

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
    """Return choices of random users among all items, simulated with the model of the ranking.

    Unseen items: 3 · cosine + 0.7 · popularity + 0.8 · liked − 0.6 · signed + ``unsigned`` times the factor of that
    name. Seen items: 1.5 · cosine + 0.3 · popularity + 0.4 · liked + ``had``. ``useless`` has no effect. The first
    choices follow random preferences, or popularity would be collinear with the factors that make items popular.
    """
    generator = np.random.default_rng(3)
    popularity, lifts = Popularity(), Fixed().item_log_lifts(Moment(0), NUM_ITEMS)
    is_seen = np.zeros((NUM_USERS, NUM_ITEMS), bool)
    at_random = np.random.default_rng(8).normal(size=NUM_ITEMS)
    events = []
    for number in range(NUM_EVENTS):
        user = int(generator.integers(NUM_USERS))
        cosine = ITEMS @ USERS[user]
        found = popularity.item_log_lifts(Moment(0), NUM_ITEMS)
        share = np.zeros(NUM_ITEMS) if found is None else found[0]  # None before the first choice.
        unseen = 3.0 * cosine + 0.7 * share + 0.8 * lifts[0] - 0.6 * lifts[2] + unsigned * lifts[3]
        seen = 1.5 * cosine + 0.3 * share + 0.4 * lifts[0] + had
        scores = np.where(is_seen[user], seen, unseen) if number > SPLIT * 3 // 4 else at_random
        item = int((scores + generator.gumbel(size=NUM_ITEMS)).argmax())
        is_seen[user, item] = True
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
def test_exponents_of_unseen_items_are_recovered(had):
    unseen = fitted(had).exponents.unseen
    assert unseen.cosine == pytest.approx(3.0, abs=0.3)
    assert unseen.factors["popularity"]["share"] == pytest.approx(0.7, abs=0.2)
    assert unseen.factors["fixed"]["liked"] == pytest.approx(0.8, abs=0.1)


def test_exponents_of_seen_items_are_recovered():
    seen = fitted(2.0).exponents.seen
    assert seen.cosine == pytest.approx(1.5, abs=0.3)
    assert seen.factors["popularity"]["share"] == pytest.approx(0.3, abs=0.2)
    assert seen.factors["fixed"]["liked"] == pytest.approx(0.4, abs=0.1)


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
    """Records what it had observed whenever its lifts were computed."""

    def __init__(self) -> None:
        self.num_seen, self.newest_ms = 0, 0
        self.asked: list[tuple[int, int, int]] = []  # Moment, number of events observed, time of the newest.

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


def test_weights_have_not_observed_the_events_that_are_predicted(monkeypatch):
    class Problem(exponents.ConditionalLogit):
        num_seen = 0

        def observe(self, observed):
            self.num_seen += len(observed)
            super().observe(observed)

        def add(self, moment, events, frozen_ms, generator):
            assert events.min() >= self.num_seen
            self.asked = choices(2.0).timestamps_ms[events].tolist()
            super().add(moment, events, frozen_ms, generator)
            assert not self.asked

        def _history(self, user, before_ms):
            assert before_ms == self.asked.pop(0)  # The event's own time: earlier events of its hour count.
            return super()._history(user, before_ms)

    monkeypatch.setattr(exponents, "ConditionalLogit", Problem)
    assert fit_exponents(choices(2.0), SPLIT, USERS, ITEMS, dict, SETTINGS, seed=0) is not None


class Seasonal(ContextWeight):
    """A pattern that is chosen on even days and avoided on odd ones, and a pattern without effect."""

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
    # The latest slice lies within one day: a season looks like constant popularity there.
    found = fit_exponents(events, NUM_EVENTS - 20, USERS, ITEMS, lambda: {"seasonal": Seasonal()}, SETTINGS, seed=0)
    assert found is not None
    factors = found.exponents.unseen.factors["seasonal"]
    assert factors["season"] == pytest.approx(0.8, abs=0.15)
    assert factors["useless"] == pytest.approx(0.0, abs=0.1)


def test_slice_without_known_users_gives_no_fit():
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
    """A pattern that is chosen at one place and avoided at the other."""

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
    """Two factors that are nearly collinear, and one without effect."""

    factors = (Factor("one"), Factor("other", is_signed=True), Factor("noise", is_signed=True))

    def item_log_lifts(self, moment, num_items):
        one, change, noise = np.random.default_rng(13).normal(size=(3, num_items)).astype(np.float32)
        return np.stack([one, one + 0.02 * change, noise])


def test_one_of_two_collinear_factors_stays_and_noise_goes():
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

    every, significant = exponents_of(0.0), exponents_of(2.5)
    assert every["noise"] != 0.0
    assert significant["noise"] == 0.0
    assert sorted([significant["one"] == 0.0, significant["other"] == 0.0]) == [False, True]
    assert significant["one"] + significant["other"] == pytest.approx(0.8, abs=0.1)


class OfTheYear(ContextWeight):
    """A calendar: the share of an item in a tenth of the time, over its share in all of it."""

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
    """Half of the items arrive one by one; with seasons, each item is popular in three tenths of the time."""
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
    """How often an item was chosen lately, over how often in all."""

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
    """Each of eight slices likes some items; where a fashion goes on, the next slice still likes most of them."""
    generator = np.random.default_rng(16)
    liked = generator.normal(size=(9, NUM_ITEMS))
    slices = []
    for number in range(8):
        if number and goes_on[number]:
            liked[number] = 0.9 * liked[number - 1] + 0.4 * liked[number]
        slices += [(1.2 * liked[number] + generator.gumbel(size=(500, NUM_ITEMS))).argmax(1)]
    items = np.concatenate(slices)
    times = START_MS + np.arange(len(items)) * MS_PER_HOUR
    events = observed_of(zip(generator.integers(0, NUM_USERS, len(items)), items, times, strict=True))
    settings = replace(SETTINGS, is_live=False)

    def make_weights():
        return {"popularity": Popularity(), "of_late": OfLate()}

    found = fit_exponents(events, 3_500, USERS, ITEMS, make_weights, settings, seed=0)
    assert found is not None
    assert low <= found.exponents.unseen.factors["of_late"]["late"] <= high
    assert found.errors.unseen.factors["of_late"]["late"] > 0.0


def updated(prior: FittedPrior | None, num_events: int, is_live: bool = True) -> ExponentFit:
    """Return the fit on the last of the choices, with a prior."""
    found = fit_exponents(
        choices(2.0),
        NUM_EVENTS - num_events,
        USERS,
        ITEMS,
        lambda: {"popularity": Popularity(), "fixed": Fixed(), "had": Had()},
        replace(SETTINGS, is_live=is_live),
        seed=0,
        prior=prior,
    )
    assert found is not None
    return found


def prior_with(cosine: float, error: float) -> FittedPrior:
    """Return the exponents found on all choices, but another cosine of unseen items, and the same error everywhere."""
    found = fitted(2.0).exponents
    unseen = replace(found.unseen, cosine=cosine)
    errors = TermExponents(error, {name: dict.fromkeys(factors, error) for name, factors in unseen.factors.items()})
    return FittedPrior(Exponents(unseen, found.seen), Exponents(errors, errors))


def test_few_choices_hardly_change_a_precise_prior():
    found = updated(prior_with(2.2, 0.01), 100)
    assert found.exponents.unseen.cosine == pytest.approx(2.2, abs=0.05)
    assert found.exponents.unseen.factors["fixed"]["liked"] == pytest.approx(0.8, abs=0.1)
    assert found.errors.unseen.cosine < 0.02


def test_many_choices_overrule_a_vague_prior():
    assert updated(prior_with(1.0, 1.0), 4_000).exponents.unseen.cosine == pytest.approx(3.0, abs=0.3)


def test_prior_and_choices_are_weighed_by_their_errors():
    alone, error = updated(None, 500).exponents.unseen.cosine, updated(None, 500).errors.unseen.cosine
    # The variance of the prior is doubled, so that it weighs as much as the choices do.
    found = updated(prior_with(1.0, error / np.sqrt(2.0)), 500)
    assert found.exponents.unseen.cosine == pytest.approx((alone + 1.0) / 2, abs=0.25)


def test_exponents_of_the_whole_history_stay_under_a_prior():
    sides = [
        TermExponents(1.0, {"seasonal": {"season": 0.25, "useless": 0.125}}),
        TermExponents(0.5, {"seasonal": {"season": 0.5, "useless": 0.0}}),
    ]
    errors = TermExponents(0.1, {"seasonal": {"season": 0.05, "useless": 0.05}})
    prior = FittedPrior(Exponents(*sides), Exponents(errors, errors))
    found = fit_exponents(
        choices(2.0), SPLIT, USERS, ITEMS, lambda: {"seasonal": Seasonal()}, SETTINGS, seed=0, prior=prior
    )
    assert found is not None
    assert [found.exponents.unseen.factors, found.exponents.seen.factors] == [side.factors for side in sides]
    assert found.errors.unseen.factors["seasonal"] == {"season": 0.05, "useless": 0.05}, "the errors stay too"


def test_prior_that_lacks_a_factor_is_ignored(monkeypatch):
    monkeypatch.setitem(globals(), "SETTINGS", replace(SETTINGS, num_moments_with_prior=2))
    prior = prior_with(0.5, 1e-3)
    with_prior = updated(prior, 4_000)
    lacking = TermExponents(0.5, {name: of for name, of in prior.exponents.unseen.factors.items() if name != "had"})
    found = updated(replace(prior, exponents=replace(prior.exponents, unseen=lacking)), 4_000)
    assert found.exponents.unseen.cosine == pytest.approx(3.0, abs=0.3)
    assert found.num_events == updated(None, 4_000).num_events > 10 * with_prior.num_events
