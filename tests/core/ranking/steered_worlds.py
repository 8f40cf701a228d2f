"""Random worlds, rules and requests, and what an obvious reference says of them: for the property test of steering.

The reference knows the world from what was said of it, as plain records, and looks at each item by itself.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_HOUR, MS_PER_SECOND
from springtide.errors import BypassedError
from springtide.events.model import EventBatch, NodeDelete, NodeUpsert
from springtide.interactions import History
from springtide.model.births import ModelRows
from springtide.model.exponents import Exponents, TermExponents
from springtide.plugins.contracts import Baseline, Moment, Observed
from springtide.plugins.contracts.indexes import Index
from springtide.plugins.loading import load_plugins
from springtide.ranking.indexed_items import BuiltIndex, IndexedItems
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker
from springtide.ranking.serving_baseline import ServingBaseline
from springtide.ranking.serving_model import ServingModel
from springtide.state import LiveState
from springtide.steering.values import QuerySteering, Rule, RuleAction, Scenario, Steering
from springtide.testing import even_odd_events, even_odd_state, interactions_of, quick_model, quick_settings

SIZE = 40
NOW_MS = even_odd_events(SIZE)[-1][2] + MS_PER_HOUR
RULES = {
    "purchase": {},
    "view": {"weight": 0.1, "positive": False},
    "dislike": {"positive": False},
    "impression": {"weight": 0.1, "positive": False, "feedback": "shown"},
}
WEIGHTS: dict[str, dict[str, float]] = {"popularity": {}, "trend": {}, "repeat": {}, "place": {}}
LIFTS = {"popularity": {"share": 0.5}, "trend": {"7d": 0.3}}
HABITS = {"repeat": {"had": 1.0, "count": 1.0}}
KINDS = ("model", "index", "fallback", "baseline", "failing baseline")


@dataclass
class Item:
    """What is known of an item; None and no values for nothing."""

    brand: str
    tags: tuple[str, ...] = ()
    price: float | None = None
    promo: float | None = None
    is_hidden: float | None = None
    available_from: float | None = None
    available_until: float | None = None


@dataclass
class User:
    """What is known of a user."""

    country: str = ""
    age: float | None = None


@dataclass(frozen=True)
class Asker:
    """Whom an expression is about, and when."""

    user: User
    now_s: float
    channel: str


Says = Callable[[Item, Asker], bool]
FILTERS: Mapping[str, Says] = {
    'brand == "a"': lambda item, _: item.brand == "a",
    'brand != "b" and price >= 5': lambda item, _: item.brand != "b" and item.price is not None and item.price >= 5,
    "price < 12": lambda item, _: item.price is not None and item.price < 12,
    '"new" in tags': lambda item, _: "new" in item.tags,
    "not promo": lambda item, _: not item.promo,
    "promo or price > 30": lambda item, _: bool(item.promo) or (item.price is not None and item.price > 30),
    'user.country == "DE" and price > 20': lambda item, asker: (
        asker.user.country == "DE" and item.price is not None and item.price > 20
    ),
    'context.channel == "app" or price < 25': lambda item, asker: (
        asker.channel == "app" or (item.price is not None and item.price < 25)
    ),
    "now < available_until": lambda item, asker: (
        item.available_until is not None and asker.now_s < item.available_until
    ),
}
SEGMENTS: Mapping[str, Callable[[Asker], bool]] = {
    'user.country == "DE"': lambda asker: asker.user.country == "DE",
    "user.age > 30": lambda asker: asker.user.age is not None and asker.user.age > 30,
    'context.channel == "app"': lambda asker: asker.channel == "app",
    f"now >= {NOW_MS / 1_000}": lambda asker: asker.now_s >= NOW_MS / MS_PER_SECOND,
}
BOOSTERS: Mapping[str, Callable[[Item, Asker], float]] = {
    "2 if promo else 1": lambda item, _: 2.0 if item.promo else 1.0,
    "price - 3": lambda item, _: 1.0 if item.price is None else item.price - 3.0,
    'price if user.country == "DE" else 0.5': lambda item, asker: (
        (1.0 if item.price is None else item.price) if asker.user.country == "DE" else 0.5
    ),
}


class Nearest(Index):
    """Finds the nearest, exactly."""

    def build(self, vectors, rows, is_wanted):
        self.vectors, self.rows = vectors, rows

    def search(self, vector, count):
        return self.rows[np.argsort(-(self.vectors[self.rows] @ vector), kind="stable")[:count]]


class Noise(Baseline):
    """Scores items by numbers of their own, and a user's history."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        pass

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        if self.fails:
            raise BypassedError("it fails")
        found = np.tile(np.random.default_rng(8).normal(size=SIZE).astype(np.float32), (len(user_rows), 1))
        for scores, history in zip(found, histories, strict=True):
            scores[history.item_rows[history.item_rows < SIZE]] += 0.5
        return found


