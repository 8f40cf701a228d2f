"""A simulated market with known ground truth: who buys what, when, and the effects of time, place and weather."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY, MS_PER_HOUR
from springtide.events.model import EventBatch, Interactions, NodeUpsert
from springtide.interactions import Moment

Array = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]

EFFECTS = ("year", "weekday", "hour", "place", "weather")
START_MS = 1_577_836_800_000  # 2020-01-01, a Wednesday.
_START_WEEKDAY = 2  # Monday is 0.
_DAYS_PER_YEAR = 365.25
_NUM_MONTH_DAYS = 30
_NUM_FACTORS = 8
_EVENTS_AT_ONCE = 4_096  # With 400 items, 6 MB of scores, which fit in the CPU cache.
_WEATHERS = ("clear", "cloudy", "rain", "storm")
_ZONES = (("UTC", 0), ("Etc/GMT-3", 3), ("Etc/GMT+5", -5))  # POSIX signs: GMT-3 is three hours ahead. No summer time.


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """Size and ground truth of the market.

    Attributes:
        num_users: Number of users; some are far more active than others.
        num_items: Number of items; some are far more popular than others.
        num_categories: Number of item categories; four categories make a department.
        num_events: Number of interactions, spread evenly over the years.
        num_years: Length of the simulation, from 2020 on.
        num_places: Number of places, each with a time zone.
        home_share: Share of a user's interactions that are in the user's home place; the others are anywhere. Above 0,
            a place predicts something even without a place effect: the tastes of the users who live there.
        effects: The effects that exist, out of ``EFFECTS``; the profiles of the others are flat.
        strength: Standard deviation of each effect's log lift, over items and moments.
        likeness: Share of the variance of an item's profile that is shared with its category, 0 to 1.
        new_share: Share of the items that appear after the first day, evenly over the months.
        drift: Change of a user's taste per month, 0 (none) to 1 (a new taste).
        taste: Standard deviation of the user's taste, as part of the logit.
        growth: Standard deviation, over items, of what a year adds to the item's logit: items grow and shrink steadily.
        seed: Random seed.

    Raises:
        ValueError: If an effect does not exist, or a share is out of range.
    """

    num_users: int = 500
    num_items: int = 400
    num_categories: int = 24
    num_events: int = 200_000
    num_years: int = 3
    num_places: int = 6
    home_share: float = 0.0
    effects: frozenset[str] = frozenset(EFFECTS)
    strength: float = 0.8
    likeness: float = 0.85
    new_share: float = 0.3
    drift: float = 0.1
    taste: float = 1.0
    growth: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if unknown := self.effects - set(EFFECTS):
            raise ValueError(f"no effect named {sorted(unknown)[0]!r} (choices: {', '.join(EFFECTS)})")
        if not 0 <= self.likeness <= 1 or not 0 <= self.new_share < 1 or not 0 <= self.drift <= 1:
            raise ValueError("wanted likeness and drift of 0 to 1, and new_share below 1")
        if self.growth < 0:
            raise ValueError(f"wanted growth of 0 or more, got {self.growth}")


@dataclass(frozen=True, slots=True)
class SimulatedQueries:
    """Users, each at a moment, as columns.

    Attributes:
        users: int64 ``[n]``, index of the user.
        timestamps_ms: int64 ``[n]``, milliseconds since the epoch.
        places: int64 ``[n]``, index of the place.
        weathers: int64 ``[n]``, index of the weather.
        temperatures: int64 ``[n]``, degrees Celsius.
    """

    users: Int64s
    timestamps_ms: Int64s
    places: Int64s
    weathers: Int64s
    temperatures: Int64s

    def select(self, which: slice | Int64s) -> "SimulatedQueries":
        """Return some of the queries, by a slice or by indices."""
        return SimulatedQueries(
            self.users[which],
            self.timestamps_ms[which],
            self.places[which],
            self.weathers[which],
            self.temperatures[which],
        )

    def moment(self, position: int) -> Moment:
        """Return the moment of one query, as a request would give it."""
        context = dict(_context(*(int(column[position]) for column in (self.places, self.weathers, self.temperatures))))
        return Moment(int(self.timestamps_ms[position]), context.pop("place"), context.pop("weather"), context)


@dataclass(frozen=True, slots=True)
class World:
    """The simulated events and their ground truth.

    The probability that a query leads to an item is the softmax of the item's logit: taste + popularity + effects.

    Attributes:
        settings: Settings of the simulation.
        categories: int64 ``[num_items]``, category of each item.
        births_ms: int64 ``[num_items]``, when each item appeared, milliseconds since the epoch.
        popularity: float32 ``[num_items]``, part of the logit in the middle of the simulation.
        growth: float32 ``[num_items]``, what each year adds to the logit.
        profiles: For each of ``EFFECTS``, float32 ``[num_bins, num_items]``, part of the logit: at each day of the
            year, weekday, hour, place, or weather.
        tastes: float32 ``[num_months, num_users, num_factors]``.
        item_factors: float32 ``[num_items, num_factors]``.
        events: User and moment of each event, in time order.
        items: int64 ``[num_events]``, item of each event.
    """

    settings: SimulatorSettings
    categories: Int64s
    births_ms: Int64s
    popularity: Array
    growth: Array
    profiles: Mapping[str, Array]
    tastes: Array
    item_factors: Array
    events: SimulatedQueries
    items: Int64s = field(repr=False)

    @property
    def item_ids(self) -> Sequence[str]:
        """Id of each item, in the order of the index."""
        return [f"i{item}" for item in range(self.settings.num_items)]

    def log_lifts(self, effect: str) -> Array:
        """Return the true log lift of each item in each bin of an effect, float32 ``[num_items, num_bins]``.

        The lift is the item's share among all items in that bin, divided by its mean share over the bins; other effects
        are ignored.
        """
        logits = self.profiles[effect] + self.popularity  # [num_bins, num_items]
        shares = np.exp(logits - logits.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        lifts: Array = np.log(shares / shares.mean(0)).T
        return lifts

    def scores(self, queries: SimulatedQueries) -> Array:
        """Return the true logit of each item, float32 ``[n, num_items]``; -inf for items that have not appeared yet."""
        tastes = self.tastes[_months(queries.timestamps_ms), queries.users]
        scores: Array = tastes @ self.item_factors.T
        scores += self.popularity
        if self.settings.growth:
            years = (queries.timestamps_ms - START_MS) / (_DAYS_PER_YEAR * MS_PER_DAY) - self.settings.num_years / 2
            scores += years[:, None].astype(np.float32) * self.growth
        scores += self.context_scores(queries)
        scores[self.births_ms > queries.timestamps_ms[:, None]] = -np.inf
        return scores

    def context_scores(self, queries: SimulatedQueries) -> Array:
        """Return the part of each item's logit that comes from the effects, float32 ``[n, num_items]``."""
        bins = _bins(queries)
        scores: Array = np.zeros((len(queries.users), self.settings.num_items), np.float32)
        for effect in sorted(self.settings.effects):
            scores += self.profiles[effect][bins[effect]]
        return scores

    def upserts(self) -> list[NodeUpsert]:
        """Return the items as upserts, with category and department."""
        return [
            NodeUpsert(
                "item",
                item_id,
                categories={"department": (f"d{category // 4}",), "category": (f"c{category}",)},
                timestamp_ms=int(birth_ms),
            )
            for item_id, category, birth_ms in zip(self.item_ids, self.categories, self.births_ms, strict=True)
        ]

    def interactions(self, start: int = 0, stop: int | None = None) -> Interactions:
        """Return the interactions ``start`` to ``stop``."""
        events = self.events.select(slice(start, stop))
        columns = np.stack([events.places, events.weathers, events.temperatures])
        distinct, inverse = np.unique(columns, axis=1, return_inverse=True)
        contexts = [_context(*column) for column in distinct.T.tolist()]
        count = len(events.users)
        return Interactions(
            [f"u{user}" for user in range(self.settings.num_users)],
            events.users.astype(np.int32),
            self.item_ids,
            self.items[start:stop].astype(np.int32),
            ["purchase"],
            np.zeros(count, np.int16),
            events.timestamps_ms,
            np.full(count, np.nan, np.float32),
            [contexts[index] for index in inverse.ravel().tolist()],
        )

    def batch(self, start: int = 0, stop: int | None = None) -> EventBatch:
        """Return the interactions ``start`` to ``stop``; a batch from 0 also holds the items' upserts."""
        return EventBatch(self.interactions(start, stop), upserts=self.upserts() if start == 0 else ())


