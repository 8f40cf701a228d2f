"""A checkpoint under other settings than it was written under: what is applied to it, and what it lacks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from springtide.checkpoint.manifest_files import Json
from springtide.graph.applying import USER
from springtide.settings.interaction_rules import InteractionRule
from springtide.settings.model import Settings
from springtide.settings.used import DROPPED_NODES, SINCE, are_same, rules_differ, what_lacks
from springtide.state import LiveState

EdgeType = tuple[str, str, str]

_MAX_KEPT = 20  # Sets of settings: they are in every manifest.


@dataclass(frozen=True, slots=True)
class SettingsChange:
    """What a restored state has of settings that changed since it was written.

    Attributes:
        applied: What was changed in the state, in words.
        to_learn_anew: Context weights that learn from the graph, since what they had learned is of other settings.
    """

    applied: tuple[str, ...]
    to_learn_anew: frozenset[str]


def apply_settings(manifest: Json, state: LiveState) -> SettingsChange:
    """Apply the state's settings to the graph of a checkpoint; note in ``state.lacking`` what that cannot mend.

    Edges of interactions get the weights of their rules.

    Args:
        manifest: The checkpoint's manifest.
        state: The state, with the graph and the circumstances of the checkpoint.
    """
    now = state.used_settings[-1]
    used = manifest.get("settings") or [_guess(manifest, state, now)]
    offsets = (manifest["position"] or {}).get("next_offsets")
    lasting = [former for former in used if former is not used[-1] or not _have_read_nothing(former, offsets)]
    relations = {relation for _, relation, _ in _with_edges(state)}
    lacking = [
        sentence for former in lasting for sentence in what_lacks(former, now, manifest["num_events"], relations)
    ]
    state.lacking = tuple(dict.fromkeys(lacking))
    others = [former for former in lasting if not are_same(former, now)]
    notes = {name: used[-1][name] for name in (SINCE, DROPPED_NODES) if name in used[-1]}
    if not are_same(used[-1], now):
        notes = {} if offsets is None else {SINCE: offsets}
    state.used_settings = (*others[1 - _MAX_KEPT :], {**now, **notes})

    changed = rules_differ(used[-1], now)
    for name in _reweighted(state):
        changed.setdefault(name, "weight")
    changed = {name: words for name, words in changed.items() if name in relations}
    # What the weights learned is of the rules, and of the type of items, that the checkpoint was written under.
    was_learned_of = _learned_of(used[-1]["rules"], used[-1]["item_type"], state)
    is_to_learn_of = _learned_of(now["rules"], now["item_type"], state)
    options = used[-1].get("context_weights", {})
    relearned = {
        name
        for name in state.context_weights
        if changed
        or was_learned_of != is_to_learn_of
        or (name in options and options[name] != now["context_weights"].get(name))
    }
    applied = [f"interactions.{name} ({words})" for name, words in changed.items()]
    if relearned:
        applied.append(f"context weights learned anew: {', '.join(sorted(relearned))}")
    return SettingsChange(tuple(applied), frozenset(relearned))


def _with_edges(state: LiveState) -> list[EdgeType]:
    """Return the types of interactions that the graph has edges of."""
    graph = state.graph
    return [edge_type for edge_type in graph.edge_types if edge_type[0] == USER and graph.store(edge_type).length]


def _learned_of(rules: Sequence[Json], item_type: str, state: LiveState) -> set[EdgeType]:
    """Return the types of edges in the graph that context weights learn from under rules."""
    positive = {(USER, rule["name"], item_type) for rule in rules if rule["feedback"] == "positive"}
    return positive.intersection(_with_edges(state))


def _have_read_nothing(used: Json, offsets: Json | None) -> bool:
    """Return whether settings were in force, and no record was read under them up to offsets by partition."""
    if offsets is None:
        return False
    return offsets == used[SINCE] if SINCE in used else not any(offsets.values())


def _reweighted(state: LiveState) -> list[str]:
    """Give the edges of interactions the weights of their rules; return the names of rules with edges that change."""
    names = []
    for rule in state.rules.rules:
        edge_type = state.rules.edge_type(rule.name)
        if edge_type not in state.graph.edge_types:
            continue
        store = state.graph.store(edge_type)
        weights = store.columns.weights[: store.length]  # Or one, for all.
        if (weights != np.float32(rule.weight)).any():
            store.reweight(rule.weight)
            names.append(rule.name)
    return names


def _guess(manifest: Json, state: LiveState, now: Json) -> Json:
    """Return the settings that a checkpoint without any was most likely written under: as far as its edges tell."""
    of_users = [edge_type for edge_type in state.graph.edge_types if edge_type[0] == USER]
    names = [rule["name"] for rule in now["rules"]]
    targets = {target for _, relation, target in of_users if relation in names}
    item_type = now["item_type"] if not targets or now["item_type"] in targets else targets.pop()
    missing = set()
    for name in names:
        edge_type = (USER, name, item_type)
        if edge_type in of_users:
            columns, length = state.graph.store(edge_type).columns, state.graph.store(edge_type).length
            values = np.full(length, np.nan, np.float32) if columns.features is None else columns.features[:length, 0]
            found = np.unique(state.rules.match_many(InteractionRule(name).type_name, values))
            missing |= {names[position] for position in found.tolist() if position >= 0} - {name}
    # What has the name of a rule with a bound, or of a rule that is there by default, was a rule.
    gone = [
        relation
        for _, relation, target in of_users
        if relation not in names and target == item_type and (_has_bound(relation) or relation in _DEFAULT_RULES)
    ]
    kept = [rule for rule in now["rules"] if rule["name"] not in missing]
    rules = [*kept, *({"name": name, "weight": 1.0, "feedback": "positive"} for name in gone)]
    context_keys = sorted(manifest.get("circumstances", {}).get("keys", ()))
    return {**now, "rules": rules, "item_type": item_type, "context_keys": context_keys}


_DEFAULT_RULES = frozenset(Settings().interactions)


def _has_bound(relation: str) -> bool:
    return any(sign in relation for sign in "<>")
