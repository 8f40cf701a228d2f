"""Applying events to the graph."""

from collections.abc import Sequence

import numpy as np

from springtide.events.model import EventBatch, Interactions, Relation
from springtide.graph.circumstances import CircumstanceTable
from springtide.graph.live import LiveGraph
from springtide.interactions import Observed
from springtide.settings.interaction_rules import InteractionRules

USER = "user"
ITEM = "item"


def apply_events(
    graph: LiveGraph, batch: EventBatch, rules: InteractionRules, circumstances: CircumstanceTable
) -> Observed:
    """Apply a batch to the graph, so that readers see all of it or nothing.

    Args:
        graph: The graph; the caller is its only writer.
        batch: Decoded events.
        rules: The weight of each interaction, and whether it is positive.
        circumstances: The circumstances that are kept with interactions.

    Returns:
        The positive interactions.

    Raises:
        EventRefusedError: If an upsert changes the kind of an attribute. ``LiveState.claim_attribute_kinds`` finds this
            beforehand.
    """
    with graph.one_change():
        graph.forget_many((delete.node_type, delete.node_id) for delete in batch.deletes)
        for upsert in batch.upserts:
            graph.upsert(upsert)
        _apply_relations(graph, batch.relations)
        return _apply_interactions(graph, batch.interactions, rules, circumstances)


def _apply_relations(graph: LiveGraph, relations: Sequence[Relation]) -> None:
    by_type: dict[tuple[str, str, str], list[Relation]] = {}
    for relation in relations:
        by_type.setdefault((relation.source_type, relation.relation, relation.target_type), []).append(relation)
    for edge_type, edges in by_type.items():
        source_type, _, target_type = edge_type
        graph.append(
            edge_type,
            graph.nodes(source_type).ids.intern([edge.source_id for edge in edges]),
            graph.nodes(target_type).ids.intern([edge.target_id for edge in edges]),
            np.array([edge.timestamp_ms for edge in edges], np.int64),
            np.array([edge.weight for edge in edges], np.float32),
        )


def _apply_interactions(
    graph: LiveGraph, interactions: Interactions, rules: InteractionRules, circumstances: CircumstanceTable
) -> Observed:
    user_rows = graph.nodes(USER).ids.intern(interactions.user_ids)[interactions.user_codes]
    item_rows = graph.nodes(rules.item_type).ids.intern(interactions.item_ids)[interactions.item_codes]
    times = interactions.timestamps_ms
    features = circumstances.features(interactions.values, interactions.contexts)
    rule_of = {rule.name: rule for rule in rules.rules}
    weights = np.array([rule_of[name].weight for name in interactions.relations], np.float32)
    is_positive = np.array([rule_of[name].is_positive for name in interactions.relations], np.bool_)
    for code, name in enumerate(interactions.relations):
        index = np.flatnonzero(interactions.relation_codes == code)
        edge_features = None if features is None else features[index]
        graph.append(
            rules.edge_type(name),
            *(user_rows[index], item_rows[index], times[index], weights[code]),
            features=None if edge_features is None or np.isnan(edge_features).all() else edge_features,
        )
    index = np.flatnonzero(is_positive[interactions.relation_codes])
    return Observed(
        user_rows[index],
        item_rows[index],
        times[index],
        weights[interactions.relation_codes[index]],
        circumstances.read(None if features is None else features[index], user_rows[index], graph.nodes(USER)),
    )