def simulate(settings: SimulatorSettings) -> World:
    """Return a simulated market; equal settings give equal markets."""
    generator = np.random.default_rng(settings.seed)
    categories = np.arange(settings.num_items) % settings.num_categories
    num_months = int(settings.num_years * _DAYS_PER_YEAR / _NUM_MONTH_DAYS) + 1
    is_late = generator.random(settings.num_items) < settings.new_share
    births = np.where(is_late, generator.integers(1, num_months - 1, settings.num_items), 0)
    category_factors = generator.normal(size=(settings.num_categories, _NUM_FACTORS))
    item_noise = generator.normal(size=(settings.num_items, _NUM_FACTORS))
    factors = settings.taste / np.sqrt(_NUM_FACTORS) * (np.sqrt(0.5) * (category_factors[categories] + item_noise))
    popularity = generator.normal(0.0, 1.3, settings.num_items)
    profiles = {effect: _profiles(effect, categories, settings, generator) for effect in EFFECTS}
    tastes = _tastes(num_months, settings, generator)
    events = _events(settings, generator)
    world = World(
        settings,
        categories,
        START_MS + births * _NUM_MONTH_DAYS * MS_PER_DAY,
        popularity.astype(np.float32),
        # Of a generator of its own, so that all else is the same in a market without growth.
        np.random.default_rng((settings.seed, 1)).normal(0.0, settings.growth, settings.num_items).astype(np.float32),
        profiles,
        tastes,
        factors.astype(np.float32),
        events,
        np.zeros(settings.num_events, np.int64),
    )
    for first in range(0, settings.num_events, _EVENTS_AT_ONCE):
        chunk = slice(first, first + _EVENTS_AT_ONCE)
        scores = world.scores(events.select(chunk))
        scores -= scores.max(1, keepdims=True)
        cumulated = np.cumsum(np.exp(scores, out=scores), axis=1, out=scores)
        drawn = generator.random((len(scores), 1), np.float32) * cumulated[:, -1:]
        world.items[chunk] = np.minimum((cumulated <= drawn).sum(1), settings.num_items - 1)
    return world