class World:
    """A catalogue whose items and users change, and rankers of every kind over it."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        settings = quick_settings(interactions=RULES, ranking={"context_weights": WEIGHTS})
        self.state: LiveState = even_odd_state(SIZE, settings)
        self.items: dict[str, Item] = {}
        self.users: dict[str, User] = {f"u{row}": User() for row in range(SIZE)}
        self.taken: dict[str, dict[str, set[str]]] = {}
        for user, item, _ in even_odd_events(SIZE):
            self.taken.setdefault(user, {}).setdefault("purchase", set()).add(item)
        self.clock_ms = NOW_MS
        for row in range(SIZE):
            self.say(f"i{row}", Item("abc"[row % 3], ("old",) * (row % 2), float(row), float(row % 5 == 0)))
        for row in range(0, SIZE, 3):
            self.say_of_user(f"u{row}", User("DE" if row % 2 else "FR", 20.0 + row))
        self.rankers = {kind: Ranker(self.state, settings.ranking) for kind in KINDS}
        model = ServingModel.from_artifact(quick_model(self.state, settings), load_plugins())
        exponents = Exponents(TermExponents(3.0, LIFTS), TermExponents(1.5, LIFTS | HABITS))
        model = dataclasses.replace(model, exponents=exponents)
        nodes = self.state.graph.view().nodes
        rows = {kind: ModelRows(nodes(kind).ids.all_ids(), kind, {}) for kind in ("user", "item")}
        for kind, fails in (("baseline", False), ("failing baseline", True)):
            self.rankers[kind].swap(
                ServingBaseline("7", "noise", Noise(fails), "item", rows["user"], rows["item"], SIZE)
            )
        for kind in ("model", "index"):
            self.rankers[kind].swap(model)
        self.refresh()

    def refresh(self) -> None:
        """Bring all rankers up to date, as a server does each second."""
        for ranker in self.rankers.values():
            ranker.refresh()
        ranker = self.rankers["index"]
        serving = dataclasses.replace(ranker._serving, index=None)
        table = serving.table
        assert table is not None
        built = BuiltIndex.of(Nearest(), table, lambda: True)
        ranker._serving = dataclasses.replace(
            serving, index=IndexedItems(built, table, built.changed_rows(table), 8, 10**9)
        )

    def say(self, item_id: str, item: Item) -> None:
        """Tell all of an item."""
        self.clock_ms += 1
        numbers = {
            name: value
            for name in ("price", "promo", "is_hidden", "available_from", "available_until")
            if (value := getattr(item, name)) is not None
        }
        upsert = NodeUpsert(
            "item",
            item_id,
            categories={"brand": (item.brand,), "tags": item.tags},
            numbers=numbers,
            timestamp_ms=self.clock_ms,
        )
        self.state.apply(EventBatch(interactions_of([]), upserts=[upsert]))
        self.items[item_id] = item

    def say_of_user(self, user_id: str, user: User) -> None:
        """Tell all of a user."""
        categories, numbers = {"country": (user.country,)}, {"age": user.age or 0.0}
        upsert = NodeUpsert("user", user_id, categories, numbers, timestamp_ms=self.clock_ms)
        self.state.apply(EventBatch(interactions_of([]), upserts=[upsert]))
        self.users[user_id] = user

    def change(self, regular: str = "") -> None:
        """Let something happen: an item changes or is deleted, a user changes, or takes something.

        Args:
            regular: The user to whom half of it happens; empty for anybody.
        """
        random, self.clock_ms = self.random, self.clock_ms + 1
        item_id, user_id = str(random.choice(list(self.items))), f"u{random.integers(SIZE)}"
        if random.random() < 0.5:
            user_id = regular or user_id
        what = random.choice(["item", "user", "event", "delete", "refresh"], p=[0.45, 0.22, 0.25, 0.02, 0.06])
        if what == "item":
            former = self.items[item_id]
            soon = (NOW_MS + int(random.integers(-2, 3)) * MS_PER_HOUR) / MS_PER_SECOND
            changes = {  # An attribute that was said stays until another value is said.
                "price": float(random.integers(0, 40)),
                "promo": float(random.integers(0, 2)),
                "is_hidden": float(random.integers(0, 2)),
                "available_from": soon,
                "available_until": soon + 0.5,
                "tags": tuple(str(each) for each in random.choice(["new", "old", "odd"], random.integers(0, 3), False)),
                "brand": str(random.choice(list("abc"))),
            }
            name = str(random.choice(list(changes)))
            self.say(item_id, dataclasses.replace(former, **{name: changes[name]}))
        elif what == "user":
            self.say_of_user(user_id, User(str(random.choice(["DE", "FR"])), float(random.integers(20, 60))))
        elif what == "event":
            relation = str(random.choice(list(RULES)))
            self.state.apply(EventBatch(interactions_of([(user_id, item_id, self.clock_ms)], relation)))
            self.taken.setdefault(user_id, {}).setdefault(relation, set()).add(item_id)
        elif what == "delete" and len(self.items) > SIZE * 3 // 4:
            delete = NodeDelete("item", item_id, self.clock_ms)
            self.state.apply(EventBatch(interactions_of([]), deletes=[delete]))
            del self.items[item_id]
        elif what == "refresh":
            self.refresh()

    def steering(self) -> Steering:
        """Return random rules and scenarios."""
        random = self.random
        rules = []
        for number in range(int(random.integers(0, 7))):
            action: RuleAction = random.choice(["block", "boost", "bury", "pin"], p=[0.4, 0.25, 0.25, 0.1])
            items = self.some_items(4) if random.random() < 0.6 else ()
            text = self.one_of(FILTERS) if not items or random.random() < 0.3 else ""
            factor = float(random.uniform(1.1, 20) if action == "boost" else random.uniform(0.01, 0.9))
            start, end = (NOW_MS + int(random.integers(-2, 3)) * MS_PER_HOUR for _ in range(2))
            rules.append(
                Rule(
                    f"r{number}",
                    action,
                    items,
                    text,
                    self.one_of(SEGMENTS) if random.random() < 0.35 else "",
                    factor,
                    int(random.integers(1, 6)) if action == "pin" else 0,
                    start if random.random() < 0.3 else None,
                    end if random.random() < 0.3 else None,
                    ("home",) if random.random() < 0.25 else (),
                )
            )
        says = QuerySteering(
            filter=self.one_of(FILTERS) if random.random() < 0.5 else "",
            booster=self.one_of(BOOSTERS) if random.random() < 0.3 else "",
        )
        return Steering(
            rules, {"home": Scenario("home", says, exclude_seen=("view",) if random.random() < 0.3 else ())}
        )

    def query(self) -> Query:
        """Return a random request."""
        random = self.random

        def one_in(number: int) -> bool:
            return int(random.integers(0, number)) == 0

        steering = QuerySteering(
            scenario="home" if one_in(3) else "",
            filter=self.one_of(FILTERS) if one_in(3) else "",
            booster=self.one_of(BOOSTERS) if one_in(5) else "",
            diversity=float(random.random()) if one_in(10) else None,
            diversity_attribute="brand" if one_in(3) else "",
            max_per=(("brand", int(random.integers(1, 4))),) if one_in(10) else (),
            rotation_rate=float(random.random()) if one_in(10) else None,
            exploration=float(random.random()) if one_in(10) else None,
            min_relevance=float(random.choice([-0.2, 0.1, 0.4])) if one_in(6) else None,
            include_attributes=("price", "brand") if one_in(6) else (),
            page_token="first" if one_in(6) else "",
        )
        time_ms = NOW_MS + int(random.integers(-2, 3)) * MS_PER_HOUR + int(random.choice([0, 0, 499, 500, -1]))
        attributes = {"channel": "app"} if one_in(3) else {}
        return Query(
            Moment(time_ms, attributes=attributes),
            str(random.choice([*self.users, "", "nobody"])),
            recent_items=self.some_items(3) if one_in(5) else (),
            count=int(random.choice([1, 3, 10, SIZE])),
            exclude_seen=tuple(random.choice(["*", "purchase", "view"], 1)) if one_in(3) else (),
            exclude_items=self.some_items(5) if one_in(4) else (),
            allow_items=self.some_items(15) if one_in(6) else (),
            category_filters=(("brand", ("a", "b")),) if one_in(6) else (),
            with_weights=not one_in(3),
            steering=steering if random.random() < 0.75 else None,
        )

    def one_of(self, texts: Mapping[str, object]) -> str:
        return str(self.random.choice(list(texts)))

    def some_items(self, most: int) -> tuple[str, ...]:
        return tuple(f"i{row}" for row in self.random.integers(0, SIZE + 2, self.random.integers(1, most + 1)))


@dataclass
class Expected:
    """What the reference says of a request.

    Attributes:
        factors: By item that may be in the answer, by what its odds are multiplied.
        has_had: The items that the user has had, as far as ``min_relevance`` is concerned.
    """

    factors: dict[str, float] = field(default_factory=dict)


def expected(world: World, steering: Steering, query: Query) -> Expected:
    """Look at each item by itself: which may be in an answer, and by what are its odds multiplied."""
    asked = query.steering or QuerySteering()
    scenario = steering.scenarios.get(asked.scenario)
    now_ms = query.moment.timestamp_ms
    user = world.users.get(query.user_id, User())
    asker = Asker(user, now_ms / MS_PER_SECOND, query.moment.attributes.get("channel", ""))
    held = [
        rule
        for rule in steering.rules
        if (rule.start_ms is None or rule.start_ms <= now_ms)
        and (rule.end_ms is None or now_ms < rule.end_ms)
        and (not rule.scenarios or asked.scenario in rule.scenarios)
        and (not rule.segment or SEGMENTS[rule.segment](asker))
    ]
    texts = [asked.filter, scenario.steering.filter if scenario else ""]
    booster = asked.booster or (scenario.steering.booster if scenario else "")
    exclude_seen = query.exclude_seen or (scenario.exclude_seen if scenario else ())
    taken = world.taken.get(query.user_id, {})
    relations = [each for each in RULES if each in exclude_seen or ("*" in exclude_seen and each != "impression")]
    seen = set(query.recent_items) if exclude_seen else set()
    seen |= {item for relation in relations for item in taken.get(relation, ())}
    found = Expected()
    for item_id, item in world.items.items():
        if (
            item_id in seen
            or item_id in query.exclude_items
            or (query.allow_items and item_id not in query.allow_items)
            or any(item.brand not in values for _, values in query.category_filters)
            or any(text and not FILTERS[text](item, asker) for text in texts)
            or item.is_hidden
            or (item.available_from is not None and asker.now_s < item.available_from)
            or (item.available_until is not None and asker.now_s >= item.available_until)
        ):
            continue
        about = [
            rule
            for rule in held
            if (not rule.items or item_id in rule.items) and (not rule.filter or FILTERS[rule.filter](item, asker))
        ]
        factor = BOOSTERS[booster](item, asker) if booster else 1.0
        if factor <= 0 or any(rule.action == "block" for rule in about):
            continue
        found.factors[item_id] = factor * math.prod(rule.factor for rule in about if rule.action in ("boost", "bury"))
    return found
