"""Taking an id out of what steers: out of the items of rules, and of all that people wrote."""

import dataclasses
from typing import Any

from springtide.steering.values import Rule, Steering
from springtide.token_search import Token

_NAMES = ("name", "scenario", "scenarios", "layer")  # They may not have the brackets of `(forgotten)`.


def steering_without(steering: Steering, token: Token) -> Steering:
    """Return a steering whose rules do not name an item; rules that were about that item alone are gone."""
    rules = (dataclasses.replace(rule, items=_others(rule, token)) for rule in steering.rules)
    return dataclasses.replace(steering, rules=tuple(rule for rule in rules if rule.items or rule.filter))


def json_without(value: Any, token: Token, key: str = "") -> Any:
    """Return a value of JSON with ``(forgotten)`` in the place of an id in its texts.

    Args:
        value: The value.
        token: The id.
        key: The key that the value has; ids in lists of items are not texts, and stay.
    """
    if isinstance(value, dict):
        return {name: json_without(each, token, name) for name, each in value.items()}
    if isinstance(value, list) and key != "items":
        return [json_without(each, token, key) for each in value]
    if isinstance(value, str):
        without = token.without(value)
        return without.replace("(forgotten)", "forgotten") if key in _NAMES else without
    return value


def _others(rule: Rule, token: Token) -> tuple[str, ...]:
    return tuple(item for item in rule.items if item != token.text)
