"""What the interactions of a data set say by the settings: which are positive, with which weights."""

from dataclasses import replace

import numpy as np

from springtide.errors import DatasetError
from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.data.selection import select
from springtide.settings.interaction_rules import InteractionRules


def with_feedback(dataset: Dataset, rules: InteractionRules) -> Dataset:
    """Return the data set with its interactions by rules: the positive ones are learned, asked for and counted as hits.

    The others (a low rating, a dislike) are learned as the rules say and never asked for; see ``Dataset.others``.
    Interactions without a rule are left out, and a note names them.

    Raises:
        DatasetError: If no interaction is positive.
    """
    interactions = dataset.interactions
    codes = np.full(len(interactions), -1, np.int16)
    for code, name in enumerate(interactions.relations):
        of_type = np.flatnonzero(interactions.relation_codes == code)
        codes[of_type] = rules.match_many(name, interactions.values[of_type])
    ruled = replace(interactions, relations=rules.relations, relation_codes=codes)
    is_positive = np.array([rule.is_positive for rule in rules.rules])[codes] & (codes >= 0)
    types = ", ".join(interactions.relations)
    if not is_positive.any():
        raise DatasetError(
            f"{dataset.name}: wanted positive interactions, got none among {len(interactions):,} of the types {types} "
            f"([interactions] has rules for {', '.join(rules.relations)}; --type NAME names rows that have none)"
        )
    notes = []
    unruled = np.unique(interactions.relation_codes[codes < 0], return_counts=True)
    for code, count in zip(*(each.tolist() for each in unruled), strict=True):
        notes.append(f"{count:,} interactions of type {interactions.relations[code]!r} have no rule, and are left out")
    others = np.flatnonzero((codes >= 0) & ~is_positive)
    notes.append(f"{int(is_positive.sum()):,} interactions are positive by [interactions], {len(others):,} are not")
    return replace(
        dataset,
        interactions=select(ruled, np.flatnonzero(is_positive)),
        others=select(ruled, others) if len(others) else None,
        has_feedback=True,
        notes=[*dataset.notes, *notes],
    )
