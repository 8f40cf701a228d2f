"""Applying events to the graph."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from springtide.events.model import EventBatch, Interactions, Relation
from springtide.events.packed_ids import PackedIds
from springtide.graph.circumstances import CircumstanceTable
from springtide.graph.columns import bounds
from springtide.graph.edges import EdgeType, EdgeView
from springtide.graph.live import LiveGraph
from springtide.graph.tombstones import NEVER_MS
from springtide.interactions import Observed
from springtide.settings.interaction_rules import InteractionRules

USER = "user"
ITEM = "item"

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Kept = slice | npt.NDArray[np.int64]  # All of a batch, or the positions that are kept.


def apply_events(
    graph: LiveGraph, batch: EventBatch, rules: InteractionRules, circumstances: CircumstanceTable
) -> tuple[Observed, list[tuple[EdgeType, EdgeView]]]:
    """Apply a batch to the graph, so that readers see all of it or nothing.

    Args:
        graph: The graph; the caller is its only writer.
        batch: Decoded events.
        rules: The weight of each interaction, and whether it is positive.
        circumstances: The circumstances that are kept with interactions.

    Returns:
        The positive interactions that entered the graph, and the edges that left it by deletions, whatever type.

    Raises:
        EventRefusedError: If an attribute has another kind than the settings say. ``Decoder`` finds this beforehand.
    """
    with graph.one_change():
        deleted = graph.delete(batch.deletes)
        for upsert in batch.upserts:
            graph.upsert(upsert)
        _apply_relations(graph, batch.relations)
        return _apply_interactions(graph, batch.interactions, rules, circumstances), deleted


def enter(graph: LiveGraph, node_type: str, ids: Sequence[str], codes: Int32s, timestamps_ms: Int64s) -> Int32s:
    """Return the node of each event, int32 ``[n]``, -1 where a deletion holds for the event; new nodes are added.

    Args:
        graph: The graph; the caller is its only writer.
        node_type: Node type.
        ids: Distinct ids; of ``PackedIds``, no string is made.
        codes: int32 ``[n]``, each event's index in ``ids``.
        timestamps_ms: int64 ``[n]``, event times.
    """
    table, packed = graph.nodes(node_type), PackedIds.of(ids)
    if not table.lifetimes.has_born and not graph.tombstones.has_any(node_type):
        return table.ids.intern_packed(*packed.arrays)[codes]
    rows, deleted_ms = graph.deleted_ms(node_type, packed)
    new = np.flatnonzero(rows < 0)
    is_live = timestamps_ms > deleted_ms[codes]
    lives = np.zeros(len(ids), np.bool_)
    lives[codes[is_live]] = True
    new = new[lives[new]]
    rows[new] = table.ids.intern_packed(*packed.take(new).arrays)
    born = new[deleted_ms[new] != NEVER_MS]
    if len(born):
        table.lifetimes.bear(rows[born].tolist(), deleted_ms[born].tolist())
    return np.where(is_live, rows[codes], np.int32(-1))


def _apply_relations(graph: LiveGraph, relations: Sequence[Relation]) -> None:
    by_type: dict[tuple[str, str, str], list[Relation]] = {}
    for relation in relations:
        by_type.setdefault((relation.source_type, relation.relation, relation.target_type), []).append(relation)
    for edge_type, edges in by_type.items():
        source_type, _, target_type = edge_type
        times = np.array([edge.timestamp_ms for edge in edges], np.int64)
        weights = np.array([edge.weight for edge in edges], np.float32)
        source_rows = _enter(graph, source_type, [edge.source_id for edge in edges], times)
        target_rows = _enter(graph, target_type, [edge.target_id for edge in edges], times)
        kept = _kept(graph, edge_type, source_rows, target_rows, times)
        graph.append(edge_type, source_rows[kept], target_rows[kept], times[kept], weights[kept])


def _enter(graph: LiveGraph, node_type: str, ids: Sequence[str], times: Int64s) -> Int32s:
    code_of = {id_: code for code, id_ in enumerate(dict.fromkeys(ids))}
    codes = np.array([code_of[id_] for id_ in ids], np.int32)
    return enter(graph, node_type, list(code_of), codes, times)


def _kept(graph: LiveGraph, edge_type: EdgeType, source_rows: Int32s, target_rows: Int32s, times: Int64s) -> Kept:
    """Return which edges enter the graph: those for which no deletion of either end holds.

    Of the others, the end that lives is noted: it would also be there if the deletion had come later.
    """
    if not len(times) or (bounds(source_rows)[0] >= 0 and bounds(target_rows)[0] >= 0):
        return slice(None)
    is_dropped = (source_rows < 0) | (target_rows < 0)
    graph.num_dropped += int(is_dropped.sum())
    graph.note_newest(int(times.max()))
    for node_type, rows in ((edge_type[0], source_rows), (edge_type[2], target_rows)):
        lives = np.flatnonzero(is_dropped & (rows >= 0))
        if len(lives):
            graph.nodes(node_type).lifetimes.note(rows[lives], times[lives])
    return np.flatnonzero(~is_dropped)


def _apply_interactions(
    graph: LiveGraph, interactions: Interactions, rules: InteractionRules, circumstances: CircumstanceTable
) -> Observed:
    times = interactions.timestamps_ms
    user_rows = enter(graph, USER, interactions.user_ids, interactions.user_codes, times)
    item_rows = enter(graph, rules.item_type, interactions.item_ids, interactions.item_codes, times)
    kept = _kept(graph, (USER, "", rules.item_type), user_rows, item_rows, times)
    relation_codes, values, contexts = interactions.relation_codes, interactions.values, interactions.contexts
    if not isinstance(kept, slice):
        user_rows, item_rows, times = user_rows[kept], item_rows[kept], times[kept]
        relation_codes, values = relation_codes[kept], values[kept]
        contexts = None if contexts is None else [contexts[position] for position in kept.tolist()]
    features = circumstances.features(values, contexts, user_rows, graph.nodes(USER))
    weights, is_positive = rules.weights_of(tuple(interactions.relations))
    is_one = len(times) == 1  # As in a live stream.
    codes = (relation_codes if is_one else np.flatnonzero(np.bincount(relation_codes, minlength=1))).tolist()
    for code in codes:
        name = interactions.relations[code]
        index: Kept = slice(None) if len(codes) == 1 else np.flatnonzero(relation_codes == code)
        edge_features = None if features is None else features[index]
        graph.append(
            rules.edge_type(name),
            *(user_rows[index], item_rows[index], times[index], weights[code]),
            features=None if edge_features is None or np.isnan(edge_features).all() else edge_features,
        )
    chosen: Kept  # With one relation there is nothing to choose.
    if len(codes) == 1:
        chosen = slice(None) if is_positive[codes[0]] else slice(0)
    else:
        chosen = np.flatnonzero(is_positive[relation_codes])
    user_rows = user_rows[chosen]
    newest_ms = None
    if not isinstance(kept, slice):
        positive_ms = interactions.timestamps_ms[is_positive[interactions.relation_codes]]
        newest_ms = int(positive_ms.max()) if len(positive_ms) > len(user_rows) else None
    return Observed(
        user_rows,
        item_rows[chosen],
        times[chosen],
        weights[relation_codes[chosen]],
        circumstances.read(None if features is None else features[chosen], user_rows, None),
        newest_ms=newest_ms,
    )
