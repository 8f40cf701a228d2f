"""Edits of what steers, and what they come to in sentences."""

import dataclasses

import pytest

from springtide.errors import InvalidRequestError
from springtide.steering.checks import MAX_ITEMS, MAX_RULES, Known, checked
from springtide.steering.editing import Edit, changes_between, duration_in_words, edited, in_words, rule_in_words
from springtide.steering.values import Experiment, QuerySteering, Rule, Scenario, Steering, Variant

OLD = Rule("old", "block", ("i1", "i2"))
HALVES = (Variant("a", 0.5), Variant("b", 0.5))


def test_what_is_put_replaces_what_has_its_name_and_the_rest_stays() -> None:
    steering = Steering((OLD,), {"home": Scenario("home")}, version=7)
    new, changed = Rule("new", "block", ("i3",)), dataclasses.replace(OLD, items=("i1",))
    after = edited(steering, Edit(Steering((changed, new))))
    assert after == Steering((new, changed), {"home": Scenario("home")}, version=7)


def test_replacing_removes_what_is_not_put() -> None:
    steering = Steering((OLD,), {"home": Scenario("home")}, (Experiment("e", HALVES),))
    assert edited(steering, Edit(Steering((OLD,)), replace=True)) == Steering((OLD,))


def test_a_name_that_is_put_and_removed_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="remove_rules: rule 'old' cannot be both put and removed"):
        edited(Steering((OLD,)), Edit(Steering((OLD,)), remove_rules=("old",)))


def test_differences_are_told_in_sentences() -> None:
    before = Steering(
        (Rule("r", "boost", ("i1",), factor=2.0), Rule("s", "pin", ("i1", "i2"), slot=1)),
        {"home": Scenario("home", QuerySteering(diversity=0.5, rotation_time_ms=604_800_000), count=3)},
        (Experiment("e", HALVES),),
    )
    after = Steering(
        (Rule("r", "boost", ("i1",), factor=3.0, note="n"), Rule("s", "pin", ("i2", "i1"), slot=1)),
        {"home": Scenario("home", QuerySteering(rotation_time_ms=3_600_000), count=4)},
        (Experiment("e", (Variant("a", 0.25, scenario="home"), Variant("b", 0.5))),),
    )
    assert changes_between(before, after) == [
        "Rule r changes: factor from 2 to 3; note from none to n.",
        "Rule s changes: items in another order.",
        "Scenario home changes: rotation_time from 7 days to 1 hour; count from 3 to 4; diversity from 0.5 to none.",
        "Experiment e changes: variants from a (0.5 of users), b (0.5 of users) to a (0.25 of users, scenario home), "
        "b (0.5 of users).",
    ]
    assert changes_between(after, after) == []


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Rule("r", "block", tuple(f"i{n}" for n in range(8))), "blocks 8 items (i0, i1, i2, i3, i4 and 3 more)"),
        (Rule("r", "bury", filter="stock < 3", factor=0.2), "buries the items where stock < 3 by 0.2"),
        (
            Rule("r", "pin", ("i1",), slot=2, segment="user.vip", scenarios=("home", "basket")),
            "pins 1 item (i1) to slot 2 for users where user.vip in home, basket",
        ),
        (
            Rule("r", "block", ("i1",), start_ms=0, end_ms=64_800_000),
            "blocks 1 item (i1) from 1970-01-01 until 1970-01-01 18:00 UTC",
        ),
    ],
)
def test_a_rule_is_told_in_words(rule: Rule, words: str) -> None:
    assert rule_in_words(rule) == words


def test_times_and_durations_are_told_as_people_write_them() -> None:
    assert in_words(1_000) == "1970-01-01 00:00:01 UTC"
    assert in_words(1_001) == "1970-01-01 00:00:01.001 UTC"
    assert [duration_in_words(ms) for ms in (86_400_000, 129_600_000, 90_000, 1)] == [
        "1 day",
        "36 hours",
        "90 seconds",
        "1 ms",
    ]


def test_items_and_models_that_are_not_there_are_warned_of() -> None:
    steering = Steering((OLD,), experiments=(Experiment("e", (Variant("a", 0.5), Variant("b", 0.5, "000009"))),))
    _, warnings = checked(steering, Known(lambda item: item == "i1", ["000001"]))
    assert warnings == [
        "Rule old names 1 item that the graph does not have: i2.",
        "Variant b of experiment e names model 000009, which the registry does not have.",
    ]


def test_more_than_a_server_shall_hold_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match=r"rules\.r\.items: wanted at most 10,000, got 10,001"):
        checked(Steering((Rule("r", "block", tuple(map(str, range(MAX_ITEMS + 1)))),)))
    with pytest.raises(InvalidRequestError, match="rules: wanted at most 1,000, got 1,001"):
        checked(Steering(tuple(Rule(f"r{number}", "block", ("i1",)) for number in range(MAX_RULES + 1))))


def test_more_than_one_answer_could_carry_is_refused() -> None:
    long = tuple(f"{number:0256d}" for number in range(MAX_ITEMS))
    with pytest.raises(InvalidRequestError, match=r"bytes of all texts: wanted at most 3,000,000, got 5,12"):
        checked(Steering((Rule("a", "block", long), Rule("b", "block", long))))


def test_an_expression_that_cannot_be_read_is_refused_without_a_server() -> None:
    with pytest.raises(InvalidRequestError, match=r"^rules\.r\.filter: "):
        checked(Steering((Rule("r", "block", filter="price <"),)))
