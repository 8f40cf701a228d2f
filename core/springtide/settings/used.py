"""Which settings a state depends on, and what it lacks if it was built under others."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from springtide.settings.interaction_rules import InteractionRule, InteractionRules
from springtide.settings.model import Settings

Json = dict[str, Any]

SINCE = "since"
"""In used settings: the next offset of each partition when they came into force; none at the topic's beginning."""

DROPPED_NODES = "dropped_nodes"
"""In used settings: true if nodes were dropped for their ``graph.max_nodes``."""


def used_settings(settings: Settings, context_keys: Iterable[str]) -> Json:
    """Return the settings that what is in a state depends on, for its checkpoints.

    Args:
        settings: All settings.
        context_keys: The circumstances that are kept with interactions.
    """
    rules = settings.interaction_rules().rules
    plain = settings.model_dump(include={"graph", "events", "attributes"}, mode="json")
    weights = {name: dict(options) for name, options in settings.ranking.context_weights.items()}
    return {
        "rules": [{"name": rule.name, "weight": rule.weight, "feedback": rule.feedback} for rule in rules],
        "item_type": settings.graph.item_type,
        "graph": {name: plain["graph"][name] for name in ("max_edges", "max_nodes", "max_age_days")},
        "events": {name: value for name, value in plain["events"].items() if name.startswith("max_")},
        "attributes": plain["attributes"],
        "context_keys": sorted(context_keys),
        # Options may be objects, and numbers that JSON does not have.
        "context_weights": json.loads(json.dumps(weights, default=repr), parse_constant=str),
    }


def are_same(used: Json, now: Json) -> bool:
    """Return whether two sets of used settings are the same, whatever happened under them."""
    notes = {SINCE, DROPPED_NODES}
    return {name: used[name] for name in used if name not in notes} == {
        name: now[name] for name in now if name not in notes
    }


def rules_differ(used: Json, now: Json) -> dict[str, str]:
    """Return what has changed about each rule that both have, in words, by the rule's name."""
    before = {rule["name"]: rule for rule in used["rules"]}
    changed = {}
    for rule in now["rules"]:
        former = before.get(rule["name"], rule)
        words = [f"{key} {former[key]} → {rule[key]}" for key in ("weight", "feedback") if former[key] != rule[key]]
        if words:
            changed[rule["name"]] = ", ".join(words)
    return changed


def what_lacks(used: Json, now: Json, num_events: int, relations: Collection[str]) -> list[str]:
    """Return what events that were read under one set of settings lack under another, a sentence each.

    Only what cannot be mended in a state is named: it needs the events themselves.

    Args:
        used: The settings that events were read under.
        now: The other settings.
        num_events: Number of interactions that were read so far.
        relations: Names of the rules that edges are there of, former rules too.
    """
    sentences = []
    if used["item_type"] != now["item_type"]:
        sentences.append(f"graph.item_type is {now['item_type']}, and events were read as {used['item_type']}")
    before, after = _names_by_type(used["rules"]), _names_by_type(now["rules"])
    for type_name in {**before, **after}:
        if type_name not in before:
            sentences.append(f"interactions.{type_name} is new: earlier events of that type were refused")
        elif type_name not in after:
            if any(name in relations for name in before[type_name]):
                sentences.append(
                    f"interactions.{type_name} is gone: edges of earlier events of that type are still there"
                )
        elif _class_otherwise(before[type_name], after[type_name]):
            sentences.append(
                f"the rules of {type_name} were {_listed(before[type_name])} and are {_listed(after[type_name])}: "
                "earlier events are still classed by the former"
            )
    for section in ("graph", "events"):
        for name, limit in now[section].items():
            former = used[section].get(name, limit)
            if name == "max_edges" and former is not None and num_events <= former:
                continue  # None can have been dropped.
            if name == "max_nodes" and not used.get(DROPPED_NODES):
                continue
            if former is not None and (limit is None or limit > former):
                lost = "events that were refused" if section == "events" else "edges that were dropped"
                lost = "nodes that were dropped" if name == "max_nodes" else lost
                is_now = "has no bound now" if limit is None else f"is {limit:,}"
                sentences.append(f"{section}.{name} was {former:,} and {is_now}: {lost} for it are missing")
    if used["attributes"] != now["attributes"]:
        sentences.append("the kinds of [attributes] have changed: values that were refused for theirs are missing")
    new_keys = sorted(set(now["context_keys"]) - set(used["context_keys"])) if num_events else ()
    sentences += [f"the context {key!r} is new: it was not kept with earlier events" for key in new_keys]
    return sentences


def _class_otherwise(before: Sequence[str], after: Sequence[str]) -> bool:
    """Return whether any value of one interaction type has another rule than before; each name is a rule."""
    if before == after:
        return False
    of_before, of_after = (InteractionRules(map(InteractionRule, names)) for names in (before, after))
    type_name = of_before.rules[0].type_name
    bounds = np.array([rule.parse()[2] for rules in (of_before, of_after) for rule in rules.rules], np.float32)
    # Between two neighbouring bounds, and at each of them, all values have one rule.
    values = np.concatenate([bounds, *(np.nextafter(bounds, np.float32(end)) for end in (-np.inf, np.inf)), [np.nan]])
    names = [
        [rules.relations[position] if position >= 0 else None for position in positions.tolist()]
        for rules in (of_before, of_after)
        for positions in (rules.match_many(type_name, values.astype(np.float32)),)
    ]
    return names[0] != names[1]


def _names_by_type(rules: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    by_type: dict[str, list[str]] = {}
    for rule in rules:
        by_type.setdefault(InteractionRule(rule["name"]).type_name, []).append(rule["name"])
    return by_type


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
