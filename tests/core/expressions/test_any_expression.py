"""Any expression gives each item what a slow reading of it gives, item by item: also after attributes have changed."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from springtide.events.model import EventBatch, NodeUpsert
from springtide.expressions import Columns, Kind, Schema, parse
from springtide.expressions.faults import PartError
from springtide.expressions.lexing import words_of
from springtide.interactions import Moment
from springtide.plugins.loading import load_plugins
from springtide.settings.model import PluginSettings
from springtide.testing import interactions_of, state_of

PLUGINS = load_plugins(PluginSettings())
NOW_MS = 1_795_903_200_500
WORDS = ["WINE", "WINERY", "BEER", "RED", "x y", 'say "hi"', "\\"]
ITEMS = [f"i{row}" for row in range(6)]


@dataclass(frozen=True)
class Side:
    """What one item is evaluated on: its own attributes, the user's, and the moment's device."""

    item_id: str
    item: NodeUpsert
    user: NodeUpsert
    device: str

    def number(self, of: NodeUpsert, name: str) -> float:
        return of.numbers.get(name, math.nan)

    def texts(self, of: NodeUpsert, name: str) -> set[str]:
        return set(of.categories.get(name, ()))


@dataclass(frozen=True)
class Part:
    """A part of an expression as text, and as what it gives for one item; NaN is a missing number."""

    text: str
    give: Callable[[Side], object]


def quoted(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


NUMBERS = st.one_of(
    st.sampled_from([0.0, 1.0, 2.5, -3.0, 1e300]).map(lambda number: Part(repr(number), lambda side: number)),
    st.sampled_from(["price", "stock"]).map(lambda name: Part(name, lambda side: side.number(side.item, name))),
    st.just(Part("user.budget", lambda side: side.number(side.user, "budget"))),
    st.just(Part("now", lambda side: NOW_MS / 1_000)),
)
# Texts of which one is the item's, at most: as a set.
COLUMNS = st.one_of(
    st.sampled_from(["category", "brand"]).map(lambda name: Part(name, lambda side: side.texts(side.item, name))),
    st.just(Part("item", lambda side: {side.item_id})),
)
TEXTS = st.one_of(
    st.sampled_from(WORDS + ITEMS).map(lambda word: Part(quoted(word), lambda side: {word})),
    st.just(Part("user.likes", lambda side: side.texts(side.user, "likes"))),
    st.just(Part("context.device", lambda side: {side.device} - {""})),
)
LISTS = st.lists(st.sampled_from(WORDS + ITEMS), max_size=4).map(
    lambda words: Part(f"[{', '.join(map(quoted, words))}]", lambda side: set(words))
)
NUMBER_LISTS = st.lists(st.sampled_from([0.0, 1.0, 2.5, -3.0]), min_size=1, max_size=4).map(
    lambda numbers: Part(repr(numbers), lambda side: numbers)
)
COMPARE = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a < b or a > b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
CALCULATE = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b if b != 0 else math.nan,
}


def numbers_of(parts: st.SearchStrategy[Part]) -> st.SearchStrategy[Part]:
    def calculated(left: Part, word: str, right: Part) -> Part:
        compute = CALCULATE[word]
        return Part(f"({left.text} {word} {right.text})", lambda side: compute(left.give(side), right.give(side)))

    def extreme(word: str, left: Part, right: Part) -> Part:
        def give(side: Side) -> float:
            values = [left.give(side), right.give(side)]
            return math.nan if any(map(math.isnan, values)) else (min if word == "min" else max)(values)

        return Part(f"{word}({left.text}, {right.text})", give)

    return st.one_of(
        st.builds(calculated, parts, st.sampled_from(sorted(CALCULATE)), parts),
        st.builds(extreme, st.sampled_from(["min", "max"]), parts, parts),
        parts.map(lambda part: Part(f"-({part.text})", lambda side: -part.give(side))),
    )


ALL_NUMBERS = st.recursive(NUMBERS, numbers_of, max_leaves=4)


def _shares(left: Part, right: Part, word: str) -> Part:
    def give(side: Side) -> bool:
        shared = bool(left.give(side) & right.give(side))
        if word == "!=":
            return bool(left.give(side)) and bool(right.give(side)) and not shared
        return shared is (word != "not in")

    return Part(f"{left.text} {word} {right.text}", give)


def _chain(first: Part, steps: list[tuple[str, Part]]) -> Part:
    def give(side: Side) -> bool:
        values = [first.give(side), *(part.give(side) for _, part in steps)]
        return all(COMPARE[word](*values[at : at + 2]) for at, (word, _) in enumerate(steps))

    return Part(" ".join([first.text, *(f"{word} {part.text}" for word, part in steps)]), give)


def _starts(column: Part, prefix: str) -> Part:
    text = f"startswith({column.text}, {quoted(prefix)})"
    return Part(text, lambda side: any(each.startswith(prefix) for each in column.give(side)))


STEPS = st.lists(st.tuples(st.sampled_from(sorted(COMPARE)), ALL_NUMBERS), min_size=1, max_size=2)
CONDITIONS = st.one_of(
    st.builds(_chain, ALL_NUMBERS, STEPS),
    st.builds(_shares, COLUMNS, TEXTS, st.sampled_from(["==", "!=", "in", "not in"])),
    st.builds(_shares, TEXTS, COLUMNS, st.sampled_from(["==", "!=", "in", "not in"])),
    st.builds(_shares, TEXTS, TEXTS, st.sampled_from(["==", "!=", "in", "not in"])),
    st.builds(_shares, st.one_of(COLUMNS, TEXTS), LISTS, st.sampled_from(["in", "not in"])),
    st.builds(
        lambda one, of: Part(f"{one.text} in {of.text}", lambda side: one.give(side) in of.give(side)),
        ALL_NUMBERS,
        NUMBER_LISTS,
    ),
    st.builds(_starts, st.sampled_from(["category", "brand"]).map(
        lambda name: Part(name, lambda side: side.texts(side.item, name))), st.sampled_from(["WINE", "R", "", "x"])),
    st.sampled_from(["price", "stock"]).map(
        lambda name: Part(f"has({name})", lambda side: name in side.item.numbers)),
    st.sampled_from(["category", "brand"]).map(
        lambda name: Part(f"has({name})", lambda side: name in side.item.categories)),
    st.just(Part("has(title)", lambda side: "title" in side.item.texts)),
    ALL_NUMBERS.map(lambda part: Part(f"({part.text})", lambda side: COMPARE["!="](part.give(side), 0.0))),
    st.sampled_from([True, False]).map(lambda truth: Part(str(truth).lower(), lambda side: truth)),
)  # fmt: skip


def conditions_of(parts: st.SearchStrategy[Part]) -> st.SearchStrategy[Part]:
    def joined(word: str, several: list[Part]) -> Part:
        decide = all if word == "and" else any
        text = f" {word} ".join(f"({part.text})" for part in several)
        return Part(text, lambda side: decide(part.give(side) for part in several))

    def chosen(yes: Part, condition: Part, no: Part) -> Part:
        text = f"({yes.text}) if {condition.text} else ({no.text})"
        return Part(f"({text})", lambda side: yes.give(side) if condition.give(side) else no.give(side))

    return st.one_of(
        st.builds(joined, st.sampled_from(["and", "or"]), st.lists(parts, min_size=2, max_size=4)),
        parts.map(lambda part: Part(f"not ({part.text})", lambda side: not part.give(side))),
        st.builds(chosen, parts, parts, parts),
    )


ANY_CONDITION = st.recursive(CONDITIONS, conditions_of, max_leaves=5)
FACTORS = st.builds(
    lambda yes, condition, no: Part(
        f"({yes.text}) if ({condition.text}) else ({no.text})",
        lambda side: yes.give(side) if condition.give(side) else no.give(side),
    ),
    ALL_NUMBERS,
    ANY_CONDITION,
    ALL_NUMBERS,
)
SOME_NUMBERS = [0.0, 1.0, 2.5, 12.0, 1e300, NOW_MS / 1_000]


def node(chance: random.Random, node_type: str, node_id: str, categories: list[str], numbers: list[str]) -> NodeUpsert:
    """Return a node with some of the attributes; drawn apart from the expression, which takes a tenth of the time."""
    return NodeUpsert(
        node_type,
        node_id,
        {name: tuple(chance.sample(WORDS, chance.randint(1, 3))) for name in categories if chance.random() < 0.7},
        {name: chance.choice(SOME_NUMBERS) for name in numbers if chance.random() < 0.7},
        {"title": "A title"} if chance.random() < 0.5 else {},
    )


def catalogue(seed: int) -> list[NodeUpsert]:
    chance = random.Random(seed)
    return [node(chance, "item", item_id, ["category", "brand"], ["price", "stock"]) for item_id in ITEMS]


SEEDS = st.integers(0, 2**32)
CATALOGUES = SEEDS.map(catalogue)
FULL = NodeUpsert(  # So that each attribute is there.
    "item", "full", {"category": ("BEER",), "brand": ("x y",)}, {"price": 1.0, "stock": 2.5}, {"title": "T"}
)
USERS = SEEDS.map(lambda seed: node(random.Random(seed), "user", "u", ["likes"], ["budget"]))
FULL_USER = NodeUpsert("user", "full", {"likes": ("RED",)}, {"budget": 1.0})


def merged(old: NodeUpsert, new: NodeUpsert) -> NodeUpsert:
    """Return a node with the attributes of a later upsert, or else as they were."""
    texts = {**old.texts, **new.texts}
    return NodeUpsert("item", old.node_id, {**old.categories, **new.categories}, {**old.numbers, **new.numbers}, texts)


def are_few_words(text: str) -> bool:
    try:
        return len(list(words_of(text))) > 0
    except PartError:
        return False


def as_factor(value: float) -> float:
    if math.isnan(value):
        return 1.0
    return float(np.float32(min(max(value, 1e-6), 1e6))) if value > 0 else 0.0


@given(ANY_CONDITION, FACTORS, CATALOGUES, CATALOGUES, USERS, st.booleans(), st.sampled_from(["", "WINE", "i1"]))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_masks_and_factors_are_what_each_item_gives_by_itself(
    condition: Part,
    factor: Part,
    before: list[NodeUpsert],
    after: list[NodeUpsert],
    user: NodeUpsert,
    is_known: bool,
    device: str,
) -> None:
    assume(all(are_few_words(part.text) for part in (condition, factor)))
    state = state_of(upserts=[*before, FULL, user, FULL_USER], plugins=PLUGINS)
    asking = user if is_known else NodeUpsert("user", "nobody")
    moment = Moment(NOW_MS, attributes={"device": device} if device else {})

    def ask(kind: Kind, part: Part) -> list[object]:
        view = state.graph.view()
        user_row = view.nodes("user").ids.row(asking.node_id)
        columns = Columns(view, "item", view.num_nodes("item"), moment, asking.node_id, user_row)
        program = parse(part.text).check(Schema.of(view, "item"), kind)
        return (program.mask if kind == "filter" else program.values)(columns).tolist()

    def check(items: list[NodeUpsert]) -> None:
        sides = [Side(item.node_id, item, asking, device) for item in items]
        for _ in range(2):  # The second time from what was kept.
            assert ask("filter", condition) == [condition.give(side) for side in sides]
            assert ask("booster", factor) == [as_factor(factor.give(side)) for side in sides]

    check([*before, FULL])
    state.apply(EventBatch(interactions_of(()), upserts=[replace(upsert, timestamp_ms=1) for upsert in after]))
    check([*map(merged, before, after), FULL])
