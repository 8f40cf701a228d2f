"""What a request and its scenario say together."""

import functools
from dataclasses import fields, replace

from springtide.errors import InvalidRequestError
from springtide.steering.values import QuerySteering, Scenario, Steering

_APART = {"scenario", "filter", "says_count", "weights", "page_token", "diversity_attribute"}
_NAMES = tuple(each.name for each in fields(QuerySteering) if each.name not in _APART)


def scenario_of(asked: QuerySteering, steering: Steering) -> Scenario | None:
    """Return the scenario that a request names; None if it names none.

    Raises:
        InvalidRequestError: If there is none of that name.
    """
    if not asked.scenario:
        return None
    scenario = steering.scenarios.get(asked.scenario)
    if scenario is None:
        choices = ", ".join(sorted(steering.scenarios)) or "none"
        raise InvalidRequestError("scenario", f"no scenario named {asked.scenario!r} (choices: {choices})")
    return scenario


@functools.lru_cache(maxsize=1_024)
def merged(asked: QuerySteering, scenario: Scenario | None) -> QuerySteering:
    """Return what a request says, and what its scenario says where the request says nothing.

    The filter is the request's alone, since both hold, each with errors of its own. Weights multiply each other: those
    of the request are an experiment's.

    Args:
        asked: What the request says.
        scenario: Its scenario; None for none.
    """
    if scenario is None:
        return asked
    usual = scenario.steering
    changes = {name: getattr(usual, name) for name in _NAMES if getattr(asked, name) in (None, "", ())}
    if asked.diversity is None:  # In what items shall differ belongs to how much.
        changes["diversity_attribute"] = usual.diversity_attribute
    if usual.weights:
        factors = dict(usual.weights)
        for name, factor in asked.weights:
            factors[name] = factors.get(name, 1.0) * factor
        changes["weights"] = tuple(sorted(factors.items()))
    return replace(asked, **changes)
