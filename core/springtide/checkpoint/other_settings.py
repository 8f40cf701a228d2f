"""A checkpoint under other settings than it was written under: what is applied to it, and what it lacks."""

from dataclasses import dataclass

import numpy as np

from springtide.checkpoint.manifest import Json
from springtide.graph.applying import USER
from springtide.settings.interaction_rules import InteractionRule
from springtide.settings.model import Settings
from springtide.settings.used import rules_differ, what_lacks
from springtide.state import LiveState

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
    lacking = [sentence for former in used for sentence in what_lacks(former, now, manifest["num_events"])]
    state.lacking = tuple(dict.fromkeys(lacking))
    others = [former for former in used if former != now]
    state.used_settings = (*others[1 - _MAX_KEPT :], now)

    changed = rules_differ(used[-1], now)
    for name in _reweighted(state):
        changed.setdefault(name, "weight")
    has_edges = {relation for _, relation, _ in state.graph.edge_types}
    is_learned = {rule["name"] for rule in used[-1]["rules"] if rule["feedback"] == "positive"} & has_edges
    has_unlearned = bool(is_learned - set(state.rules.relations))  # Of rules that are gone.
    changed = {name: words for name, words in changed.items() if name in has_edges}
    options = used[-1].get("context_weights", {})
    relearned = {
        name
        for name in state.context_weights
        if changed or has_unlearned or (name in options and options[name] != now["context_weights"].get(name))
    }
    applied = [f"interactions.{name} ({words})" for name, words in changed.items()]
    if relearned:
        applied.append(f"context weights learned anew: {', '.join(sorted(relearned))}")
    return SettingsChange(tuple(applied), frozenset(relearned))


def _reweighted(state: LiveState) -> list[str]:
    """Give the edges of interactions the weights of their rules; return the names of rules with edges that change."""
    names = []
    for rule in state.rules.rules:
        edge_type = state.rules.edge_type(rule.name)
        if edge_type not in state.graph.edge_types:
            continue
        store = state.graph.store(edge_type)
        weights = store.columns.weights[: store.length]
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