def _profiles(effect: str, categories: Int64s, settings: SimulatorSettings, generator: np.random.Generator) -> Array:
    """Return the profiles of an effect, float32 ``[num_bins, num_items]``: each varies around its category's."""
    num_bins = {"year": 366, "weekday": 7, "hour": 24, "place": settings.num_places, "weather": len(_WEATHERS)}[effect]
    category_shapes = _shapes(effect, num_bins, settings.num_categories, generator)[categories]
    item_shapes = _shapes(effect, num_bins, settings.num_items, generator)
    shapes = np.sqrt(settings.likeness) * category_shapes + np.sqrt(1 - settings.likeness) * item_shapes
    exists = effect in settings.effects
    profiles: Array = (settings.strength * exists * shapes).T.astype(np.float32)
    return np.ascontiguousarray(profiles)


def _shapes(effect: str, num_bins: int, count: int, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return curves of mean 0 and variance 1, float64 ``[count, num_bins]``: waves over year and day, else noise."""
    if effect in ("year", "hour"):
        phase = 2 * np.pi * np.arange(num_bins) / num_bins
        waves = np.stack([wave(order * phase) for order in (1, 2) for wave in (np.sin, np.cos)])
        shapes = generator.normal(size=(count, 4)) * np.array([1.0, 1.0, 0.5, 0.5]) @ waves
    else:
        shapes = generator.normal(size=(count, num_bins))
    shapes -= shapes.mean(1, keepdims=True)
    normal: npt.NDArray[np.float64] = shapes / shapes.std(1, keepdims=True)
    return normal


def _tastes(num_months: int, settings: SimulatorSettings, generator: np.random.Generator) -> Array:
    """Return tastes that drift with constant variance, float32 ``[num_months, num_users, num_factors]``."""
    steps = generator.normal(size=(num_months, settings.num_users, _NUM_FACTORS))
    for month in range(1, num_months):
        steps[month] = np.sqrt(1 - settings.drift**2) * steps[month - 1] + settings.drift * steps[month]
    return steps.astype(np.float32)


def _events(settings: SimulatorSettings, generator: np.random.Generator) -> SimulatedQueries:
    """Return users and moments. Weather is independent of the season, so that the two effects can be separated."""
    count, num_places = settings.num_events, settings.num_places
    num_days = int(settings.num_years * _DAYS_PER_YEAR)
    times = START_MS + np.sort(generator.integers(0, num_days * MS_PER_DAY, count))
    busy = np.exp(generator.normal(0.0, 0.7, settings.num_users))
    users = generator.choice(settings.num_users, count, p=busy / busy.sum())
    homes = generator.integers(0, num_places, settings.num_users)
    places = np.where(
        generator.random(count) < settings.home_share, homes[users], generator.integers(0, num_places, count)
    )
    days = (times - START_MS) // MS_PER_DAY
    weathers = generator.integers(0, len(_WEATHERS), (num_days, num_places))[days, places]
    temperatures = np.rint(generator.normal(12.0, 8.0, (num_days, num_places))).astype(np.int64)[days, places]
    return SimulatedQueries(users, times, places, weathers, temperatures)


def _bins(queries: SimulatedQueries) -> dict[str, Int64s]:
    """Return the bin of each effect, int64 ``[n]`` each; year, weekday and hour are local time."""
    offsets = np.array([hours for _, hours in _ZONES], np.int64) * MS_PER_HOUR
    local_ms = queries.timestamps_ms + offsets[queries.places % len(_ZONES)]
    days = local_ms // MS_PER_DAY
    dates = days.astype("datetime64[D]")
    return {
        "year": (dates - dates.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64),
        "weekday": (days - START_MS // MS_PER_DAY + _START_WEEKDAY) % 7,
        "hour": local_ms // MS_PER_HOUR % 24,
        "place": queries.places,
        "weather": queries.weathers,
    }


def _months(timestamps_ms: Int64s) -> Int64s:
    months: Int64s = (timestamps_ms - START_MS) // (_NUM_MONTH_DAYS * MS_PER_DAY)
    return months


def _context(place: int, weather: int, temperature: int) -> dict[str, str]:
    return {
        "place": f"p{place}",
        "weather": _WEATHERS[weather],
        "temperature": str(temperature),
        "time_zone": _ZONES[place % len(_ZONES)][0],
    }
