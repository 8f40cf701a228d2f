"""Rules, scenarios and experiments as messages: they come back as they were."""

import pytest

from springtide.errors import InvalidRequestError
from springtide.steering.editing import Edit
from springtide.steering.values import Experiment, QuerySteering, Rule, Scenario, Steering, Variant
from springtide.v1 import steering_pb2
from springtide_services.serving.steering_translation import to_edit, to_message, to_request, to_values

ALL = Steering(
    rules=(
        Rule("a", "block", ("i1",), filter="x", segment="y", start_ms=-1, end_ms=1_001, scenarios=("home",), note="n"),
        Rule("b", "pin", ("i2", "i1"), slot=3),
        Rule("c", "boost", ("i1",), factor=2.5),
        Rule("d", "bury", ("i1",), factor=0.5),
    ),
    scenarios={
        "home": Scenario(
            "home",
            QuerySteering(
                filter="x",
                booster="y",
                diversity=0.0,
                diversity_attribute="brand",
                max_per=(("brand", 2), ("type", 1)),
                rotation_rate=0.5,
                rotation_time_ms=1_001,
                exploration=0.25,
                min_relevance=-0.5,
                include_attributes=("brand",),
                reranker="mmr",
                weights=(("season", 0.5),),
            ),
            count=3,
            exclude_seen=("*",),
            note="n",
        ),
        "plain": Scenario("plain"),
    },
    experiments=(
        Experiment(
            "e",
            (Variant("z", 0.5), Variant("a", 0.25, "000001", "home", (("season", 0.0),))),
            layer="l",
            salt="s",
            start_ms=1,
            end_ms=2,
            conversions=("purchase",),
            note="n",
        ),
    ),
)


def test_what_is_sent_comes_back() -> None:
    assert to_values(to_message(ALL)) == ALL


def test_an_edit_is_sent_whole() -> None:
    edit = Edit(ALL, ("r",), ("s",), ("e2",), replace=True)
    assert to_edit(to_request(edit)) == edit


def test_a_rule_without_an_action_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match=r"rules\.a\.action: no action 0 \(choices: RULE_ACTION_PIN, "):
        to_values(steering_pb2.Steering(rules=[steering_pb2.Rule(name="a", items=["i1"])]))


def test_one_name_twice_is_refused() -> None:
    scenario = steering_pb2.Scenario(name="home")
    with pytest.raises(InvalidRequestError, match="scenarios: the name 'home' stands there twice"):
        to_values(steering_pb2.Steering(scenarios=[scenario, scenario]))
