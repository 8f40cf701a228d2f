"""Rankings as answers give them: each item with all that its score was made of."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.model.exponents import Exponents
from springtide.ranking import kernels
from springtide.ranking.boosts import Boosts
from springtide.ranking.dislikes import DISLIKE
from springtide.ranking.query import RankedItems
from springtide.ranking.related import find, values_at
from springtide.ranking.scoring import LoweredItems, SeenItems
from springtide.ranking.weights import ItemWeights

Array = npt.NDArray[np.float32]
FAMILIARITY = "familiarity"


def ranked_items(
    exponents: Exponents,
    rows: npt.NDArray[np.integer[Any]],
    ids: Sequence[str],
    scores: Array,
    cosines: Array,
    at_moment: ItemWeights,
    seen: SeenItems,
    lowered: LoweredItems,
    added: Sequence[Boosts] = (),
) -> RankedItems:
    """Return items with all that their scores were made of, given rows, ids, scores and cosines of one length."""
    names = [*at_moment.names]
    if seen.weights:
        names += [name for name in seen.weights if name not in at_moment.names]
    related = seen.related
    if related.weights:
        names += [name for name in related.weights if name not in names]
    if (
        not len(seen.rows) and not len(lowered.logs) and not related.weights
    ):  # As in most answers: what was seen is left out.
        others = [part for boosts in added for part in boosts.named(rows)] if added else ()
        of_items = kernels.logs_of(at_moment.unseen, rows.astype(np.int32, copy=False), len(names) + len(others))
        for at, (name, of_other) in enumerate(others, start=len(names)):
            names.append(name)
            of_items[:, at] = of_other
        return RankedItems(ids, scores, cosines, names, np.exp(of_items, of_items))
    is_seen, position = find(seen.rows, rows)
    has_seen = bool(is_seen.any())
    has_familiarity = has_seen and exponents.seen.cosine != exponents.unseen.cosine
    has_disliked = len(lowered.logs) > 0 and bool(lowered.logs.any())
    names += [name for name, has_any in ((FAMILIARITY, has_familiarity), (DISLIKE, has_disliked)) if has_any]
    # Logs of each weight for these items, item side and history side added.
    logs = np.zeros((len(names), len(rows)), np.float32)
    for of_weight, of_items in zip(at_moment.unseen, logs, strict=False):  # All at once may be copied as a whole first.
        of_weight.take(rows, out=of_items, mode="clip")
    if related.weights:
        for name, of_related in related.weights.items():
            logs[names.index(name)] += np.where(is_seen, 0.0, values_at(of_related, related.rows, rows))
    if has_seen:
        logs[: len(at_moment.names), is_seen] = at_moment.seen[:, rows[is_seen]]
        for name, of_seen in seen.weights.items():
            logs[names.index(name), is_seen] += of_seen[position]
    if has_familiarity:
        logs[names.index(FAMILIARITY), is_seen] = (exponents.seen.cosine - exponents.unseen.cosine) * cosines[is_seen]
    if has_disliked:
        is_disliked, position = find(lowered.disliked.rows, rows)
        logs[-1, is_disliked] = lowered.logs[position]
    if added:
        parts = {name: of_rows for boosts in added for name, of_rows in boosts.named(rows)}
        names += parts
        logs = np.concatenate([logs, *(each[np.newaxis] for each in parts.values())])
    return RankedItems(ids, scores, cosines, names, np.exp(logs.T))
