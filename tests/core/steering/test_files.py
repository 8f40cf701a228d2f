"""Files of what steers: they read back as they were written, and their errors name the line."""

import re
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import springtide.steering
from springtide.errors import InvalidRequestError, SteeringError
from springtide.steering.checks import checked
from springtide.steering.reading import parse_document
from springtide.steering.values import Experiment, QuerySteering, Rule, Scenario, Steering, Variant
from springtide.steering.writing import to_document

names = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=8)
# Whatever UTF-8 can hold: quotes, line ends and control characters among it.
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
words = texts.filter(bool)
many_words = st.lists(words, max_size=8, unique=True).map(tuple)
times = st.none() | st.integers(-62_135_596_800_000, 253_402_300_799_999)
shares = st.none() | st.floats(0, 1)


def pairs(
    values: st.SearchStrategy[float] | st.SearchStrategy[int],
) -> st.SearchStrategy[tuple[tuple[str, float], ...]]:
    return st.dictionaries(words, values, max_size=3).map(lambda found: tuple(sorted(found.items())))


@st.composite
def rules(draw: st.DrawFn, scenarios: list[str]) -> Rule:
    action = draw(st.sampled_from(["pin", "boost", "bury", "block"]))
    factors = {"boost": st.floats(1.0, 1e6, exclude_min=True), "bury": st.floats(1e-6, 1.0, exclude_max=True)}
    start_ms, end_ms = draw(times), draw(times)
    if start_ms is not None and end_ms is not None and start_ms >= end_ms:
        end_ms = None
    return Rule(
        draw(names),
        action,
        draw(many_words.filter(bool)),
        draw(st.sampled_from(["", "price < 20", '"WINE" in category', "price < 20 and brand == 'a'"])),
        draw(st.sampled_from(["", 'user.country == "DE"'])),
        factor=draw(factors[action]) if action in factors else 1.0,
        slot=draw(st.integers(1, 1_000)) if action == "pin" else 0,
        start_ms=start_ms,
        end_ms=end_ms,
        scenarios=tuple(draw(st.lists(st.sampled_from(scenarios), unique=True))) if scenarios else (),
        note=draw(texts),
    )


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    steering = QuerySteering(
        filter=draw(st.sampled_from(["", '"WINE" in category'])),
        booster=draw(st.sampled_from(["", "2 - price / 100"])),
        diversity=draw(shares),
        diversity_attribute=draw(texts),
        max_per=draw(pairs(st.integers(1, 1_000))),  # type: ignore[arg-type]
        rotation_rate=draw(shares),
        rotation_time_ms=draw(st.none() | st.integers(1, 366 * 86_400_000)),
        exploration=draw(shares),
        min_relevance=draw(st.none() | st.floats(-1, 1)),
        include_attributes=draw(many_words),
        reranker=draw(texts),
        weights=draw(pairs(st.floats(0, 100))),
    )
    count = draw(st.none() | st.integers(1, 1_000))
    return Scenario(draw(names), steering, count, draw(many_words), draw(texts))


@st.composite
def steerings(draw: st.DrawFn) -> Steering:
    by_name = {each.name: each for each in draw(st.lists(scenarios(), max_size=3))}
    of_rules = {each.name: each for each in draw(st.lists(rules(list(by_name)), max_size=3))}
    experiments = {}
    for name in draw(st.lists(names, max_size=2, unique=True)):
        variants = draw(st.lists(names, min_size=2, max_size=3, unique=True))
        experiments[name] = Experiment(
            name,
            tuple(
                Variant(
                    each, draw(st.floats(0.1, 1 / len(variants))), draw(texts), weights=draw(pairs(st.floats(0, 9)))
                )
                for each in variants
            ),
            salt=draw(texts),
            start_ms=draw(times),
            conversions=draw(many_words),
            note=draw(texts),
        )
    return Steering(
        tuple(each for _, each in sorted(of_rules.items())),
        by_name,
        tuple(each for _, each in sorted(experiments.items())),
    )


@given(steerings())
@settings(max_examples=150, deadline=None)
def test_what_is_written_reads_back(steering: Steering) -> None:
    checked(steering)
    assert parse_document(to_document(steering)) == steering


@given(steerings(), st.data())
@settings(max_examples=100, deadline=None)
def test_whatever_a_file_holds_it_is_read_or_refused_in_words(steering: Steering, data: st.DataObject) -> None:
    text = to_document(steering)
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, len(text)))
    changed = text[:start] + data.draw(st.text(st.characters(exclude_categories=("Cs",)), max_size=20)) + text[stop:]
    try:
        parse_document(changed, "steering.toml")
    except SteeringError as error:
        assert str(error).startswith("steering.toml:")  # noqa: PT017  # Both ends are right.


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100_000,
        '[rules.a]\naction = "pin"\nitems = ["1"]\nslot = ' + "9" * 10_000,
        '[scenarios.a]\nrotation_time = "' + "9" * 10_000 + ' days"',
        "[rules.a]\nend = 0001-01-01T00:00:00+23:59",
    ],
    ids=["deep", "digits", "duration", "year"],
)
def test_a_file_made_to_hurt_is_refused_in_words(text: str) -> None:
    with pytest.raises(SteeringError, match=r"^line \d+: "):
        parse_document(text)


