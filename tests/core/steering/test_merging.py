"""What a request says goes before its scenario, and both filters hold."""

import pytest

from springtide.errors import InvalidRequestError
from springtide.steering.merging import merged, scenario_of
from springtide.steering.values import QuerySteering, Scenario, Steering

BASKET = Scenario(
    "basket",
    QuerySteering(
        filter="price < 5",
        booster="2",
        diversity=0.4,
        diversity_attribute="brand",
        max_per=(("brand", 2),),
        weights=(("trend", 0.5),),
    ),
)


def test_a_scenario_says_what_the_request_does_not() -> None:
    both = merged(QuerySteering(scenario="basket", filter="promo"), BASKET)

    assert (both.booster, both.diversity, both.diversity_attribute, both.max_per) == (
        "2",
        0.4,
        "brand",
        (("brand", 2),),
    )
    assert both.filter == "promo", "that of the scenario is applied beside it"


def test_what_the_request_says_goes_first() -> None:
    asked = QuerySteering(scenario="basket", booster="3", diversity=0.0, max_per=(("category", 1),))

    both = merged(asked, BASKET)

    assert (both.booster, both.diversity, both.max_per) == ("3", 0.0, (("category", 1),))
    assert both.diversity_attribute == "", "in what items shall differ belongs to how much"


def test_weights_of_an_experiment_and_of_a_scenario_multiply() -> None:
    both = merged(QuerySteering(weights=(("trend", 4.0), ("cosine", 2.0))), BASKET)

    assert both.weights == (("cosine", 2.0), ("trend", 2.0))


def test_an_unknown_scenario_is_refused_with_the_choices() -> None:
    with pytest.raises(InvalidRequestError, match=r"no scenario named 'baskt' \(choices: basket\)") as refused:
        scenario_of(QuerySteering(scenario="baskt"), Steering(scenarios={"basket": BASKET}))
    assert refused.value.field == "scenario"
