"""Why an item has its rank: all terms of its score, and the strongest reasons in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from springtide.errors import InvalidRequestError
from springtide.explaining.reasons import FactorTerm, doubt_of, habit_of, sentence_of
from springtide.explaining.templates import Templates, english
from springtide.interactions import History, Moment
from springtide.model.exponents import TermExponents
from springtide.plugins.contracts import ContextWeight, Factor
from springtide.ranking.binding import BoundQuery
from springtide.ranking.dislikes import DISLIKE
from springtide.ranking.query import Personalization, Query
from springtide.ranking.related import find
from springtide.ranking.scoring import ScoredQueries, Scorer
from springtide.ranking.weights import settle


@dataclass(frozen=True, slots=True)
class Explanation:
    """All terms of one item's score.

    Attributes:
        item_id: The item.
        score: ``cosine`` times ``cosine_exponent``, plus what the terms add. If a baseline ranks, its score.
        rank: The item's rank among all items, 1 for the best; 0 if it is left out, by a rule or as it is not to be had.
        cosine: Cosine of the user's and the item's vectors, -1 to 1.
        cosine_exponent: Factor of the cosine; it differs for seen and unseen items.
        terms: Every factor of every context weight, in their order.
        sentence: The strongest reasons in words, and whether the user's dislikes speak against it; empty if nothing
            speaks for the item or against it.
        personalization: What the answer knows of the user.
        model_version: Version that gave cosine and exponents; empty for the fallback.
    """

    item_id: str
    score: float
    rank: int
    cosine: float
    cosine_exponent: float
    terms: tuple[FactorTerm, ...]
    sentence: str
    personalization: Personalization
    model_version: str

    @property
    def weights(self) -> dict[str, tuple[FactorTerm, ...]]:
        """The terms of each context weight, by its name."""
        names = dict.fromkeys(term.weight for term in self.terms)
        return {name: tuple(term for term in self.terms if term.weight == name) for name in names}


def explain(scorer: Scorer, query: Query, item_id: str, words: Templates | None = None) -> Explanation:
    """Return all terms of the score of one item, and the strongest reasons in words.

    Args:
        scorer: Scores the items.
        query: Its ``count`` does not matter.
        item_id: The item.
        words: The language of the reasons; English if None.

    Raises:
        InvalidRequestError: If the item, or something that the query names, is unknown.
    """
    return explain_items(scorer, query, [item_id], words)[0]


def explain_items(
    scorer: Scorer, query: Query, item_ids: Sequence[str], words: Templates | None = None
) -> list[Explanation]:
    """Return the explanations of several items, in their order; see ``explain``."""
    words = words or english()
    rows = [scorer.items.ids.row(item_id) for item_id in item_ids]
    for item_id, row in zip(item_ids, rows, strict=True):
        if not scorer.has_row(row):
            raise InvalidRequestError("item", f"no item with the id {item_id!r}")
    scored = replace(scorer, lifeless=None).score([query])  # Whoever asks about an item asks for it.
    if scorer.serving.baseline is not None:
        return [_by_baseline(scorer, query, scored, each, words) for each in zip(item_ids, rows, strict=True)]
    [user], [bound] = scored.users, scored.queries
    history = scorer.history_at(user.history, bound)
    settle(scorer.state.context_weights)
    fitted = scorer.serving.fitted
    weights = scorer.state.context_weights if fitted is None else fitted.all_weights
    lifts = FactorLifts(weights, history, bound.moment, scorer.num_items)
    table = scorer.serving.table
    cosines = np.zeros(scorer.num_items, np.float32)
    if table is not None and user.vector is not None:
        np.dot(table.vectors[: scorer.num_items], user.vector, out=cosines)  # Taken row by row it is a copy of all.
    mean = float(cosines.mean()) if len(cosines) else 0.0
    return [
        _by_model(scorer, scored, lifts, (float(cosines[row]), mean), (item_id, row), words)
        for item_id, row in zip(item_ids, rows, strict=True)
    ]


def _by_baseline(
    scorer: Scorer, query: Query, scored: ScoredQueries, item: tuple[str, int], words: Templates
) -> Explanation:
    """Explain an item, id and row, that a baseline ranks."""
    item_id, row = item
    [scores], [user], [bound], [lowered] = scored.scores, scored.users, scored.queries, scored.lowered_items
    baseline = scorer.serving.baseline
    assert baseline is not None, "wanted a baseline"
    rank = 1 + int((scores > scores[row]).sum()) if np.isfinite(scores[row]) else 0
    disliked = words.say("terms.disliked") if (lowered.disliked.rows == row).any() else ""
    said = (words.say("terms.baseline", baseline=baseline.baseline.name), disliked)
    return Explanation(
        item_id=item_id,
        score=float(scores[row] if rank else scorer.score([query], leaves_out=False).scores[0, row]),
        rank=rank,
        cosine=0.0,
        cosine_exponent=0.0,
        terms=steered_terms(bound, row),
        sentence=words.say("sentence.separator").join(filter(None, said)),
        personalization=user.personalization,
        model_version=scorer.serving.version,
    )


def _by_model(
    scorer: Scorer,
    scored: ScoredQueries,
    lifts: "FactorLifts",
    cosines: tuple[float, float],
    item: tuple[str, int],
    words: Templates,
) -> Explanation:
    """Explain an item, id and row, that a model or the fallback ranks, given its cosine and the mean one."""
    (item_id, row), (cosine, mean), serving = item, cosines, scorer.serving
    [scores], [user], [bound], [lowered] = scored.scores, scored.users, scored.queries, scored.lowered_items
    habit = habit_of(lifts.history, row, bound.moment.timestamp_ms)
    exponents = serving.exponents.unseen if habit is None else serving.exponents.seen
    terms = lifts.terms(exponents, row)
    lowered_by = float(lowered.logs[lowered.disliked.rows == row].sum())
    if len(lowered.logs):
        terms += (FactorTerm(DISLIKE, Factor(DISLIKE), lowered_by, 1.0),)
    reasons_of = terms
    terms += steered_terms(bound, row)
    is_liked = user.liking is not None and not user.is_mean
    before = float(serving.table.vectors[row] @ user.liking) if serving.table and user.liking is not None else 0.0
    # An item that is nearer than most, but not near, suits nobody; what suits the mean user says nothing of this one.
    cosine_gain = exponents.cosine * (cosine - before if user.is_mean else min(cosine, cosine - mean))
    reasons = sentence_of(reasons_of, cosine_gain, habit, is_liked=is_liked, words=words)
    doubts = doubt_of(lowered_by, exponents.cosine * (cosine - before), words)
    return Explanation(
        item_id=item_id,
        score=exponents.cosine * cosine + sum(term.log_weight for term in terms),
        rank=1 + int((scores > scores[row]).sum()) if np.isfinite(scores[row]) else 0,
        cosine=cosine,
        cosine_exponent=exponents.cosine,
        terms=terms,
        sentence=words.say("sentence.doubt").join(filter(None, (reasons, doubts))),
        personalization=user.personalization,
        model_version=serving.version,
    )


def steered_terms(bound: BoundQuery, row: int) -> tuple[FactorTerm, ...]:
    """Return what rules and a booster add to the score of one item; nothing where there are none."""
    if not bound.added:
        return ()
    rows = np.array([row], np.int32)
    return tuple(
        FactorTerm(name, Factor(name), float(log), 1.0) for boosts in bound.added for name, [log] in boosts.named(rows)
    )


def factor_terms(
    weights: Mapping[str, ContextWeight],
    exponents: TermExponents,
    history: History,
    moment: Moment,
    row: int,
    num_items: int,
) -> tuple[FactorTerm, ...]:
    """Return every factor of every context weight for one item, those with exponent 0 too.

    Args:
        weights: By name.
        exponents: Exponents for seen or for unseen items, whichever the item is.
        history: The user's history.
        moment: Moment and circumstances.
        row: The item's row, below ``num_items``.
        num_items: Number of items that are ranked.
    """
    return FactorLifts(weights, history, moment, num_items).terms(exponents, row)


class FactorLifts:
    """What every factor of every context weight says at one moment, for one user's history and any item.

    Args:
        weights: By name.
        history: The user's history.
        moment: Moment and circumstances.
        num_items: Number of items that are ranked.

    Attributes:
        history: The user's history.
    """

    def __init__(self, weights: Mapping[str, ContextWeight], history: History, moment: Moment, num_items: int) -> None:
        settle(weights)
        self.history = history
        self._weights = weights
        self._seen, _ = history.distinct()
        self._of_items = {name: weight.item_log_lifts(moment, num_items) for name, weight in weights.items()}
        self._of_history = {
            name: weight.history_log_lifts(history, moment) if len(self._seen) else None
            for name, weight in weights.items()
        }
        self._related = {
            name: weight.related(history, moment) if len(self._seen) else None for name, weight in weights.items()
        }

    def terms(self, exponents: TermExponents, row: int) -> tuple[FactorTerm, ...]:
        """Return every factor for one item; see ``factor_terms``."""
        position = int(np.searchsorted(self._seen, row))
        is_seen = position < len(self._seen) and self._seen[position] == row
        terms = []
        for name, weight in self._weights.items():
            log_lifts = np.zeros(len(weight.factors))
            if (item_side := self._of_items[name]) is not None:
                log_lifts += item_side[:, row]
            if is_seen and (history_side := self._of_history[name]) is not None:
                log_lifts += history_side[:, position]
            if (related := self._related[name]) is not None:
                is_related, at = find(related.rows, np.array([row]))
                log_lifts += related.log_lifts[:, at[0]] if is_related.any() else 0.0
            terms += [
                FactorTerm(name, factor, float(log_lift), float(exponent))
                for factor, log_lift, exponent in zip(
                    weight.factors, log_lifts, exponents.of(name, weight), strict=True
                )
            ]
        return tuple(terms)