def test_a_file_of_a_person_is_read() -> None:
    steering = parse_document("""
        [rules.promo-ended]
        action = "block"
        items = ["123"]
        end = 2026-12-24
        [rules.season]
        action = "boost"
        filter = '"WINE" in category'
        factor = 2
        start = "2026-12-01 06:00+01:00"
        end = 2026-12-24T18:00:00
        [scenarios.home]
        max_per = { brand = 3 }
        rotation_time = "7 days"
        [experiments.shelf.variants.before]
        share = 0.5
        [experiments.shelf.variants.after]
        share = 0.5
        scenario = "home"
    """)
    assert steering.rules == (
        Rule("promo-ended", "block", ("123",), end_ms=1_798_070_400_000),
        Rule(
            "season",
            "boost",
            filter='"WINE" in category',
            factor=2.0,
            start_ms=1_796_101_200_000,
            end_ms=1_798_135_200_000,
        ),
    )
    assert steering.scenarios["home"].steering == QuerySteering(max_per=(("brand", 3),), rotation_time_ms=604_800_000)
    assert [variant.name for variant in steering.experiments[0].variants] == ["before", "after"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[rules.a", "line 1: not TOML"),
        ('[rules.a]\naction = "block"\nitmes = ["1"]', "line 3: rules.a.itmes: no such key; did you mean 'items'"),
        ("[rule.a]", "line 1: rule: no such key; did you mean 'rules'"),
        ('[rules.a]\n\naction = "blok"', "line 3: rules.a.action: no action 'blok'; did you mean 'block'"),
        ('[rules.a]\nitems = ["1"]', "line 1: rules.a.action: wanted one of pin, boost, bury, block, got none"),
        (
            '[rules.a]\naction = "block"\nitems = [1]',
            'line 3: rules.a.items: wanted a text in quotes, got 1; write "1"',
        ),
        ('[rules.a]\naction = "block"\nitems = "1"', "line 3: rules.a.items: wanted a list of texts"),
        ('[rules.a]\naction = "block"', "line 1: rules.a.items: wanted items, a filter, or both; got neither"),
        ('[rules.a]\naction = "boost"\nitems = ["1"]\nfactor = 0.5', "line 4: rules.a.factor: wanted more than 1"),
        ('[rules.a]\naction = "bury"\nitems = ["1"]\nfactor = nan', "line 4: rules.a.factor: wanted a number, got nan"),
        ('[rules.a]\naction = "pin"\nitems = ["1"]', "line 1: rules.a.slot: wanted 1 to 1,000, got 0"),
        ('[rules.a]\naction = "block"\nitems = ["1"]\nslot = 2', "line 4: rules.a.slot: only a pin has one"),
        ('[rules.a]\naction = "block"\nitems = ["1"]\nend = "soon"', "line 4: rules.a.end: wanted a time such as"),
        ('[rules.a]\naction = "block"\nitems = ["1", "1"]', "line 3: rules.a.items: '1' stands there twice"),
        (
            '[rules.a]\naction = "block"\nitems = ["1"]\nscenarios = ["hom"]\n[scenarios.home]',
            "line 4: rules.a.scenarios: no scenario 'hom' (choices: home)",
        ),
        ('[rules."a b"]\naction = "block"\nitems = ["1"]', "line 1: rules.a b: wanted a name of letters"),
        ("[scenarios.home]\ndiversity = 1.5", "line 2: scenarios.home.diversity: wanted 0 to 1, got 1.5"),
        ('[scenarios.home]\nrotation_time = "7 moons"', "line 2: scenarios.home.rotation_time: wanted a text such as"),
        ("[scenarios.home.max_per]\nbrand = 0", "line 2: scenarios.home.max_per.brand: wanted 1 to 1,000, got 0"),
        ("[experiments.e.variants.a]\nshare = 1", "line 1: experiments.e.variants: wanted 2 to"),
        (
            "[experiments.e.variants.a]\nshare = 0.6\n[experiments.e.variants.b]\nshare = 0.6",
            "experiments.e",
        ),
        ("rules = 1", "line 1: rules: wanted tables such as [rules.NAME], got 1"),
    ],
)
def test_an_error_names_the_line_the_field_and_what_was_meant(text: str, message: str) -> None:
    with pytest.raises(SteeringError) as raised:
        parse_document(text)
    assert message in str(raised.value)
    with pytest.raises(SteeringError, match=r"^steering\.toml:"):
        parse_document(text, "steering.toml")


def test_the_examples_of_the_page_are_read() -> None:
    page = Path(springtide.steering.__file__).with_name("README.md").read_text(encoding="utf-8")
    examples = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert examples
    for example in examples:
        steering = parse_document(example)
        assert parse_document(to_document(steering)) == steering


def test_a_request_with_the_same_mistake_names_the_same_field() -> None:
    with pytest.raises(InvalidRequestError, match=r"^rules\.a\.factor: wanted more than 1"):
        checked(Steering((Rule("a", "boost", ("i1",), factor=1.0),)))
